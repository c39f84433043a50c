"""A run told on the console."""

from __future__ import annotations

import math

import pytest

from napari_celltrain.cli.console import Console
from napari_celltrain.experiment import Finding
from napari_celltrain.training.events import (
    CheckpointSaved,
    Choice,
    Evaluation,
    FindingEvent,
    Finished,
    Preparing,
    StateChanged,
    Step,
)


def step(number=1, **changes):
    values = {
        "step": number, "seconds": 3.0, "loss": 0.5, "learning_rate": 1e-3, "crops_per_s": 40.0,
        "memory_mib": 500.0, "device": "cpu", "share_done": 0.5, "seconds_left": 65.0,
    }  # fmt: skip
    return Step(**(values | changes))


def evaluation(**changes):
    values = {
        "step": 100, "seconds": 61.0, "f1": 0.9512, "precision": 0.96, "recall": 0.94,
        "localisation_error_um": 0.341, "threshold": 0.5, "train_loss": 0.1, "best": True,
    }  # fmt: skip
    return Evaluation(**(values | changes))


def told(capsys, *events):
    console = Console()
    for event in events:
        console(event)
    console.close()
    out, err = capsys.readouterr()
    assert out == ""  # results only, and there is none yet
    return err


def test_choices_come_with_their_reasons(capsys):
    text = told(capsys, Choice("cell diameter", "9.8 um", "measured at 120 cells"))
    assert "cell diameter: 9.8 um" in text
    assert "measured at 120 cells" in text


def test_findings_name_experiment_and_severity(capsys):
    finding = Finding("warning", "outside-image", "12 positions lie outside.", "hela left")
    text = told(capsys, FindingEvent(finding))
    assert text == "warning: hela left: 12 positions lie outside.\n"


def test_evaluation_in_words(capsys):
    text = told(capsys, evaluation())
    assert "F1 0.951" in text
    assert "off by 0.34 um" in text
    assert "best so far" in text
    assert "1:01" in text


def test_a_detector_that_is_kept_although_another_had_more_says_why(capsys):
    text = told(capsys, evaluation(f1=0.96), evaluation(f1=0.955), evaluation(f1=0.97))
    first, second, third = text.splitlines()
    assert "[best so far]" in first
    assert "[kept: as good, and depends less on the threshold]" in second
    assert "[best so far]" in third


def test_evaluation_that_matched_nothing(capsys):
    event = evaluation(localisation_error_um=math.nan, f1=0.0, best=False, trustworthy=False)
    text = told(capsys, event)
    assert "nothing matched" in text
    assert "not to be trusted" in text


def test_pixels_are_called_pixels(capsys):
    assert "0.34 px" in told(capsys, evaluation(unit="px"))


def test_steps_do_not_flood_a_log(capsys):
    lines = told(capsys, *[step(i) for i in range(1000)]).splitlines()
    assert len(lines) == 1
    assert "loss 0.5000" in lines[0]
    assert "1:05 left" in lines[0]


def test_skipped_steps_are_shown(capsys):
    assert "3 steps skipped" in told(capsys, step(nonfinite_steps=3))


def test_a_single_frame_is_one(capsys):
    assert told(capsys, Preparing(1, 1, "")) == "Preparing: 1 of 1 frame.\n"


def test_a_sentence_is_not_repeated(capsys):
    finished = Finished("time is up", 10, 60.0, 0.9, 0.5, "Finished: time is up.")
    events = [StateChanged("training", "Training.")] * 3
    text = told(capsys, *events, finished, StateChanged("finished", finished.sentence))
    assert text.splitlines() == ["Training.", "Finished: time is up."]


@pytest.mark.parametrize("share", [0.5, None])
def test_a_terminal_gets_bars(capsys, monkeypatch, share):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    text = told(
        capsys,
        Preparing(1, 2, "Reading a frame"),
        Preparing(2, 2, "Reading a frame"),
        step(5, share_done=share),
        CheckpointSaved(5, "somewhere"),
        evaluation(),
    )
    assert "Reading a frame" in text
    assert "step 5" in text
    assert "loss 0.5000" in text
    assert " ," not in text
    assert "\r |" not in text  # no frame without words
    assert "F1 0.951" in text


def test_one_skipped_step_is_no_steps(capsys):
    assert ", 1 step skipped," in told(capsys, step(nonfinite_steps=1))
    assert ", 2 steps skipped," in told(capsys, step(nonfinite_steps=2))
