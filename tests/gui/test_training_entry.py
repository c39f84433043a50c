"""A line of the training table says how its experiment is used."""

from __future__ import annotations

import pytest

from napari_celltrain.dataset import Member
from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.layers import note
from napari_celltrain.gui.open_experiments import open_experiments
from napari_celltrain.gui.training_entry import TrainingEntry

# napari 0.6 with a numpy that is two years younger
pytestmark = pytest.mark.filterwarnings("ignore:'where' used without 'out'")


@pytest.fixture
def entry(viewer, add_experiment, experiment):
    add_experiment(experiment)
    return TrainingEntry(open_experiments(viewer.layers)[0])


def test_an_open_end_of_the_time_range_is_the_movies(entry):
    entry.first = 38
    assert entry.read().time_range == (38, 40)
    entry.first, entry.last = None, 38
    assert entry.read().time_range == (37, 38)


def test_a_range_that_runs_backwards_is_refused(entry):
    entry.first, entry.last = 40, 38
    with pytest.raises(CellTrainError, match="backwards"):
        entry.read()


def test_a_rectangle_is_a_region_in_image_pixels(viewer, entry):
    corners = [[38, 0, 2, 2], [38, 0, 2, 4], [38, 0, 6, 4], [38, 0, 6, 2]]
    entry.region = viewer.add_shapes([corners], ndim=4, scale=(1, 2, 0.25, 0.25))
    entry.completeness = "region"
    (region,) = entry.read().regions
    assert set(region.vertices) == {(1, 1), (1, 2), (3, 2), (3, 1)}
    assert region.holds_at(37)  # drawn once: it holds for the whole movie
    assert region.holds_at(40)


def test_regions_drawn_at_several_time_points_hold_there_only(viewer, entry):
    def square(t):
        return [[t, 0, 2, 2], [t, 0, 2, 4], [t, 0, 6, 4], [t, 0, 6, 2]]

    entry.region = viewer.add_shapes([square(37), square(40)], ndim=4, scale=(1, 2, 0.5, 0.5))
    entry.completeness = "region"
    assert [(one.first, one.last) for one in entry.read().regions] == [(37, 37), (40, 40)]


def test_an_ellipse_is_a_round_region(viewer, entry):
    corners = [[37, 0, 0, 0], [37, 0, 0, 4], [37, 0, 4, 4], [37, 0, 4, 0]]
    entry.region = viewer.add_shapes(
        [corners], ndim=4, shape_type="ellipse", scale=(1, 2, 0.5, 0.5)
    )
    entry.completeness = "region"
    vertices = entry.read().regions[0].vertices
    assert len(vertices) > 20
    assert all(abs(((y - 2) ** 2 + (x - 2) ** 2) ** 0.5 - 2) < 1e-6 for y, x in vertices)


def test_a_region_that_is_not_drawn_is_asked_for(viewer, entry):
    entry.completeness = "region"
    with pytest.raises(CellTrainError, match="Shapes layer"):
        entry.read()
    entry.region = viewer.add_shapes(None, ndim=4, name="empty")
    with pytest.raises(CellTrainError, match="empty"):
        entry.read()


def test_a_file_keeps_what_it_says_until_that_is_changed(experiment):
    member = Member(experiment.with_(completeness="sparse", time_range=(37, 38)), role="held-out")
    entry = TrainingEntry.of_file(member)
    assert (entry.role, entry.completeness, entry.first, entry.last) == (
        "held-out", "sparse", 37, 38,
    )  # fmt: skip
    entry.role = "train"
    again = entry.to_member()
    assert again.role == "train"
    assert again.experiment.time_range == (37, 38)


def test_a_copy_in_which_nothing_is_corrected_says_what_to_do(entry):
    points = entry.open_experiment.points
    note(points)["copied"] = entry.read().annotations
    with pytest.raises(CellTrainError, match=r"Nothing is corrected in 'embryo' yet.*untick 'only"):
        entry.read()
    entry.only_corrected = False
    assert len(entry.read().annotations) == 5
    entry.only_corrected = True
    points.data = points.data[1:]  # now a time point is
    assert len(entry.read().annotations) < 5
