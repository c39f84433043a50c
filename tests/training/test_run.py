"""The run folder: a history that survives crashes, and one writer at a time."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding
from napari_celltrain.files import TEMPORARY_PREFIX
from napari_celltrain.training import run as run_module
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
from napari_celltrain.training.run import (
    HistoryWriter,
    RunFolder,
    event_from_json,
    event_to_json,
)

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
        patch.setattr(run_module, "_append", full)
        write(_evaluation(2))
        write(_evaluation(3))
    assert folder.history_file.read_bytes() == before
    write(_evaluation(4))
    assert folder.read_history() == [_evaluation(n) for n in (1, 2, 3, 4)]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_write_that_fails_is_an_error_of_the_system(folder):
    with pytest.raises(OSError, match="No space"):
        run_module._append(type(folder.path)("/dev/full"), b"x", flush=False)


# --- state ---


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000, b"{" * 9])
def test_a_damaged_state_is_an_empty_one(folder, content):
    folder.state_file.write_bytes(content)
    assert folder.read_state() == {}
    assert not folder.is_finished()
    folder.write_state(finished=True)
    assert folder.is_finished()


def test_state_is_changed_entry_by_entry(folder):
    folder.write_state(a=1, b=2)
    folder.write_state(b=3)
    assert folder.read_state() == {"a": 1, "b": 3}


# --- the lock ---

HOLDER = """
import sys, time
from napari_celltrain.training.run import RunFolder
from pathlib import Path
with RunFolder(Path(sys.argv[1])).locked():
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_another_process_cannot_train_in_the_same_folder(folder, holder):
    assert folder.is_locked()
    with pytest.raises(CellTrainError, match=rf"process {holder.pid}\b") as error, folder.locked():
        pass
    assert str(folder.path) in str(error.value)


def test_the_lock_of_a_killed_process_is_no_lock(folder, holder):
    holder.kill()
    holder.wait()
    assert not folder.is_locked()
    with folder.locked():
        assert folder.is_locked()
    assert not folder.is_locked()


def test_one_process_cannot_train_twice_either(folder):
    with (
        folder.locked(),
        pytest.raises(CellTrainError, match=f"process {os.getpid()}"),
        folder.locked(),
    ):
        pass


def test_asking_whether_it_is_locked_does_not_keep_a_run_from_starting(folder):
    (folder.path / "run.lock").touch()
    asking = threading.Event()

    def ask():
        while not asking.is_set():
            folder.is_locked()

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            with folder.locked():
                pass
    finally:
        asking.set()
        for thread in threads:
            thread.join()


def test_what_killed_processes_left_is_removed(folder):
    for place in (folder.path, folder.checkpoints, folder.best, folder.prepared):
        (place / (TEMPORARY_PREFIX + "x")).mkdir(parents=True)
        (place / (TEMPORARY_PREFIX + "x") / "half").write_text("half")
    with folder.locked():
        pass
    assert not list(folder.path.rglob(TEMPORARY_PREFIX + "*"))


def test_a_run_folder_that_cannot_be_made_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(CellTrainError, match="can't be used"),
        RunFolder(tmp_path / "file" / "run").locked(),
    ):
        pass
