"""Crops suit the depth of the images, also where flat ones and stacks are learnt from together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.detector.design import choose_design
from napari_celltrain.training.crop_groups import (
    BYTES_PER_VOXEL,
    CropGroup,
    as_before,
    choose_crops,
)
from napari_celltrain.training.settings import TrainingSettings

DESIGN = choose_design(
    diameter=10.0, spacing=12.0, voxel_size=(2.0, 1.0, 1.0), planes=30, unit="um", width=16
)
SETTINGS = TrainingSettings()


def _groups(shapes, settings=SETTINGS, device="cpu", threads=2):
    return choose_crops(shapes, DESIGN, device, threads, settings)[0]


def test_flat_images_and_stacks_have_crops_of_their_own():
    flat, thin, deep = _groups(
        {0: (1, 300, 300), 1: (30, 200, 200), 2: (5, 300, 300), 3: (1, 9, 9)}
    )
    assert (flat.members, thin.members, deep.members) == ((0, 3), (2,), (1,))
    assert flat.shape == (1, 128, 128)
    assert thin.shape[0] == 8  # five planes, and what the network needs to halve them
    assert deep.shape[0] == 12  # two and a half diameters, in planes 2 um apart
    assert flat.batch_size > deep.batch_size


@given(
    st.dictionaries(
        st.integers(0, 9),
        st.tuples(st.integers(1, 80), st.integers(1, 900), st.integers(1, 900)),
        min_size=1,
    ),
    st.sampled_from(["cpu", "cuda"]),
    st.integers(1, 16),
)
def test_every_experiment_has_one_place_and_every_crop_fits_the_network(shapes, device, threads):
    groups = _groups(shapes, device=device, threads=threads)
    members = [member for group in groups for member in group.members]
    assert sorted(members) == sorted(shapes)
    for group in groups:
        strides = DESIGN.multiples(group.shape[0])
        assert all(n % s == 0 for n, s in zip(group.shape, strides, strict=True))
        assert (group.shape[0] == 1) == all(shapes[m][0] == 1 for m in group.members)


def test_what_was_asked_holds_for_all():
    asked = SETTINGS.changed(["optimiser.crop_size=32", "optimiser.batch_size=3"])
    groups = _groups({0: (1, 300, 300), 1: (30, 200, 200)}, asked)
    assert [group.batch_size for group in groups] == [3, 3]
    assert [group.shape[1:] for group in groups] == [(32, 32), (32, 32)]


def test_little_memory_makes_small_batches(monkeypatch):
    class Little:
        available = 3 * 128 * 128 * BYTES_PER_VOXEL / 0.3

    monkeypatch.setattr("psutil.virtual_memory", Little)
    assert _groups({0: (1, 300, 300)})[0].batch_size in (2, 3)


OLD = [CropGroup((), (1, 64, 64), 5)]
KEPT = [CropGroup((0,), (1, 64, 64), 5), CropGroup((1, 2), (8, 64, 64), 4)]


@pytest.mark.parametrize(
    ("fresh", "kept", "expected"),
    [
        ([CropGroup((0, 1, 2), (1, 128, 128), 8)], KEPT, KEPT),
        ([CropGroup((0, 3), (1, 128, 128), 8)], KEPT, [CropGroup((0, 3), (1, 128, 128), 8)]),
        ([CropGroup((0, 3), (1, 128, 128), 8)], OLD, [CropGroup((0, 3), (1, 64, 64), 5)]),
    ],
    ids=["the same experiments", "another joined", "a run of before there were groups"],
)
def test_a_resumed_run_keeps_its_crops(fresh, kept, expected):
    assert list(as_before(fresh, kept)) == expected
