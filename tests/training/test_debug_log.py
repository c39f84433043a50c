"""The log that whoever helps reads."""

from __future__ import annotations

import errno
import os

import pytest

from napari_celltrain.dataset import Dataset, load_dataset
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding
from napari_celltrain.simulation import write_sample
from napari_celltrain.training import debug_log
from napari_celltrain.training.debug_log import DebugLog
from napari_celltrain.training.events import FindingEvent
from napari_celltrain.training.loop import train
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings

SMALL = ["design.width=8", "optimiser.batch_size=2", "compute.threads=1", "budget.steps=3"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    return load_dataset(
        write_sample(folder, kind="plane", time_points=6, size=(1, 64, 64), n_cells=8)
    )


def test_it_has_versions_device_settings_and_what_happened(dataset, tmp_path):
    settings = TrainingSettings().changed(SMALL)
    train(dataset, tmp_path / "run", settings)
    log = RunFolder(tmp_path / "run").log_file.read_text("utf-8")
    for words in (
        "=== napari-celltrain ", "Python 3.", "torch 2.", "numpy ", "device: cpu (",
        "    steps = 3", "Held out", "finished at step 3",
    ):  # fmt: skip
        assert words in log, words
    train(dataset, tmp_path / "run", settings.changed(["budget.steps=5"]), resume=True)
    whole = RunFolder(tmp_path / "run").log_file.read_text("utf-8")
    assert whole.startswith(log)
    assert whole.count("=== napari-celltrain ") == 2


def test_what_ended_a_run_is_in_it_with_where_it_came_from(dataset, tmp_path):
    def break_down(event):
        raise ZeroDivisionError("by a callback")

    with pytest.raises(ZeroDivisionError):
        train(dataset, tmp_path / "run", TrainingSettings().changed(SMALL), [break_down])
    log = RunFolder(tmp_path / "run").log_file.read_text("utf-8")
    assert "ZeroDivisionError: by a callback" in log
    assert "in break_down" in log


def test_a_log_that_can_not_be_written_stops_nothing(dataset, tmp_path):
    run = tmp_path / "run"
    (run / "debug.log").mkdir(parents=True)
    assert train(dataset, run, TrainingSettings().changed(SMALL)).step == 3


def test_it_does_not_grow_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(debug_log, "LARGEST", 20_000)
    run = RunFolder(tmp_path)
    for sitting in range(30):
        log = DebugLog(run)
        log.begin(TrainingSettings())
        log(FindingEvent(Finding("info", "n", f"sitting {sitting}")))
    text = run.log_file.read_text("utf-8")
    assert len(text) < 25_000
    assert "sitting 29" in text
    assert "sitting 0\n" not in text


def test_where_it_can_not_be_shortened_nothing_of_it_is_lost(tmp_path, monkeypatch):
    """On a full disk, say: half of a log that is written in its place would be gone."""
    run = RunFolder(tmp_path)
    DebugLog(run).begin(TrainingSettings().changed(["budget.steps=4711"]))
    before = run.log_file.read_text("utf-8")
    monkeypatch.setattr(debug_log, "LARGEST", 100)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    DebugLog(run).begin(TrainingSettings())
    assert run.log_file.read_text("utf-8").startswith(before)


def test_a_refusal_is_in_it_too(dataset, tmp_path):
    settings = TrainingSettings().changed(SMALL)
    nobody = Dataset(())
    with pytest.raises(CellTrainError):
        train(nobody, tmp_path / "run", settings)
    assert "CellTrainError" in RunFolder(tmp_path / "run").log_file.read_text("utf-8")
