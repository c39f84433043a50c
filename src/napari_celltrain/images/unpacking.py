"""Unpacking what strangers packed: never more than was agreed, however much is in it."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

ALWAYS_READ = 2**30
"""Pixels of so many bytes are read however little of them is stored: movies have empty frames."""
ALWAYS_UNPACKED = 2**28
MOST_COMPRESSED = 500
"""A piece of more bytes than `ALWAYS_UNPACKED` and so many times its packed ones is not believed.

Noise packs to a half, empty background to a hundredth."""
UNPACKED_HERE = frozenset(["bz2", "gzip", "lzma", "zlib"])
"""Ways of packing of which only unpacking tells the size."""
_ZSTD = 0xFD2FB528
_ZSTD_SKIPPED = 0x184D2A5
_ZSTD_BLOCK = 2**17


class UnpacksTooMuchError(ValueError):
    """There is more in it than was agreed."""


def most_of(agreed: int, packed: int) -> int:
    """Return how much a piece may unpack to, by what is agreed and by the bytes that are there."""
    return min(agreed, max(ALWAYS_UNPACKED, MOST_COMPRESSED * packed))


def check_claim(claimed: int, stored: Callable[[], int]) -> None:
    """Refuse what is absurdly large for what is stored of it; the rest has one value.

    Parameters
    ----------
    claimed
        The bytes that it takes in the memory.
    stored
        Tells how many bytes there are; is asked only when it matters.

    Raises
    ------
    UnpacksTooMuchError
        With both numbers.
    """
    if claimed <= ALWAYS_READ:
        return
    on_disk = stored()
    if claimed > MOST_COMPRESSED * on_disk:
        raise UnpacksTooMuchError(
            f"it claims {claimed / 2**30:.1f} GiB of pixels, and {on_disk / 2**20:.1f} MiB of it "
            "are stored"
        )


def unpack(
    name: str, packed: bytes | memoryview, most: int, settings: dict[str, Any] | None = None
) -> bytes:
    """Unpack zlib, gzip, bz2 or lzma.

    Parameters
    ----------
    name
        One of `UNPACKED_HERE`.
    packed
        The bytes.
    most
        How many bytes may come out.
    settings
        Of lzma, the ``format`` and the ``filters``.

    Raises
    ------
    UnpacksTooMuchError
        When more would come out; that much memory was not taken then.
    ValueError, zlib.error, lzma.LZMAError, OSError
        When it is damaged.
    """
    parts: list[bytes] = []
    left = most
    rest: bytes | memoryview = packed
    while True:
        one = _unpacker(name, settings or {})
        parts.append(one.decompress(rest, left + 1))
        left -= len(parts[-1])
        if left < 0:
            raise UnpacksTooMuchError(f"it unpacks to more than {most} bytes")
        if not one.eof:
            raise ValueError("what is packed in it is not complete")
        rest = one.unused_data
        if name == "zlib" or not bytes(rest[:8]).strip(b"\0"):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _unpacker(name: str, settings: dict[str, Any]) -> Any:
    if name == "zlib":
        return zlib.decompressobj()
    if name == "gzip":
        return zlib.decompressobj(wbits=31)
    if name == "bz2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(
        settings.get("format", lzma.FORMAT_XZ), None, settings.get("filters")
    )


def stated_size(name: str, packed: bytes | memoryview) -> int | None:
    """Return how much blosc, lz4 or zstd will take memory for; None of other ways of packing.

    Raises
    ------
    ValueError
        When it is damaged.
    """
    sizes: dict[str, Callable[[memoryview], int]] = {
        "blosc": _blosc,
        "lz4": _lz4,
        "zstd": _zstd,
    }
    return sizes[name](memoryview(packed).cast("B")) if name in sizes else None


def _number(raw: memoryview, at: int, size: int) -> int:
    if at + size > len(raw):
        raise ValueError("what is packed in it is not complete")
    return int.from_bytes(raw[at : at + size], "little")


def _blosc(raw: memoryview) -> int:
    return _number(raw, 4, 4)


def _lz4(raw: memoryview) -> int:
    return _number(raw, 0, 4)


def _zstd(raw: memoryview) -> int:
    """Return the size that a zstd stream states or, if more, the most that its blocks can give.

    By RFC 8878, section 3.1.1.
    """
    at, total = 0, 0
    while at < len(raw):
        magic = _number(raw, at, 4)
        if magic >> 4 == _ZSTD_SKIPPED:
            at += 8 + _number(raw, at + 4, 4)
            continue
        if magic != _ZSTD:
            raise ValueError("it is not packed with zstd")
        at, stated, checksum = _zstd_header(raw, at + 4)
        at, most = _zstd_blocks(raw, at)
        at += 4 * checksum
        total += most if stated is None else stated
    return total


def _zstd_header(raw: memoryview, at: int) -> tuple[int, int | None, bool]:
    """Return where the blocks of a frame begin, the stated size and whether a checksum follows."""
    about = _number(raw, at, 1)
    single = about >> 5 & 1
    size_bytes = (single, 2, 4, 8)[about >> 6]
    at += 1 + (not single) + (0, 1, 2, 4)[about & 3]
    stated = None
    if size_bytes:
        stated = _number(raw, at, size_bytes) + (256 if size_bytes == 2 else 0)
    return at + size_bytes, stated, bool(about >> 2 & 1)


def _zstd_blocks(raw: memoryview, at: int) -> tuple[int, int]:
    """Return where the blocks of a frame end, and the most that they unpack to."""
    most, last = 0, False
    while not last:
        header = _number(raw, at, 3)
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        most += _ZSTD_BLOCK if kind == 2 else size
        at += 3 + (1 if kind == 1 else size)
    return at, most
