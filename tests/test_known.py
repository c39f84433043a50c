"""Where an annotation says something, and where it is silent."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.experiment import Annotations, Experiment, Region, Status
from napari_celltrain.images.array import ArraySource
from napari_celltrain.known import edge_margins, frame_annotations, known_place

ONE = (1.0, 1.0, 1.0)
SHAPE = (4, 100, 120)


def _experiment(positions, t=None, status=None, shape=SHAPE, times=3, features=None, **changes):
    positions = np.asarray(positions, float).reshape(-1, 3)
    t = np.zeros(len(positions), int) if t is None else t
    images = ArraySource(np.zeros((times, *shape), np.uint8), "tzyx")
    return Experiment(
        "e", Annotations(t, positions, status=status, features=features or {}), images, **changes
    )


def _at(experiment, point, diameter=10.0, voxel_size=ONE, t=0):
    return bool(known_place(experiment, diameter, voxel_size)(t).at(np.array([point], float))[0])


def test_time_points_know_the_whole_frame_to_its_last_pixel():
    experiment = _experiment([[1, 50, 50]])
    for corner in ([0, 0, 0], [3, 99, 119], [-0.5, -0.5, -0.5], [3.5, 99.5, 119.5]):
        assert _at(experiment, corner)
    assert not _at(experiment, [1, 100, 50])


def test_a_box_reaches_half_a_cell_beyond_its_centres():
    experiment = _experiment([[1, 20, 30], [2, 60, 80]], completeness="box")
    assert _at(experiment, [1, 40, 50])
    assert _at(experiment, [1, 15.5, 30])
    assert not _at(experiment, [1, 14, 30])
    assert not _at(experiment, [1, 40, 86])
    # half a cell is fewer planes than pixels where planes are thick
    assert not _at(experiment, [3.9, 40, 50], voxel_size=(10.0, 1.0, 1.0))


def test_a_box_is_that_of_its_own_time_point():
    experiment = _experiment([[1, 20, 30], [1, 80, 90]], t=[0, 1], completeness="box")
    assert _at(experiment, [1, 20, 30], t=0)
    assert not _at(experiment, [1, 20, 30], t=1)
    assert not _at(experiment, [1, 20, 30], t=2)  # nothing is marked there: nothing is known


def test_sparse_marks_know_nothing_around_them():
    experiment = _experiment([[1, 20, 30]], completeness="sparse")
    assert not _at(experiment, [1, 20, 30])
    assert not _at(experiment, [1, 60, 60])


def test_a_region_knows_its_inside_at_its_own_times():
    triangle = Region(((10.0, 10.0), (10.0, 90.0), (90.0, 10.0)), first=1, last=1)
    experiment = _experiment([[1, 20, 20]], completeness="region", regions=(triangle,))
    assert _at(experiment, [1, 20, 20], t=1)
    assert _at(experiment, [0, 40, 40], t=1)
    assert not _at(experiment, [1, 80, 80], t=1)
    assert not _at(experiment, [1, 20, 20], t=0)
    assert not _at(experiment, [1, 20, 20], t=2)


def test_several_regions_add_up():
    squares = tuple(
        Region(((y, x), (y, x + 20), (y + 20, x + 20), (y + 20, x))) for y, x in ((8, 8), (60, 60))
    )
    experiment = _experiment([[1, 20, 20]], completeness="region", regions=squares)
    assert _at(experiment, [1, 18, 18])
    assert _at(experiment, [1, 70, 70])
    assert not _at(experiment, [1, 40, 40])


@pytest.mark.parametrize("seed", range(5))
def test_a_region_is_the_polygon_but_for_its_rim(seed):
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.uniform(0, 2 * np.pi, 7))
    radius = rng.uniform(25, 45, 7)
    vertices = np.stack([50 + radius * np.sin(angle), 60 + radius * np.cos(angle)], -1)
    region = Region(tuple((float(y), float(x)) for y, x in vertices))
    experiment = _experiment([[1, 50, 60]], completeness="region", regions=(region,))
    place = known_place(experiment, 10.0, ONE)(0)
    y, x = np.mgrid[:100, :120].astype(float)
    got = place.in_plane(y, x)
    # an independent rule: the winding number
    away = vertices[None, None] - np.stack([y, x], -1)[:, :, None]
    turns = np.arctan2(away[..., 0], away[..., 1])
    turn = np.diff(np.concatenate([turns, turns[..., :1]], -1), axis=-1)
    expected = np.abs(((turn + np.pi) % (2 * np.pi) - np.pi).sum(-1)) > np.pi
    assert (got == expected).mean() > 0.93
    middle = np.zeros_like(expected)
    middle[4:-4, 4:-4] = True
    for shift in range(-4, 5):  # more than a map pixel from the rim there is no doubt
        middle[4:-4, 4:-4] &= expected[4 + shift : 96 + shift, 4:-4]
        middle[4:-4, 4:-4] &= expected[4:-4, 4 + shift : 116 + shift]
    assert got[middle].all()


# --- marks ---


def test_marks_outside_the_image_or_without_a_place_are_left_out():
    experiment = _experiment(
        [
            [1, 50, 50],
            [1, 100, 50],
            [-0.6, 5, 5],
            [3.4, 99.4, 119.4],
            [np.nan, 5, 5],
            [1, np.inf, 2],
        ]
    )
    positions, status = frame_annotations(experiment, 0)
    assert positions.tolist() == [[1, 50, 50], [3.4, 99.4, 119.4]]
    assert len(status) == 2


def test_dying_cells_become_undecided_when_asked():
    ending = np.array(["", "dead", "division", "shed"])
    experiment = _experiment([[1, 10 * i, 10] for i in range(1, 5)], features={"ending": ending})
    assert frame_annotations(experiment, 0)[1].tolist() == [1, 1, 1, 1]
    assert frame_annotations(experiment, 0, exclude_dying=True)[1].tolist() == [1, 0, 1, 0]
    assert experiment.annotations.status.tolist() == [1, 1, 1, 1]


def test_status_is_passed_on():
    status = [Status.CELL, Status.NOT_A_CELL, Status.UNKNOWN]
    experiment = _experiment([[1, 10, 10], [1, 20, 20], [1, 30, 30]], status=status)
    assert frame_annotations(experiment, 0)[1].tolist() == [1, -1, 0]


# --- edges ---


def _dense(low=0.0, high=0.0, n=2000, seed=0):
    rng = np.random.default_rng(seed)
    y, x = rng.uniform(low, 100 - high, n), rng.uniform(0, 120, n)
    return np.stack([np.ones(n), y, x], -1)


def test_dense_cells_up_to_the_edge_leave_no_margin():
    experiment = _experiment(_dense())
    assert (edge_margins(experiment, 10.0, ONE) == 0).all()


def test_an_empty_strip_beside_dense_cells_is_not_annotated():
    experiment = _experiment(_dense(low=8))
    margins = edge_margins(experiment, 10.0, ONE)
    assert margins[0, 1] == pytest.approx(8.5, abs=0.5)
    assert (margins[1] == 0).all()
    assert margins[0, 2] == 0
    assert not _at(experiment, [1, 4, 50])
    assert _at(experiment, [1, 10, 50])


def test_a_strip_is_never_wider_than_a_cell_and_a_half():
    experiment = _experiment(_dense(low=60))
    assert edge_margins(experiment, 10.0, ONE)[0, 1] <= 15


def test_few_cells_say_nothing_about_edges():
    experiment = _experiment(_dense(low=8, n=19))
    assert (edge_margins(experiment, 10.0, ONE) == 0).all()
    sparse = _experiment(_dense(low=3, n=40))
    assert (edge_margins(sparse, 10.0, ONE) == 0).all()


def test_where_completeness_is_stated_edges_are_not_guessed():
    for completeness in ("box", "sparse", "region"):
        experiment = _experiment(_dense(low=8), completeness=completeness)
        assert (edge_margins(experiment, 10.0, ONE) == 0).all()
