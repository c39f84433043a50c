"""A labels layer says where cells are, and is counted without holding the window up."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.counts import CountsWidget
from napari_celltrain.gui.open_experiments import open_experiments
from napari_celltrain.gui.training_entry import TrainingEntry
from napari_celltrain.gui.watching import Watcher


def squares():
    """Two cells at t = 0, one at t = 2."""
    labels = np.zeros((3, 20, 30), np.int32)
    labels[0, 2:5, 4:7] = 1  # centre (3, 5)
    labels[0, 10:12, 20:22] = 7  # centre (10.5, 20.5)
    labels[2, 0:1, 0:1] = 7
    return labels


@pytest.fixture
def watcher(viewer, qapp):
    from qtpy.QtCore import QObject

    owner = QObject()
    watcher = Watcher(viewer, owner)
    yield watcher
    watcher.stop()
    owner.deleteLater()


def counted(qtbot, watcher):
    qtbot.waitUntil(lambda: not watcher.labels.busy, timeout=10_000)


def test_the_centres_of_labels_are_cells_of_the_image_of_that_shape(viewer, watcher, qtbot):
    viewer.add_image(np.zeros((3, 50, 50)), name="masks of something else")
    viewer.add_image(np.zeros((3, 20, 30)), name="fly", scale=(1, 0.5, 0.5))
    labels = viewer.add_labels(squares(), name="masks", scale=(1, 0.5, 0.5))
    found = next(one for one in open_experiments(viewer.layers) if one.labels is labels)
    assert found.images[0].name == "fly"
    with pytest.raises(CellTrainError, match="being counted"):
        found.read()
    counted(qtbot, watcher)
    read = found.read()
    assert read.name == "masks"
    assert read.annotations.t.tolist() == [0, 0, 2]
    assert read.annotations.positions.tolist() == [[0, 3, 5], [0, 10.5, 20.5], [0, 0, 0]]
    assert read.annotations.features["label"].tolist() == [1, 7, 7]
    assert read.annotations.links.size == 0  # equal numbers need not be the same cell
    assert read.known_voxel_size_um == (1.0, 0.5, 0.5)


def test_without_an_image_labels_are_counted_all_the_same(viewer, watcher, qtbot):
    viewer.add_labels(squares()[0], name="one frame")
    counted(qtbot, watcher)
    (found,) = open_experiments(viewer.layers)
    read = found.read()
    assert read.images is None
    assert read.annotations.t.tolist() == [0, 0]
    assert read.annotations.positions[0].tolist() == [0, 3, 5]


def test_painting_is_followed_where_it_was_painted_only(viewer, watcher, qtbot, monkeypatch):
    from napari_celltrain.formats import label_images

    viewer.add_image(np.zeros((3, 20, 30)), name="fly")
    layer = viewer.add_labels(squares(), name="masks")
    counted(qtbot, watcher)
    looked_at = []
    real = label_images.centroids
    monkeypatch.setattr(
        label_images, "centroids", lambda frame: looked_at.append(frame.shape) or real(frame)
    )
    viewer.dims.set_point(0, 1)
    layer.brush_size = 1
    layer.paint((1, 10, 10), 3)
    qtbot.waitUntil(lambda: watcher.labels.busy)
    counted(qtbot, watcher)
    (found,) = open_experiments(viewer.layers)
    assert found.read().annotations.t.tolist() == [0, 0, 1, 2]
    assert looked_at == [(1, 20, 30)]
    layer.data = np.zeros((3, 20, 30), np.int32)
    counted(qtbot, watcher)
    assert len(found.read().annotations) == 0
    assert len(looked_at) == 4


def test_a_layer_that_cannot_be_read_is_a_sentence(viewer, watcher, qtbot, monkeypatch):
    from napari_celltrain.formats import label_images

    def broken(frame):
        raise OSError("the disk is gone")

    monkeypatch.setattr(label_images, "centroids", broken)
    viewer.add_labels(squares(), name="masks")
    counted(qtbot, watcher)
    (found,) = open_experiments(viewer.layers)
    with pytest.raises(CellTrainError, match="the disk is gone"):
        found.read()


def test_the_counts_show_them_and_the_window_is_not_held_up(viewer, qtbot):
    widget = CountsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="counts")
    threads = set()

    class Slow:
        """Labels that take their time, as a large file does."""

        shape, dtype, ndim = (3, 20, 30), np.dtype(np.int32), 3

        def __getitem__(self, index):
            threads.add(threading.current_thread())
            if threading.current_thread() is not threading.main_thread():
                time.sleep(0.2)
            return squares()[index]

        def __array__(self, dtype=None, copy=None):
            return squares()

    viewer.add_image(np.zeros((3, 20, 30)), name="fly")
    viewer.add_labels(Slow(), name="masks")
    qtbot.waitUntil(lambda: widget.table.rowCount() == 2)
    assert widget.table.item(0, 2).text() == "–"
    assert "being counted" in widget.table.item(0, 0).toolTip()
    qtbot.waitUntil(lambda: widget.table.item(0, 2).text() == "3", timeout=10_000)
    assert widget.table.item(0, 1).text() == "2 / 3"
    assert len(threads) == 2
    qtbot.waitUntil(lambda: widget._closer is None, timeout=10_000)


def cells(viewer):
    (found,) = open_experiments(viewer.layers)
    return found.read().annotations.t.tolist()


def test_what_is_undone_is_counted_no_longer_wherever_it_is(viewer, watcher, qtbot):
    viewer.add_image(np.zeros((3, 20, 30)), name="fly")
    layer = viewer.add_labels(squares(), name="masks")
    counted(qtbot, watcher)
    for shown in (1, 2):  # the frame in which something is undone, and another one
        viewer.dims.set_point(0, 1)
        layer.paint((1, 10, 10), 3)
        qtbot.waitUntil(lambda: cells(viewer) == [0, 0, 1, 2])
        viewer.dims.set_point(0, shown)
        layer.undo()
        qtbot.waitUntil(lambda: cells(viewer) == [0, 0, 2])
        layer.redo()
        qtbot.waitUntil(lambda: cells(viewer) == [0, 0, 1, 2])
        layer.undo()
        qtbot.waitUntil(lambda: cells(viewer) == [0, 0, 2])
    counted(qtbot, watcher)


def test_what_is_set_in_a_frame_out_of_sight_is_counted(viewer, watcher, qtbot):
    viewer.add_image(np.zeros((3, 20, 30)), name="fly")
    layer = viewer.add_labels(squares(), name="masks")
    counted(qtbot, watcher)
    viewer.dims.set_point(0, 0)
    layer.data_setitem((np.array([1, 1]), np.array([4, 5]), np.array([6, 6])), 3)
    qtbot.waitUntil(lambda: cells(viewer) == [0, 0, 1, 2])
    counted(qtbot, watcher)


def test_moving_through_time_looks_at_nothing_again(viewer, watcher, qtbot):
    viewer.add_image(np.zeros((3, 20, 30)), name="fly")
    viewer.add_labels(squares(), name="masks")
    counted(qtbot, watcher)
    viewer.dims.set_point(0, 0)
    counted(qtbot, watcher)
    for shown in (1, 2, 0):
        viewer.dims.set_point(0, shown)
        assert not watcher.labels.busy


def test_training_learns_from_what_is_painted_when_it_starts(viewer, watcher, qtbot):
    viewer.add_image(np.zeros((3, 20, 30)), name="fly")
    layer = viewer.add_labels(squares(), name="masks")
    counted(qtbot, watcher)
    layer.data[1, 4:6, 4:6] = 5  # by a script, which tells nobody
    layer.data[0] = 0
    (found,) = open_experiments(viewer.layers)
    assert TrainingEntry(found).to_member().experiment.annotations.t.tolist() == [1, 2]


def test_every_dock_hears_of_what_one_of_them_has_counted(viewer, qtbot):
    from qtpy.QtCore import QObject

    owner = QObject()
    viewer.add_image(np.zeros((3, 20, 30)), name="fly")
    layer = viewer.add_labels(squares(), name="masks")
    docks = [Watcher(viewer, owner) for _ in range(2)]
    heard = []
    for dock in docks:
        dock.points_changed.connect(lambda dock=dock: heard.append(dock))
    qtbot.waitUntil(lambda: set(heard) == set(docks), timeout=10_000)
    heard.clear()
    layer.paint((1, 10, 10), 3)
    qtbot.waitUntil(lambda: set(heard) == set(docks), timeout=10_000)
    for dock in docks:
        counted(qtbot, dock)
        dock.stop()
    owner.deleteLater()
