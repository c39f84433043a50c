"""Labels become positions: from arrays of any kind, files and folders, a frame at a time."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import format_named, read_experiments
from napari_celltrain.formats.label_images import (
    annotations_from_labels,
    annotations_from_movie,
    centroids,
)
from napari_celltrain.images import ArraySource

MOVIE = np.zeros((3, 4, 20, 30), np.uint16)
MOVIE[0, 1:3, 4:7, 10:15] = 7
MOVIE[1, 1:3, 5:8, 10:15] = 7
MOVIE[2, 1:3, 6:9, 8:11] = 7
MOVIE[2, 0, 15, 20] = 9


@settings(max_examples=60, deadline=None)
@given(
    arrays(
        st.sampled_from([np.uint8, np.int32, np.uint64]),
        st.tuples(*[st.integers(1, 5)] * 3),
        elements=st.sampled_from([0, 0, 1, 2, 5, 100]),
    ),
    st.sampled_from([1, 10**6]),
)
def test_centroids_are_the_means_of_the_pixels(labels, factor):
    labels = labels.astype(np.int64) * factor
    numbers, centres = centroids(labels)
    assert numbers.tolist() == [number for number in np.unique(labels).tolist() if number]
    for number, centre in zip(numbers, centres, strict=True):
        np.testing.assert_allclose(centre, np.argwhere(labels == number).mean(axis=0))


def test_what_is_below_0_is_background():
    numbers, _ = centroids(np.array([[[-1, 0, 3]]]))
    assert numbers.tolist() == [3]


@pytest.mark.parametrize("make", ["numpy", "dask", "zarr"])
@pytest.mark.parametrize(("axes", "index"), [("tzyx", ()), ("tyx", (slice(None), 1))])
def test_a_layers_array_is_read_whatever_it_is(make, axes, index):
    array = MOVIE[index]
    if make == "dask":
        array = pytest.importorskip("dask.array").from_array(array, chunks=(1, *array.shape[1:]))
    elif make == "zarr":
        zarr = pytest.importorskip("zarr")
        array = zarr.array(array, chunks=(1, *array.shape[1:]))
    source = ArraySource(array, axes, time_offset=37, voxel_size_um=(2.0, 0.5, 0.5))
    found = annotations_from_movie(source, link_labels=True)
    z = 1.5 if axes == "tzyx" else 0.0
    of_7 = found.features["label"] == 7
    assert found.t[of_7].tolist() == [37, 38, 39]
    assert found.positions[of_7].tolist() == [[z, 5, 12], [z, 6, 12], [z, 7, 9]]
    assert len(found.links) == 2
    assert not len(annotations_from_movie(source).links)


def test_a_lazy_movie_is_held_one_frame_at_a_time():
    dask_array = pytest.importorskip("dask.array")
    side, held = 512, []

    def frame(block_id):
        held.append(block_id[0])
        out = np.zeros((1, 8, side, side), np.int32)
        out[0, :, 10:500, 10:500] = block_id[0] + 1
        return out

    movie = dask_array.map_blocks(
        frame,
        chunks=((1,) * 10, (8,), (side,), (side,)),
        dtype=np.int32,
        meta=np.empty(0, np.int32),
    )
    one_frame = 8 * side * side * 4
    annotations_from_movie(ArraySource(movie[:1], "tzyx"))  # loads what is needed
    held.clear()
    tracemalloc.start()
    found = annotations_from_movie(ArraySource(movie, "tzyx"))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found) == 10
    assert held == list(range(10))
    assert most < 4 * one_frame


def test_what_are_no_whole_numbers_is_no_label_image():
    with pytest.raises(CellTrainError, match="float64, not whole numbers"):
        annotations_from_movie(ArraySource(np.zeros((2, 3, 3)), "tyx"))


def test_a_mask_of_all_cells_is_pointed_out():
    mask = np.zeros((1, 10, 10), np.uint8)
    mask[0, 1:3, 1:3] = mask[0, 6:8, 6:8] = 1
    findings = []
    annotations_from_labels([(4, mask)], findings=findings)
    (finding,) = findings
    assert (finding.code, finding.time_point) == ("one-label", 4)
    mask[0, 6:8, 6:8] = 0
    findings.clear()
    annotations_from_labels([(4, mask)], findings=findings)
    assert not findings


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
def test_a_movie_of_labels_in_one_file_is_read_on_demand(tmp_path, suffix):
    path = tmp_path / f"labels{suffix}"
    if suffix == ".tif":
        tifffile.imwrite(path, MOVIE, metadata={"axes": "TZYX"}, photometric="minisblack")
    else:
        zarr = pytest.importorskip("zarr")
        zarr.create_array(path, data=MOVIE, chunks=(1, 4, 20, 30))
    (read,) = read_experiments(path, format_name="Label images", link_labels=True)
    assert len(read.annotations) == 4
    assert len(read.annotations.links) == 2


def test_single_planes_of_segmentations_are_no_time_points(tmp_path):
    for z in range(3):
        tifffile.imwrite(tmp_path / f"man_seg_010_{z:03}.tif", MOVIE[0, 1])
    assert format_named("Label images").recognises(tmp_path)
    with pytest.raises(CellTrainError, match="single planes"):
        read_experiments(tmp_path)
