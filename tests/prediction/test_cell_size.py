"""How wide cells are is found out where a detector can't know it, and only there."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.detector.detector import Detector
from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.array import ArraySource
from napari_celltrain.prediction.first_look import look_at_movie
from napari_celltrain.prediction.judge import candidates, total, voxel_size_of
from napari_celltrain.prediction.predict import check_request, predict, with_first_look
from napari_celltrain.training.loop import train


def _trained(experiments, settings, folder, steps) -> Detector:
    members = tuple(Member(one) for one in experiments)
    train(Dataset(members), folder, settings.changed([f"budget.steps={steps}"]))
    return Detector.from_folder(folder, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def of_two_sizes(make_blobs, fast_settings, tmp_path_factory) -> Detector:
    """A detector that learnt from cells 7 um and 17 um wide."""
    small = make_blobs(cells=24, width=7.0)
    large = make_blobs(shape=(1, 160, 160), cells=12, width=17.0, seed=1)
    folder = tmp_path_factory.mktemp("sizes") / "run"
    return _trained([small, large], fast_settings, folder, 150)


@pytest.fixture(scope="module")
def of_pixels(make_blobs, fast_settings, tmp_path_factory) -> Detector:
    """A detector of cells 10 pixels wide that knows no voxel size."""
    experiment = make_blobs(width=10.0, voxel_size_um=None)
    folder = tmp_path_factory.mktemp("pixels") / "run"
    return _trained([experiment], fast_settings, folder, 240)


def _look(detector, experiment):
    voxel_size = detector.voxel_size_for(experiment.known_voxel_size_um)
    look = look_at_movie(detector, experiment.images, (0,), voxel_size, gamma=1.0)
    return look.cell_diameter, list(look.findings)


def _f1(detector, experiment) -> float:
    judged = list(candidates(detector, [experiment], [(0, 0), (0, 1)]))
    return total(judged, detector.threshold).f1


@pytest.mark.parametrize(("width", "side"), [(7.0, 110), (11.0, 130), (17.0, 180)])
def test_cells_of_any_size_between_are_measured_and_found(of_two_sizes, make_blobs, width, side):
    other = make_blobs(times=2, shape=(1, side, side), cells=12, width=width, seed=9)
    diameter, findings = _look(of_two_sizes, other)
    assert diameter == pytest.approx(width, rel=0.35)  # a blob has no sharp edge
    assert [finding.severity for finding in findings] == ["info"]
    assert f"{diameter:.3g} um wide" in findings[0].message
    assert _f1(of_two_sizes, other) > 0.85


def test_the_size_does_not_depend_on_the_magnification(of_two_sizes, make_blobs):
    fine, coarse = (
        make_blobs(
            times=1,
            shape=(1, side, side),
            cells=12,
            width=12.0,
            voxel_size_um=(1.0, um, um),
            seed=4,
        )
        for side, um in ((240, 0.5), (120, 1.0))
    )
    assert _look(of_two_sizes, fine)[0] == pytest.approx(_look(of_two_sizes, coarse)[0], rel=0.15)


def test_a_detector_without_a_voxel_size_finds_cells_of_another_magnification(
    of_pixels, make_blobs
):
    for width, side in ((22.0, 200), (5.5, 60)):
        other = make_blobs(
            times=2, shape=(1, side, side), cells=12, width=width, voxel_size_um=None, seed=9
        )
        diameter, findings = _look(of_pixels, other)
        assert diameter / of_pixels.design.diameter == pytest.approx(width / 10, rel=0.3)
        assert "the detector learnt from cells" in findings[0].message
        assert _f1(of_pixels, other) > 0.85


def test_cells_about_as_wide_as_usual_are_taken_as_usual(of_pixels, make_blobs):
    other = make_blobs(times=2, width=11.0, voxel_size_um=None, seed=9)
    assert _look(of_pixels, other) == (of_pixels.design.diameter, [])


def test_where_there_are_no_cells_nothing_is_made_up(of_two_sizes, of_pixels, make_blobs):
    noise = np.random.default_rng(0).normal(100, 10, (2, 1, 90, 90)).astype(np.float32)
    empty = make_blobs(times=1).with_(
        images=ArraySource(noise, "tzyx", name="empty", voxel_size_um=(1.0, 1.0, 1.0))
    )
    diameter, findings = _look(of_two_sizes, empty)
    assert diameter == of_two_sizes.design.diameter
    assert [finding.severity for finding in findings] == ["warning"]
    assert "Give the cell diameter" in findings[0].message
    assert _look(of_pixels, empty) == (of_pixels.design.diameter, [])


def test_annotated_cells_say_how_large_a_voxel_is_when_nothing_else_does(of_two_sizes, make_blobs):
    unknown = make_blobs(
        times=2, shape=(1, 200, 200), cells=12, width=24.0, voxel_size_um=None, seed=9
    )
    um = voxel_size_of(of_two_sizes, unknown)[2]
    assert um * 24 == pytest.approx(of_two_sizes.design.diameter, rel=0.35)
    assert _f1(of_two_sizes, unknown) > 0.85
    with pytest.raises(CellTrainError, match="voxel size of blobs is not known"):
        check_request(of_two_sizes, unknown.images)


def test_a_stated_diameter_is_taken_and_nothing_is_read(of_two_sizes, make_blobs, monkeypatch):
    movie = make_blobs(times=2)
    monkeypatch.setattr(type(movie.images), "read_frame", None)
    stated = check_request(of_two_sizes, movie.images, cell_diameter=12.0, gamma=1.0)
    request = with_first_look(of_two_sizes, movie.images, stated)
    assert request.cell_diameter == 12.0
    assert request.findings == ()


def test_of_a_large_stack_only_the_middle_is_read_to_measure_cells(
    of_two_sizes, make_blobs, monkeypatch
):
    """The same is measured as from the whole frames; those may be gigabytes."""
    movie = make_blobs(times=2, shape=(1, 130, 130), cells=12, width=11.0, seed=9)
    tall = np.tile(movie.images.array, (1, 40, 2, 2))
    movie = movie.with_(
        images=ArraySource(tall, "tzyx", name="tall", voxel_size_um=(1.0, 1.0, 1.0))
    )
    monkeypatch.setattr("napari_celltrain.prediction.cell_size.PIECE_VOXELS", 40_000)
    measured = _look(of_two_sizes, movie)
    monkeypatch.setattr("napari_celltrain.prediction.first_look.HELD_BYTES", 0)
    monkeypatch.setattr(ArraySource, "read_frame", None)
    plain, read = ArraySource.read_crop, []

    def noted(self, t, channel, crop):
        part = plain(self, t, channel, crop)
        read.append(part.size)
        return part

    monkeypatch.setattr(ArraySource, "read_crop", noted)
    assert _look(of_two_sizes, movie) == measured
    assert max(read) < tall[0].size / 2


@pytest.mark.parametrize("after", [0, 1, 2, 5])
def test_a_first_look_can_be_stopped(of_two_sizes, make_blobs, after):
    asked = []

    def stopping():
        asked.append(1)
        return len(asked) > after

    movie = make_blobs(times=2).images
    assert look_at_movie(of_two_sizes, movie, (0,), (1.0, 1.0, 1.0), stopping=stopping) is None
    assert len(asked) == after + 1
    assert not list(predict(of_two_sizes, movie, stopping=lambda: True))


@pytest.mark.parametrize("diameter", [0.01, 1e6, float("nan"), -3.0])
def test_a_diameter_that_no_cell_has_is_refused(of_two_sizes, make_blobs, diameter):
    with pytest.raises(CellTrainError, match="not possible"):
        predict(of_two_sizes, make_blobs(times=1).images, cell_diameter=diameter)


def test_a_detector_of_one_size_in_um_needs_no_look(make_detector, make_blobs, monkeypatch):
    movie = make_blobs(times=2, shape=(4, 40, 40))
    monkeypatch.setattr(type(movie.images), "read_frame", None)
    detector = make_detector()
    request = with_first_look(detector, movie.images, check_request(detector, movie.images))
    assert request.cell_diameter is None


def test_larger_cells_are_found_by_a_detector_of_smaller_ones_when_it_is_told(
    small_run, make_blobs
):
    detector = Detector.from_folder(small_run, device="cpu", precision="float32")
    movie = make_blobs(times=1, shape=(1, 200, 200), cells=12, width=22.0, seed=3).images
    assert detector.design.sizes is None
    (told,) = predict(detector, movie, cell_diameter=detector.design.diameter * 22 / 9)
    assert len(told.above(detector.threshold)) == 12
