"""Targets say 1 at a centre, point to it, and are silent where nobody knows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_celltrain.detector.design import choose_design
from napari_celltrain.experiment import Status
from napari_celltrain.training.targets import OFFSET_REACH, REACH, detection_loss, draw_target


def _design(planes: int = 1, **changes):
    values = {
        "diameter": 10.0,
        "spacing": 12.0,
        "voxel_size": (1.0, 1.0, 1.0),
        "planes": planes,
        "unit": "um",
        "width": 4,
    }
    return choose_design(**{**values, **changes})


def _draw(points, status=None, known=True, grid=(1, 16, 16), design=None, batch=None, n=1):
    design = design or _design()
    points = torch.tensor(points, dtype=torch.float32).reshape(-1, 3)
    if status is None:
        status = [Status.CELL] * len(points)
    known = torch.full((n, *grid), known) if isinstance(known, bool) else known
    batch = torch.zeros(len(points), dtype=torch.long) if batch is None else torch.tensor(batch)
    status = torch.tensor(status, dtype=torch.int8).reshape(-1)
    return draw_target(points, batch, status, known, design)


def _to_grid(point, design):
    return (np.array(point) + 0.5) / np.array(design.strides[0]) - 0.5


def test_one_at_the_centre_and_less_around_it():
    # the middle of grid voxel (0, 5, 7) with a stride of 2
    target = _draw([[0, 10.5, 14.5]])
    assert float(target.heat[0, 0, 5, 7]) == pytest.approx(1.0)
    assert float(target.heat[0, 0, 5, 8]) < 1
    assert int(torch.count_nonzero(target.heat == target.heat.max())) == 1
    assert float(target.heat[0, 0, 0, 0]) == 0


@settings(max_examples=80, deadline=None)
@given(
    places=st.lists(
        st.tuples(st.floats(0, 7), st.floats(-2, 33), st.floats(-2, 33)), min_size=1, max_size=6
    ),
    planes=st.sampled_from([1, 8]),
)
def test_targets_are_those_of_brute_force(places, planes):
    design = _design(planes)
    depth = 1 if planes == 1 else 8 // design.strides[0][0]
    points = [(0.0 if planes == 1 else z, y, x) for z, y, x in places]
    target = _draw(points, design=design, grid=(depth, 16, 16))
    sigma = np.array(design.sigma) / np.array(design.grid_voxel_size)
    heat = target.heat[0].numpy()
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in heat.shape), indexing="ij"), -1)
    centres = np.array([_to_grid(p, design) for p in points])
    step = centres[:, None, None, None] - voxels
    squared = ((step / sigma) ** 2).sum(-1)
    nearest = squared.min(axis=0)
    expected = np.where(nearest <= REACH**2, np.exp(-0.5 * nearest), 0)
    # at the very edge of the reach rounding may decide
    sure = np.abs(nearest - REACH**2) > 1e-3
    np.testing.assert_allclose(heat[sure], expected[sure], atol=2e-4)
    # offsets lead to a centre that is as near as the nearest
    index = np.stack(np.unravel_index(target.near.numpy(), heat.shape), -1)
    lands = index + target.offset.numpy()
    to_centre = np.linalg.norm(lands[:, None] - centres[None], axis=-1)
    assert (to_centre.min(axis=1) < 1e-3).all()
    own = squared[(to_centre.argmin(axis=1), *index.T)]
    assert (own <= nearest[tuple(index.T)] + 1e-3).all()
    counted = target.offset_weight.numpy() > 0
    assert (nearest[tuple(index.T)][counted] <= OFFSET_REACH**2 + 1e-3).all()


def test_every_crop_has_its_own_points():
    target = _draw([[0, 10.5, 14.5]], n=2, batch=[1])
    assert float(target.heat[0].max()) == 0
    assert float(target.heat[1, 0, 5, 7]) == pytest.approx(1.0)


def test_without_points_everything_is_ground():
    target = _draw([])
    assert float(target.heat.max()) == 0
    assert float(target.weight.min()) == 1
    assert len(target.near) == 0


def _loss(target, logit):
    output = torch.zeros(*target.heat.shape[:1], 4, *target.heat.shape[1:])
    output[:, 0] = logit
    return float(sum(detection_loss(output, target)))


def test_an_unknown_mark_is_neither_rewarded_nor_punished():
    target = _draw([[0, 10.5, 14.5]], [Status.UNKNOWN])
    assert float(target.weight[0, 0, 5, 7]) == 0
    assert float(target.weight[0, 0, 0, 0]) == 1
    quiet, loud = torch.full((1, 1, 16, 16), -9.0), torch.full((1, 1, 16, 16), -9.0)
    loud[0, 0, 5, 7] = 9.0
    assert _loss(target, quiet) == _loss(target, loud)


def test_an_unknown_mark_beside_a_cell_does_not_silence_the_cell():
    target = _draw([[0, 10.5, 14.5], [0, 10.5, 20.5]], [Status.CELL, Status.UNKNOWN])
    assert float(target.heat[0, 0, 5, 7]) == pytest.approx(1.0)
    assert float(target.weight[0, 0, 5, 7]) > 1
    assert float(target.weight[0, 0, 5, 10]) == 0


def test_a_mark_that_is_no_cell_counts_more_than_empty_ground():
    target = _draw([[0, 10.5, 14.5]], [Status.NOT_A_CELL])
    assert float(target.heat.max()) == 0
    assert float(target.weight[0, 0, 5, 7]) > 1


def test_a_cell_beats_a_mark_that_is_no_cell():
    target = _draw([[0, 10.5, 14.5]] * 2, [Status.NOT_A_CELL, Status.CELL])
    assert float(target.heat[0, 0, 5, 7]) == pytest.approx(1.0)


def test_in_unknown_ground_only_the_marks_speak():
    target = _draw([[0, 10.5, 14.5]], known=False)
    weight = target.weight[0, 0]
    assert float(weight[5, 7]) > 1
    assert float(weight[0, 0]) == 0
    far_away = torch.full((1, 1, 16, 16), -9.0)
    far_away[0, 0, 0, 0] = 9.0
    assert _loss(target, torch.full((1, 1, 16, 16), -9.0)) == _loss(target, far_away)
    nothing = _draw([], known=False)
    assert _loss(nothing, 3.0) == 0


def test_the_best_answer_has_the_least_loss_and_it_is_zero():
    target = _draw([[0, 10.2, 14.9], [0, 25.0, 5.0]])
    heat = target.heat.clamp(1e-6, 1 - 1e-6)
    output = torch.zeros(1, 4, 1, 16, 16)
    output[:, 0] = torch.log(heat / (1 - heat))
    by_voxel = output.movedim(1, -1).reshape(-1, 4)
    by_voxel[target.near, 1:] = target.offset
    output = by_voxel.reshape(1, 1, 16, 16, 4).movedim(-1, 1)
    heat_loss, offset_loss = detection_loss(output, target)
    assert abs(float(heat_loss)) < 1e-4
    assert float(offset_loss) == pytest.approx(0, abs=1e-9)
    worse = output.clone()
    worse[:, 0, 0, 5, 7] -= 0.5
    assert float(detection_loss(worse, target)[0]) > float(heat_loss)
    moved = output.clone()
    moved[:, 3, 0, 5, 7] += 0.5
    assert float(detection_loss(moved, target)[1]) > 0


def test_the_loss_of_a_batch_is_the_mean_of_its_parts():
    torch.manual_seed(0)
    output = torch.randn(2, 4, 1, 16, 16)
    a, b = [[0, 10.2, 14.9]], [[0, 25.0, 5.0]]
    both = sum(detection_loss(output, _draw(a + b, n=2, batch=[0, 1])))
    parts = [sum(detection_loss(output[i : i + 1], _draw(p))) for i, p in enumerate((a, b))]
    assert float(both) == pytest.approx(float(parts[0] + parts[1]) / 2, rel=1e-5)


def test_a_point_just_outside_a_shallow_crop_reaches_into_it():
    """Two planes only: the reach must not be cut short for a centre below them."""
    design = _design(planes=20, voxel_size=(2.0, 1.0, 1.0), diameter=14.0, spacing=20.0)
    deep = _draw([[5.0, 10.5, 10.5]], design=design, grid=(12, 8, 8)).heat[0]
    stride = design.strides[0][0]
    shallow = _draw([[5.0 - 4 * stride, 10.5, 10.5]], design=design, grid=(2, 8, 8)).heat[0]
    np.testing.assert_allclose(shallow.numpy(), deep[4:6].numpy(), atol=1e-5)
