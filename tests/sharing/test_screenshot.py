"""The picture in a model card: marks where cells are, and no more of the image than needed."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from napari_celltrain.detector.design import choose_design
from napari_celltrain.errors import CellTrainError
from napari_celltrain.sharing.screenshot import (
    BLUE,
    RED,
    SIDE,
    YELLOW,
    draw_errors,
    held_out_screenshot,
)
from napari_celltrain.training.events import FrameErrors


def design_for(experiment, diameter=9.0):
    return choose_design(
        diameter=diameter, spacing=12.0, voxel_size=experiment.known_voxel_size_um or (1, 1, 1),
        planes=experiment.images.frame_shape[0], unit="um", width=4,
    )  # fmt: skip


def errors(found=(), missed=(), false=()):
    places = (np.array(some, float).reshape(-1, 3) for some in (found, missed, false))
    return FrameErrors("blobs", 0, 3, *places)


def coloured(picture, colour):
    """(y, x) of the pixels of a colour, in pixels of the picture."""
    return np.argwhere((picture == colour).all(axis=-1))


@pytest.mark.parametrize("voxel", [(1.0, 1.0, 1.0), (2.0, 0.5, 0.5)])
def test_each_mark_is_around_its_cell(make_blobs, voxel):
    experiment = make_blobs(voxel_size_um=voxel, shape=(1, 96, 96), cells=4)
    places = errors(found=[[0, 20, 30]], missed=[[0, 50, 40]], false=[[0, 70, 80]])
    drawn = draw_errors(experiment, design_for(experiment), places)
    picture = imagecodecs.png_decode(drawn.content)
    factor = picture.shape[0] // 96
    assert picture.shape == (96 * factor, 96 * factor, 3)
    for colour, (y, x) in ((BLUE, (20, 30)), (YELLOW, (50, 40)), (RED, (70, 80))):
        marked = coloured(picture, colour)
        middle = (np.array([y, x]) + 0.5) * factor
        np.testing.assert_allclose((marked.min(0) + marked.max(0)) / 2, middle, atol=2)
    ring = coloured(picture, BLUE)
    width = (ring.max(0) - ring.min(0)).mean() / factor
    assert width == pytest.approx(9 / voxel[2], rel=0.15)
    assert (
        "1 cell found (blue rings), 1 missed (yellow squares), 1 false detection (" in drawn.caption
    )
    assert "did not learn from" in drawn.caption


def test_of_a_large_frame_a_part_is_shown(make_blobs):
    experiment = make_blobs(shape=(1, 600, 700), cells=4)
    far = errors(found=[[0, 300, 500], [0, 310, 510], [0, 20, 20]])
    drawn = draw_errors(experiment, design_for(experiment), far, learnt=True)
    picture = imagecodecs.png_decode(drawn.content)
    assert max(picture.shape) <= 1.5 * SIDE
    assert "2 cells found" in drawn.caption  # the third is not in sight
    assert "which it learnt from" in drawn.caption


def test_large_cells_make_no_large_picture(make_blobs):
    experiment = make_blobs(shape=(1, 1500, 1500), cells=1, times=4, width=60.0)
    drawn = draw_errors(experiment, design_for(experiment, 60.0), errors(found=[[0, 700, 700]]))
    assert max(imagecodecs.png_decode(drawn.content).shape) <= SIDE


def test_of_a_stack_cells_in_the_shown_planes_are_marked(make_blobs):
    experiment = make_blobs(shape=(30, 64, 64), cells=4, times=4)
    places = errors(found=[[15, 20, 20], [16, 40, 40], [28, 50, 20]], missed=[[2, 10, 50]])
    drawn = draw_errors(experiment, design_for(experiment), places)
    assert "2 cells found" in drawn.caption
    assert "0 missed" in drawn.caption
    assert "planes" in drawn.caption


def test_nothing_to_mark_is_a_picture_too(make_blobs):
    drawn = draw_errors(make_blobs(), design_for(make_blobs()), errors())
    assert "0 cells found" in drawn.caption


def test_without_the_images_there_is_none(small_run, tmp_path):
    with pytest.raises(CellTrainError, match="not beside the images"):
        held_out_screenshot(small_run)  # its images were in memory
    with pytest.raises(CellTrainError):
        held_out_screenshot(tmp_path)
