"""Writing so that a file is either the old one or the new one, never half of either.

The order is the one that survives a power cut: write beside the place, flush the file to the disk,
move it into place, flush the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY_PREFIX = ".celltrain-"
"""What the names of unfinished files and folders begin with."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; moved to `path` when the block ends, removed when it fails.

    Works for a file and for a folder (a folder in its place is replaced by the new one; on the
    way there is a moment at which neither is at `path`, but both are beside it).

    Raises
    ------
    CellTrainError
        When the place can't be written (no folder, no permission, disk full).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        holder = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX, dir=path.parent))
    except OSError as error:
        raise CellTrainError(_sentence(path, error)) from error
    try:
        temporary = holder / path.name
        try:
            yield temporary
            if temporary.is_dir():
                for file in temporary.rglob("*"):
                    if file.is_file():
                        _flush(file)
                if path.is_dir():
                    os.replace(path, holder / "old")
            else:
                _flush(temporary)
            os.replace(temporary, path)
            _flush_folder(path.parent)
        except OSError as error:
            if (holder / "old").exists() and not path.exists():
                os.replace(holder / "old", path)
            raise CellTrainError(_sentence(path, error)) from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file, atomically, with the line ends as given."""
    write_bytes(path, content.encode("utf-8"))


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder that only one process writes to."""
    for leftover in folder.glob(TEMPORARY_PREFIX + "*"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            with contextlib.suppress(OSError):
                leftover.unlink()


def _flush(file: Path) -> None:
    with open(file, "rb+") as handle:
        os.fsync(handle.fileno())


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder can't be opened there, and NTFS journals the move
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sentence(path: Path, error: OSError) -> str:
    return f"{path} can't be written: {error.strerror or error}."
