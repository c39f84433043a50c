"""Two runs on one data set, two programs on one run, prediction beside training."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_celltrain.cli import main
from napari_celltrain.dataset import load_dataset
from napari_celltrain.detector.detector import Detector
from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction.predict import predict
from napari_celltrain.simulation import write_sample
from napari_celltrain.training.control import Control
from napari_celltrain.training.events import Step
from napari_celltrain.training.loop import train
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = [
    "--threads", "1", "--device", "cpu", "--set", "compute.precision=float32",
    "--set", "design.width=4", "--set", "optimiser.batch_size=2",
]  # fmt: skip


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    return write_sample(folder, kind="plane", time_points=6, size=(1, 64, 64), n_cells=8)


def _weights(run) -> dict:
    return Detector.from_folder(run, device="cpu", precision="float32").weights


def test_two_runs_on_one_data_set_do_not_disturb_each_other(sample, tmp_path):
    command = [sys.executable, "-m", "napari_celltrain", "train", str(sample), *QUICK]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    runs = [tmp_path / "a", tmp_path / "b"]
    under_way = [
        subprocess.Popen(
            [*command, "--out", str(run), "--steps", "20"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for run in runs
    ]  # fmt: skip
    for process in under_way:
        _, told = process.communicate(timeout=200)
        assert process.returncode == 0, told
    first, second = map(_weights, runs)
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_a_lock_that_nobody_holds_any_more_is_no_obstacle(sample, tmp_path):
    """As a killed program, or one on a computer that lost its power, leaves it."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.lock").touch()
    (run / "run.pid").write_text("process 999999999", "utf-8")
    assert not RunFolder(run).is_locked()
    assert main(["train", str(sample), "--out", str(run), "--steps", "2", *QUICK]) == 0
    assert (run / "run.pid").read_text("utf-8") == f"process {os.getpid()}"


def test_the_command_line_leaves_a_run_alone_that_a_window_trains(sample, tmp_path):
    """A window trains in a thread of its own process; the other program names that process."""
    run, control, trains = RunFolder(tmp_path / "run"), Control(), threading.Event()

    def tell(event):
        if isinstance(event, Step):
            trains.set()

    settings = TrainingSettings().changed(
        ["budget.steps=100000", "design.width=4", "optimiser.batch_size=2", "compute.threads=1"]
    )
    window = threading.Thread(
        target=train, args=(load_dataset(sample), run.path, settings, [tell]),
        kwargs={"control": control},
    )  # fmt: skip
    window.start()
    try:
        assert trains.wait(100)
        before = run.settings_file.read_bytes()
        done = subprocess.run(
            [sys.executable, "-m", "napari_celltrain", "train", "--out", str(run.path), "--resume",
             "--steps", "3", *QUICK],
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == 2
        assert f"process {os.getpid()}" in done.stderr
        assert "is training in" in done.stderr
        assert run.settings_file.read_bytes() == before
        assert window.is_alive()
    finally:
        control.stop()
        window.join(60)
    assert not window.is_alive()
    assert not run.is_locked()


def test_a_prediction_keeps_to_the_detector_it_began_with(sample, tmp_path):
    """Training writes better ones meanwhile; no frame is found by half of each."""
    for name, steps in (("worse", 10), ("better", 60)):
        run = tmp_path / name
        assert main(["train", str(sample), "--out", str(run), "--steps", str(steps), *QUICK]) == 0
    (experiment,) = load_dataset(sample).experiments
    load = {"device": "cpu", "precision": "float32"}
    worse, better = (Detector.from_folder(tmp_path / name, **load) for name in ("worse", "better"))
    alone = [frame.scores for frame in predict(worse, experiment.images)]
    training = tmp_path / "training" / "best"
    worse.save(training)
    found = []
    for frame in predict(Detector.from_folder(training, **load), experiment.images):
        better.save(training)
        found.append(frame.scores)
    assert len(found) == 6
    assert all(np.array_equal(a, b) for a, b in zip(alone, found, strict=True))
    now = [f.scores for f in predict(Detector.from_folder(training, **load), experiment.images)]
    assert any(
        len(a) != len(b) or not np.array_equal(a, b) for a, b in zip(alone, now, strict=True)
    )


def test_a_place_that_can_not_be_locked_is_a_sentence(sample, tmp_path):
    (tmp_path / "run" / "run.lock").mkdir(parents=True)
    with (
        pytest.raises(CellTrainError, match="can't be locked"),
        RunFolder(tmp_path / "run").locked(),
    ):
        pass


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="suspends processes by signals of POSIX")
def test_a_prediction_keeps_to_its_detector_while_another_process_trains_a_better_one(
    sample, tmp_path
):
    """Each is suspended while the other one works, so that it is certain what comes when."""
    run, out, whole = tmp_path / "run", tmp_path / "cells.csv", tmp_path / "whole.csv"
    images = str(tmp_path / "movie.tif")
    movie = load_dataset(sample).experiments[0].images
    frames = np.concatenate([movie.read_frame(t) for t in movie.time_points])
    long = np.tile(frames, (20, 1, 1))  # so that it is still at it when it is suspended
    tifffile.imwrite(images, long, photometric="minisblack", metadata={"axes": "TYX"})
    find = ["--threads", "1", "--device", "cpu", "--gamma", "1", "--voxel-size", "1,1,1", "--out"]

    def start(*words: object) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "napari_celltrain", *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def wait_for(process: subprocess.Popen, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, and suspend who did it."""
        end = time.monotonic() + 100
        while not is_so():
            assert process.poll() is None, "it ended before"
            assert time.monotonic() < end
            time.sleep(0.002)
        process.send_signal(signal.SIGSTOP)

    best = run / "best" / "detector.json"
    training = start("train", sample, "--out", run, "--steps", "400", *QUICK)
    predicting = None
    try:
        wait_for(training, best.exists)
        before = best.read_bytes()
        shutil.copytree(run / "best", tmp_path / "kept")
        predicting = start("predict", run / "best", images, *find, out)
        partial = tmp_path / "cells.csv.partial"
        wait_for(predicting, lambda: partial.exists() and partial.read_bytes().count(b"\n") > 1)
        assert not out.exists()
        training.send_signal(signal.SIGCONT)
        wait_for(training, lambda: best.read_bytes() != before)
        predicting.send_signal(signal.SIGCONT)
        assert predicting.wait(100) == 0
    finally:
        for process in filter(None, (training, predicting)):
            process.kill()
            process.wait()
    assert main(["predict", str(tmp_path / "kept"), images, *find, str(whole)]) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert main(["predict", str(run / "best"), images, *find, str(whole)]) == 0
    assert out.read_bytes() != whole.read_bytes()  # the better one finds something else
