"""Many positions, many steps, few file handles: time and memory stay bounded."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import torch
from torch import nn

from napari_celltrain.dataset import Dataset, Member, split
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.images.array import ArraySource
from napari_celltrain.known import frame_annotations, known_place
from napari_celltrain.statistics import count, findings
from napari_celltrain.training import clock, loop, pace
from napari_celltrain.training.clock import Clock
from napari_celltrain.training.events import Finished, Step
from napari_celltrain.training.fingerprint import fingerprint
from napari_celltrain.training.history import HistoryWriter
from napari_celltrain.training.loop import train
from napari_celltrain.training.plan import make_plan
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.sitting import Sitting


class _Endless:
    """An array of any length that is made when it is looked at."""

    def __init__(self, times: int, side: int) -> None:
        self.shape = (times, 1, side, side)
        self.dtype = np.dtype(np.uint16)

    def __getitem__(self, key):
        t = key[0] if isinstance(key, tuple) else key
        rng = np.random.default_rng(int(t) if np.ndim(t) == 0 and not isinstance(t, slice) else 0)
        frame = np.broadcast_to(
            rng.integers(0, 500, (1, 1, *self.shape[2:]), np.uint16), self.shape
        )
        return frame[key]


def _large(points: int, times: int, experiments: int, side: int = 256) -> Dataset:
    members = []
    for number in range(experiments):
        rng = np.random.default_rng(number)
        n, own_times = points // experiments, times // experiments
        t = np.sort(rng.integers(0, own_times, n))
        positions = rng.uniform(0, side - 1, (n, 3)) * [0, 1, 1]
        links = np.stack([np.arange(0, n - 1), np.arange(1, n)], -1)
        links = links[t[links[:, 0]] < t[links[:, 1]]]
        members.append(
            Member(
                Experiment(
                    f"e{number}",
                    Annotations(t, positions, links),
                    ArraySource(_Endless(own_times, side), "tzyx"),
                    voxel_size_um=(1.0, 1.0, 1.0),
                )
            )
        )
    return Dataset(tuple(members))


def prepare_planning(points: int, times: int, experiments: int, settings) -> dict[str, float]:
    """Do everything that is done with all positions before training; seconds of each part."""
    seconds = {}
    begin = time.perf_counter()

    def took(name: str) -> None:
        nonlocal begin
        seconds[name] = time.perf_counter() - begin
        begin = time.perf_counter()

    dataset = _large(points, times, experiments)
    took("make")
    for experiment in dataset.experiments:
        count(experiment)
    took("count")
    for experiment in dataset.experiments:
        findings(experiment)
    took("findings")
    parts = split(dataset)
    took("split")
    fingerprint(dataset)
    took("fingerprint")
    make_plan(dataset.experiments, parts, settings)
    took("plan")
    for member, experiment in enumerate(dataset.experiments):
        at = known_place(experiment, 10.0, (1.0, 1.0, 1.0))
        for other, t in parts.train:
            if other == member:
                frame_annotations(experiment, t)
                at(t)
    took("what is known of each frame")
    return seconds


APART = """
import json, runpy, sys
from pathlib import Path
from napari_celltrain.training.settings import TrainingSettings
module = runpy.run_path(sys.argv[1])
settings = TrainingSettings.from_dict(json.loads(sys.argv[2]))

def most():  # not ru_maxrss, which begins with what the process had that started this one
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024

begin = most()
seconds = module["prepare_planning"](*map(int, sys.argv[3:]), settings)
print(json.dumps([seconds, most() - begin]))
"""


def planned_apart(
    points: int, times: int, experiments: int, settings
) -> tuple[dict[str, float], float]:
    """Do `prepare_planning` in a process of its own; seconds of each part, and MiB at most.

    0 MiB where the system does not tell.
    """
    values = json.dumps(settings.model_dump(mode="json"))
    done = subprocess.run(
        [sys.executable, "-c", APART, __file__, values, *map(str, (points, times, experiments))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_two_hundred_thousand_positions_take_seconds_and_little_memory(fast_settings):
    seconds, mib = planned_apart(200_000, 500, 5, fast_settings)
    assert sum(seconds.values()) < 40, seconds
    assert mib < 50  # the frames alone are 63 MiB
    assert mib > 0 or sys.platform != "linux"


def test_one_long_movie_takes_seconds(fast_settings):
    seconds = prepare_planning(200_000, 2000, 1, fast_settings)
    assert sum(seconds.values()) < 40, seconds


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_million_positions_take_minutes(fast_settings):
    seconds, mib = planned_apart(2_000_000, 5000, 50, fast_settings)
    assert sum(seconds.values()) < 300, seconds
    assert mib < 250  # the frames alone are 625 MiB


def train_on_many(
    points: int, times: int, experiments: int, settings, folder
) -> tuple[float, float, Finished]:
    """Prepare and train; returns seconds, MiB of memory at most, and how it ended."""
    dataset = _large(points, times, experiments)
    before, most = psutil.Process().memory_info().rss, 0

    def look(event) -> None:
        nonlocal most
        most = max(most, psutil.Process().memory_info().rss)

    begin = time.perf_counter()
    finished = train(dataset, folder / "run", settings, [look])
    return time.perf_counter() - begin, (most - before) / 2**20, finished


def test_many_positions_are_prepared_and_trained_on_in_little_memory(fast_settings, tmp_path):
    few = fast_settings.changed(["budget.steps=5", "data.max_held_out_frames=2"])
    _, mib, finished = train_on_many(40_000, 100, 4, few, tmp_path)
    assert finished.step == 5
    assert mib < 600


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_million_positions_are_prepared_and_trained_on(fast_settings, tmp_path):
    few = fast_settings.changed(["budget.steps=20", "data.max_held_out_frames=4"])
    seconds, mib, finished = train_on_many(2_000_000, 5000, 50, few, tmp_path)
    assert finished.step == 20
    assert seconds < 900
    assert mib < 1500


MANY_FRAMES = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160))
from pathlib import Path
import numpy as np
from napari_celltrain.training import prepare
from napari_celltrain.training.prepare import OpenFrames
folder = Path(sys.argv[1])
prepare.MOST_OPEN = min(prepare.MOST_OPEN, 100)
for i in range(400):
    np.save(folder / f"{i}.npy", np.full((1, 8, 8), i, np.float16))
frames = OpenFrames()
for round in range(2):
    for i in range(400):
        assert frames.get(folder / f"{i}.npy")[0, 0, 0] == i
print("fine")
"""


