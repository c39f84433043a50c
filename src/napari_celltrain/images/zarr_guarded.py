"""Zarr arrays of strangers, opened so that no piece takes more memory than its shape says."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import os
import stat
from typing import TYPE_CHECKING, Any

import numcodecs.abc
import numpy as np
import zarr
from zarr.abc.codec import ArrayBytesCodec, BytesBytesCodec
from zarr.codecs import ShardingCodec
from zarr.storage import LocalStore

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.unpacking import (
    UNPACKED_HERE,
    UnpacksTooMuchError,
    most_of,
    stated_size,
    unpack,
)
from napari_celltrain.images.zarr_codecs import check_codecs, plain_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MOST_METADATA = 2**24
"""What is read of metadata takes thirty times its bytes at worst."""
MOST_PIECES = 10**6
"""A shard of more chunks than that is damaged: the list of them would take all the memory."""
_BYTES_PER_TEXT = 1024
_SLACK = 2**18
_FILTERED = 16
"""The filters of zarr 2 may have numbers of another type packed than the array has."""


class GuardedStore(LocalStore):
    """A folder of which no file is read that is larger than what it is for.

    Parameters
    ----------
    root
        The folder.
    read_only
        As zarr calls it; it always is.

    Attributes
    ----------
    most_bytes
        How large a file with pixels may be.
    """

    def __init__(self, root: Path, *, read_only: bool = True) -> None:
        super().__init__(root, read_only=True)
        self.most_bytes = 0

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """See `Store.get`."""
        self._check(key)
        return await super().get(key, prototype, byte_range)

    def get_sync(self, key: str, **options: Any) -> Any:
        """See `Store.get`; versions of zarr that know it ask in this way, too."""
        self._check(key)
        return super().get_sync(key, **options)

    def _check(self, key: str) -> None:
        path = os.path.join(self.root, key)
        try:
            state = os.stat(path)
        except OSError:  # zarr knows what to make of what is missing
            return
        if not stat.S_ISREG(state.st_mode) and not stat.S_ISDIR(state.st_mode):
            raise UnpacksTooMuchError(f"{path} is no ordinary file")
        is_metadata = key.endswith("zarr.json") or os.path.basename(key).startswith(".z")
        if state.st_size > (MOST_METADATA if is_metadata else self.most_bytes):
            raise UnpacksTooMuchError(
                f"{path} has {state.st_size / 2**20:.0f} MiB, more than it can need"
            )


def open_guarded(folder: Path, inner: str = "") -> Any:
    """Open an array; of its pieces none unpacks to more than its shape and type say.

    Parameters
    ----------
    folder
        The zarr.
    inner
        The path of the array in it.

    Raises
    ------
    CellTrainError
        When it is packed in a way that is not known to be harmless, or in pieces without number.
        Reading it raises the same when a piece unpacks to more than it should.
    """
    store = GuardedStore(folder)
    array = zarr.open_array(store=store, path=inner, mode="r")
    place = folder / inner
    check_codecs(array, place)
    n_pieces = 1
    if array.shards is not None:
        n_pieces = math.prod(
            -(-shard // chunk) for shard, chunk in zip(array.shards, array.chunks, strict=True)
        )
    if n_pieces > MOST_PIECES:
        raise CellTrainError(f"{place} has shards of {n_pieces} chunks; it is damaged.")
    store.most_bytes = _most_of(array.shards or array.chunks, array.dtype) + 2**10 * n_pieces
    metadata = array.metadata
    if metadata.zarr_format == 2:
        filters = metadata.filters or ()
        if filters:
            store.most_bytes *= _FILTERED
        guarded = [
            _GuardedNumcodec(one, store.most_bytes)
            for one in (*filters, *([metadata.compressor] if metadata.compressor else []))
        ]
        metadata = dataclasses.replace(
            metadata,
            filters=tuple(guarded[: len(filters)]) or None,
            compressor=guarded[-1] if metadata.compressor else None,
        )
    else:
        codecs = _guarded_codecs(metadata.codecs, store.most_bytes)
        metadata = dataclasses.replace(metadata, codecs=codecs)
    return zarr.Array(zarr.AsyncArray(metadata, array.store_path))


def _most_of(shape: Sequence[int], dtype: np.dtype[Any]) -> int:
    """Return how many bytes a piece may have; how it is packed may add a little."""
    itemsize = dtype.itemsize if dtype.kind not in "OT" else _BYTES_PER_TEXT
    return math.prod(shape) * itemsize * 5 // 4 + _SLACK


def _refusal(most: int) -> UnpacksTooMuchError:
    return UnpacksTooMuchError(
        f"a piece of it unpacks to more than the {most / 2**20:.1f} MiB that it can honestly hold"
    )


def _unpacked(codec: Any, name: str, packed: Any, most: int) -> bytes | None:
    """Unpack what only unpacking tells the size of, and check the size of the rest.

    Returns
    -------
    The bytes; None when the codec itself may go on.
    """
    raw = np.ascontiguousarray(packed).reshape(-1).view(np.uint8).data
    most = most_of(most, len(raw))
    if name in UNPACKED_HERE:
        settings = {key: getattr(codec, key, None) for key in ("format", "filters")}
        try:
            return unpack(name, raw, most, settings if name == "lzma" else None)
        except UnpacksTooMuchError:
            raise _refusal(most) from None
    size = stated_size(name, raw)
    if size is not None and size > most:
        raise _refusal(most)
    return None


class _GuardedNumcodec(numcodecs.abc.Codec):  # type: ignore[misc]
    """A compressor or filter of zarr 2."""

    codec_id = "guarded"

    def __init__(self, codec: Any, most: int) -> None:
        self.codec_id = codec.codec_id
        self._codec = codec
        self._most = most

    def encode(self, buf: Any) -> Any:
        """See `Codec.encode`."""
        return self._codec.encode(buf)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """See `Codec.decode`."""
        raw = numcodecs.compat.ensure_ndarray_like(buf)
        if raw.nbytes > self._most:
            raise _refusal(self._most)
        if raw.dtype == object:
            return self._codec.decode(buf, out)
        name = plain_name(self.codec_id)
        if name.startswith("vlen-"):
            _check_texts(raw, self._most // _BYTES_PER_TEXT)
        unpacked = _unpacked(self._codec, name, raw, self._most)
        return self._codec.decode(buf, out) if unpacked is None else unpacked

    def get_config(self) -> Any:
        """See `Codec.get_config`."""
        return self._codec.get_config()


def _check_texts(raw: Any, most: int) -> None:
    """Refuse a list of texts that claims to be longer than the array: memory is taken for it."""
    n_texts = int.from_bytes(bytes(np.ascontiguousarray(raw).view(np.uint8)[:4]), "little")
    if n_texts > most:
        raise UnpacksTooMuchError(f"a piece of it claims {n_texts} texts")


@dataclasses.dataclass(frozen=True)
class _GuardedBytes(BytesBytesCodec):
    """A compressor of zarr 3."""

    codec: Any
    is_fixed_size = False

    def to_dict(self) -> Any:
        """See `Metadata.to_dict`."""
        return self.codec.to_dict()

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """See `BaseCodec.compute_encoded_size`."""
        return int(self.codec.compute_encoded_size(input_byte_length, chunk_spec))

    def resolve_metadata(self, chunk_spec: Any) -> Any:
        """See `BaseCodec.resolve_metadata`."""
        return self.codec.resolve_metadata(chunk_spec)

    def evolve_from_array_spec(self, array_spec: Any) -> Any:
        """See `BaseCodec.evolve_from_array_spec`."""
        return dataclasses.replace(self, codec=self.codec.evolve_from_array_spec(array_spec))

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        name = plain_name(self.codec.to_dict()["name"])
        most = _most_of(chunk_spec.shape, chunk_spec.dtype.to_native_dtype())
        ask = (getattr(self.codec, "_codec", None), name, chunk_data.as_numpy_array(), most)
        if name not in UNPACKED_HERE:  # a look at its beginning needs no thread
            _unpacked(*ask)
            return await self.codec._decode_single(chunk_data, chunk_spec)
        unpacked = await asyncio.to_thread(_unpacked, *ask)
        return chunk_spec.prototype.buffer.from_bytes(unpacked)


@dataclasses.dataclass(frozen=True)
class _GuardedArray(ArrayBytesCodec):
    """How texts, or the index of a shard, are written in zarr 3.

    Parameters
    ----------
    codec
        The one that does it.
    most_bytes
        Of an index: how much all chunks of a shard may have together.
    """

    codec: Any
    most_bytes: int | None = None
    is_fixed_size = True

    def to_dict(self) -> Any:
        """See `Metadata.to_dict`."""
        return self.codec.to_dict()

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: Any) -> int:
        """See `BaseCodec.compute_encoded_size`."""
        return int(self.codec.compute_encoded_size(input_byte_length, chunk_spec))

    def evolve_from_array_spec(self, array_spec: Any) -> Any:
        """See `BaseCodec.evolve_from_array_spec`."""
        return dataclasses.replace(self, codec=self.codec.evolve_from_array_spec(array_spec))

    async def _decode_single(self, chunk_data: Any, chunk_spec: Any) -> Any:
        if self.most_bytes is None:
            _check_texts(chunk_data.as_numpy_array(), math.prod(chunk_spec.shape))
            return await self.codec._decode_single(chunk_data, chunk_spec)
        index = await self.codec._decode_single(chunk_data, chunk_spec)
        lengths = index.as_numpy_array()[..., 1]
        stored = lengths[lengths != np.iinfo(np.uint64).max]  # of chunks that are not stored
        if stored.sum(dtype=np.float64) > self.most_bytes:
            raise UnpacksTooMuchError("a piece of it claims that its parts are larger than it is")
        return index


def _guarded_codecs(codecs: Sequence[Any], most_bytes: int) -> tuple[Any, ...]:
    """Return the codecs of zarr 3, each with a guard before it that needs one."""
    return tuple(_guarded(codec, most_bytes) for codec in codecs)


def _guarded(codec: Any, most_bytes: int) -> Any:
    if isinstance(codec, ShardingCodec):
        index = [
            _GuardedArray(one, most_bytes) if isinstance(one, ArrayBytesCodec) else one
            for one in codec.index_codecs
        ]
        return dataclasses.replace(
            codec,
            codecs=_guarded_codecs(codec.codecs, most_bytes),
            index_codecs=_guarded_codecs(index, most_bytes),
        )
    if isinstance(codec, _GuardedArray):
        return codec
    name = plain_name(codec.to_dict()["name"])
    if name.startswith("vlen-"):
        return _GuardedArray(codec)
    if isinstance(codec, BytesBytesCodec) and name not in _NO_LARGER:
        return _GuardedBytes(codec)
    return codec


_NO_LARGER = frozenset(["adler32", "crc32", "crc32c", "fletcher32", "jenkins_lookup3", "shuffle"])
