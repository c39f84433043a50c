"""A run meets a full disk, values that are not finite, memory that runs out, overfitting."""

from __future__ import annotations

import math
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.errors import CellTrainError
from napari_celltrain.evaluation.scores import Scores
from napari_celltrain.files import TEMPORARY_PREFIX
from napari_celltrain.prediction.contrast import Impression
from napari_celltrain.training import beginning, learner, pace, sitting
from napari_celltrain.training import checkpoint as checkpoint_module
from napari_celltrain.training.checkpoint import load_newest
from napari_celltrain.training.control import Control
from napari_celltrain.training.events import Evaluation, FindingEvent, StateChanged, Step
from napari_celltrain.training.loop import train
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings
from napari_celltrain.training.standing import OVERFITTING_AFTER, Standing

STEPS = 20


@pytest.fixture(scope="module")
def settings(fast_settings) -> TrainingSettings:
    values = fast_settings.model_dump()
    values["budget"]["steps"] = STEPS
    values["design"]["width"] = 4
    values["optimiser"].update(crop_size=32, batch_size=2)
    values["compute"]["checkpoint_every_s"] = 0.001
    return TrainingSettings.from_dict(values)


@pytest.fixture(scope="module")
def dataset(make_blobs) -> Dataset:
    return Dataset((Member(make_blobs(times=6, shape=(1, 48, 48), cells=5)),))


@pytest.fixture(autouse=True)
def told_at_every_step(monkeypatch):
    monkeypatch.setattr(pace, "TELL_EVERY_S", 0.0)


def _codes(told) -> list[str]:
    return [event.finding.code for event in told if isinstance(event, FindingEvent)]


# --- full disk ---


def _full_for(monkeypatch, after: int, times: int) -> list[int]:
    """Let the disk be full for some writes of checkpoints, after the first few."""
    calls = [0]
    original = checkpoint_module.write_bytes

    def write(path, content):
        calls[0] += 1
        if after < calls[0] <= after + times:
            raise CellTrainError(f"{path} can't be written: No space left on device.")
        original(path, content)

    monkeypatch.setattr(checkpoint_module, "write_bytes", write)
    return calls


