"""Zarr arrays of strangers: what is small on the disk takes no memory that its shape denies."""

from __future__ import annotations

import bz2
import json
import lzma
import os
import struct
import zlib

import numcodecs
import numpy as np
import pytest
import zarr

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import open_images

N_BYTES = 3 * 10**8
LITTLE = 2**26


def zeros(bits: int) -> bytes:
    """Return a stream of zeros in zlib's (15) or gzip's (31) way; only its checksum is wrong."""
    packer = zlib.compressobj(9, wbits=bits)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (N_BYTES // 10**6) + packer.flush()


BOMBS = {
    "zlib": lambda: zeros(15),
    "gzip": lambda: zeros(31),
    "bz2": lambda: bz2.compress(bytes(10**7)) * (N_BYTES // 10**7),
    "lzma": lambda: lzma.compress(bytes(10**7), preset=0) * (N_BYTES // 10**7),
    "zstd": lambda: numcodecs.Zstd().encode(bytes(N_BYTES)),
    "blosc": lambda: numcodecs.Blosc("zstd", 1).encode(bytes(N_BYTES)),
    "lz4": lambda: numcodecs.LZ4().encode(bytes(N_BYTES)),
}


def array_2(folder, **about):
    """Write the metadata of a zarr 2 array."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "zarr_format": 2,
        "shape": [2, 64, 64],
        "chunks": [1, 64, 64],
        "dtype": "|u1",
        "compressor": None,
        "filters": None,
        "fill_value": 0,
        "order": "C",
    } | about
    (folder / ".zarray").write_text(json.dumps(content))
    return folder


def array_3(folder, codecs, *, chunks=(1, 64, 64), shape=(2, 64, 64)):
    """Write the metadata of a zarr 3 array."""
    folder.mkdir()
    content = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": codecs,
        "attributes": {},
    }
    (folder / "zarr.json").write_text(json.dumps(content))
    (folder / "c" / "0" / "0").mkdir(parents=True)
    return folder


def refused(folder, little_memory, match="more than"):
    with little_memory(LITTLE), pytest.raises(CellTrainError, match=match) as told:
        open_images(folder).read_frame(0)
    assert "\n" not in str(told.value)
    assert folder.name in str(told.value)


@pytest.mark.parametrize("name", BOMBS)
def test_a_chunk_of_zarr_2_that_unpacks_to_more_than_its_shape_is_refused(
    tmp_path, little_memory, name
):
    folder = array_2(tmp_path / "movie.zarr", compressor={"id": name})
    (folder / "0.0.0").write_bytes(BOMBS[name]())
    refused(folder, little_memory)


PLAIN = {"name": "bytes"}
THREE = {
    "gzip": {"name": "gzip", "configuration": {"level": 1}},
    "zstd": {"name": "zstd", "configuration": {"level": 1, "checksum": False}},
    "blosc": {
        "name": "blosc",
        "configuration": {
            "typesize": 1, "cname": "zstd", "clevel": 1, "shuffle": "noshuffle", "blocksize": 0,
        },
    },
    "zlib": {"name": "numcodecs.zlib", "configuration": {"level": 1}},
    "lz4": {"name": "numcodecs.lz4", "configuration": {"acceleration": 1}},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning")  # zarr's, of codecs that are not in the standard
@pytest.mark.parametrize("name", THREE)
def test_a_chunk_of_zarr_3_that_unpacks_to_more_than_its_shape_is_refused(
    tmp_path, little_memory, name
):
    folder = array_3(tmp_path / "movie.zarr", [PLAIN, THREE[name]])
    (folder / "c" / "0" / "0" / "0").write_bytes(BOMBS[name]())
    refused(folder, little_memory)


def sharded(folder, codecs, chunk, places, n_stored=1024):
    """Write a shard of 32 x 32 chunks of which all that are stored are the same bytes."""
    inner = {"name": "sharding_indexed", "configuration": {
        "chunk_shape": [1, 32, 32], "codecs": codecs, "index_codecs": [PLAIN],
    }}  # fmt: skip
    array_3(folder, [inner], chunks=(1, 1024, 1024), shape=(1, 1024, 1024))
    index = struct.pack("<QQ", *places) * n_stored + b"\xff" * 16 * (1024 - n_stored)
    (folder / "c" / "0" / "0" / "0").write_bytes(chunk + index)
    return folder


def test_a_chunk_within_a_shard_that_unpacks_to_more_is_refused(tmp_path, little_memory):
    bomb = BOMBS["zstd"]()
    codecs = [PLAIN, THREE["zstd"]]
    refused(sharded(tmp_path / "m.zarr", codecs, bomb, (0, len(bomb)), 1), little_memory)


def test_a_shard_whose_chunks_are_all_the_same_bytes_is_refused(tmp_path, little_memory):
    """Each of them would be read for itself where a part of the shard is asked for."""
    folder = sharded(tmp_path / "m.zarr", [PLAIN], bytes(10**6), (0, 10**6))
    movie = open_images(folder)
    with little_memory(LITTLE), pytest.raises(CellTrainError, match="larger than it is"):
        movie.read_crop(0, 0, (slice(None), slice(0, 1000), slice(0, 900)))


def test_a_file_that_is_larger_than_its_chunk_is_not_read(tmp_path, little_memory):
    folder = array_2(tmp_path / "movie.zarr")
    with open(folder / "0.0.0", "wb") as file:
        file.truncate(2**33)  # takes no room on the disk
    refused(folder, little_memory, match="more than it can need")


def test_metadata_without_end_is_not_read(tmp_path, little_memory):
    folder = array_2(tmp_path / "movie.zarr")
    with open(folder / ".zarray", "ab") as file:
        file.truncate(2**33)
    refused(folder, little_memory, match="more than it can need")


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
def test_a_pipe_in_place_of_a_chunk_is_not_waited_for(tmp_path, little_memory):
    folder = array_2(tmp_path / "movie.zarr")
    os.mkfifo(folder / "0.0.0")
    refused(folder, little_memory, match="no ordinary file")


def test_a_frame_of_gigabytes_of_which_nothing_is_stored_is_refused(tmp_path, little_memory):
    folder = array_2(tmp_path / "movie.zarr", shape=[2, 60000, 60000], chunks=[1, 6000, 6000])
    refused(folder, little_memory, match="claims 3.4 GiB of pixels")
    with little_memory(LITTLE):
        assert not open_images(folder).read_crop(0, 0, (slice(0, 1), slice(9), slice(9))).any()


def test_a_frame_in_pieces_without_number_is_refused(tmp_path, little_memory):
    folder = array_2(tmp_path / "movie.zarr", shape=[2, 60000, 60000], chunks=[1, 1, 1])
    refused(folder, little_memory, match="pieces")


@pytest.mark.parametrize("shape", [[10**10, 64, 64], [1, 10**8, 1, 64, 64]])
def test_times_and_channels_without_number_are_refused(tmp_path, little_memory, shape):
    folder = array_2(tmp_path / "movie.zarr", shape=shape, chunks=[1] * (len(shape) - 2) + [64, 64])
    refused(folder, little_memory, match="more than any movie has")


def test_a_shard_of_chunks_without_number_is_refused(tmp_path, little_memory):
    inner = {"name": "sharding_indexed", "configuration": {
        "chunk_shape": [1, 1, 1], "codecs": [PLAIN], "index_codecs": [PLAIN],
    }}  # fmt: skip
    folder = array_3(tmp_path / "m.zarr", [inner], chunks=(1, 2**20, 2**20), shape=(1, 64, 64))
    refused(folder, little_memory, match="shards of")


@pytest.mark.parametrize(
    "filters",
    [
        [{"id": "packbits"}] * 9,
        [{"id": "delta", "dtype": "<f8", "astype": "|u1"}] * 8,
        [{"id": "astype", "encode_dtype": "|u1", "decode_dtype": "|S1000000"}],
    ],
)
def test_filters_do_not_make_much_of_little(tmp_path, little_memory, filters):
    folder = array_2(tmp_path / "movie.zarr", filters=filters)
    (folder / "0.0.0").write_bytes(bytes(4096))
    with little_memory(LITTLE), pytest.raises(CellTrainError, match=r"movie\.zarr"):
        open_images(folder).read_frame(0)


def test_empty_background_is_no_bomb(tmp_path):
    """A frame of one value, in every way of packing."""
    pixels = np.full((2, 700, 800), 7, np.uint16)
    for number, packed in enumerate([numcodecs.get_codec({"id": name}) for name in BOMBS]):
        array = zarr.create_array(
            tmp_path / f"{number}.zarr", shape=pixels.shape, dtype="u2", chunks=(1, 700, 800),
            zarr_format=2, compressors=packed,
        )  # fmt: skip
        array[:] = pixels
        np.testing.assert_array_equal(open_images(tmp_path / f"{number}.zarr").read_frame(1)[0], 7)


def test_noise_that_packs_to_more_than_it_was_is_read(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 30, 30), np.uint8)
    for number, packed in enumerate([numcodecs.get_codec({"id": name}) for name in BOMBS]):
        array = zarr.create_array(
            tmp_path / f"{number}.zarr", shape=pixels.shape, dtype="u1", chunks=(1, 7, 7),
            zarr_format=2, compressors=packed,
        )  # fmt: skip
        array[:] = pixels
        read = open_images(tmp_path / f"{number}.zarr").read_frame(1)[0]
        np.testing.assert_array_equal(read, pixels[1])
