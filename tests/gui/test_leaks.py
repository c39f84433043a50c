"""A dock that was closed is gone: its widgets, its timers, its threads, and its memory."""

from __future__ import annotations

import gc
import threading

import psutil
import pytest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

DOCKS = ("Annotation counts", "Train detector", "Predict cells")


def cycle(viewer, name, qtbot, times):
    for _ in range(times):
        dock, _ = viewer.window.add_plugin_dock_widget("napari-celltrain", name)
        qtbot.wait(30)
        viewer.window.remove_dock_widget(dock)
        del dock, _
        qtbot.wait(10)
    qtbot.wait(500)
    gc.collect()
    qtbot.wait(50)


def of_ours():
    """Return our widgets that are alive."""
    return [
        type(one).__name__
        for one in QApplication.allWidgets()
        if type(one).__module__.startswith("napari_celltrain")
    ]


def timers():
    return sum(len(one.findChildren(QTimer)) for one in QApplication.topLevelWidgets())


@pytest.mark.parametrize("name", DOCKS)
def test_nothing_is_left_of_a_closed_dock(viewer, add_experiment, experiment, name, qtbot):
    add_experiment(experiment)
    cycle(viewer, name, qtbot, 1)
    before, threads = timers(), threading.active_count()
    cycle(viewer, name, qtbot, 5)
    assert of_ours() == []
    assert timers() <= before
    assert threading.active_count() <= threads


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", DOCKS)
def test_two_hundred_docks_take_no_more_memory_than_a_hundred(
    viewer, add_experiment, experiment, name, qtbot
):
    add_experiment(experiment)
    process = psutil.Process()
    cycle(viewer, name, qtbot, 100)
    half = process.memory_info().rss
    cycle(viewer, name, qtbot, 100)
    assert process.memory_info().rss - half < 20 * 2**20
