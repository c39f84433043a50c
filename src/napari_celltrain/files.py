"""Writing so that a file is either the old one or the new one, never half of either.

The order is the one that survives a power cut: write beside the place, flush the file to the disk,
move it into place, flush the folder.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY_PREFIX = ".celltrain-"
"""What the names of unfinished files and folders begin with."""
OLD = "replaced"
"""Beside an unfinished folder: the folder that it takes the place of."""


def cache_folder() -> Path:
    """Where things are kept that can be made again: samples, what was measured on the machine."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or Path.home() / ".cache") / "napari-celltrain"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; moved to `path` when the block ends, removed when it fails.

    Works for a file and for a folder. Two folders can't be exchanged in one step, so there is a
    moment at which neither is at `path`, but both, complete, are beside it: `remove_leftovers`
    puts the new one in its place should the process be killed right then, and so does the next
    writing beside it.

    Raises
    ------
    CellTrainError
        When the place can't be written (no folder, no permission, disk full).
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers_of_the_dead(path.parent)
        prefix = f"{TEMPORARY_PREFIX}{_computer()}-{os.getpid()}-"
        holder = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    except OSError as error:
        raise CellTrainError(_sentence(path, error)) from error
    try:
        # in a folder of its own, so that its name can't be that of what is replaced
        (holder / "new").mkdir()
        temporary = holder / "new" / path.name
        yield temporary
        if temporary.is_dir():
            _flush_tree(temporary)
            _flush_folder(holder / "new")
            if path.is_dir() and not path.is_symlink():
                os.replace(path, holder / OLD)
        else:
            _flush(temporary)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise CellTrainError(_sentence(path, error)) from error
    finally:
        # whatever happened, even Ctrl+C between two moves: what was there is there
        if (holder / OLD).exists() and not path.exists():
            os.replace(holder / OLD, path)
        shutil.rmtree(holder, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file, atomically, with the line ends as given."""
    write_bytes(path, content.encode("utf-8"))


def content_of(path: Path, most_bytes: int) -> bytes:
    """Return the content of an ordinary file.

    Parameters
    ----------
    path
        The file; a pipe, whose end may never come, is refused.
    most_bytes
        A larger file is refused unread.

    Raises
    ------
    OSError
        As reading does, and for what is refused.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")
    if found.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes / 2**20:g} MiB")
    return Path(path).read_bytes()


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder that only one process writes to.

    A folder whose replacement was complete but not yet in its place is put there.
    """
    for leftover in folder.glob(TEMPORARY_PREFIX + "*"):
        _remove(leftover)


def _remove_leftovers_of_the_dead(folder: Path) -> None:
    """Remove what processes of this computer left unfinished that are no more.

    Others may write to the same folder at this moment, from this computer or another one.
    """
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}{_computer()}-*"):
        owner = re.match(r"-(\d{1,9})-", leftover.name.removeprefix(TEMPORARY_PREFIX + _computer()))
        if owner is not None and leftover.is_dir():
            import psutil  # only needed where something was killed

            if not psutil.pid_exists(int(owner[1])):
                _remove(leftover)


def _computer() -> str:
    return re.sub(r"[^A-Za-z0-9]", "", platform.node())[:40]


def _remove(leftover: Path) -> None:
    if leftover.is_dir():
        with contextlib.suppress(OSError):
            _put_in_place(leftover, leftover.parent)
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            leftover.unlink()


def _put_in_place(leftover: Path, folder: Path) -> None:
    if not (leftover / OLD).exists():
        return  # it was killed before the new one was complete, and nothing was moved
    for new in (leftover / "new").iterdir():
        if not (folder / new.name).exists():
            os.replace(new, folder / new.name)


def _flush_tree(folder: Path) -> None:
    for place in folder.rglob("*"):
        if place.is_dir():
            _flush_folder(place)
        elif place.is_file():
            _flush(place)
    _flush_folder(folder)


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
