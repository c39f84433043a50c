"""Every dock hears of what changes in the viewer, whoever changes it."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.gui.counts import CountsWidget
from napari_celltrain.gui.predict import PredictWidget
from napari_celltrain.gui.train import TrainWidget


@pytest.fixture
def docks(viewer, qtbot, tmp_path):
    """The counts and the training."""
    counts, train = CountsWidget(viewer), TrainWidget(viewer)
    train.runs_folder.setText(str(tmp_path))
    viewer.window.add_dock_widget(counts, name="counts")
    viewer.window.add_dock_widget(train, name="train")
    yield counts, train
    qtbot.waitUntil(lambda: counts._closer is None, timeout=10_000)
    qtbot.waitUntil(lambda: train.preflight._job is None, timeout=10_000)


def row(counts):
    return [counts.table.item(0, column).text() for column in (1, 2)]


def errors(train):
    return [one.message for one in train.preflight.findings if one.severity == "error"]


@pytest.mark.parametrize("placed", ["scale", "affine"])
def test_cells_that_are_laid_right_are_no_longer_said_to_lie_outside(viewer, docks, qtbot, placed):
    counts, train = docks
    viewer.add_image(np.zeros((3, 60, 60)), name="nuclei", scale=(1, 0.1, 0.1))
    places = np.random.default_rng(0).uniform(20, 59, (40, 3)) * [0, 1, 1]
    points = viewer.add_points(places, name="nuclei cells")
    qtbot.waitUntil(lambda: any("outside the image" in one for one in errors(train)))
    if placed == "scale":
        points.scale = (1, 0.1, 0.1)
    else:
        points.affine = np.diag([1, 0.1, 0.1, 1])
    qtbot.waitUntil(lambda: not errors(train), timeout=10_000)
    qtbot.waitUntil(
        lambda: not any("outside" in one.message for one in counts.findings.findings),
        timeout=10_000,
    )


def test_an_image_with_other_pixels_is_looked_at_again(viewer, docks, qtbot):
    counts, _ = docks
    image = viewer.add_image(np.zeros((3, 60, 60)), name="nuclei")
    viewer.add_points([[0, 5, 5], [1, 6, 6]], name="nuclei cells")
    qtbot.waitUntil(lambda: counts.table.rowCount() == 2)
    assert row(counts) == ["2 / 3", "2"]
    image.data = np.zeros((7, 60, 60))
    qtbot.waitUntil(lambda: row(counts) == ["2 / 7", "2"])


def test_tracks_with_other_data_and_divisions_are_counted(viewer, docks, qtbot):
    counts, _ = docks
    rows = np.array([[1, 0, 10, 10], [1, 1, 11, 11], [2, 2, 12, 12], [3, 2, 9, 9]], float)
    viewer.add_image(np.zeros((5, 64, 64)), name="movie")
    tracks = viewer.add_tracks(rows, name="movie tracks")
    qtbot.waitUntil(lambda: counts.table.rowCount() == 2)
    assert row(counts) == ["3 / 5", "4"]
    tracks.data = np.vstack([rows, [[4, 3, 5, 5], [4, 4, 5, 5]]])
    qtbot.waitUntil(lambda: row(counts) == ["5 / 5", "6"])
    assert counts.table.item(0, 4).text() == "0"
    tracks.graph = {2: [1], 3: [1]}
    qtbot.waitUntil(lambda: counts.table.item(0, 4).text() == "1")


def test_axes_and_voxel_size_said_in_one_dock_are_known_to_the_others(viewer, docks, qtbot):
    counts, train = docks
    predict = PredictWidget(viewer)
    viewer.window.add_dock_widget(predict, name="predict")
    places = np.random.default_rng(0).uniform(0, 19, (60, 3))
    viewer.add_image(np.zeros((20, 64, 64)), name="stack")
    viewer.add_points(places, name="stack cells")
    qtbot.waitUntil(lambda: predict.image.layer is not None and counts.table.rowCount() == 2)
    assert counts.table.item(0, 1).text().endswith("/ 20")
    assert predict.image.last.value() == 19
    train.table.axes.choose("zyx")
    qtbot.waitUntil(lambda: row(counts) == ["1 / 1", "60"])
    qtbot.waitUntil(lambda: predict.image.axes.box.currentText() == "z, y, x")
    assert predict.image.last.value() == 0
    for box, size in ((predict.image.voxel.depth, 2.0), (predict.image.voxel.width, 0.5)):
        box.setValue(size)
        box.editingFinished.emit()
    qtbot.waitUntil(lambda: train.table.voxel.width.value() == 0.5)
    assert train.table.voxel.depth.value() == 2.0
    qtbot.waitUntil(lambda: counts.table.item(0, 5).text().endswith("um"), timeout=10_000)


def test_an_image_chosen_for_an_annotation_is_known_to_the_counts(viewer, docks, qtbot):
    counts, train = docks
    viewer.add_image(np.zeros((3, 60, 60)), name="nuclei")
    viewer.add_image(np.zeros((7, 60, 60)), name="other", visible=False)
    viewer.add_points([[0, 5, 5], [1, 6, 6]], name="nuclei cells")
    qtbot.waitUntil(lambda: counts.table.rowCount() == 3 and len(train.table.entries) == 2)
    assert row(counts) == ["2 / 3", "2"]
    train.table.table.selectRow(0)
    train.table.image.setCurrentIndex(1)
    qtbot.waitUntil(lambda: row(counts) == ["2 / 7", "2"])
