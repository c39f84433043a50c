"""Ctrl+C, a cluster's SIGTERM and a closed terminal: the checkpoint is saved, and in time."""

from __future__ import annotations

import contextlib
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import psutil
import pytest

from napari_celltrain.cli import main
from napari_celltrain.files import TEMPORARY_PREFIX
from napari_celltrain.training.checkpoint import load_newest
from napari_celltrain.training.clock import LONGEST_S
from napari_celltrain.training.events import Step
from napari_celltrain.training.run import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")

LONGEST_STOP_S = 5
"""What is promised. Where other work holds the processors, its own processor time has to do."""


@pytest.fixture(scope="module")
def blobs(make_blobs, tmp_path_factory) -> Path:
    import tifffile

    from napari_celltrain.formats.registry import write_experiment

    folder = tmp_path_factory.mktemp("data")
    experiment = make_blobs(times=6, shape=(1, 48, 48), cells=5)
    for t in range(6):
        tifffile.imwrite(folder / f"t{t:03}.tif", experiment.images.read_frame(t))
    write_experiment(folder / "points.csv", experiment)
    (folder / "dataset.toml").write_text(
        '[[experiment]]\nname = "blobs"\nimages = "t{time:03}.tif"\nannotations = "points.csv"\n'
        "voxel_size_um = [1.0, 1.0, 1.0]\n"
    )
    return folder / "dataset.toml"


PHASES = ("preparing", "training", "evaluating")
"""What a run is busy with when it is signalled."""


def write_large(folder: Path, times: int, shape: tuple[int, int, int]) -> Path:
    """Write a movie of large frames as a data set: cells in noise, compressed."""
    import tifffile

    rng = np.random.default_rng(0)
    axes = np.meshgrid(*(np.arange(-8, 9.0) for _ in range(3)), indexing="ij")
    cell = (400 * np.exp(-sum(axis**2 for axis in axes) / 18)).astype(np.uint16)
    lines = ["t,z,y,x"]
    folder.mkdir(parents=True, exist_ok=True)
    for t in range(times):
        frame = rng.integers(100, 140, shape, dtype=np.uint16)
        for _ in range(60):
            corner = [
                int(rng.integers(0, n - m + 1)) for n, m in zip(shape, cell.shape, strict=True)
            ]
            place = tuple(slice(a, a + n) for a, n in zip(corner, cell.shape, strict=True))
            frame[place] = np.maximum(frame[place], 120 + cell)
            lines.append(",".join(map(str, (t, *(a + 8 for a in corner)))))
        tifffile.imwrite(folder / f"t{t:03}.tif", frame, compression="zlib")
    (folder / "points.csv").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "dataset.toml").write_text(
        '[[experiment]]\nname = "large"\nimages = "t{time:03}.tif"\nannotations = "points.csv"\n'
        "voxel_size_um = [1.0, 1.0, 1.0]\n"
    )
    return folder / "dataset.toml"


@dataclass(frozen=True)
class Stopped:
    """What came of a signal."""

    seconds: float
    cpu_s: float
    status: int
    errors: str
    checkpoint_step: int | None


def stop_in(phase: str, dataset: Path, run: Path, after_s: float, name: str, *more: str) -> Stopped:
    """Start a run, or go on with it; signal it so long after a phase has begun.

    What it leaves is looked at: no checkpoint is damaged, and nobody holds the folder.
    """
    folder = RunFolder(run)
    before, _ = load_newest(folder.checkpoints)
    # frames are judged after the last step, and a checkpoint is written first: it tells when
    steps = 1 + (0 if before is None else before.step) if phase == "evaluating" else 100000
    log_before = folder.log_file.stat().st_size if folder.log_file.exists() else 0
    used_before = _cpu_s_of_children()
    often = ["--set", "compute.checkpoint_every_s=1000", *more]
    process = _start(dataset, run, "--resume", "--steps", str(steps), *often)
    end = time.monotonic() + 200
    while not _is_in(phase, folder, log_before, steps):
        if process.poll() is not None or time.monotonic() > end:
            process.kill()
            raise AssertionError(process.communicate())
        time.sleep(0.02)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(after_s)
        raise AssertionError((phase, "was over before the signal", process.communicate()))
    used_before += sum(psutil.Process(process.pid).cpu_times()[:2])
    begin = time.monotonic()
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=200)
    seconds = time.monotonic() - begin
    cpu_s = _cpu_s_of_children() - used_before
    checkpoint, damaged = load_newest(folder.checkpoints)
    assert not damaged
    assert not folder.is_locked()
    assert not folder.is_finished()
    assert "Traceback" not in errors
    step = None if checkpoint is None else checkpoint.step
    return Stopped(seconds, cpu_s, process.returncode, errors, step)


