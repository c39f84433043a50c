"""The result depends on the image alone: not on tiles, threads, batches or memory."""

from __future__ import annotations

import functools
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.detections import Job
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import DetectorInfo
from napari_celltrain.detector.network import CentreNet, reach
from napari_celltrain.detector.tiling import tiles_of
from napari_celltrain.errors import CellTrainError


@functools.cache
def eager(diameter: float, z: float, planes: int) -> Detector:
    torch.manual_seed(1)
    design = choose_design(
        diameter=diameter,
        spacing=1.1 * diameter,
        voxel_size=(z, 1.0, 1.0),
        planes=planes,
        unit="um",
        width=4,
    )
    weights = CentreNet(design).state_dict()
    weights["head.bias"][0] = 0.0
    weights["head.weight"] *= 10
    return Detector(
        DetectorInfo(design=design), weights, device="cpu", threads=1, precision="float32"
    )


MOST_WORK = 16
"""Times that a voxel is computed at most, on average, where memory is scarce."""


def same(first, second, tolerance=1e-4):
    assert len(first) == len(second)
    np.testing.assert_allclose(first.positions, second.positions, atol=tolerance)
    np.testing.assert_allclose(first.scores, second.scores, atol=tolerance)


@settings(max_examples=12, deadline=None)
@given(
    diameter=st.sampled_from([8.0, 14.0, 25.0]),
    z=st.sampled_from([1.0, 2.5]),
    planes=st.sampled_from([1, 3, 17]),
    larger=st.sampled_from([None, 0.7, 1.9]),
    height=st.integers(9, 70),
    width=st.integers(9, 70),
    tile=st.tuples(st.integers(1, 16), st.integers(4, 40), st.integers(4, 40)),
    seed=st.integers(0, 1000),
)
def test_tiled_is_whole(diameter, z, planes, larger, height, width, tile, seed):
    detector = eager(diameter, z, planes)
    look = functools.partial(
        detector.detect, voxel_size_um=(z, 1.0, 1.0), cell_diameter=larger and larger * diameter
    )
    image = np.random.default_rng(seed).integers(0, 60000, (planes, height, width), np.uint16)
    whole = look([image], floor=0.3, tile=(999, 999, 999))
    same(whole, look([image], floor=0.3, tile=tile))


def test_cells_on_seams_are_found_once():
    detector = eager(10.0, 1.0, 1)
    image = np.random.default_rng(3).normal(100, 10, (1, 120, 120)).astype(np.float32)
    yx = np.mgrid[0:120, 0:120]
    for y in (16, 32, 48, 64, 80):  # cores begin at multiples of 8
        for x in (15.5, 31.5, 47.6, 64):
            image[0] += 500 * np.exp(-((yx[0] - y) ** 2 + (yx[1] - x) ** 2) / 18).astype(np.float32)
    whole = detector.detect([image], (1.0, 1.0, 1.0), floor=0.2, tile=(1, 999, 999))
    assert len(whole) > 20
    for size in (8, 16, 24, 32):
        same(whole, detector.detect([image], (1.0, 1.0, 1.0), floor=0.2, tile=(1, size, size)))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_threads_change_nothing(precision, make_detector):
    image = np.random.default_rng(0).integers(0, 60000, (8, 60, 64), np.uint16)
    results = [
        make_detector(threads=threads, precision=precision).detect(
            [image], (2.0, 1.0, 1.0), floor=0.3, tile=tile
        )
        for threads, tile in ((1, None), (2, None), (2, (8, 32, 32)), (1, (8, 32, 32)))
    ]
    assert len(results[0]) > 50
    for other in results[1:2]:
        assert np.array_equal(results[0].positions, other.positions)  # to the last bit
        assert np.array_equal(results[0].scores, other.scores)
    assert np.array_equal(results[2].positions, results[3].positions)
    same(results[0], results[2], 1e-4 if precision == "float32" else 0.2)


def test_callers_threads_are_left_alone(make_detector):
    before = torch.get_num_threads()
    make_detector(threads=2).detect([np.zeros((8, 30, 30), np.uint16)], (2.0, 1.0, 1.0))
    assert torch.get_num_threads() == before


def test_frames_side_by_side_are_frames_alone(make_detector):
    detector = make_detector(threads=2)
    images = [np.random.default_rng(i).integers(0, 999, (8, 40, 40), np.uint16) for i in range(5)]
    alone = [detector.detect([one], (2.0, 1.0, 1.0), floor=0.3) for one in images]
    together = detector.detect_each(Job([one], (2.0, 1.0, 1.0)) for one in images)
    for one, other in zip(alone, together, strict=True):
        other = other.above(0.3)
        assert np.array_equal(one.positions, other.positions)