def test_a_full_disk_pauses_the_run_and_loses_nothing(dataset, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(sitting, "RETRY_S", 0.02)
    calls = _full_for(monkeypatch, after=3, times=4)
    told = []
    finished = train(dataset, tmp_path / "run", settings, [told.append])
    assert calls[0] > 7
    assert finished.reason == "steps done"
    assert finished.step == STEPS
    assert "cannot-write" in _codes(told)
    paused = [e.sentence for e in told if isinstance(e, StateChanged) and e.state == "paused"]
    assert len(paused) == 1
    assert "No space left" in paused[0]
    after = told[told.index(next(e for e in told if getattr(e, "state", "") == "paused")) :]
    assert any(getattr(e, "state", "") == "training" for e in after)
    newest, damaged = load_newest(tmp_path / "run" / "checkpoints")
    assert damaged == []
    assert newest is not None
    assert newest.step == STEPS
    assert not list((tmp_path / "run").rglob(TEMPORARY_PREFIX + "*"))


def test_a_pause_for_a_full_disk_costs_nothing_of_the_budget(
    dataset, settings, tmp_path, monkeypatch
):
    monkeypatch.setattr(sitting, "RETRY_S", 0.5)
    _full_for(monkeypatch, after=3, times=3)
    begin = time.monotonic()
    finished = train(dataset, tmp_path / "run", settings)
    assert finished.seconds < time.monotonic() - begin - 1.4


def test_a_run_on_a_full_disk_can_be_stopped(dataset, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(sitting, "RETRY_S", 60.0)
    _full_for(monkeypatch, after=3, times=10**6)
    control = Control()

    def stop_when_paused(event):
        if getattr(event, "state", "") == "paused":
            threading.Timer(0.2, control.stop).start()

    begin = time.monotonic()
    finished = train(dataset, tmp_path / "run", settings, [stop_when_paused], control=control)
    assert time.monotonic() - begin < 50
    assert finished.reason == "stopped by the user"
    newest, _ = load_newest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert 0 < newest.step < finished.step
    assert f"step {newest.step}" in finished.sentence
    monkeypatch.undo()
    assert train(dataset, tmp_path / "run", settings, resume=True).step == STEPS


def test_a_run_that_cannot_even_begin_to_write_is_a_sentence(dataset, settings, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CellTrainError, match="can't be used"):
        train(dataset, tmp_path / "file" / "run", settings)


# --- values that are not finite ---


def _spoil(monkeypatch, when) -> None:
    """Make the loss NaN at some steps."""
    calls = [0]
    original = learner.detection_loss

    def loss(output, target):
        heat, offset = original(output, target)
        calls[0] += 1
        return (heat * math.nan if when(calls[0]) else heat), offset

    monkeypatch.setattr(learner, "detection_loss", loss)


def test_steps_that_are_not_finite_are_skipped_counted_and_told(
    dataset, settings, tmp_path, monkeypatch
):
    _spoil(monkeypatch, lambda call: call in (3, 7, 8))
    told = []
    train(dataset, tmp_path / "run", settings, [told.append])
    steps = [event for event in told if isinstance(event, Step)]
    assert steps[-1].nonfinite_steps == 3
    assert steps[1].nonfinite_steps == 0
    assert all(math.isfinite(event.loss) for event in steps)
    assert _codes(told).count("non-finite") == 1
    newest, _ = load_newest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert all(bool(torch.isfinite(value).all()) for value in newest.tensors.values())


def test_training_in_bfloat16_falls_back_to_float32(dataset, settings, tmp_path, monkeypatch):
    _spoil(monkeypatch, lambda call: call <= learner.MAX_NONFINITE)
    told = []
    bfloat16 = settings.changed(["compute.precision=bfloat16"])
    train(dataset, tmp_path / "run", bfloat16, [told.append])
    assert "float32" in _codes(told)
    newest, _ = load_newest(tmp_path / "run" / "checkpoints")
    assert newest is not None
    assert newest.state["precision"] == "float32"
    assert newest.state["nonfinite"] == learner.MAX_NONFINITE


def test_training_that_is_never_finite_ends_with_a_sentence(
    dataset, settings, tmp_path, monkeypatch
):
    _spoil(monkeypatch, lambda call: True)
    with pytest.raises(CellTrainError, match="not finite"):
        train(dataset, tmp_path / "run", settings.changed(["budget.steps=200"]))


# --- overfitting ---


def _by_heart(scores, losses, cells=400) -> str | None:
    """What is said after a series of evaluations, of which the first is the best."""
    standing = Standing(
        best_f1=scores[0], worse=list(scores[1:]), best_train_loss=losses[0], cells=cells
    )
    return standing.overfitting(losses[1])


def test_a_falling_held_out_score_with_a_falling_loss_is_overfitting():
    sentence = _by_heart([0.9] + [0.75] * OVERFITTING_AFTER, (0.3, 0.1))
    assert sentence is not None
    assert "0.900" in sentence
    assert "0.750" in sentence


@pytest.mark.parametrize(
    ("scores", "losses", "cells"),
    [
        ([0.9] + [0.75] * (OVERFITTING_AFTER - 1), (0.3, 0.1), 400),
        ([0.9] + [0.75] * OVERFITTING_AFTER, (0.3, 0.29), 400),
        ([0.9] + [0.89] * OVERFITTING_AFTER, (0.3, 0.1), 400),
        ([0.9] + [0.80] * OVERFITTING_AFTER, (0.3, 0.1), 20),
        ([0.0] + [0.0] * OVERFITTING_AFTER, (0.3, 0.1), 400),
    ],
    ids=["not for long", "the loss does not fall", "hardly lower", "few cells: chance", "nothing"],
)
def test_other_courses_are_not_overfitting(scores, losses, cells):
    assert _by_heart(scores, losses, cells) is None


def test_overfitting_ends_the_run_with_the_best_kept(dataset, settings, tmp_path, monkeypatch):
    """Evaluations as they would be: good at first, then ever worse, while the loss falls."""
    results = iter([0.9] + [0.5] * 100)
    saved = []

    def evaluate(self, detector, frames, stopping=lambda: False):
        f1 = next(results)
        saved.append(f1)
        tp = round(1000 * f1)
        scores = Scores(tp=tp, fp=1000 - tp, fn=1000 - tp)
        return SimpleNamespace(
            scores=scores,
            f1=scores.f1,
            threshold=0.5,
            steadiness=f1,
            cells=1000,
            frames=(),
            impression=Impression(clear=0, undecided=0, brightness=math.nan),
            thresholds={},
        )

    monkeypatch.setattr(beginning.HeldOut, "evaluate", evaluate)
    original = learner.detection_loss
    calls = [0]

    def falling(output, target):
        calls[0] += 1
        heat, offset = original(output, target)
        return heat / calls[0], offset / calls[0]

    monkeypatch.setattr(learner, "detection_loss", falling)
    told = []
    long = settings.changed(["budget.steps=2000", "compute.checkpoint_every_s=100"])
    monkeypatch.setattr(
        beginning.Evaluations,
        "schedule",
        lambda self, step, *_: setattr(self, "next_step", step + 10),
    )
    finished = train(dataset, tmp_path / "run", long, [told.append])
    assert finished.reason == "overfitting"
    assert finished.step < 200
    assert finished.best_f1 == pytest.approx(0.9)
    assert "overfitting" in _codes(told)
    best = [event.step for event in told if isinstance(event, Evaluation) and event.best]
    assert best == [10]
    assert (tmp_path / "run" / "best" / "detector.json").is_file()
    assert RunFolder(tmp_path / "run").is_finished()


# --- memory ---


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate memory"
        ),
        RuntimeError("could not create a primitive"),
        MemoryError(),
    ],
    ids=["graphics card", "processor", "oneDNN", "Python"],
)
def test_a_batch_that_does_not_fit_is_halved(dataset, settings, tmp_path, monkeypatch, error):
    original = learner.Learner.learn
    batches = []

    def learn(self, parts, rate):
        batches.append(sum(len(part.images) for part in parts))
        if batches[-1] > 2:
            raise error
        original(self, parts, rate)

    monkeypatch.setattr(learner.Learner, "learn", learn)
    told = []
    large = settings.changed(["optimiser.batch_size=8"])
    finished = train(dataset, tmp_path / "run", large, [told.append])
    assert finished.step == STEPS
    assert batches[:3] == [8, 4, 2]
    assert any("memory" in e.finding.message for e in told if isinstance(e, FindingEvent))


def test_a_convolution_that_can_not_be_measured_for_want_of_memory_is_no_obstacle(
    dataset, settings, tmp_path, monkeypatch
):
    def no_room(*arguments):
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr("napari_celltrain.training.performance.measure_flops", no_room)
    finished = train(dataset, tmp_path / "run", settings)
    assert finished.step == STEPS
    assert "conv_efficiency" not in finished.performance


def test_another_error_of_the_library_is_not_taken_for_memory(
    dataset, settings, tmp_path, monkeypatch
):
    def loss(output, target):
        raise RuntimeError("a bug")

    monkeypatch.setattr(learner, "detection_loss", loss)
    with pytest.raises(RuntimeError, match="a bug"):
        train(dataset, tmp_path / "run", settings)