def stop_with_large_frames(
    folder: Path, moments: int, shape: tuple[int, int, int], last_s: float
) -> list[Stopped]:
    """Stop a run that many times in each phase, from its beginning to so many seconds later.

    While it trains or judges it goes on from where it was stopped before.
    """
    dataset = write_large(folder / "data", 4, shape)
    width = ("--set", "design.width=16")
    stopped = []
    for phase in PHASES:
        for moment in range(moments):
            if phase == "preparing":  # what is prepared would be there the second time
                shutil.rmtree(folder / "run", ignore_errors=True)
            after_s = last_s * moment / max(1, moments - 1)
            kept = max((one.checkpoint_step or 0 for one in stopped[moments:]), default=0)
            stopped.append(stop_in(phase, dataset, folder / "run", after_s, "SIGTERM", *width))
            assert stopped[-1].status == 143, stopped[-1]
            assert phase == "preparing" or (stopped[-1].checkpoint_step or 0) >= kept
    return stopped


def _cpu_s_of_children() -> float:
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _is_in(phase: str, run: RunFolder, log_before: int, steps: int) -> bool:
    log = run.log_file.read_bytes()[log_before:] if run.log_file.exists() else b""
    if phase == "preparing":
        return b"preparing: Looking" in log
    last = run.checkpoints / f"step-{steps:09d}.safetensors"
    return b"training: Training." in log and (phase == "training" or last.exists())


def _arguments(blobs: Path, run: Path, *more: str) -> list[str]:
    return [
        "train", str(blobs), "--out", str(run), "--steps", "100000", "--threads", "1",
        "--device", "cpu", "--set", "compute.precision=float32", "--set", "design.width=4", *more,
    ]  # fmt: skip


