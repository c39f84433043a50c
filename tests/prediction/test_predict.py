"""A movie through a detector: checks first, reads ahead, names what is damaged."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import ArraySource
from napari_celltrain.prediction import reading
from napari_celltrain.prediction.predict import predict


class Watched(ArraySource):
    """Counts what is read; some time points can't be."""

    def __init__(self, *arguments, damaged=(), **more):
        super().__init__(*arguments, **more)
        self.reads: list[tuple[int, int]] = []
        self.damaged = damaged

    def read_frame(self, t, channel=0):
        self.reads.append((t, channel))
        if t in self.damaged:
            raise CellTrainError(f"Time point {t} can't be read from movie.tif.")
        return super().read_frame(t, channel)


def watched(n=6, damaged=(), shape=(8, 40, 44)):
    pixels = np.random.default_rng(0).integers(0, 4000, (n, *shape)).astype(np.uint16)
    return Watched(pixels, "tzyx", time_offset=3, voxel_size_um=(2.0, 1.0, 1.0), damaged=damaged)


def test_results_come_in_time_order_with_the_movies_numbers(detector, movie):
    results = list(predict(detector, movie, floor=0.3))
    assert [one.t for one in results] == [3, 4, 5, 6]
    for one in results:
        alone = detector.detect([movie.read_frame(one.t)], (2.0, 1.0, 1.0), floor=0.3)
        assert np.array_equal(one.positions, alone.positions)
        assert (one.positions >= -0.5).all()
        assert (one.positions <= np.array(movie.frame_shape) - 0.5).all()
        assert one.seconds > 0


@pytest.mark.parametrize("window", [(0, 0), (-1, 1)])
def test_every_frame_is_read_once_and_few_ahead(make_detector, window):
    source = watched()
    results = predict(make_detector(time_window=window), source, floor=0.5)
    assert source.reads == []
    next(results)
    assert len({t for t, _ in source.reads}) <= 1 + window[1] + 3
    list(results)
    assert sorted(source.reads) == [(t, 0) for t in range(3, 9)]


def test_closing_ends_the_reading_thread(detector):
    results = predict(detector, watched())
    next(results)
    results.close()
    assert not [one for one in threading.enumerate() if "celltrain-read" in one.name]


def test_stopping_ends_between_time_points(detector):
    source, seen = watched(), []
    for one in predict(detector, source, stopping=lambda: len(seen) >= 2):
        seen.append(one.t)
    assert seen == [3, 4]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"time_points": [3, 99]}, "no time point 99; its time points are 3 to 6"),
        ({"time_points": []}, "No time points"),
        ({"channels": [1]}, "no channel 2"),
        ({"channels": [0, 0]}, "looks at 1 channel"),
        ({"voxel_size_um": (1, 0, 1)}, "not possible"),
    ],
)
def test_wrong_requests_are_refused_before_anything_runs(detector, movie, wrong, sentence):
    with pytest.raises(CellTrainError, match=sentence):
        predict(detector, movie, **wrong)


def test_unknown_voxel_size_is_asked_for(detector, make_movie):
    with pytest.raises(CellTrainError, match="voxel size of noise is not known"):
        predict(detector, make_movie(voxel_size=None))
    assert len(list(predict(detector, make_movie(voxel_size=None), voxel_size_um=(2, 1, 1)))) == 4


def test_single_channel_movie_for_a_detector_of_another_channel(detector, movie):
    other = type(detector)(
        detector.info.model_copy(update={"channels": (2,)}), detector.weights, device="cpu"
    )
    assert len(list(predict(other, movie))) == 4


def test_damaged_frame_stops_after_what_came_before(detector):
    seen = []
    results = (seen.append(one.t) or one for one in predict(detector, watched(damaged=(5,))))
    with pytest.raises(CellTrainError, match="Time point 5 can't be read"):
        list(results)
    assert seen == [3, 4]


