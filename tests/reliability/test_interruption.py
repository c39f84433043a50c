"""Ctrl+C, a cluster's SIGTERM and a closed terminal: the checkpoint is saved, and in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path  # noqa: TC003

import pytest

from napari_celltrain.training.checkpoint import load_newest
from napari_celltrain.training.clock import LONGEST_S
from napari_celltrain.training.events import Step
from napari_celltrain.training.run import RunFolder

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


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


def _start(blobs: Path, run: Path, *more: str) -> subprocess.Popen:
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "napari_celltrain",
            "train",
            str(blobs),
            "--out",
            str(run),
            "--steps",
            "100000",
            "--threads",
            "1",
            "--device",
            "cpu",
            "--set",
            "compute.precision=float32",
            "--set",
            "design.width=4",
            *more,
        ],
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
    process = _start(blobs, run)
    _wait_for_training(process, run)
    begin = time.monotonic()
    process.send_signal(getattr(signal, name))
    _, errors = process.communicate(timeout=60)
    seconds = time.monotonic() - begin
    assert process.returncode == status, errors
    assert "Traceback" not in errors
    # five seconds are promised; a busy test machine gets some more
    assert seconds < 15
    checkpoint, damaged = load_newest(run / "checkpoints")
    assert damaged == []
    assert checkpoint is not None
    history = RunFolder(run).read_history()
    assert history[-1].reason == "interrupted"
    assert checkpoint.step == history[-1].step
    assert not RunFolder(run).is_locked()
    if name != "SIGHUP":
        assert "--resume" in errors


def test_an_interrupted_run_goes_on(blobs, tmp_path):
    run = tmp_path / "run"
    process = _start(blobs, run)
    _wait_for_training(process, run)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    checkpoint, _ = load_newest(run / "checkpoints")
    assert checkpoint is not None
    again = _start(blobs, run, "--resume", "--steps", str(checkpoint.step + 3))
    output, errors = again.communicate(timeout=120)
    assert again.returncode == 0, errors
    assert f"{checkpoint.step + 3} steps" in output


def test_a_second_process_on_the_same_run_is_refused(blobs, tmp_path):
    run = tmp_path / "run"
    first = _start(blobs, run)
    try:
        _wait_for_training(first, run)
        second = _start(blobs, run, "--resume")
        _, errors = second.communicate(timeout=120)
        assert second.returncode == 2
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
        before, begin, slept = _last_step(run), time.monotonic(), 9.0
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
