"""Images with another gamma than those of the training are brought to it, and others left alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.detector.detections import Detections
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.intensity import IntensityRange, intensity_range
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.images.array import ArraySource
from napari_celltrain.prediction.contrast import (
    Impression,
    brightness_at,
    impression,
    mending_gamma,
)
from napari_celltrain.prediction.first_look import _Looks, look_at_movie
from napari_celltrain.prediction.judge import candidates, total
from napari_celltrain.prediction.movie import predict_to_file
from napari_celltrain.prediction.options import Options
from napari_celltrain.prediction.predict import check_request, predict, with_first_look
from napari_celltrain.prediction.unlike import unlike_ground
from napari_celltrain.training.loop import train

SIDE = 160


def _plate(
    seed: int,
    times: int = 3,
    usual: tuple[float, float] = (0.35, 0.5),
    faint: tuple[float, float] = (0.04, 0.16),
) -> Experiment:
    """Cells that are annotated, some very bright, and faint ones that nobody annotated."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    frames, ts, centres = np.zeros((times, 1, SIDE, SIDE)), [], []
    for t in range(times):
        places: list[np.ndarray] = []
        while len(places) < 32:
            place = rng.uniform(8, SIDE - 8, 2)
            if all(np.hypot(*(place - other)) > 18 for other in places):
                places.append(place)
        for number, place in enumerate(places):
            cell = number % 2 == 0
            usually = rng.uniform(*(usual if cell else faint))
            strength = 1.0 if number % 8 == 0 else usually
            distance = ((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * 3.5**2)
            frames[t, 0] += strength * np.exp(-distance)
            if cell:
                ts.append(t)
                centres.append((0.0, *place))
    frames += rng.normal(0, 0.01, frames.shape) + 0.02
    annotations = Annotations(np.array(ts), np.array(centres))
    return Experiment("plate", annotations, _movie(frames), voxel_size_um=(1.0, 1.0, 1.0))


def _even_plate(seed: int) -> Experiment:
    """Cells that stay clear, all of them, where they are made much dimmer than usual."""
    return _plate(seed, usual=(0.43, 0.5), faint=(0.04, 0.08))


def _movie(frames: np.ndarray) -> ArraySource:
    return ArraySource(
        frames.astype(np.float32), "tzyx", name="plate", voxel_size_um=(1.0, 1.0, 1.0)
    )


def _with_gamma(experiment: Experiment, gamma: float) -> Experiment:
    return experiment.with_(images=_movie(np.clip(experiment.images.array, 0, None) ** gamma))


@pytest.fixture(scope="module")
def detector(fast_settings, tmp_path_factory) -> Detector:
    folder = tmp_path_factory.mktemp("contrast") / "run"
    settings = fast_settings.changed(["budget.steps=400", "optimiser.ema=0.98"])
    train(Dataset((Member(_plate(0, times=8)),)), folder, settings)
    return Detector.from_folder(folder, device="cpu", precision="float32")


def _f1(detector, experiment, gamma=None) -> float:
    frames = [(0, t) for t in experiment.images.time_points]
    return total(
        list(candidates(detector, [experiment], frames, gamma=gamma)), detector.threshold
    ).f1


def _request(detector, movie, **stated):
    return with_first_look(detector, movie, check_request(detector, movie, **stated))


def test_what_a_detector_is_sure_of_is_known_from_its_held_out_frames(detector):
    assert 0 <= detector.info.undecided < 0.25
    assert 0.3 < detector.info.brightness < 1.5


def test_images_like_those_of_the_training_are_left_alone(detector):
    request = _request(detector, _plate(1).images)
    assert request.gamma == 1.0
    assert request.findings == ()


def test_faint_things_that_stand_out_are_pushed_back_and_it_is_said(detector):
    flat = _with_gamma(_plate(1), 0.7)
    request = _request(detector, flat.images)
    assert request.gamma > 1
    (finding,) = request.findings
    assert finding.code == "gamma"
    assert "Faint things stand out more in plate" in finding.message
    assert _f1(detector, flat, gamma=1.0) < 0.85
    assert _f1(detector, flat) > 0.95


def test_dim_cells_are_brought_up_and_it_is_said(detector):
    steep = _with_gamma(_even_plate(1), 2.0)
    request = _request(detector, steep.images)
    assert request.gamma < 1
    assert "dimmer" in request.findings[0].message
    mended, plain = (
        np.concatenate([one.above(0.3).scores for one in predict(detector, steep.images, gamma=g)])
        for g in (None, 1.0)
    )
    assert np.median(mended) > np.median(plain)
    assert _f1(detector, steep) > 0.95


def test_a_stated_gamma_is_taken_and_nothing_is_read(detector, monkeypatch):
    movie = _plate(1).images
    for way in ("read_frame", "read_crop"):
        monkeypatch.setattr(type(movie), way, None)
    request = _request(detector, movie, gamma=0.8)
    assert request.gamma == 0.8
    assert request.findings == ()


@pytest.mark.parametrize("gamma", [0.0, -1.0, 50.0, float("nan")])
def test_a_gamma_that_leaves_nothing_is_refused(detector, gamma):
    with pytest.raises(CellTrainError, match=r"from 0\.1 to 10"):
        predict(detector, _plate(1).images, gamma=gamma)


def test_a_gamma_undoes_that_of_the_images(detector):
    """x ** 0.5 with a gamma of 2 is x: the same cells are found as in the untouched image."""
    plate = _plate(1, times=1)
    shaped = _with_gamma(plate, 0.5)
    (plain,) = predict(detector, _with_gamma(plate, 1.0).images, gamma=1.0)
    (undone,) = predict(detector, shaped.images, gamma=2.0)
    found, again = plain.above(detector.threshold), undone.above(detector.threshold)
    assert len(found) == len(again)
    apart = np.linalg.norm(found.positions[:, None] - again.positions[None], axis=2)
    assert apart.min(axis=1).max() < 0.5


def test_tiles_change_nothing_with_a_gamma_either(detector):
    frame = [_plate(1, times=1).images.read_frame(0, 0)]
    whole = detector.detect(frame, (1.0, 1.0, 1.0), gamma=2.0)
    tiled = detector.detect(frame, (1.0, 1.0, 1.0), gamma=2.0, tile=(1, 60, 60))
    assert np.allclose(whole.positions, tiled.positions, atol=1e-3)
    assert np.allclose(whole.scores, tiled.scores, atol=1e-4)


def test_an_older_detector_is_used_as_it_is(detector):
    older = Detector(
        detector.info.model_copy(update={"undecided": None, "brightness": None}),
        detector.weights,
        device="cpu",
        precision="float32",
    )
    assert _request(older, _with_gamma(_plate(1), 0.7).images).gamma == 1.0


def test_of_a_large_stack_only_the_middle_is_read(detector, monkeypatch):
    """A frame of gigabytes must not be read as a whole, nor twice, to judge its contrast."""
    tall = np.repeat(_plate(1).images.array, 100, axis=1)
    movie = ArraySource(tall.astype(np.float32), "tzyx", voxel_size_um=(1.0, 1.0, 1.0))
    monkeypatch.setattr(type(movie), "read_frame", None)
    read = []
    plain = type(movie).read_crop

    def noted(self, t, channel, crop):
        read.append(plain(self, t, channel, crop).size)
        return plain(self, t, channel, crop)

    monkeypatch.setattr(type(movie), "read_crop", noted)
    look_at_movie(detector, movie, (0,), (1.0, 1.0, 1.0))
    assert 0 < sum(read) < tall.size / 4


def test_a_prediction_goes_on_with_what_was_found_out_first(detector, tmp_path, monkeypatch):
    """Other time points, or a damaged one that was mended, must not end it."""
    movie = _with_gamma(_plate(1), 0.7).images
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    predict_to_file(detector, movie, whole)
    done = []
    predict_to_file(
        detector,
        movie,
        parts,
        progress=lambda *told: done.append(told),
        stopping=lambda: bool(done),
    )
    assert not parts.exists()
    monkeypatch.setattr("napari_celltrain.prediction.first_look.mending_gamma", None)
    predict_to_file(detector, movie, parts, Options(resume=True))
    assert parts.read_bytes() == whole.read_bytes()
    predict_to_file(detector, movie, parts, Options(gamma=1.0), stopping=lambda: True)
    with pytest.raises(CellTrainError, match=r"with the gamma 1 instead of 0\.8"):
        predict_to_file(detector, movie, parts, Options(gamma=0.8, resume=True))


@pytest.mark.parametrize(
    ("stated", "words"),
    [({"gamma": 3.0}, r"with the gamma 3 instead of 1"),
     ({"cell_diameter": 9.0}, r"with the cell diameter 9 instead of none")],
)  # fmt: skip
def test_what_was_stated_has_to_be_stated_again(detector, movie, tmp_path, stated, words):
    parts, whole = tmp_path / "parts.csv", tmp_path / "whole.csv"
    done = []
    predict_to_file(
        detector,
        movie,
        parts,
        Options(**stated),
        progress=lambda *told: done.append(told),
        stopping=lambda: bool(done),
    )
    with pytest.raises(CellTrainError, match=words):
        predict_to_file(detector, movie, parts, Options(resume=True))
    predict_to_file(detector, movie, parts, Options(resume=True, **stated))
    predict_to_file(detector, movie, whole, Options(**stated))
    assert parts.read_bytes() == whole.read_bytes()


def test_a_movie_with_dark_cells_on_bright_ground_is_told_to_one_that_learnt_bright_ones(detector):
    def told(movie):
        findings = []
        list(predict(detector, movie, gamma=1.0, tell=findings.append))
        return [one for one in findings if one.code == "unlike-ground"]

    plate = _plate(1)
    assert told(plate.images) == []
    assert told(_with_gamma(plate, 0.5).images) == []
    inverted = plate.images.array.max() - plate.images.array
    frame = inverted[0]
    level = intensity_range(frame, (1.0, 1.0, 1.0))
    bright = np.argwhere(frame > np.quantile(frame, 0.4))[::97].astype(float)
    dark = np.argwhere(frame < np.quantile(frame, 0.02))[::7].astype(float)
    cases = [(0.6, bright, 1), (0.6, dark, 0), (0.95, bright, 0), (None, bright, 0)]
    for usual, places, n in cases:
        info = detector.info.model_copy(update={"brightness": usual})
        found = Detections(places, np.ones(len(places)), (level,))
        assert len(found) > 10
        assert len(unlike_ground(info, "m", 0, frame, level, found)) == n
    few = Detections(bright[:3], np.ones(3), (level,))
    assert unlike_ground(detector.info, "m", 0, frame, level, few) is None


def test_too_few_cells_say_nothing(detector):
    empty = np.random.default_rng(0).normal(0.1, 0.01, (2, 1, SIDE, SIDE))
    assert _request(detector, _movie(empty)).gamma == 1.0
    few = Impression(clear=19, undecided=15, brightness=0.1)
    right = Impression(clear=19, undecided=0, brightness=0.6)
    assert mending_gamma(_info(detector), lambda gamma, _: few if gamma == 1 else right) == 1.0


def test_one_odd_image_does_not_decide_for_a_movie(detector):
    """The middle frame alone is out of focus."""
    odd = Impression(clear=50, undecided=40, brightness=0.6)
    all_of_them = Impression(clear=300, undecided=10, brightness=0.6)
    assert mending_gamma(_info(detector), lambda _, all_: all_of_them if all_ else odd) == 1.0


def test_every_gamma_is_judged_on_the_same_time_points(detector, monkeypatch):
    """Numbers of cells are compared, so they must be of as many frames."""
    seen: dict[float, list[bytes]] = {}
    plain = Detector.detect_each

    def noted(self, jobs, **options):
        jobs = list(jobs)
        for job in jobs:
            seen.setdefault(job.gamma, []).append(job.frames[0].tobytes())
        return plain(self, jobs, **options)

    monkeypatch.setattr(Detector, "detect_each", noted)
    look_at_movie(detector, _with_gamma(_plate(1), 0.7).images, (0,), (1.0, 1.0, 1.0))
    assert set(seen) >= {1.0, 1.5, 2.0}
    frames = set(seen[1.0])
    assert len(frames) == 3
    assert all(set(one) == frames for one in seen.values())


def test_the_middle_of_a_large_image_is_normalised_as_the_whole_is(detector):
    """All cells lie in the middle third: levels of that alone would make them look dim."""
    plate = _plate(1)
    wide = np.pad(plate.images.array, ((0, 0), (0, 0), (600, 600), (600, 600)), mode="reflect")
    wide[..., :600, :] = wide[..., -600:, :] = wide[..., :, :600] = wide[..., :, -600:] = 0.02
    wide += np.random.default_rng(0).normal(0, 0.003, wide.shape)
    movie = _movie(wide)
    request = _request(detector, movie, gamma=1.0)
    whole = next(predict(detector, movie, time_points=[0], gamma=1.0))
    assert len(whole.above(detector.threshold)) > 10
    looks = _Looks(detector, movie, (0,))
    job = looks._job(0, request.voxel_size, None)
    assert job.frames[0].size < wide[0].size / 3
    steps = detector.design.steps(request.voxel_size, 1)
    assert job.levels[0] == intensity_range(movie.read_frame(0, 0), steps)


def test_a_pixel_that_is_no_number_says_nothing_about_the_others(detector):
    plate = _even_plate(1)
    pixels = plate.images.array.copy()
    y, x = plate.annotations.positions[0, 1:].round().astype(int)
    pixels[plate.annotations.t[0], 0, y - 1 : y + 2, x - 1 : x + 2] = np.nan
    steep = np.clip(pixels, 0, None) ** 2.0
    assert _request(detector, _movie(steep)).gamma < 1


def test_a_stated_gamma_is_looked_with_where_cells_are_measured_too(detector, monkeypatch):
    seen = []
    plain = Detector.detect_each

    def noted(self, jobs, **options):
        jobs = list(jobs)
        seen.extend(job.gamma for job in jobs)
        return plain(self, jobs, **options)

    monkeypatch.setattr(Detector, "detect_each", noted)
    monkeypatch.setattr("napari_celltrain.prediction.first_look.needs_size", lambda _: True)
    look_at_movie(detector, _plate(1).images, (0,), (1.0, 1.0, 1.0), gamma=2.0)
    assert set(seen) == {2.0}


def _info(detector, undecided=0.05, brightness=0.6):
    return detector.info.model_copy(update={"undecided": undecided, "brightness": brightness})


def test_what_does_not_help_is_not_done(detector):
    """The images are unlike the training, but in another way than by a gamma."""
    unsure = Impression(clear=100, undecided=60, brightness=0.6)
    assert mending_gamma(_info(detector), lambda gamma, _: unsure) == 1.0
    dim = Impression(clear=100, undecided=5, brightness=0.2)
    worse = Impression(clear=100, undecided=40, brightness=0.6)
    assert mending_gamma(_info(detector), lambda gamma, _: dim if gamma == 1 else worse) == 1.0
    lost = Impression(clear=30, undecided=2, brightness=0.6)
    assert mending_gamma(_info(detector), lambda gamma, _: unsure if gamma == 1 else lost) == 1.0


def test_a_detector_that_was_never_sure_is_no_reason_to_change_images(detector):
    unsure = Impression(clear=100, undecided=60, brightness=0.6)
    sure = Impression(clear=100, undecided=5, brightness=0.6)
    seen = {1.0: unsure, 1.5: sure, 2.0: sure}
    assert mending_gamma(_info(detector), lambda gamma, _: seen[gamma]) > 1
    assert mending_gamma(_info(detector, undecided=0.4), lambda gamma, _: seen[gamma]) == 1.0


def test_noise_that_becomes_cells_is_not_what_dim_cells_are_brought_up_for(detector):
    dim = Impression(clear=100, undecided=5, brightness=0.2)
    right = Impression(clear=120, undecided=5, brightness=0.5)
    assert mending_gamma(_info(detector), lambda gamma, _: dim if gamma == 1 else right) < 1
    many = Impression(clear=300, undecided=5, brightness=0.5)
    assert mending_gamma(_info(detector), lambda gamma, _: dim if gamma == 1 else many) == 1.0
    dark = Impression(clear=120, undecided=5, brightness=0.1)
    assert mending_gamma(_info(detector), lambda gamma, _: dim if gamma == 1 else dark) == 1.0


def test_dark_cells_are_never_dim(detector):
    """Phase contrast: cells that are darker than the ground, in training and here."""
    darker = Impression(clear=100, undecided=5, brightness=-0.3)
    lighter = Impression(clear=100, undecided=5, brightness=-0.1)
    seen = {1.0: darker, 0.75: lighter, 0.5: lighter}
    info = _info(detector, brightness=-0.1)
    assert mending_gamma(info, lambda gamma, _: seen[gamma]) == 1.0


@given(
    st.lists(st.floats(0.01, 0.99), max_size=40),
    st.floats(0.05, 0.95),
)
def test_every_candidate_is_counted_once_at_most_and_the_higher_threshold_has_fewer_clear_ones(
    scores, threshold
):
    array = np.array(scores)
    seen = impression(array, array, threshold)
    assert seen.clear + seen.undecided <= len(scores)
    clear = [impression(array, array, t).clear for t in (0.2, 0.5, 0.8)]
    assert all(low >= high for low, high in pairwise(clear))


def test_brightness_is_that_of_the_nearest_pixel():
    frame = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    level = IntensityRange(0.0, 16.0)
    positions = np.array([(0.2, 1.4, 2.0), (9.0, 9.0, 9.0), (-1.0, 0.0, 0.0)])
    assert brightness_at(frame, positions, level).tolist() == [6 / 16, 23 / 16, 0.0]
    assert brightness_at(frame, positions, level, 2.0)[0] == pytest.approx((6 / 16) ** 2)
