"""The design follows the cells: scale, strides and kernels by size, depth and anisotropy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from napari_celltrain.detector.design import CELL_WIDTH, Design, choose_design


def _design(**changes):
    values = {
        "diameter": 10.0,
        "spacing": 12.0,
        "voxel_size": (1.0, 1.0, 1.0),
        "planes": 20,
        "unit": "um",
        "width": 8,
    }
    return choose_design(**{**values, **changes})


def test_one_plane_never_looks_along_z():
    design = _design(planes=1, voxel_size=(5.0, 0.5, 0.5))
    assert design.flat
    assert all(stride[0] == 1 for stride in design.strides)
    assert all(kernel[0] == 1 for kernel in design.kernels)
    assert design.steps((5.0, 0.5, 0.5), 1)[0] == 1.0
    assert design.steps((0.2, 0.5, 0.5), 1)[0] == 1.0


def test_large_cells_are_made_small():
    design = _design(diameter=60.0, spacing=80.0, planes=1)
    assert design.diameter / design.working_voxel_size[1] == pytest.approx(CELL_WIDTH, rel=0.15)


def test_ordinary_cells_are_taken_as_they_are():
    design = _design(diameter=10.0, spacing=15.0)
    assert design.steps((1.0, 1.0, 1.0), 1) == (1.0, 1.0, 1.0)


def test_tiny_cells_are_magnified_at_most_twice():
    design = _design(diameter=3.0, spacing=4.0, planes=1)
    assert design.working_voxel_size[1] == pytest.approx(0.5)
    # neighbours fall on different voxels of the output grid
    assert design.grid_voxel_size[1] < 0.5 * 4.0


def test_crowded_cells_keep_a_finer_scale_than_lonely_ones():
    lonely = _design(diameter=40.0, spacing=60.0)
    crowded = _design(diameter=40.0, spacing=15.0)
    assert crowded.working_voxel_size[1] < lonely.working_voxel_size[1]


def test_strong_anisotropy_keeps_planes_apart():
    design = _design(voxel_size=(8.0, 1.0, 1.0), planes=30)
    assert design.working_voxel_size[0] == 8.0
    assert design.strides[0][0] == 1
    assert design.kernels[0][0] == 1
    # deep down, where voxels have become as wide as they are deep, z takes part
    assert design.kernels[-1][0] == 3


def test_a_thin_stack_is_never_pooled_away():
    design = _design(planes=5)
    assert design.total_stride[0] <= 2
    assert any(kernel[0] == 3 for kernel in design.kernels)


def test_z_finer_than_the_plane_is_brought_to_it():
    design = _design(diameter=20.0, spacing=30.0, voxel_size=(0.1, 1.0, 1.0), planes=300)
    assert design.working_voxel_size[0] == pytest.approx(design.working_voxel_size[1])


def test_working_scale_can_be_set():
    design = _design(working_scale=0.5)
    assert design.working_voxel_size[1:] == (2.0, 2.0)


def test_two_percent_of_difference_is_no_reason_to_resample():
    design = _design()
    assert design.steps((1.0, 1.01, 0.99), 9) == (1.0, 1.0, 1.0)
    assert design.steps((1.0, 1.05, 1.0), 9)[1] == pytest.approx(1 / 1.05)


@settings(max_examples=150, deadline=None)
@given(
    diameter=st.floats(1.5, 200),
    closeness=st.floats(0.25, 4),
    z=st.floats(0.05, 20),
    planes=st.integers(1, 200),
    xy=st.floats(0.05, 5),
)
def test_every_design_is_sane(diameter, closeness, z, planes, xy):
    diameter *= xy
    design = _design(
        diameter=diameter, spacing=closeness * diameter, voxel_size=(z, xy, xy), planes=planes
    )
    assert design == Design.model_validate_json(design.model_dump_json())
    assert np.isfinite(design.sigma).all()
    # a magnification of more than two costs eight times the voxels and shows nothing more
    assert min(design.steps((z, xy, xy), 9)[1:]) >= 0.499
    assert 0 < design.suppression_radius <= design.tolerance
    assert design.suppression_radius <= 0.6 * design.spacing
    if planes == 1:
        assert design.total_stride[0] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"kernels": ((3, 3, 3),)},
        {"kernels": ((10**9, 3, 3),) * 3},
        {"strides": ((1, 10**9, 2),) * 3},
        {"strides": ((1, 3, 3),) * 3},
        {"kernels": ((2, 2, 2),) * 3},
        {"time_window": (-(10**9), 0)},
        {"time_window": (3, 0)},
        {"width": 10**9},
        {"width": 0},
        {"n_channels": 10**9},
        {"diameter": float("nan")},
        {"diameter": float("inf")},
        {"diameter": -1.0},
        {"diameter": 1e300},
        {"working_voxel_size": (1.0, 1e-300, 1.0)},
        {"working_voxel_size": (1.0, 0.0, 1.0)},
        {"unit": "furlong"},
        {"surprise": 1},
    ],
    ids=lambda change: "-".join(f"{k}={v}"[:30] for k, v in change.items()),
)
def test_a_design_that_cannot_be_built_is_refused(change):
    values = {**_design().model_dump(), **change}
    with pytest.raises(ValidationError):
        Design.model_validate(values)


@pytest.mark.parametrize("size", [(1e-3, 1.0, 1.0), (1.0, 1e-3, 1.0), (1e-3, 1e-3, 1e-3)])
def test_a_working_voxel_size_far_from_any_cell_is_refused(size):
    values = _design().model_dump()
    with pytest.raises(ValidationError, match=r"cells 10 um wide can't be looked for"):
        Design.model_validate({**values, "working_voxel_size": size})
