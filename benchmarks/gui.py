"""How quickly the window answers, and whether opening and closing its docks leaves anything.

    python benchmarks/gui.py [--cycles 200] [--seconds 15] [--json]

Without a display, put ``xvfb-run -a -s "-screen 0 1600x1000x24"`` before it. Printed are medians
(and 99 % values) of what a person waits for; the limits that are aimed at stand beside them.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import napari
import numpy as np
import psutil
import tifffile
from napari.layers import Layer
from qtpy.QtCore import QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.gui import preferences
from napari_celltrain.gui.candidates import Candidates
from napari_celltrain.gui.layers import experiment_layers
from napari_celltrain.images import ArraySource, open_images
from napari_celltrain.simulation import simulate

MANY = 200_000
DOCKS = ("Annotation counts", "Train detector", "Predict cells")


def main() -> None:
    """Measure and print."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--cycles", type=int, default=200)
    arguments.add_argument("--seconds", type=float, default=15)
    arguments.add_argument("--json", action="store_true")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        preferences.runs_folder = lambda: Path(runs)
        figures = {
            **many_points(),
            **while_training(chosen.seconds),
            **while_preparing(),
            **open_and_close(chosen.cycles),
        }
    lines = "\n".join(f"{name}: {figure}" for name, figure in figures.items())
    print(json.dumps(figures) if chosen.json else lines)


def many_points() -> dict[str, Any]:
    """Counting and the threshold with 200 000 points."""
    viewer = napari.Viewer(show=True)
    random = np.random.default_rng(0)
    images = ArraySource(np.zeros((100, 20, 64, 64), np.uint8), "tzyx")
    t = random.integers(0, 100, MANY)
    positions = random.uniform(0, 1, (MANY, 3)) * [20, 64, 64]
    layers = [
        viewer.add_layer(Layer.create(*one))
        for one in experiment_layers(Experiment("many", Annotations(t, positions), images))
    ]
    _, counts = viewer.window.add_plugin_dock_widget("napari-celltrain", "Annotation counts")
    wait_until(lambda: counts._closer is None)
    counting = []
    for _ in range(15):
        layers[-1].add((3, 0, 3, 3))
        begin = time.perf_counter()
        counts.update_counts()
        counting.append(time.perf_counter() - begin)
        wait_until(lambda: counts._closer is None)
    layers[-1].visible = False
    _, predict = viewer.window.add_plugin_dock_widget("napari-celltrain", "Predict cells")
    predict._image = layers[0]
    predict._movie = Experiment("many", images=images)
    scores = random.uniform(0, 1, MANY)
    predict.candidates = Candidates(t, positions, scores, list(range(100)))
    predict._add_layer()
    predict._show_candidates()
    sliding = []
    for threshold in np.linspace(0.1, 0.9, 30):
        begin = time.perf_counter()
        predict.threshold.set_threshold(threshold)
        sliding.append(time.perf_counter() - begin)
    viewer.close()
    return {
        "count 200 000 points, ms (limit 100)": milliseconds(np.median(counting)),
        "threshold of 200 000 candidates, ms (limit 50)": milliseconds(np.median(sliding)),
    }


def while_training(seconds: float) -> dict[str, Any]:
    """Gaps between the ticks of a 10 ms timer: idle, training, and with the slider dragged."""
    viewer = napari.Viewer(show=True)
    movie = simulate("organoid")
    for one in experiment_layers(movie):
        viewer.add_layer(Layer.create(*one))
    _, train = viewer.window.add_plugin_dock_widget("napari-celltrain", "Train detector")
    wait_until(lambda: train.preflight._job is None)
    figures: dict[str, Any] = {}
    last = len(movie.images.time_points) - 1 if movie.images is not None else 0

    def slide() -> None:
        viewer.dims.set_point(0, (viewer.dims.point[0] + 1) % last)

    idle, idle_sliding = ticks(seconds), ticks(seconds, slide)
    train.form.row("budget.minutes").value = 60
    begin = time.perf_counter()
    train.start()
    loading = ticks(8)
    wait_until(lambda: "Step" in train.progress.numbers.text())
    training, training_sliding = ticks(seconds), ticks(seconds, slide)
    figures["first step after, s"] = round(time.perf_counter() - begin - 2 * seconds, 1)
    begin = time.perf_counter()
    train.stop()
    wait_until(lambda: not train.running)
    figures["stop, s (limit 1, and the checkpoint)"] = round(time.perf_counter() - begin, 2)
    for name, gaps in (
        ("idle", idle), ("idle, slider dragged", idle_sliding), ("engine loading", loading),
        ("training (limit p99 50)", training),
        ("training, slider dragged (limit 1.5 x idle)", training_sliding),
    ):  # fmt: skip
        p50, p99 = np.percentile(gaps, (50, 99))
        figures[f"tick, {name}, ms"] = (
            f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)}, max {milliseconds(max(gaps))}"
        )
    viewer.close()
    return figures


