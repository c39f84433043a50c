"""The history of a run survives crashes, full disks and damaged lines."""

from __future__ import annotations

import errno
import json
import math
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.experiment import Finding
from napari_celltrain.training import history as history_module
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
from napari_celltrain.training.history import HistoryWriter, event_from_json, event_to_json
from napari_celltrain.training.run import RunFolder

REAL = st.floats(allow_nan=False, allow_infinity=False, width=32)
WHOLE = st.integers(0, 2**40)
EVENTS = st.one_of(
    st.builds(Choice, st.text(), st.text(), st.text()),
    st.builds(
        FindingEvent,
        st.builds(
            Finding,
            st.sampled_from(["info", "warning", "error"]),
            st.text(),
            st.text(),
            st.text(),
            st.none() | st.integers(-5, 5000),
            st.lists(WHOLE, max_size=3).map(tuple),
        ),
    ),
    st.builds(
        Step,
        WHOLE,
        REAL,
        REAL,
        REAL,
        REAL,
        REAL,
        st.text(),
        st.none() | REAL,
        st.none() | REAL,
        WHOLE,
    ),
    st.builds(
        Evaluation,
        WHOLE,
        REAL,
        REAL,
        REAL,
        REAL,
        REAL,
        REAL,
        REAL,
        st.booleans(),
        st.booleans(),
        st.sampled_from(["um", "px"]),
    ),
    st.builds(
        Finished,
        st.sampled_from(["time is up", "overfitting"]),
        WHOLE,
        REAL,
        REAL,
        REAL,
        st.text(),
        st.dictionaries(st.text(max_size=5), REAL, max_size=2),
    ),
    st.builds(CheckpointSaved, WHOLE, st.text()),
    st.builds(StateChanged, st.sampled_from(["training", "paused"]), st.text()),
    st.builds(Preparing, WHOLE, WHOLE, st.text()),
)


@given(EVENTS)
def test_an_event_is_one_line_and_comes_back(event):
    line = event_to_json(event)
    assert "\n" not in line
    assert event_from_json(line) == event
    assert event_from_json((line + "\n").encode()) == event


def test_values_that_are_not_finite_come_back_as_such():
    event = Evaluation(5, 1.0, math.nan, math.nan, math.nan, math.nan, 0.5, math.inf, True)
    line = event_to_json(event)
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    back = event_from_json(line)
    assert isinstance(back, Evaluation)
    assert all(math.isnan(v) for v in (back.f1, back.precision, back.recall, back.train_loss))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "null",
        "[]",
        "3",
        '"x"',
        '{"event": "Step"}',
        '{"event": "Bomb"}',
        '{"step": 1}',
        '{"event": ["Step"]}',
        "[" * 100_000,
        '{"event": "Step", "step": "one"}',
        "\x00",
        '{"event": "Evaluation", "step": [], "seconds": {}}',
        '{"event": "FindingEvent"}',
        '{"event": "FindingEvent", "finding": 3}',
        '{"event": "Choice", "name": 1}',
        '{"event": "Step", "step": ' + "9" * 5000 + "}",
    ],
    ids=lambda line: line[:30],
)
def test_what_is_no_event_is_none(line):
    assert event_from_json(line) is None
    assert event_from_json(line.encode()) is None


def _step(number: int) -> Step:
    return Step(number, 1.0, 0.5, 1e-3, 10.0, 100.0, "cpu", None, None)


def _evaluation(number: int) -> Evaluation:
    return Evaluation(number, 1.0, 0.9, 0.9, 0.9, 1.0, 0.5, 0.1, True)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


def test_history_is_what_was_told(folder):
    write = HistoryWriter(folder, every_s=0)
    told = [Choice("a", "b", "c"), _step(1), _evaluation(2), _step(3)]
    for event in (*told, Preparing(1, 2, "x"), StateChanged("training", "y")):
        write(event)
    assert folder.read_history() == told


def test_steps_are_thinned_out_and_evaluations_are_not(folder):
    write = HistoryWriter(folder, every_s=100)
    for number in range(50):
        write(_step(number))
        write(_evaluation(number))
    history = folder.read_history()
    assert sum(isinstance(event, Step) for event in history) == 1
    assert sum(isinstance(event, Evaluation) for event in history) == 50


def test_what_was_told_in_an_earlier_sitting_is_not_told_again(folder):
    finding = FindingEvent(Finding("info", "held-out", "Held out."))
    for _ in range(3):
        write = HistoryWriter(folder)
        write(finding)
        write(Choice("a", "b", "c"))
    assert folder.read_history() == [finding, Choice("a", "b", "c")]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_last_line_cut_off_by_a_crash_is_left_out(folder, cut):
    write = HistoryWriter(folder, every_s=0)
    for number in range(3):
        write(_evaluation(number))
    content = folder.history_file.read_bytes()
    folder.history_file.write_bytes(content[:-cut])
    assert folder.read_history() == [_evaluation(0), _evaluation(1)]
    folder.truncate_history(5, 5)
    HistoryWriter(folder, every_s=0)(_evaluation(9))
    assert folder.read_history() == [_evaluation(0), _evaluation(1), _evaluation(9)]


def test_a_damaged_line_costs_that_line_only(folder):
    write = HistoryWriter(folder, every_s=0)
    write(_evaluation(1))
    with open(folder.history_file, "ab") as file:
        file.write(b"\xff\xfe garbage\n")
    write(_evaluation(2))
    assert folder.read_history() == [_evaluation(1), _evaluation(2)]


def test_history_is_cut_back_to_the_checkpoint(folder):
    write = HistoryWriter(folder, every_s=0)
    end = Finished("steps done", 20, 1.0, 0.9, 0.5, "Finished.")
    for event in (
        Choice("a", "b", "c"),
        _evaluation(10),
        _step(15),
        _evaluation(20),
        end,
        _step(21),
    ):
        write(event)
    folder.truncate_history(15, 10)
    assert folder.read_history() == [Choice("a", "b", "c"), _evaluation(10), _step(15)]


def test_what_a_checkpoint_knows_is_flushed_to_the_disk_like_it(folder, monkeypatch):
    flushed = []
    monkeypatch.setattr("os.fsync", lambda handle: flushed.append(os.fstat(handle).st_size))
    write = HistoryWriter(folder, every_s=0)
    write(_step(20))
    assert flushed == []
    write(_evaluation(20))
    assert flushed == [folder.history_file.stat().st_size]


def test_an_evaluation_that_the_checkpoint_of_its_step_does_not_know_is_forgotten(folder):
    write = HistoryWriter(folder, every_s=0)
    for event in (_evaluation(10), _step(20), _evaluation(20)):
        write(event)
    folder.truncate_history(20, 10)
    assert folder.read_history() == [_evaluation(10), _step(20)]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_delays_the_history_and_cuts_no_line(folder, monkeypatch, number):
    write = HistoryWriter(folder, every_s=0)
    write(_evaluation(1))
    before = folder.history_file.read_bytes()

    def full(path, content, **how):
        with open(path, "ab", buffering=0) as file:
            file.write(content[: len(content) // 2])  # half of it fits
            file.truncate(len(before))
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(history_module, "_append", full)
        write(_evaluation(2))
        write(_evaluation(3))
    assert folder.history_file.read_bytes() == before
    write(_evaluation(4))
    assert folder.read_history() == [_evaluation(n) for n in (1, 2, 3, 4)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_write_that_fails_is_an_error_of_the_system(folder):
    with pytest.raises(OSError, match="No space"):
        history_module._append(type(folder.path)("/dev/full"), b"x", flush=False)
