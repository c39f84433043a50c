"""A disk that is really full: a small one of its own, in memory, filled to the last byte."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk in memory")

HERE = Path(__file__).parent
SIZE = "8m"

BEGINNING = """
import os, pathlib, runpy, sys
import numpy as np
from napari_celltrain.errors import CellTrainError
disk, tests = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
ballast = disk / "ballast"
def fill():
    with open(ballast, "ab", buffering=0) as file:
        for size in (2**16, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass
def make_room():
    ballast.unlink(missing_ok=True)
"""

PREDICT = """
made = runpy.run_path(str(tests / "prediction" / "conftest.py"))
from napari_celltrain.prediction.movie import predict_to_file
from napari_celltrain.prediction.options import Options
from napari_celltrain.prediction.predict import FrameResult
detector, movie = made["eager_detector"](), made["noise_movie"]((6, 8, 16, 16))
full_at = None
def runner(detector, source, request, *, stopping, tell):
    for t in request.time_points:
        if t == full_at:
            fill()
        random = np.random.default_rng(t)
        yield FrameResult(t, random.random((500, 3)) * 8, random.random(500), 0.5)
def predict(out):
    options = Options(gamma=1.0, cell_diameter=10.0, threshold=0.1, resume=True)
    predict_to_file(detector, movie, out, options, runner=runner)
predict(disk / "whole.csv")
whole = (disk / "whole.csv").read_bytes()
for full_at in movie.time_points:
    try:
        predict(disk / "cells.csv")
    except CellTrainError as error:
        assert "No space left" in str(error), error
        assert len(str(error).splitlines()) == 1
    else:
        raise AssertionError("it was not full")
    assert not (disk / "cells.csv").exists()
    make_room()
full_at = None
predict(disk / "cells.csv")
assert (disk / "cells.csv").read_bytes() == whole
assert sorted(one.name for one in disk.iterdir()) == ["cells.csv", "whole.csv"]
"""

TRAIN = """
from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.training import pace, sitting
from napari_celltrain.training.events import StateChanged, Step
from napari_celltrain.training.loop import train
from napari_celltrain.training.settings import TrainingSettings
resume = runpy.run_path(str(tests / "reliability" / "test_resume.py"))
blobs = runpy.run_path(str(tests / "conftest.py"))["_blobs"]
dataset = Dataset((Member(blobs(times=6, shape=(1, 48, 48), cells=5)),))
settings = TrainingSettings.from_dict({
    "budget": {"steps": 20}, "design": {"width": 4},
    "optimiser": {"crop_size": 32, "batch_size": 2},
    "compute": {"device": "cpu", "threads": 1, "precision": "float32",
                "checkpoint_every_s": 0.001},
})
sitting.RETRY_S, pace.TELL_EVERY_S = 0.02, 0.0
paused = []
def watch(event):
    if isinstance(event, Step) and event.step == 9:
        fill()
    if isinstance(event, StateChanged) and event.state == "paused":
        assert "No space left" in event.sentence, event
        paused.append(event)
        make_room()
train(dataset, disk.parent / "plain", settings)
finished = train(dataset, disk / "run", settings, [watch])
assert paused
assert finished.reason == "steps done"
assert resume["digest"](disk / "run") == resume["digest"](disk.parent / "plain")
resume["check_history"](disk / "run")
assert not list(disk.rglob(".celltrain-*"))
"""

TEMPORARY = """
import tempfile
from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.sharing import About, pack_detector
from napari_celltrain.training.preview import preview_crops
detector = runpy.run_path(str(tests / "prediction" / "conftest.py"))["eager_detector"]()
detector.save(disk.parent / "detector")
blobs = runpy.run_path(str(tests / "conftest.py"))["_blobs"]
dataset = Dataset((Member(blobs(times=6, shape=(1, 48, 48), cells=5)),))
ways = [
    lambda: pack_detector(disk.parent / "detector", disk.parent / "a.celltrain"),
    lambda: preview_crops(dataset),
]
if len(sys.argv) > 3:
    from napari_celltrain.sharing.model_zoo import write_bioimageio
    about = About("Cells", "CC-BY-4.0", ("A",))
    ways = [lambda: write_bioimageio(disk.parent / "detector", disk.parent / "a.zip", about)] * 2
tempfile.tempdir = str(disk)
for room, way in enumerate(ways):
    fill()
    if len(sys.argv) > 3:  # the second time there is room for some of it
        with open(ballast, "r+b") as file:
            file.truncate(file.seek(0, 2) - 200_000 * room)
    try:
        way()
    except CellTrainError as error:
        assert "No space left" in str(error), error
        assert "room" in str(error), error
        assert str(disk) in str(error), error
    else:
        raise AssertionError("it was not full")
    assert not list(disk.glob("*celltrain*"))
make_room()
for way in ways:
    way()
assert not list(disk.glob("*celltrain*"))
"""


def on_a_small_disk(program: str, folder: Path, *arguments: str) -> None:
    """Run a program in a process that sees a disk of `SIZE` at ``folder/disk``."""
    disk = folder / "disk"
    disk.mkdir()
    mounted = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'
    for options in (["--mount"], ["--mount", "--user", "--map-root-user"]):
        start = ["unshare", *options, "bash", "-c", mounted, "bash", SIZE, str(disk)]
        with contextlib.suppress(OSError):
            if subprocess.run([*start, "true"], capture_output=True, check=False).returncode == 0:
                break
    else:
        pytest.skip("no disk can be mounted here")
    done = subprocess.run(
        [
            *start,
            sys.executable,
            "-c",
            BEGINNING + program,
            str(disk),
            str(HERE.parent),
            *arguments,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_prediction_on_a_full_disk_goes_on_to_the_same_bytes(tmp_path):
    on_a_small_disk(PREDICT, tmp_path)


def test_a_run_on_a_full_disk_waits_and_ends_with_the_same_weights(tmp_path):
    on_a_small_disk(TRAIN, tmp_path)


def test_a_full_temporary_folder_is_a_sentence(tmp_path):
    on_a_small_disk(TEMPORARY, tmp_path)


@pytest.mark.slow
def test_a_temporary_folder_that_fills_while_a_package_is_made_is_a_sentence(tmp_path):
    pytest.importorskip("bioimageio.spec")
    on_a_small_disk(TEMPORARY, tmp_path, "zoo")
