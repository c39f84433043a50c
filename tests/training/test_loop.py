"""A run on blobs that anybody can see: it finds them, says so, and leaves a detector."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.detector.detector import Detector
from napari_celltrain.evaluation.matching import match
from napari_celltrain.training.events import Choice, Evaluation, FindingEvent, Finished, Step
from napari_celltrain.training.loop import train
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings


def test_blobs_are_learnt_in_seconds(small_run):
    history = RunFolder(small_run).read_history()
    end = history[-1]
    assert isinstance(end, Finished)
    assert end.reason == "steps done"
    assert end.best_f1 > 0.9


def test_the_detector_finds_blobs_that_nobody_has_shown_it(small_detector, make_blobs):
    new = make_blobs(times=3, seed=123)
    tp = found = true = 0
    for t in range(3):
        detections = small_detector.detect([new.images.read_frame(t)], (1.0, 1.0, 1.0))
        positions = detections.above(small_detector.threshold).positions
        truth = new.annotations.positions[new.annotations.at(t)]
        tp += len(match(positions, truth, small_detector.design.tolerance).pairs)
        found += len(positions)
        true += len(truth)
    assert 2 * tp / (found + true) > 0.85


def test_noise_has_hardly_any_blobs(small_detector):
    noise = np.random.default_rng(0).normal(100, 12, (1, 96, 96))
    found = small_detector.detect([noise], (1.0, 1.0, 1.0)).above(small_detector.threshold)
    blobs = 14
    assert len(found) < blobs


def test_what_was_decided_is_told_with_reasons(small_run):
    history = RunFolder(small_run).read_history()
    choices = {event.name: event for event in history if isinstance(event, Choice)}
    assert {"device", "cell diameter", "working scale", "network", "crop", "batch size"} <= set(
        choices
    )
    assert all(choice.value and choice.reason for choice in choices.values())


def test_held_out_frames_are_named_and_never_trained_on(small_run, small_detector):
    (finding,) = [
        event.finding
        for event in RunFolder(small_run).read_history()
        if isinstance(event, FindingEvent) and event.finding.code == "held-out"
    ]
    assert "time points 8 to 9" in finding.message
    trained = small_detector.info.trained_on[0].time_points
    assert max(trained) < 7  # and a gap before the block


def test_evaluations_and_the_kept_detector_agree(small_run, small_detector):
    history = RunFolder(small_run).read_history()
    best = [event for event in history if isinstance(event, Evaluation) and event.best][-1]
    assert small_detector.info.step == best.step
    assert small_detector.info.f1 == pytest.approx(best.f1)
    assert small_detector.info.threshold == pytest.approx(best.threshold)
    assert any(isinstance(event, Step) for event in history)
    finished = next(event for event in history if isinstance(event, Finished))
    assert finished.best_f1 == pytest.approx(small_detector.info.f1)


def test_the_run_folder_says_how_it_ended(small_run):
    state = json.loads((small_run / "run.json").read_text())
    assert state["finished"] is True
    assert state["stopped_because"] == "steps done"
    assert state["best_f1"] > 0.9


def test_training_on_a_detector_begins_where_it_stands(
    small_dataset, small_run, fast_settings, tmp_path
):
    settings = fast_settings.changed(["budget.steps=3", "optimiser.learning_rate=0.0001"])
    begun = Detector.from_folder(small_run, device="cpu", precision="float32").info.f1
    finished = train(small_dataset, tmp_path / "run", settings, start_from=small_run)
    assert finished.best_f1 >= begun - 0.05


@pytest.mark.parametrize("seed", [1, 2])
def test_stacks_with_thick_planes_are_learnt_too(make_blobs, fast_settings, tmp_path, seed):
    stack = make_blobs(
        times=6, shape=(8, 64, 64), cells=14, width=10.0, voxel_size_um=(3.0, 1.0, 1.0), seed=seed
    )
    values = fast_settings.model_dump()
    values["optimiser"].update(batch_size=2)
    settings = TrainingSettings.from_dict(values)
    finished = train(Dataset((Member(stack),)), tmp_path / "run", settings)
    assert finished.best_f1 > 0.75


def test_the_weights_do_not_depend_on_the_number_of_threads(small_dataset, fast_settings, tmp_path):
    weights = []
    for threads in (1, 2, 3):
        settings = fast_settings.changed(
            [f"compute.threads={threads}", "budget.steps=6", "optimiser.batch_size=7"]
        )
        folder = tmp_path / str(threads)
        train(small_dataset, folder, settings)
        weights.append(next((folder / "best").glob("weights-*")).read_bytes())
    assert weights[0] == weights[1] == weights[2]
