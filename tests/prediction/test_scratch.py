"""Frames too large for memory, copied to a scratch file."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from napari_celltrain.detector.design import choose_design
from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import ArraySource
from napari_celltrain.prediction import scratch
from napari_celltrain.prediction.reading import read_ahead
from napari_celltrain.prediction.scratch import ScratchFrame


class Chunked:
    """An array that counts how often each of its chunks is decoded."""

    def __init__(self, array, chunks) -> None:
        self._array, self.chunks = array, chunks
        self.shape, self.dtype = array.shape, array.dtype
        self.decoded = np.zeros([-(-n // c) for n, c in zip(array.shape, chunks, strict=True)], int)

    def __getitem__(self, cut):
        touched = []
        for part, length, chunk in zip(cut, self.shape, self.chunks, strict=True):
            part = slice(part, part + 1) if isinstance(part, int) else part
            first, last, _ = part.indices(length)
            touched.append(slice(first // chunk, (last - 1) // chunk + 1))
        self.decoded[tuple(touched)] += 1
        return self._array[cut]


@pytest.mark.parametrize("chunk", [(1, 30, 40), (4, 30, 40), (12, 8, 8), (12, 64, 64), (5, 7, 9)])
@pytest.mark.parametrize("block", [1, 5_000, 10**9])
def test_a_copy_is_the_frame_and_decodes_every_chunk_once(tmp_path, monkeypatch, chunk, block):
    monkeypatch.setattr(scratch, "BLOCK_BYTES", block)
    movie = np.random.default_rng(0).integers(0, 60_000, (2, 12, 30, 40)).astype(np.uint16)
    array = Chunked(movie, (1, *chunk))
    frame = ScratchFrame(ArraySource(array, "tzyx"), 1, 0, tmp_path)
    np.testing.assert_array_equal(frame[:, :, :], movie[1])
    np.testing.assert_array_equal(frame[3:9, 5:25, 7:30], movie[1, 3:9, 5:25, 7:30])
    np.testing.assert_array_equal(frame[np.array([2, 7])], movie[1, [2, 7]])
    assert (array.decoded[1] == 1).all()
    assert not array.decoded[0].any()


def test_movies_say_what_is_decoded_in_one_piece(tmp_path):
    import zarr

    from napari_celltrain.images import open_images

    stored = zarr.create_array(
        tmp_path / "a.zarr", shape=(2, 3, 8, 30, 40), chunks=(1, 1, 4, 16, 20), dtype="u2"
    )
    stored[:] = 1
    assert open_images(tmp_path / "a.zarr", axes="tczyx").chunk_shape == (4, 16, 20)
    assert ArraySource(stored, "tczyx").chunk_shape == (4, 16, 20)
    assert ArraySource(np.zeros((2, 8, 30, 40)), "tzyx").chunk_shape is None


def test_a_copy_that_nobody_wants_any_more_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(scratch, "BLOCK_BYTES", 1)
    array = Chunked(np.ones((1, 12, 30, 40), np.uint16), (1, 1, 30, 40))
    asked = []

    def given_up():
        asked.append(1)
        return len(asked) > 3

    with pytest.raises(CellTrainError, match="given up"):
        ScratchFrame(ArraySource(array, "tzyx"), 0, 0, tmp_path, given_up=given_up)
    assert array.decoded.sum() == 3


def test_a_prediction_that_is_closed_does_not_wait_for_a_large_frame(monkeypatch):
    monkeypatch.setattr(scratch, "BLOCK_BYTES", 1)
    begun, chunks = threading.Event(), (1, 1, 30, 40)

    class Slow(Chunked):
        def __getitem__(self, cut):
            if cut[0] == 1:
                begun.set()
                time.sleep(0.05)
            return super().__getitem__(cut)

    array = Slow(np.ones((2, 200, 30, 40), np.uint16), chunks)
    design = choose_design(
        diameter=8.0, spacing=9.0, voxel_size=(1, 1, 1), planes=200, unit="px", width=4
    )
    reader = read_ahead(design, ArraySource(array, "tzyx"), [0, 1], [0], memory_bytes=1)
    assert next(reader).t == 0
    assert begun.wait(10)
    begin = time.monotonic()
    reader.close()
    assert time.monotonic() - begin < 5  # of the ten that the frame would take
    assert array.decoded[1].sum() < 150
