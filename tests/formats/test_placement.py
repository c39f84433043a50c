"""The check that positions lie in the image, and the readings that would make them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import read_experiments
from napari_celltrain.formats.placement import placement_findings
from napari_celltrain.images import ArraySource

VOXEL = (4.0, 0.5, 0.5)
RANDOM = np.random.default_rng(1)
T = np.repeat(np.arange(10), 20)
RIGHT = RANDOM.uniform([0, 0, 0], [19, 59, 299], (200, 3))


def findings(positions, t=T, first=0, voxel=VOXEL):
    images = ArraySource(
        np.zeros((10, 20, 60, 300), np.uint8), "tzyx", time_offset=first, voxel_size_um=voxel
    )
    return placement_findings(Experiment("a", Annotations(t, positions), images))


def test_nothing_is_said_when_they_do():
    assert findings(RIGHT) == []
    assert findings(RIGHT + np.where(np.arange(200) < 1, 1000, 0)[:, None]) == []


@pytest.mark.parametrize(
    ("positions", "t", "reading"),
    [
        (RIGHT * VOXEL, T, "dividing them by the voxel size"),
        (RIGHT[:, [0, 2, 1]], T, "swapping x and y"),
        (RIGHT[:, ::-1], T, "reading z, y, x as x, y, z"),
        ((RIGHT * VOXEL)[:, ::-1], T, "reading z, y, x as x, y, z and dividing by the voxel size"),
        (RIGHT, T + 5, ""),
    ],
)
def test_the_reading_that_fits_is_named(positions, t, reading):
    (finding,) = findings(positions, t)
    assert finding.severity == "warning"
    assert finding.message.startswith("Only ")
    if reading:
        assert f"; {reading} would bring it to 100%. Nothing was changed." in finding.message
    else:
        assert "would bring" not in finding.message


def test_one_frame_off_is_named():
    (finding,) = findings(RIGHT[:20], np.full(20, 10))
    assert "counting time points from one less would bring it to 100%" in finding.message
    (finding,) = findings(RIGHT[:20], np.full(20, 0), first=1)
    assert "counting time points from one more would bring it to 100%" in finding.message


@pytest.mark.parametrize("n_times", [4, 10, 45, 300])
@pytest.mark.parametrize(("shift", "word"), [(1, "less"), (-1, "more")])
def test_a_whole_movie_one_frame_off_is_named_however_long_it_is(n_times, shift, word):
    """Nearly all positions still have an image then, and each of them the wrong one."""
    images = ArraySource(np.zeros((n_times, 1, 8, 8), np.uint8), "tzyx", time_offset=3)
    t = np.arange(3, 3 + n_times)
    positions = np.full((n_times, 3), [0.0, 4, 4])
    assert placement_findings(Experiment("a", Annotations(t, positions), images)) == []
    (finding,) = placement_findings(Experiment("a", Annotations(t + shift, positions), images))
    assert f"counting time points from one {word} would bring it to 100%" in finding.message
    assert "Only 100%" not in finding.message
    assert finding.message.endswith("Nothing was changed.")


def test_an_annotation_that_goes_on_after_the_movie_is_not_one_frame_off():
    (finding,) = findings(RIGHT, np.repeat(np.arange(20), 10))
    assert finding.code == "no-image"


def test_without_images_nothing_can_be_said():
    assert placement_findings(Experiment("a", Annotations(T, RIGHT))) == []


def test_every_read_is_checked_and_nothing_is_changed(tmp_path):
    images = ArraySource(np.zeros((1, 5, 20, 100), np.uint8), "tzyx")
    (tmp_path / "a.csv").write_text("t,z,y,x\n0,1,90,10\n0,2,80,5\n")
    (experiment,) = read_experiments(tmp_path / "a.csv", images=images)
    assert experiment.annotations.positions.tolist() == [[1, 90, 10], [2, 80, 5]]
    (finding,) = experiment.findings
    assert "swapping x and y" in finding.message
