from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import (
    AppendedChannels,
    AppendedTime,
    ArraySource,
    SummedChannels,
    open_images,
)


def movie(*values, offset=0, channels=1, dtype=np.uint8, shape=(2, 3), **options):
    array = np.empty((len(values), channels, *shape), dtype)
    for t, value in enumerate(values):
        array[t] = value
    return ArraySource(array, "tcyx", time_offset=offset, **options)


def test_channels_are_added_with_saturation():
    array = np.zeros((2, 1, 4), np.uint8)
    array[0] = [0, 100, 200, 250]
    array[1] = [0, 100, 100, 1]
    summed = SummedChannels(ArraySource(array, "cyx"), [[0, 1], [1]])
    assert summed.n_channels == 2
    assert summed.dtype == np.uint8
    assert summed.read_frame(0, 0)[0, 0].tolist() == [0, 200, 255, 251]
    assert summed.read_frame(0, 1)[0, 0].tolist() == [0, 100, 100, 1]


def test_deep_channels_are_scaled_to_8_bit_before_they_are_added():
    array = np.zeros((2, 1, 3), np.uint16)
    array[0] = [0, 1000, 4000]
    array[1] = [0, 500, 1000]
    summed = SummedChannels(ArraySource(array, "cyx"), [[0, 1]])
    assert summed.read_frame(0)[0, 0].tolist() == [0, 63 + 127, 255]


def test_a_crop_of_a_sum_is_a_part_of_the_sum():
    array = np.random.default_rng(0).integers(0, 4000, (2, 4, 8, 9), np.uint16)
    summed = SummedChannels(ArraySource(array, "czyx"), [[0, 1]])
    crop = (slice(1, 3), slice(2, 5), slice(0, 4))
    np.testing.assert_array_equal(summed.read_crop(0, 0, crop), summed.read_frame(0)[crop])


@pytest.mark.parametrize("groups", [[], [[]], [[0, 2]], [[-1]]])
def test_sums_of_channels_that_are_not_there_are_refused(groups):
    with pytest.raises(CellTrainError, match="channel"):
        SummedChannels(movie(1, channels=2), groups)


def test_channels_stand_side_by_side_for_the_time_points_that_all_have():
    joined = AppendedChannels([movie(1, 2, 3, channels=2), movie(7, 8, offset=1)])
    assert joined.n_channels == 3
    assert list(joined.time_points) == [1, 2]
    assert joined.read_frame(1, 1).max() == 2
    assert joined.read_frame(2, 2).max() == 8


def test_a_movie_goes_on_where_the_one_before_it_ends():
    joined = AppendedTime([movie(1, 2, offset=5), movie(3, 4)])
    assert list(joined.time_points) == [5, 6, 7, 8]
    assert [joined.read_frame(t).max() for t in joined.time_points] == [1, 2, 3, 4]


@pytest.mark.parametrize("join", [AppendedTime, AppendedChannels])
def test_movies_of_different_sizes_are_not_joined(join):
    with pytest.raises(CellTrainError, match="can't be put together"):
        join([movie(1), movie(1, shape=(2, 4))])


def test_movies_without_a_common_time_point_share_no_channels():
    with pytest.raises(CellTrainError, match="no time point in common"):
        AppendedChannels([movie(1), movie(1, offset=4)])


def test_movies_of_different_channels_do_not_follow_each_other():
    with pytest.raises(CellTrainError, match="channels"):
        AppendedTime([movie(1), movie(1, channels=2)])


def test_the_widest_type_is_told():
    assert AppendedTime([movie(1), movie(300, dtype=np.uint16)]).dtype == np.uint16


def test_a_stamp_changes_with_the_files_behind_a_frame_alone(tmp_path):
    paths = [tmp_path / f"{part}{t}.tif" for part in "ab" for t in range(2)]
    for path in paths:
        tifffile.imwrite(path, np.zeros((3, 4), np.uint8))
    a, b = (open_images(tmp_path / (part + "{time}.tif")) for part in "ab")
    combined = {
        "side by side": (AppendedChannels([a, b]), (1, 1)),  # (t, channel) of b1.tif
        "one after the other": (AppendedTime([a, b]), (3, 0)),
        "summed": (SummedChannels(AppendedChannels([a, b]), [[0], [0, 1]]), (1, 1)),
    }
    before = {
        name: {(t, c): one.stamp(t, c) for t in one.time_points for c in range(one.n_channels)}
        for name, (one, _) in combined.items()
    }
    os.utime(paths[-1], (1, 1))
    for name, (one, place) in combined.items():
        changed = [at for at, stamp in before[name].items() if one.stamp(*at) != stamp]
        assert changed == [place], name
        assert len(set(before[name].values())) == len(before[name])
    in_memory = AppendedChannels([a, movie(1, 2, shape=(3, 4))])
    assert in_memory.stamp(0, 0) is not None
    assert in_memory.stamp(0, 1) is None
