"""A detector in one file: the zip archive that ``.celltrain`` files are.

Such files come from strangers. So only known names are read, never anything like a path; sizes
are checked before anything is unpacked; and nothing in the archive is executed.
"""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import content_of
from napari_celltrain.formats.archives import pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

SUFFIX = ".celltrain"
DESCRIPTION = "detector.json"
CARD = "README.md"
SCREENSHOT = "screenshot.png"
WEIGHTS = re.compile(r"weights-[0-9a-f]{12}\.safetensors")
MOST_BYTES = {DESCRIPTION: 2**24, CARD: 2**20, SCREENSHOT: 2**24}
"""What may be in the archive besides the weights, and how large it may be."""
MOST_WEIGHTS_BYTES = 2**31
MOST_RATIO = 200
"""Unpacked bytes per packed byte at most; text packs to a tenth, weights hardly at all ..."""
SMALL = 2**16
"""... but what is this small does no harm however it is packed."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
"""What a damaged, encrypted or strangely packed archive makes the standard library raise."""


def is_package(path: Path) -> bool:
    """Tell by its name whether a file claims to be a packed detector."""
    return path.name.lower().endswith((SUFFIX, SUFFIX + ".zip")) and path.is_file()


def description_of(place: Path) -> bytes:
    """Return the description of a detector, of a folder or packed, as it is stored.

    Raises
    ------
    OSError
        When it can't be read, or is no ordinary file.
    CellTrainError
        When a packed one is harmful.
    """
    if is_package(place):
        return read_member(place, DESCRIPTION)
    return content_of(place / DESCRIPTION, MOST_BYTES[DESCRIPTION])


def member_names(path: Path) -> list[str]:
    """Return what is in a packed detector: all of it is known, and none of it is too large.

    Raises
    ------
    CellTrainError
        When it is not a packed detector, or harmful.
    """
    with _opened(path) as archive:
        return archive.namelist()


def read_member(path: Path, name: str) -> bytes:
    """Return the content of one file in a packed detector.

    Raises
    ------
    CellTrainError
        When it is not a packed detector, harmful or damaged, or has no such file in it.
    """
    with _opened(path) as archive:
        if name not in archive.namelist():
            raise CellTrainError(f"{path} is no complete detector: it has no {name} in it.")
        return b"".join(pieces_of(archive, name))


def write_package(path: Path, members: Mapping[str, bytes]) -> None:
    """Write a packed detector; the same content gives the same bytes.

    Parameters
    ----------
    path
        Not yet in its place: see `napari_celltrain.files.replacing`.
    members
        Content by name.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive whose every member has been looked at."""
    try:
        if path.stat().st_size > MOST_WEIGHTS_BYTES + 2**26:
            raise CellTrainError(f"{path} is larger than any detector; it is not opened.")
        with zipfile.ZipFile(path) as archive:
            _check(path, archive.infolist())
            yield archive
    except OSError as error:
        raise CellTrainError(f"{path} can't be read: {error.strerror or error}.") from None
    except _DAMAGED as error:
        raise CellTrainError(
            f"{path} is damaged or no packed detector ({error or type(error).__name__}). "
            "Copy or download it again."
        ) from None


def _check(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive with anything in it that a packed detector does not have."""
    seen: set[str] = set()
    for member in members:
        name = member.filename
        weights = WEIGHTS.fullmatch(name) is not None
        if not weights and name not in MOST_BYTES:
            raise CellTrainError(
                f"{path} is no packed detector: it has {ascii(name)[:80]} in it. It is made by "
                "'celltrain export', and must not be unpacked and packed again."
            )
        most = MOST_WEIGHTS_BYTES if weights else MOST_BYTES[name]
        if member.file_size > min(most, max(SMALL, MOST_RATIO * member.compress_size)):
            raise CellTrainError(
                f"{path}: {name} would unpack to {member.file_size / 2**20:.1f} MiB from "
                f"{member.compress_size / 2**20:.2f} MiB; it is damaged or harmful."
            )
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CellTrainError(f"{path} is no packed detector: {name} is packed in another way.")
        if name in seen or (weights and any(WEIGHTS.fullmatch(one) for one in seen)):
            raise CellTrainError(f"{path} is damaged or harmful: it has two files named {name}.")
        seen.add(name)
