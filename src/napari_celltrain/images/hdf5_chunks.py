"""Reading data sets of HDF5 files of strangers: no chunk unpacks to more than its shape says.

The HDF5 library takes as much memory for a chunk as there comes out of it, which is a thousand
times what is stored. Small chunks can't do harm in that way; large ones are unpacked here.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.images.unpacking import (
    UnpacksTooMuchError,
    check_claim,
    most_of,
    stated_size,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import h5py
    from numpy.typing import NDArray

    from napari_celltrain.images.movie import Crop

SMALL = 2**16
"""Chunks of no more bytes are left to the library: what is stored of them is no larger."""
_DEFLATE, _SHUFFLE, _FLETCHER32, _NBIT, _SCALEOFFSET, _LZF = 1, 2, 3, 5, 6, 32000
_LZ4, _BITSHUFFLE, _BITSHUFFLE_ALONE = 32004, 32008, -1
_LARGER_BY_NONE = frozenset([_SHUFFLE, _FLETCHER32, _BITSHUFFLE_ALONE])
_STATED = {32001: "blosc", 32015: "zstd"}


def read_part(data: h5py.Dataset, part: Crop) -> NDArray[Any]:
    """Return a part of a data set; slices have a start and a stop.

    Raises
    ------
    UnpacksTooMuchError
        When a chunk unpacks to more than it should, or the data set claims to hold what is not
        stored.
    ValueError
        When it is damaged.
    """
    n_bytes = math.prod(one.stop - one.start for one in part) * data.dtype.itemsize
    check_claim(n_bytes, data.id.get_storage_size)
    filters = _filters(data)
    packers = _packers(filters)
    if data.chunks is None or not packers or packers == [_LZF]:
        return np.asarray(data[part])
    n_bytes = math.prod(data.chunks) * data.dtype.itemsize
    if packers == [_DEFLATE] and n_bytes <= SMALL:
        return np.asarray(data[part])
    places = itertools.product(
        *(
            range(one.start - one.start % size, one.stop, size)
            for one, size in zip(part, data.chunks, strict=True)
        )
    )
    if packers == [_DEFLATE]:
        return _unpacked_here(data, part, places, filters)
    for place in places:
        _check_stated(data, place, filters, n_bytes)
    return np.asarray(data[part])


def check_stored(data: h5py.Dataset) -> None:
    """Refuse chunks of which more is stored than packing an honest one can give.

    Raises
    ------
    UnpacksTooMuchError
        When there are any.
    """
    if data.chunks is None or not _filters(data):
        return
    n_bytes = math.prod(data.chunks) * data.dtype.itemsize
    largest = 0

    def look(chunk: Any) -> None:
        nonlocal largest
        largest = max(largest, chunk.size)

    data.id.chunk_iter(look)
    if largest > n_bytes * 5 // 4 + 2**10:
        raise UnpacksTooMuchError(
            f"a chunk of {n_bytes / 2**20:.1f} MiB has {largest / 2**20:.1f} MiB in the file, more "
            "than it can need"
        )


def _filters(data: h5py.Dataset) -> list[int]:
    """Return the numbers of the filters, in the order in which the data were packed."""
    plist = data.id.get_create_plist()
    filters = []
    for number in range(plist.get_nfilters()):
        code, _, values, _ = plist.get_filter(number)
        if code == _BITSHUFFLE and (len(values) < 5 or values[4] not in (2, 3)):
            code = _BITSHUFFLE_ALONE
        filters.append(code)
    known = set(filters)
    mixed = _DEFLATE in known and not known <= {_DEFLATE, _SHUFFLE, _FLETCHER32}
    packers = _packers(filters)
    if mixed or len(packers) > 1 or len(known) < len(filters) or known & {_NBIT, _SCALEOFFSET}:
        raise UnpacksTooMuchError(
            "it is packed in a way that could fill the memory, and that no program takes by itself"
        )
    return filters


def _packers(filters: Sequence[int]) -> list[int]:
    return [code for code in filters if code not in _LARGER_BY_NONE]


def _stored(data: h5py.Dataset, place: tuple[int, ...]) -> tuple[int, bytes] | None:
    """Return which filters a chunk was not packed with, and its bytes; None: it is not stored."""
    try:
        mask, raw = data.id.read_direct_chunk(place)
    except (OSError, RuntimeError, ValueError):
        if data.id.get_chunk_info_by_coord(place).byte_offset is None:
            return None
        raise
    return mask, raw


def _check_stated(
    data: h5py.Dataset, place: tuple[int, ...], filters: Sequence[int], n_bytes: int
) -> None:
    """Refuse a chunk that says itself that it unpacks to too much."""
    stored = _stored(data, place)
    if stored is None or stored[0]:
        return
    (packer,) = _packers(filters)
    raw = stored[1][:-4] if filters[-1] == _FLETCHER32 else stored[1]
    if packer in (_LZ4, _BITSHUFFLE):
        size = int.from_bytes(raw[:8], "big")
    else:
        size = stated_size(_STATED.get(packer, ""), raw) or 0
    if size > most_of(n_bytes * 5 // 4 + 2**18, len(raw)):
        raise UnpacksTooMuchError(
            f"a chunk of {n_bytes / 2**20:.1f} MiB unpacks to more, {size / 2**20:.1f} MiB"
        )


def _unpacked_here(
    data: h5py.Dataset, part: Crop, places: Any, filters: Sequence[int]
) -> NDArray[Any]:
    block = np.empty([one.stop - one.start for one in part], data.dtype)
    for place in places:
        inside = [
            (max(one.start, start), min(one.stop, start + size))
            for one, start, size in zip(part, place, data.chunks, strict=True)
        ]
        to = tuple(
            slice(low - one.start, high - one.start)
            for (low, high), one in zip(inside, part, strict=True)
        )
        stored = _stored(data, place)
        if stored is None:
            block[to] = data.fillvalue
            continue
        chunk = _chunk(*stored, data, filters)
        block[to] = chunk[
            tuple(
                slice(low - start, high - start)
                for (low, high), start in zip(inside, place, strict=True)
            )
        ]
    return block


def _chunk(mask: int, raw: bytes, data: h5py.Dataset, filters: Sequence[int]) -> NDArray[Any]:
    """Return a chunk of its bytes in the file."""
    shape, itemsize = data.chunks, data.dtype.itemsize
    n_bytes = math.prod(shape) * itemsize
    checksum = 4 * (_FLETCHER32 in filters)
    for number in reversed(range(len(filters))):
        if mask >> number & 1:
            continue
        if filters[number] == _DEFLATE:
            most = most_of(n_bytes + checksum, len(raw))
            try:
                raw = unpack("zlib", raw, most)
            except UnpacksTooMuchError:
                raise UnpacksTooMuchError(
                    f"a chunk unpacks to more than the {most / 2**20:.1f} MiB that it can "
                    "honestly hold"
                ) from None
        elif filters[number] == _SHUFFLE:
            raw = _unshuffled(raw, itemsize)
        else:
            raw = raw[:-checksum]  # of what deflate has a checksum of, too
    if len(raw) != n_bytes:
        raise ValueError("a chunk is not complete")
    return np.frombuffer(raw, data.dtype).reshape(shape)


def _unshuffled(raw: bytes, itemsize: int) -> bytes:
    """Put together the first, second, ... bytes of all numbers, which lie apart."""
    apart = np.frombuffer(raw, np.uint8).reshape(itemsize, -1)
    together = np.empty(apart.shape[::-1], np.uint8)
    for number in range(itemsize):  # three times as fast as a transposition
        together[:, number] = apart[number]
    return together.tobytes()