def test_damaged_frames_are_named_when_skipped(detector):
    told = []
    results = list(
        predict(detector, watched(damaged=(3, 5, 8)), on_damaged="skip", tell=told.append)
    )
    assert [one.t for one in results] == [3, 4, 5, 6, 7, 8]
    assert [one.t for one in results if one.damage] == [3, 5, 8]
    assert [one.time_point for one in told if one.code == "damaged-frame"] == [3, 5, 8]
    assert "movie.tif" in results[2].damage


def test_damaged_neighbour_is_replaced_by_the_frame_itself(make_detector):
    detector = make_detector(time_window=(-1, 1))
    source, told = watched(damaged=(5,)), []
    results = {one.t: one for one in predict(detector, source, on_damaged="skip", tell=told.append)}
    assert results[5].damage is not None
    assert results[4].damage is None
    three, four = (source.read_frame(t) for t in (3, 4))
    expected = detector.detect([three, four, four], (2.0, 1.0, 1.0))
    assert np.array_equal(results[4].positions, expected.positions)
    assert {one.time_point for one in told} >= {4, 5, 6}


def test_large_frames_go_through_scratch_files(detector, movie, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    plain = list(predict(detector, movie))
    monkeypatch.setattr(reading, "MEMORY_BYTES", 1000)
    for one, other in zip(plain, predict(detector, movie, tile=(8, 16, 16)), strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-4)
    assert list(tmp_path.iterdir()) == []


def test_half_precision_images_are_looked_at_without_a_word(detector, make_movie):
    pixels = make_movie((2, 8, 40, 40)).array.astype(np.float16)
    pixels[:, :, :4] = np.nan
    movie = ArraySource(pixels, "tzyx", voxel_size_um=(2.0, 1.0, 1.0))
    assert sum(map(len, predict(detector, movie))) > 0  # warnings of libraries are errors here


def test_no_room_for_a_scratch_file_is_a_sentence(detector, movie, monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(
        "napari_celltrain.prediction.scratch.scratch_folder", lambda: tmp_path / "missing"
    )
    monkeypatch.setattr(reading, "MEMORY_BYTES", 1000)
    with pytest.raises(CellTrainError, match="TMPDIR"):
        list(predict(detector, movie))


@pytest.mark.parametrize("window", [(0, 0), (-1, 1)])
def test_each_frame_without_contrast_is_told(make_detector, make_movie, window):
    """One that is told would not explain why nothing is found in the others."""
    pixels = make_movie((5, 8, 40, 40)).array.copy()
    pixels[[1, 4]] = 7
    source = ArraySource(pixels, "tzyx", voxel_size_um=(2.0, 1.0, 1.0))
    told = []
    list(predict(make_detector(time_window=window), source, tell=told.append))
    assert [(one.code, one.time_point) for one in told] == [("no-contrast", 1), ("no-contrast", 4)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda pixels: pixels * 0 + 7, "nearly all its pixels are 7."),
        (lambda pixels: pixels.astype(float) * 1e300, "are no finite numbers, or larger than 1e"),
        (lambda pixels: pixels * np.float32(np.nan), "are no finite numbers, or larger than 1e"),
        (lambda pixels: pixels // 10 + np.uint32(4_000_000_000), "Take a constant off"),
    ],
)
def test_why_there_is_no_contrast_is_told(detector, make_movie, change, words):
    pixels = change(make_movie((1, 8, 40, 40)).array)
    source = ArraySource(pixels, "tzyx", voxel_size_um=(2.0, 1.0, 1.0))
    told = []
    list(predict(detector, source, tell=told.append))
    (why,) = [one.message for one in told if one.code == "no-contrast"]
    assert words in why


@pytest.mark.parametrize("missing", [np.nan, np.inf, -np.inf])
def test_pixels_without_a_value_are_told_once_and_change_nothing_elsewhere(
    detector, make_movie, missing
):
    """As where images were moved onto each other: the rest is 1000 brighter than 0."""
    pixels = make_movie((3, 8, 60, 90)).array.astype(np.float32) + 1000
    whole = ArraySource(pixels, "tzyx", voxel_size_um=(2.0, 1.0, 1.0))
    moved = pixels.copy()
    moved[:, :, :, 60:] = missing
    movie = ArraySource(moved, "tzyx", voxel_size_um=(2.0, 1.0, 1.0))
    told = []
    results = list(predict(detector, movie, tell=told.append))
    assert [(one.code, one.time_point) for one in told] == [("not-finite-pixels", 0)]
    assert "33.33% of the pixels" in told[0].message
    levels = [
        detector.detect([one.read_frame(0)], (2.0, 1.0, 1.0)).levels[0] for one in (whole, movie)
    ]
    assert levels[1].low == pytest.approx(levels[0].low, rel=0.1)
    assert levels[1].high == pytest.approx(levels[0].high, rel=0.25)  # brighter to the right
    tiled = detector.detect([moved[0]], (2.0, 1.0, 1.0), tile=(8, 30, 30))
    np.testing.assert_allclose(tiled.positions, results[0].positions, atol=1e-3)


def test_images_unlike_the_training_are_told(detector, make_movie):
    def codes(movie, info=detector.info, **more):
        told = []
        other = type(detector)(info, detector.weights, device="cpu")
        list(predict(other, movie, tell=told.append, **more))
        return {one.code for one in told}

    assert "unlike-intensity" in codes(
        make_movie(), detector.info.model_copy(update={"intensity": (0.0, 50.0)})
    )
    assert "unlike-intensity" not in codes(
        make_movie(), detector.info.model_copy(update={"intensity": (0.0, 4000.0)})
    )
    assert "unlike-voxel-size" in codes(make_movie((1, 4, 8, 8)), voxel_size_um=(8.0, 6.0, 6.0))
    assert "unlike-planes" in codes(make_movie((2, 1, 40, 40)))


def test_no_time_points(detector):
    class Empty(ArraySource):
        time_points = ()

    source = Empty(np.zeros((1, 4, 8, 8), np.uint16), "tzyx", voxel_size_um=(2.0, 1.0, 1.0))
    with pytest.raises(CellTrainError, match="no time points"):
        predict(detector, source)


OTHER_TYPES = {
    "int16": lambda pixels: pixels.astype(np.int16),
    "int16 below zero": lambda pixels: (pixels.astype(np.int32) - 5000).astype(np.int16),
    "int16 above and below": lambda pixels: (pixels.astype(np.int32) * 10 - 30_000).astype(
        np.int16
    ),
    "uint16 from 32768 on": lambda pixels: pixels + np.uint16(32_768),
    "int32": lambda pixels: pixels.astype(np.int32) - 1_000_000,
    "float32": lambda pixels: pixels.astype(np.float32) / 4096 - 0.5,
    "float64": lambda pixels: pixels.astype(np.float64) * 1e6,
}


@pytest.mark.parametrize("kind", OTHER_TYPES)
def test_signed_and_float_images_are_searched_as_unsigned_ones_are(detector, movie, kind):
    pixels = movie.array[:2]
    told = []
    plain, other = (
        list(
            predict(
                detector,
                ArraySource(one, "tzyx", voxel_size_um=(2.0, 1.0, 1.0)),
                floor=0.3,
                tell=told.append,
            )
        )
        for one in (pixels, OTHER_TYPES[kind](pixels))
    )
    assert len(plain[0]) > 3
    for before, after in zip(plain, other, strict=True):
        np.testing.assert_allclose(after.positions, before.positions, atol=0.02)
        np.testing.assert_allclose(after.scores, before.scores, atol=0.005)
    assert "wrapped-pixels" not in {finding.code for finding in told}


def test_bright_pixels_that_became_negative_are_told_once(detector, make_blobs):
    bright = make_blobs(times=3, shape=(1, 80, 90)).images.array.astype(np.float64) * 85
    wrapped = np.clip(bright, 0, 65_535).astype(np.uint16).view(np.int16)
    movie = ArraySource(wrapped, "tzyx", voxel_size_um=(1.0, 1.0, 1.0))
    told = []
    list(predict(detector, movie, tell=told.append))
    (finding,) = [one for one in told if one.code == "wrapped-pixels"]
    assert finding.severity == "warning"
    assert "unsigned pixels (uint16) were saved as signed ones (int16)" in finding.message
