from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import FrameSource
from napari_celltrain.images import ArraySource

SIZE = {"t": 3, "c": 2, "z": 4, "y": 5, "x": 6}


@given(st.permutations("tczyx"), st.sets(st.sampled_from("tcz")))
def test_any_order_of_axes_gives_the_same_frames(order, left_out):
    axes = "".join(letter for letter in order if letter not in left_out)
    full = np.arange(3 * 2 * 4 * 5 * 6).reshape(3, 2, 4, 5, 6)
    index = tuple(0 if letter in left_out else slice(None) for letter in "tczyx")
    kept = [letter for letter in "tczyx" if letter not in left_out]
    array = full[index].transpose([kept.index(letter) for letter in axes])
    source = ArraySource(array, axes, time_offset=7)
    t, c = source.time_points[-1], source.n_channels - 1
    expected = full[t - 7, c]
    if "z" in left_out:
        expected = expected[:1]
    np.testing.assert_array_equal(source.read_frame(t, c), expected)
    crop = (slice(0, 1), slice(1, 4), slice(2, 3))
    np.testing.assert_array_equal(source.read_crop(t, c, crop), expected[crop])


@pytest.mark.parametrize("make", [np.asarray, lambda a: da.from_array(a, chunks=2), zarr.array])
def test_numpy_dask_and_zarr_are_all_read(make):
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4).astype(np.uint16)
    source = ArraySource(make(array), "tyx", voxel_size_um=(1, 0.5, 0.5), frame_interval_s=60)
    assert isinstance(source, FrameSource)
    frame = source.read_frame(1)
    assert isinstance(frame, np.ndarray)
    np.testing.assert_array_equal(frame, array[1:])
    assert source.voxel_size_um == (1, 0.5, 0.5)
    assert source.frame_interval_s == 60


def test_opening_reads_no_pixels():
    def refuse(block):
        raise RuntimeError("nobody asked for pixels")

    array = da.zeros((9, 50, 50), chunks=(1, 50, 50)).map_blocks(refuse, dtype=float)
    source = ArraySource(array, "tyx", name="lazy")
    assert source.frame_shape == (1, 50, 50)
    with pytest.raises(CellTrainError, match="Time point 2 can't be read from lazy: nobody asked"):
        source.read_frame(2)


def test_time_points_begin_at_the_offset():
    source = ArraySource(np.zeros((3, 4, 5)), "tyx", time_offset=37)
    assert source.time_points == range(37, 40)
    with pytest.raises(CellTrainError, match="no time point 0; it has 37 to 39"):
        source.read_frame(0)


@pytest.mark.parametrize(("axes", "shape"), [("yx", (3, 4, 5)), ("tzc", (3, 4, 5)), ("yx", (0, 3))])
def test_axes_that_do_not_fit_are_refused(axes, shape):
    with pytest.raises(CellTrainError, match="'nuclei'"):
        ArraySource(np.zeros(shape), axes, name="nuclei")


def test_an_empty_crop_is_no_error():
    source = ArraySource(np.zeros((4, 5, 6), np.uint8), "zyx")
    crop = source.read_crop(0, 0, (slice(2, 2), slice(0, 5), slice(7, 3)))
    assert crop.shape == (0, 5, 0)


def test_a_file_that_happens_to_have_its_name_is_not_taken_for_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "movie.tif").write_bytes(b"x")
    assert ArraySource(np.zeros((4, 5)), "yx", name="movie.tif").stamp(0, 0) is None


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "U3"])
def test_what_is_no_grey_value_is_refused(dtype):
    with pytest.raises(CellTrainError, match="whole or real numbers"):
        ArraySource(np.zeros((2, 8, 8), dtype), "tyx", name="odd")
