"""A distance between planes that is wrong shows in how deep the cells would be."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.statistics.depth import REACH, depth_of
from napari_celltrain.statistics.diameter import Diameter
from napari_celltrain.statistics.fit import fit_findings

ESTIMATE = Diameter(9.0, "um", "image", "as made")


def _codes(experiment) -> list[str]:
    return [finding.code for finding in fit_findings(experiment)]


def _in_z(experiment, factor):
    z, y, x = experiment.voxel_size_um
    return experiment.with_(voxel_size_um=(factor * z, y, x))


SPACINGS = {
    "like a pixel": ((40, 60, 60), (0.8, 0.8, 0.8)),
    "usual": ((12, 90, 90), (2.0, 0.6, 0.6)),
    "far": ((10, 90, 90), (5.0, 0.6, 0.6)),
}


@pytest.fixture(scope="module", params=SPACINGS)
def stack(make_blobs, request):
    shape, voxel = SPACINGS[request.param]
    return make_blobs(times=4, shape=shape, cells=12, voxel_size_um=voxel, width=8.0)


def test_right_planes_are_left_in_peace(stack):
    assert _codes(stack) == []
    assert _codes(_in_z(stack, 1.5)) == []
    assert _codes(_in_z(stack, 0.7)) == []


@pytest.mark.parametrize("factor", [10, 0.1])
def test_planes_at_a_distance_wrong_by_ten_are_noticed(stack, factor):
    (finding,) = fit_findings(_in_z(stack, factor))
    assert finding.code == "plane-distance"
    assert "look whether the voxel size" in finding.message


def test_dark_cells_are_as_deep(stack):
    dark = stack.with_(images=type(stack.images)(2000 - stack.images.array, "tzyx"))
    assert _codes(dark) == []
    assert _codes(_in_z(dark, 10)) == ["plane-distance"]


@pytest.mark.parametrize(("factor", "words"), [(10, "at least"), (0.1, "all 5 planes together")])
def test_a_stack_thinner_than_its_cells_tells_too(make_blobs, factor, words):
    thin = make_blobs(
        times=4, shape=(5, 260, 260), cells=8, voxel_size_um=(1.0, 0.2, 0.2), width=12.0
    )
    assert _codes(thin) == []
    (finding,) = fit_findings(_in_z(thin, factor))
    assert finding.code == "plane-distance"
    assert words in finding.message


def test_distances_that_no_microscope_has_are_doubted_without_cells(make_blobs):
    few = make_blobs(times=1, shape=(10, 40, 40), cells=2, voxel_size_um=(1.0, 1.0, 1.0))
    assert _codes(few) == []
    assert _codes(_in_z(few, 0.05)) == ["plane-distance"]
    assert _codes(_in_z(few, 200)) == ["plane-distance"]


def test_without_a_voxel_size_there_is_nothing_to_doubt(stack):
    assert _codes(stack.with_(voxel_size_um=None, images=_without_size(stack.images))) == []


def _without_size(images):
    return type(images)(images.array, "tzyx")


def test_half_of_the_answer_is_the_end_of_a_cell():
    profile = np.full(2 * REACH + 1, np.nan)
    profile[REACH - 2 : REACH + 3] = [0.2, 0.8, 1.0, 0.6, 0.4]
    depth = depth_of(profile)
    assert depth.planes == pytest.approx((1.5 + 1.5) / 2)
    assert not depth.at_least
    profile[REACH - 2 : REACH + 3] = [0.9, 0.8, 1.0, 0.8, np.nan]
    assert depth_of(profile).planes == 2
    assert depth_of(profile).at_least


def test_of_a_large_stack_few_planes_are_read(make_blobs, monkeypatch):
    stack = make_blobs(times=2, shape=(30, 60, 60), cells=16, voxel_size_um=(1.0, 1.0, 1.0))
    monkeypatch.setattr("napari_celltrain.statistics.depth.MOST_PIXELS", 9 * 60 * 60)
    monkeypatch.setattr("napari_celltrain.statistics.blob_filter.MOST_PIXELS", 4 * 60 * 60)
    monkeypatch.setattr("napari_celltrain.statistics.fit.estimate_diameter", lambda e: ESTIMATE)
    read = []
    crop = type(stack.images).read_crop

    def counting(self, t, channel, box):
        read.append((t, box[0].start))
        return crop(self, t, channel, box)

    monkeypatch.setattr(type(stack.images), "read_crop", counting)
    assert _codes(stack) == []
    assert len(set(read)) <= 4 + 2 * 4 + 9
