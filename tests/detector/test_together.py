"""Small frames are computed in one go, and nothing but time tells."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_celltrain.detector import tile_sizes
from napari_celltrain.detector.compute import Arithmetic
from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.detections import Job
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import DetectorInfo
from napari_celltrain.detector.network import CentreNet


def _detector(precision="float32", planes=1, **options):
    design = choose_design(
        diameter=10.0, spacing=12.0, voxel_size=(1, 1, 1), planes=planes, unit="px", width=8
    )
    torch.manual_seed(0)
    network = CentreNet(design)
    with torch.no_grad():
        network.head.weight.mul_(30)
        network.head.bias[0] = 0.0
    return Detector(
        DetectorInfo(design=design),
        network.state_dict(),
        device="cpu",
        precision=Arithmetic(precision),
        **options,
    )


def _jobs(*shapes):
    random = np.random.default_rng(1)
    return [Job([random.integers(0, 900, shape).astype(np.uint16)]) for shape in shapes]


@pytest.fixture
def batches(monkeypatch):
    """How many frames the network was given at once."""
    sizes, forward = [], Detector._forward

    def counted(self, image, *between):
        sizes.append(len(image))
        return forward(self, image, *between)

    monkeypatch.setattr(Detector, "_forward", counted)
    return sizes


def _same(some, others):
    for one, other in zip(some, others, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("planes", "shape"), [(1, (1, 120, 135)), (9, (9, 40, 52))])
@pytest.mark.parametrize("options", [{"threads": 1}, {"threads": 2}, {"in_line": True}], ids=str)
def test_together_is_each_by_itself_to_the_last_bit(batches, precision, planes, shape, options):
    jobs = _jobs(*11 * [shape])
    detector = _detector(precision, planes, **options)
    together = list(detector.detect_each(jobs))
    assert sum(batches) == 11
    assert len(batches) < 11
    batches.clear()
    _same(together, [next(detector.detect_each([job])) for job in jobs])
    assert batches == 11 * [1]
    assert min(len(found) for found in together) > 5


def test_frames_of_other_sizes_are_not_mixed(batches):
    small, other, large = (1, 64, 64), (1, 80, 64), (1, 640, 640)
    jobs = _jobs(*6 * [small], other, large, small, small)
    detector = _detector(in_line=True)
    together = list(detector.detect_each(jobs))
    assert batches == [1, 1, 2, 2, 1, 1, 2]  # never more than were done before
    _same(together, [next(detector.detect_each([job])) for job in jobs])


@pytest.mark.parametrize("limit", ["voxels", "bytes", "tile"])
def test_what_takes_much_memory_stays_by_itself(batches, monkeypatch, limit):
    detector, jobs = _detector(in_line=True), _jobs(*5 * [(1, 64, 64)])
    if limit == "voxels":
        detector.sizes.together_voxels = 64 * 64
    if limit == "bytes":
        monkeypatch.setattr(tile_sizes, "TOGETHER_BYTES", jobs[0].frames[0].nbytes)
    list(detector.detect_each(jobs, tile=(1, 64, 64) if limit == "tile" else None))
    assert batches == 5 * [1]


def test_where_memory_does_not_do_for_several_they_are_computed_one_by_one(monkeypatch):
    forward, sizes = Detector._forward, []

    def small(self, image, *between):
        sizes.append(len(image))
        if len(image) > 1:
            raise MemoryError
        return forward(self, image, *between)

    jobs = _jobs(*8 * [(1, 64, 64)])
    expected = list(_detector(in_line=True).detect_each(jobs))
    monkeypatch.setattr(Detector, "_forward", small)
    detector = _detector(in_line=True)
    _same(list(detector.detect_each(jobs)), expected)
    assert sizes == [1, 1, 2, 1, 1, 1, 1, 1, 1]
    sizes.clear()
    _same(list(detector.detect_each(jobs)), expected)
    assert sizes == 8 * [1]


def test_an_error_in_one_go_is_told(monkeypatch):
    forward = Detector._forward

    def broken(self, image, *between):
        if len(image) > 1:
            raise RuntimeError("no such thing")
        return forward(self, image, *between)

    monkeypatch.setattr(Detector, "_forward", broken)
    with pytest.raises(RuntimeError, match="no such thing"):
        list(_detector(in_line=True).detect_each(_jobs(*5 * [(1, 64, 64)])))