@pytest.mark.parametrize(
    "text",
    [
        "DefaultCPUAllocator: can't allocate memory: you tried too much",
        "could not create a primitive",
    ],
)
def test_out_of_memory_halves_the_tile_and_goes_on(make_detector, monkeypatch, text):
    detector = make_detector(threads=2)
    image = np.random.default_rng(0).integers(0, 60000, (8, 280, 280), np.uint16)
    whole = detector.detect([image], (2.0, 1.0, 1.0), floor=0.3)
    computed, failed, forward = [], [], detector._forward

    def tight(tensor, *between):
        if tensor.numel() > 600_000:
            failed.append(tensor.numel())
            raise RuntimeError(text)
        computed.append(tensor.numel())
        return forward(tensor, *between)

    monkeypatch.setattr(detector, "_forward", tight)
    same(whole, detector.detect([image], (2.0, 1.0, 1.0), floor=0.3))
    assert len(computed) > 1
    failed.clear()
    detector.detect([image], (2.0, 1.0, 1.0), floor=0.3)  # it remembers
    # also where tiles are asked for that do not fit
    same(whole, detector.detect([image], (2.0, 1.0, 1.0), floor=0.3, tile=image.shape))
    assert not failed


def test_where_memory_does_for_one_frame_they_are_computed_one_after_the_other(
    make_detector, monkeypatch
):
    monkeypatch.setattr("napari_celltrain.detector.detector.usable_cores", lambda: 2)
    detector = make_detector(threads=2)
    detector.sizes.together_voxels = 0
    images = np.random.default_rng(0).integers(0, 60000, (6, 8, 100, 100), np.uint16)
    alone = [detector.detect([one], (2.0, 1.0, 1.0), floor=0.3) for one in images]
    inside, failed, forward = [], [], detector._forward

    def tight(tensor, *between):
        inside.append(tensor)
        try:
            time.sleep(0.05)
            if len(inside) > 1:
                failed.append(len(inside))
                raise MemoryError
            return forward(tensor, *between)
        finally:
            inside.pop()

    monkeypatch.setattr(detector, "_forward", tight)
    found = detector.detect_each((Job([one], (2.0, 1.0, 1.0)) for one in images), floor=0.3)
    for one, other in zip(alone, found, strict=True):
        same(one, other)
    assert failed


@pytest.mark.timeout(60)
@pytest.mark.parametrize("side", [50, 200])
def test_out_of_memory_ends_when_nothing_fits(make_detector, monkeypatch, side):
    """Also in an image whose smallest tile, with what it has to see around it, is large."""
    tried = []

    def never(tensor, *between):
        tried.append(tensor.numel())
        raise MemoryError

    detector = make_detector()
    monkeypatch.setattr(detector, "_forward", never)
    monkeypatch.setattr(detector.sizes, "tile_voxels", 400_000)
    with pytest.raises(CellTrainError, match=f"not enough memory .* 8 x {side} x {side} pixels"):
        detector.detect([np.zeros((8, side, side), np.uint16)], (2.0, 1.0, 1.0))
    assert len(tried) < 50


def test_other_errors_are_not_taken_for_memory(detector, monkeypatch):
    def broken(tensor, *between):
        raise RuntimeError("a bug")

    monkeypatch.setattr(detector, "_forward", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        detector.detect([np.zeros((8, 50, 50), np.uint16)], (2.0, 1.0, 1.0))


@given(
    shape=st.tuples(st.integers(1, 90), st.integers(1, 900), st.integers(1, 900)),
    voxels=st.sampled_from([50_000, 400_000, 2_000_000]),
)
@settings(max_examples=40, deadline=None)
def test_cores_cover_every_voxel_once_and_tiles_fit(shape, voxels):
    design = eager(10.0, 2.0, 17).design
    tiles = tiles_of(shape, (1.0, 1.0, 1.0), design, voxels)
    covered = sum(int(np.prod([b - a for a, b in tile.core])) for tile in tiles)
    strides = design.multiples(shape[0])
    padded = [-(-n // s) * s for n, s in zip(shape, strides, strict=True)]
    assert covered == int(np.prod(padded))
    assert len({tile.core for tile in tiles}) == len(tiles)
    smallest = [
        min(n, s + 2 * (-(-(r + 1) // s) * s))
        for n, s, r in zip(padded, strides, reach(design), strict=True)
    ]
    for tile in tiles:
        size = int(np.prod([b - a for a, b in tile.outer]))
        assert size <= max(voxels, 2 * int(np.prod(smallest)))
    work = sum(tile.voxels for tile in tiles)
    assert work < MOST_WORK * int(np.prod(padded))  # with little memory it takes longer, not ages


def test_empty_frame(detector):
    assert len(detector.detect([np.zeros((0, 5, 5), np.uint16)], (2.0, 1.0, 1.0))) == 0
