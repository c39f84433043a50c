"""Reading members of archives that strangers packed: sizes are checked before unpacking."""

from __future__ import annotations

import copy
import zipfile
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MOST_BYTES = 2**28
"""A member may unpack to this much, however small it is packed ..."""
MOST_RATIO = 200
"""... or to this many times its packed size; tables of numbers pack to a tenth at best."""
MOST_MEMBERS = 100_000
_PIECE = 2**18


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive for reading.

    Raises
    ------
    CellTrainError
        When it is none, or has absurdly many members.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise CellTrainError(f"{path} is no complete zip archive ({error}).") from error
    if len(archive.infolist()) > MOST_MEMBERS:
        archive.close()
        raise CellTrainError(f"{path} has more than {MOST_MEMBERS} members; it is damaged.")
    return archive


def check_member(archive: zipfile.ZipFile, name: str, most_bytes: int = MOST_BYTES) -> None:
    """Refuse a member that is missing, or would unpack to more than it can honestly hold."""
    try:
        info = archive.getinfo(name)
    except KeyError as error:
        raise CellTrainError(f"The archive has no {name}.") from error
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CellTrainError(
            f"{name} in the archive is packed in a way that could fill the memory. Pack it again "
            "as an ordinary zip archive."
        )
    if info.file_size > max(min(most_bytes, MOST_BYTES), MOST_RATIO * info.compress_size):
        raise CellTrainError(
            f"{name} in the archive would unpack to {info.file_size / 2**20:.0f} MiB from "
            f"{info.compress_size / 2**10:.0f} KiB; it is damaged or harmful."
        )


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return a member's bytes, after the check of its size.

    Members are read into memory only, so that no path in the archive ever reaches the disk.
    """
    check_member(archive, name)
    return b"".join(pieces_of(archive, name))


def check_content(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse a member in which there is more than it says, before a library unpacks it.

    Raises
    ------
    CellTrainError
        As `check_member`.
    """
    check_member(archive, name)
    for _ in pieces_of(archive, name):
        pass


def pieces_of(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """Yield a member in pieces.

    Asked for all at once, the standard library unpacks up to two gigabytes, and then cuts off what
    is more than the archive says.

    Raises
    ------
    CellTrainError
        When there is more in it.
    """
    probe = copy.copy(archive.getinfo(name))
    left = probe.file_size
    probe.file_size += 2 * _PIECE  # as far as the library would read
    with archive.open(probe) as member:
        while piece := member.read(_PIECE):
            left -= len(piece)
            if left < 0:
                raise CellTrainError(
                    f"{name} in the archive unpacks to more than it says; it is damaged or harmful."
                )
            yield piece