@pytest.mark.skipif(os.name == "nt", reason="no such limit there")
def test_thousands_of_small_frames_do_not_use_up_the_file_handles(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", MANY_FRAMES, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "fine", done.stderr


class _Stub(nn.Module):
    """A network of two layers: steps cost nothing, so thousands fit into a test."""

    def __init__(self, design) -> None:
        super().__init__()
        self.stem = nn.Conv3d(design.n_inputs, 4, design.strides[0], design.strides[0])
        self.head = nn.Conv3d(4, 4, 1)

    def forward(self, x: torch.Tensor, between=None) -> torch.Tensor:
        return self.head(self.stem(x))


DAY_S = 24 * 3600.0


def soak(dataset, settings, folder, monkeypatch, steps: int) -> dict[str, list[float]]:
    """Train a stub for a day of a clock that each step moves on; memory and handles on the way.

    Everything that follows the time happens as often as in a day: a checkpoint every two minutes,
    evaluations, and the end. Every step is written down, where a real run leaves most out.
    """
    now = [0.0]
    step_s = DAY_S / steps
    monkeypatch.setattr(clock, "LONGEST_S", 2 * step_s)
    simulated = functools.partial(Sitting, clock=Clock(lambda: now[0]))
    monkeypatch.setattr(loop, "Sitting", simulated)
    monkeypatch.setattr(loop, "HistoryWriter", functools.partial(HistoryWriter, every_s=0))
    for module in ("learner", "saved_state"):
        monkeypatch.setattr(f"napari_celltrain.training.{module}.CentreNet", _Stub)
    for module in ("detector", "folder"):
        monkeypatch.setattr(f"napari_celltrain.detector.{module}.CentreNet", _Stub)
    monkeypatch.setattr(pace, "TELL_EVERY_S", 0.0)
    process = psutil.Process()
    seen: dict[str, list[float]] = {"step": [], "rss_mib": [], "handles": [], "threads": []}

    def watch(event):
        if isinstance(event, Step):
            now[0] += step_s
        if isinstance(event, Step) and event.step % max(1, steps // 20) == 0:
            seen["step"].append(event.step)
            seen["rss_mib"].append(process.memory_info().rss / 2**20)
            seen["handles"].append(process.num_fds() if os.name != "nt" else 0)
            seen["threads"].append(process.num_threads())

    values = settings.model_dump()
    values["budget"].update(steps=None, minutes=DAY_S / 60)
    values["optimiser"].update(crop_size=16, batch_size=1)
    values["compute"]["checkpoint_every_s"] = 120
    finished = train(dataset, folder, type(settings).from_dict(values), [watch])
    assert finished.reason == "time is up"
    assert finished.step == pytest.approx(steps, abs=2)
    assert finished.seconds == pytest.approx(DAY_S, rel=0.01)
    return seen


def _flat(seen: dict[str, list[float]], mib: float) -> None:
    third = len(seen["step"]) // 3
    assert max(seen["rss_mib"][third:]) - min(seen["rss_mib"][third:]) < mib, seen
    assert max(seen["handles"][third:]) - min(seen["handles"][third:]) <= 4, seen
    assert max(seen["threads"][third:]) - min(seen["threads"][third:]) <= 2, seen


@pytest.mark.parametrize(
    ("steps", "mib"),
    [(1000, 25), pytest.param(60_000, 60, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])],
)
def test_memory_and_handles_stay_flat_over_a_day(
    small_dataset, fast_settings, tmp_path, monkeypatch, steps, mib
):
    _flat(soak(small_dataset, fast_settings, tmp_path / "run", monkeypatch, steps), mib)
    history = RunFolder(tmp_path / "run").read_history()
    assert isinstance(history[-1], Finished)
    assert history[-1].step == pytest.approx(steps, abs=2)
    assert sum(isinstance(event, Step) for event in history) >= steps - 2
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2


def test_a_long_history_is_read_in_a_moment(tmp_path):
    """Ten days of training: a step every two seconds, an evaluation every minute."""
    from napari_celltrain.training.history import HistoryWriter, event_to_json

    run = RunFolder(tmp_path)
    step = Step(1, 1.0, 0.5, 1e-3, 10.0, 100.0, "cpu", None, None)
    line = event_to_json(step) + "\n"
    run.history_file.write_text(line * 100_000)
    begin = time.perf_counter()
    assert len(run.read_history()) == 100_000
    HistoryWriter(run, every_s=0)(step)
    assert time.perf_counter() - begin < 20