def while_preparing() -> dict[str, Any]:
    """Gaps between the ticks while the frames of a large compressed movie are made ready."""
    viewer = napari.Viewer(show=True)
    random = np.random.default_rng(0)
    shape, frames = (32, 768, 768), 16
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.tif"
        stack = random.integers(90, 130, shape, np.uint16)
        positions = random.uniform(0.1, 0.9, (60, 3)) * shape
        for z, y, x in positions.astype(int):
            stack[max(0, z - 3) : z + 4, y - 9 : y + 10, x - 9 : x + 10] += 500
        pages = (plane for _ in range(frames) for plane in stack)
        tifffile.imwrite(
            path, pages, shape=(frames, *shape), dtype=np.uint16, compression="zlib",
            bigtiff=True, photometric="minisblack", metadata={"axes": "TZYX"},
        )  # fmt: skip
        t = np.repeat(np.arange(frames), len(positions))
        annotations = Annotations(t, np.tile(positions, (frames, 1)))
        movie = Experiment("large", annotations, open_images(path), voxel_size_um=(2, 0.5, 0.5))
        for one in experiment_layers(movie):
            viewer.add_layer(Layer.create(*one))
        _, train = viewer.window.add_plugin_dock_widget("napari-celltrain", "Train detector")
        wait_until(lambda: train.preflight._job is None)
        train.start()
        wait_until(lambda: "Reading" in train.progress.sentence.text())
        gaps: list[float] = []
        while "Step" not in train.progress.numbers.text() and len(gaps) < 6000:
            gaps += ticks(1)
        train.stop()
        wait_until(lambda: not train.running)
        viewer.close()
    p50, p99 = np.percentile(gaps, (50, 99))
    return {
        "tick, preparing frames of 19 M voxels, ms": (
            f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)}, max {milliseconds(max(gaps))}"
        )
    }


def open_and_close(cycles: int) -> dict[str, Any]:
    """Memory, threads and widgets after opening and closing each dock many times."""
    figures: dict[str, Any] = {}
    viewer = napari.Viewer(show=True)
    for one in experiment_layers(simulate("plane", time_points=4, size=(1, 64, 64), n_cells=8)):
        viewer.add_layer(Layer.create(*one))
    process = psutil.Process()
    for name in DOCKS:
        memory = []
        for cycle in range(cycles):
            dock, _ = viewer.window.add_plugin_dock_widget("napari-celltrain", name)
            QTest.qWait(30)
            viewer.window.remove_dock_widget(dock)
            del dock, _
            QTest.qWait(5)
            if cycle % 20 == 19:
                gc.collect()
                QTest.qWait(200)
                memory.append(process.memory_info().rss / 2**20)
        gc.collect()
        QTest.qWait(500)
        kind = {"Annotation counts": "CountsWidget", "Train detector": "TrainWidget",
                "Predict cells": "PredictWidget"}[name]  # fmt: skip
        left = sum(type(one).__name__ == kind for one in QApplication.allWidgets())
        half = len(memory) // 2
        figures[f"{name}, {cycles} times open and closed"] = (
            f"MiB {memory[0]:.0f} -> {memory[half]:.0f} -> {memory[-1]:.0f}, widgets left {left}, "
            f"threads {threading.active_count()}"
        )
    viewer.close()
    return figures


def ticks(seconds: float, every_fifth: Any = None) -> list[float]:
    """Return the gaps between ticks; `every_fifth` is called five times a second."""
    gaps, before = [], [time.perf_counter()]

    def tick() -> None:
        now = time.perf_counter()
        gaps.append(now - before[0])
        before[0] = now

    timer, mover = QTimer(), QTimer()
    timer.timeout.connect(tick)
    timer.start(10)
    if every_fifth is not None:
        mover.timeout.connect(every_fifth)
        mover.start(200)
    QTest.qWait(round(seconds * 1000))
    timer.stop()
    mover.stop()
    return gaps[1:]


def wait_until(done: Any, seconds: float = 120) -> None:
    """Let the window work until something is so."""
    end = time.monotonic() + seconds
    while not done():
        QTest.qWait(20)
        if time.monotonic() > end:
            raise SystemExit("It took too long.")


def milliseconds(seconds: float) -> int:
    """Round."""
    return round(1000 * float(seconds))


if __name__ == "__main__":
    main()
