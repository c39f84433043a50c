"""The run folder: a state that is always whole, and one writer at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import TEMPORARY_PREFIX
from napari_celltrain.training.run import RunFolder


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path)


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
