"""Reading members of tar archives that strangers packed, into no more memory than they may need."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.archives import MOST_BYTES, MOST_RATIO
from napari_celltrain.formats.documents import beginning

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path
    from typing import BinaryIO

MOST_MEMBERS = 1000
MOST_HEADERS = 2**20
"""All that stands between the members may have so many bytes, besides `PER_MEMBER` for each."""
PER_MEMBER = 4096
ALWAYS_TEXT = 2**23
MOST_TEXT_RATIO = 30
"""A text may unpack to so many bytes, or to so many times the archive's: lists of it are large."""
_PIECE = 2**18
_OPENERS: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ", lzma.open),
)


def read_tar(path: Path, wanted: Collection[str], texts: Collection[str]) -> dict[str, bytes]:
    """Return some members of an archive, packed or not, by their names without folders.

    Parameters
    ----------
    path
        The archive.
    wanted
        The names.
    texts
        Which of them are texts, of which less is believed.

    Raises
    ------
    CellTrainError
        When it would unpack to more than it can honestly hold.
    """
    size = path.stat().st_size
    most = max(MOST_BYTES, MOST_RATIO * size)
    found: dict[str, bytes] = {}
    with ExitStack() as stack:
        file: Any = _Doled(stack.enter_context(_opened(path)), path)
        archive = stack.enter_context(tarfile.open(fileobj=file, mode="r:"))
        for number, info in enumerate(archive, 1):
            if number > MOST_MEMBERS:
                raise CellTrainError(f"{path} has too many members; it is damaged.")
            name = info.name.rsplit("/", 1)[-1]
            end = info.offset_data + info.size
            if info.size < 0 or end > most:  # of all, because what is skipped is unpacked too
                raise CellTrainError(f"{path}: {name[:40]} claims {info.size / 2**20:.0f} MiB.")
            if info.isreg() and name in wanted:
                if name in texts and info.size > max(ALWAYS_TEXT, MOST_TEXT_RATIO * size):
                    raise CellTrainError(
                        f"{path}: {name} would unpack to {info.size / 2**20:.0f} MiB; it is "
                        "damaged or harmful."
                    )
                found[name] = file.member(info)
            file.allow(PER_MEMBER)
    return found


def _opened(path: Path) -> BinaryIO:
    """Open the tar archive in a packed file."""
    start = beginning(path, 6)
    for magic, opener in _OPENERS:
        if start.startswith(magic):
            opened: BinaryIO = opener(path)
            return opened
    return open(path, "rb")


class _Doled:
    """A file of which the library reads headers, and they only as far as they are believable.

    It would read a header of gigabytes into the memory before anybody can look at it.
    """

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._left = MOST_HEADERS
        self.seek = file.seek
        self.tell = file.tell

    def allow(self, n_bytes: int) -> None:
        """Let the headers be larger by so much."""
        self._left += n_bytes

    def read(self, n_bytes: int) -> bytes:
        """Read a header."""
        self._left -= n_bytes
        if self._left < 0:
            raise CellTrainError(
                f"{self._path} has headers of more than {MOST_HEADERS // 2**20} MiB, as no program "
                "writes them; it is damaged or harmful."
            )
        return self._file.read(n_bytes)

    def member(self, info: tarfile.TarInfo) -> bytes:
        """Return the content of a member."""
        self._file.seek(info.offset_data)
        parts, left = [], info.size
        while left and (part := self._file.read(min(_PIECE, left))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