def _start(blobs: Path, run: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "napari_celltrain", *_arguments(blobs, run, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def _wait_for_training(process: subprocess.Popen, run: Path) -> None:
    end = time.monotonic() + 90
    while time.monotonic() < end and process.poll() is None:
        if any(getattr(e, "step", 0) > 0 for e in RunFolder(run).read_history()):
            return
        time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate())


def _last_step(run: Path) -> Step:
    return [event for event in RunFolder(run).read_history() if isinstance(event, Step)][-1]


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_run_within_seconds_with_its_checkpoint(blobs, tmp_path, name, status):
    if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        pytest.skip("these tests were started with nohup, and what it starts shall go on as well")
    run = tmp_path / "run"
    stopped = stop_in("training", blobs, run, 0.3, name)
    assert stopped.status == status, stopped.errors
    assert min(stopped.seconds, stopped.cpu_s) < LONGEST_STOP_S
    history = RunFolder(run).read_history()
    assert history[-1].reason == "interrupted"
    assert stopped.checkpoint_step == history[-1].step > 0
    if name != "SIGHUP":
        assert "--resume" in stopped.errors


@pytest.mark.parametrize(("phase", "steps"), [("preparing", (None, 0)), ("evaluating", (1,))])
def test_a_signal_ends_a_run_that_does_not_train(tmp_path, phase, steps):
    dataset = write_large(tmp_path / "data", 3, (20, 300, 300))
    width = ("--set", "design.width=16")
    stopped = stop_in(phase, dataset, tmp_path / "run", 0.0, "SIGTERM", *width)
    assert stopped.status == 143
    assert min(stopped.seconds, stopped.cpu_s) < LONGEST_STOP_S
    assert stopped.checkpoint_step in steps
    assert "--resume" in stopped.errors


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_signal_ends_a_run_on_large_frames_within_seconds(tmp_path):
    stopped = stop_with_large_frames(tmp_path, 3, (50, 1000, 1000), 8.0)
    assert max(min(one.seconds, one.cpu_s) for one in stopped) < LONGEST_STOP_S


def test_an_interrupted_run_goes_on(blobs, tmp_path, capsys):
    run = tmp_path / "run"
    process = _start(blobs, run)
    _wait_for_training(process, run)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    checkpoint, _ = load_newest(run / "checkpoints")
    assert checkpoint is not None
    more = ("--resume", "--steps", str(checkpoint.step + 3))
    assert main(_arguments(blobs, run, *more)) == 0
    assert f"{checkpoint.step + 3} steps" in capsys.readouterr().out


def test_a_second_process_on_the_same_run_is_refused(blobs, tmp_path, capsys):
    run = tmp_path / "run"
    first = _start(blobs, run)
    try:
        _wait_for_training(first, run)
        assert main(_arguments(blobs, run, "--resume")) == 2  # the second one is this process
        errors = capsys.readouterr().err
        assert f"process {first.pid}" in errors
        assert "Traceback" not in errors
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()


def test_a_suspended_run_goes_on_when_it_is_woken(blobs, tmp_path):
    run = tmp_path / "run"
    process = _start(blobs, run)
    try:
        _wait_for_training(process, run)
        process.send_signal(signal.SIGSTOP)
        before, begin, slept = _last_step(run), time.monotonic(), 6.5
        time.sleep(slept)
        process.send_signal(signal.SIGCONT)
        while time.monotonic() < begin + 60 and _last_step(run).step <= before.step:
            time.sleep(0.1)
        after, awake = _last_step(run), time.monotonic() - begin - slept
        assert after.step > before.step
        # a budget of minutes is not used up meanwhile; the history is up to two seconds behind
        assert after.seconds - before.seconds < awake + LONGEST_S + 3
    finally:
        process.kill()
        process.communicate()


# --- the other commands ---


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    conftest = runpy.run_path(str(Path(__file__).parents[1] / "prediction" / "conftest.py"))
    folder: Path = tmp_path_factory.mktemp("detector") / "detector"
    conftest["eager_detector"](planes=1, voxel_size=(1.0, 1.0, 1.0)).save(folder)
    return folder


def _signalled(
    name: str, log: Path, is_under_way: Callable[[str], bool], *words: object
) -> tuple[int, str]:
    """Signal a command once it is under way, by what it has told; its status and its words."""
    with open(log, "w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "napari_celltrain", *map(str, words)],
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 100
        while not is_under_way(log.read_text()):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.005)
        process.send_signal(getattr(signal, name))
        return process.wait(60), log.read_text()
    finally:
        process.kill()
        process.wait()


def test_a_prediction_that_is_asked_to_end_goes_on_where_it_was(detector, tmp_path):
    import tifffile

    pixels = np.random.default_rng(0).integers(0, 4000, (40, 1, 128, 128)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "movie.tif", pixels, photometric="minisblack", metadata={"axes": "TZYX"}
    )
    out, partial = tmp_path / "cells.csv", tmp_path / "cells.csv.partial"
    command = ["predict", detector, tmp_path / "movie.tif", "--voxel-size", "1,1,1"]
    command += ["--diameter", "10", "--gamma", "1", "--threads", "1", "--out", out]

    def is_under_way(told: str) -> bool:
        return partial.exists() and partial.read_bytes().count(b"\n") > 2

    status, told = _signalled("SIGTERM", tmp_path / "log", is_under_way, *command)
    assert status == 143, told
    assert "what is done is kept" in told
    assert "--resume goes on" in told
    assert not out.exists()
    kept = partial.read_bytes()
    assert main([*map(str, command), "--resume"]) == 0
    whole = tmp_path / "whole.csv"
    assert main([*map(str, command[:-1]), str(whole)]) == 0
    assert out.read_bytes() == whole.read_bytes()
    assert kept.count(b"\n") < 40  # it was stopped in the midst of it


def test_an_evaluation_whose_terminal_was_closed_ends(detector, tmp_path):
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        pytest.skip("these tests were started with nohup, and what it starts shall go on as well")
    dataset = write_large(tmp_path, 12, (17, 100, 100))
    text = dataset.read_text("utf-8").replace("voxel_size_um", "# not known: voxel_size_um")
    dataset.write_text(text, "utf-8")

    def is_under_way(told: str) -> bool:
        return "voxel size of 'large' is not known" in told  # told just before frames are judged

    command = ["evaluate", detector, dataset, "--threads", "1"]
    status, told = _signalled("SIGHUP", tmp_path / "log", is_under_way, *command)
    assert status == 129, told
    assert "Traceback" not in told


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_conversion_that_is_asked_to_end_leaves_what_was_there(tmp_path, name, status):
    if signal.getsignal(getattr(signal, name)) is signal.SIG_IGN:
        pytest.skip("these tests were started with nohup, and what it starts shall go on as well")
    rows = (f"{i // 1000},0,{i % 1000},5" for i in range(100_000))
    (tmp_path / "points.csv").write_text("\n".join(["t,z,y,x", *rows]) + "\n", "utf-8")
    place = tmp_path / "place"
    place.mkdir()
    (place / "tracks.xml").write_text("what was there", "utf-8")

    def is_under_way(told: str) -> bool:
        return any(place.glob(TEMPORARY_PREFIX + "*"))

    command = ["convert", tmp_path / "points.csv", place / "tracks.xml"]
    ended, told = _signalled(name, tmp_path / "log", is_under_way, *command)
    assert ended == status, told
    assert "Traceback" not in told
    if name == "SIGTERM":
        assert told.endswith("celltrain: asked to end.\n")
    assert [one.name for one in place.iterdir()] == ["tracks.xml"]
    assert (place / "tracks.xml").read_text("utf-8") == "what was there"
