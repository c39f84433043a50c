"""Several processes learn what one would have learnt."""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
import subprocess
import sys
import time

import pytest
import tifffile
import torch

from napari_celltrain.cli import main
from napari_celltrain.training.checkpoint import load_newest
from napari_celltrain.training.processes import Processes


@pytest.fixture
def on_disk(make_blobs, tmp_path):
    """A small data set as files, for other processes."""
    experiment = make_blobs(times=6)
    images = tmp_path / "images"
    images.mkdir()
    for t in experiment.images.time_points:
        tifffile.imwrite(images / f"t{t:03}.tif", experiment.images.read_frame(t)[0])
    rows = [
        f"{t},{z},{y},{x}"
        for t, (z, y, x) in zip(
            experiment.annotations.t, experiment.annotations.positions, strict=True
        )
    ]
    (tmp_path / "points.csv").write_text("\n".join(["t,z,y,x", *rows]) + "\n")
    (tmp_path / "dataset.toml").write_text(
        '[[experiment]]\nname = "blobs"\nimages = "images/t{time:03}.tif"\n'
        'annotations = "points.csv"\nvoxel_size_um = [1.0, 1.0, 1.0]\n'
    )
    return tmp_path / "dataset.toml"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _alone(dataset, out, **changes):
    """Train in one process, this one; return what it said last."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(_arguments(dataset, out, **changes)) == 0
    return json.loads(said.getvalue().splitlines()[-1])


def _arguments(dataset, out, *, steps=4, resume=False, more=()):
    return [
        "train",
        str(dataset),
        "--out",
        str(out),
        "--steps",
        str(steps),
        "--device",
        "cpu",
        "--threads",
        "1",
        "--json",
        "--set",
        "design.width=8",
        "--set",
        "optimiser.crop_size=48",
        "--set",
        "optimiser.batch_size=4",
        "--set",
        "compute.precision=float32",
        *(["--resume"] if resume else []),
        *more,
    ]


def _start(dataset, out, *, size, **changes):
    """Start `size` processes as torchrun does."""
    command = [sys.executable, "-m", "napari_celltrain", *_arguments(dataset, out, **changes)]
    port = str(_free_port())
    started = []
    for rank in range(size):
        place = {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": port,
            "OMP_NUM_THREADS": "1",
        }
        started.append(
            subprocess.Popen(
                command,
                env=os.environ | place,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        )
    return started


def _weights(run) -> torch.Tensor:
    checkpoint, damaged = load_newest(run / "checkpoints")
    assert checkpoint is not None
    assert not damaged
    return torch.cat(
        [v.reshape(-1) for k, v in sorted(checkpoint.tensors.items()) if k.startswith("model.")]
    )


def test_two_processes_learn_what_one_does_and_one_can_go_on(on_disk, tmp_path):
    _alone(on_disk, tmp_path / "alone")
    started = _start(on_disk, tmp_path / "both", size=2)
    told = [process.communicate(timeout=200) for process in started]
    both = [(one.returncode, *said) for one, said in zip(started, told, strict=True)]
    assert [status for status, _, _ in both] == [0, 0], both
    assert json.loads(both[0][1].splitlines()[-1])["steps"] == 4
    # one speaks for all; the library that connects them says in PyTorch 2.9 that it did
    said = [line for line in both[1][1].splitlines() if not line.startswith("[Gloo] ")]
    assert said == []
    one, two = _weights(tmp_path / "alone"), _weights(tmp_path / "both")
    # the first steps of Adam turn rounding of tiny gradients into steps: nearly all are the same
    assert (one - two).abs().median() < 1e-6
    assert ((one - two).abs() > 1e-3).float().mean() < 0.01
    assert _alone(on_disk, tmp_path / "both", steps=6, resume=True)["steps"] == 6


LEAVES = """
import os
import torch
from napari_celltrain.training.processes import join, leave
together = join("cpu")
together.wait()
weight = torch.nn.Parameter(torch.ones(1))
torch.optim.AdamW([weight])
leave()
tasks = os.listdir("/proc/self/task")
print([open(f"/proc/self/task/{task}/comm").read().strip() for task in tasks])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="names of threads are read from /proc")
def test_a_process_that_leaves_takes_its_threads_along():
    # one that is left over lets go of its last tensor while Python ends: an abort, now and then
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", LEAVES],
            env=os.environ | place | {"RANK": rank},
            text=True,
            stdout=subprocess.PIPE,
        )
        for rank in "01"
    ]
    outputs = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    for output in outputs:
        assert "python" in output
        assert "gloo" not in output


def test_every_crop_of_a_batch_is_drawn_once():
    for size in (1, 2, 3, 4):
        whole = Processes(0, size).whole(7)
        shares = [list(Processes(rank, size).share(whole)) for rank in range(size)]
        assert len({len(share) for share in shares}) == 1
        assert sorted(number for share in shares for number in share) == list(range(whole))


@pytest.mark.parametrize("dies", [0, 1])
def test_a_process_that_dies_ends_the_run_with_its_checkpoint_intact(on_disk, tmp_path, dies):
    out = tmp_path / "run"
    started = _start(
        on_disk, out, size=2, steps=100_000, more=["--set", "compute.checkpoint_every_s=0.2"]
    )
    deadline = time.monotonic() + 100
    while not list((out / "checkpoints").glob("step-*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    started[dies].kill()
    survivor = started[1 - dies]
    _, told = survivor.communicate(timeout=100)
    started[dies].communicate()
    assert survivor.returncode == 2
    assert "has ended; the last checkpoint is safe" in told or dies == 0
    checkpoint, damaged = load_newest(out / "checkpoints")
    assert checkpoint is not None
    assert not damaged
    assert _alone(on_disk, out, steps=checkpoint.step + 2, resume=True)["steps"] > checkpoint.step
