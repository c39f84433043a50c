"""What single planes show, or don't: told once for all time points that are alike."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.images import ArraySource
from napari_celltrain.statistics import findings
from napari_celltrain.statistics.pixels import looks_wrapped, pixel_findings


def _with(experiment, movie):
    return experiment.with_(
        images=ArraySource(movie, "tzyx", voxel_size_um=experiment.voxel_size_um)
    )


@pytest.fixture(scope="module")
def blobs(make_blobs):
    return make_blobs(times=20, shape=(1, 80, 90))


def test_every_frame_of_a_small_movie_is_looked_at(blobs):
    movie = blobs.images.array.copy()
    movie[11] = 0
    (finding,) = pixel_findings(_with(blobs, movie))
    assert finding.code == "constant-frame"
    assert finding.time_point == 11


def test_time_points_that_are_alike_are_one_finding(blobs):
    movie = blobs.images.array.astype(np.float32)
    movie[[3, 5, 8]] = 4
    movie[7] = np.nan
    constant, missing = pixel_findings(_with(blobs, movie))
    assert constant.message.startswith("The middle plane of time point 3 is empty")
    assert constant.message.endswith("2 more of the 20 time points are like that.")
    assert constant.time_point == 3
    assert "time point 7" in missing.message
    assert "more" not in missing.message


def test_of_large_planes_few_are_looked_at(make_blobs, monkeypatch):
    blobs = make_blobs(times=20)
    monkeypatch.setattr("napari_celltrain.statistics.pixels.MOST_PIXELS", 10 * 96 * 96)
    monkeypatch.setattr(type(blobs.images), "read_crop", _counting(read := [], type(blobs.images)))
    assert list(pixel_findings(blobs)) == []
    assert len(read) == 10


def _counting(read, kind):
    crop = kind.read_crop

    def counting(self, *place):
        read.append(place)
        return crop(self, *place)

    return counting


# --- signs ---


def _bright(blobs):
    """A movie whose cells are brighter than 32767, as uint16."""
    return np.clip(blobs.images.array.astype(np.float64) * 85, 0, 65_535).astype(np.uint16)


def test_bright_pixels_that_became_negative_are_noticed(blobs):
    wrapped = _bright(blobs).view(np.int16)
    assert wrapped.min() < -15_000
    found = [one for one in findings(_with(blobs, wrapped)) if one.code == "wrapped-pixels"]
    assert len(found) == 1
    assert "save the images as uint16" in found[0].message
    assert [one.code for one in findings(_with(blobs, _bright(blobs)))] == []


def test_eight_bits_are_no_other(blobs):
    bright = (_bright(blobs) // 257).astype(np.uint8)
    assert looks_wrapped(bright[0].view(np.int8))
    assert not looks_wrapped(bright[0])


@pytest.mark.parametrize(
    "change",
    [
        lambda movie: movie.astype(np.int16),  # a camera with a range of its own
        lambda movie: (movie.astype(np.int32) - 600).astype(np.int16),  # background taken away
        lambda movie: (movie.astype(np.int32) * 60 - 32_768).clip(-32_768, 32_767).astype(np.int16),
        lambda movie: (32_767 - movie.astype(np.int32) * 60).clip(-32_768, 32_767).astype(np.int16),
        lambda movie: movie.astype(np.float32) - 600,
    ],
    ids=["as it is", "below zero", "full range", "inverted", "float"],
)
def test_images_that_are_signed_by_right_are_left_in_peace(blobs, change):
    movie = change(blobs.images.array)
    assert not looks_wrapped(movie[0])
    assert [one.code for one in findings(_with(blobs, movie))] == []


def test_hot_pixels_are_no_wrapped_ones():
    plane = np.random.default_rng(0).normal(-20_000, 300, (200, 200)).astype(np.int16)
    plane[::20, ::20] = 32_767
    assert not looks_wrapped(plane)


def test_an_offset_of_half_the_range_is_no_news(blobs):
    """As some cameras and converters write it: all pixels above 32768, so all negative as int16."""
    offset = blobs.images.array + np.uint16(32_768)
    for movie in (offset, offset.view(np.int16)):
        assert findings(_with(blobs, movie)) == []


def test_an_experiment_without_images_is_not_looked_at():
    assert list(pixel_findings(Experiment("none", Annotations([0], [[0, 1, 1]])))) == []
