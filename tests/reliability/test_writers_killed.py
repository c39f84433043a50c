"""Kill -9 and a full disk inside every writer: the old content or the new, nothing beside it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError  # noqa: F401 (the child process catches it)
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.files import TEMPORARY_PREFIX, write_text
from napari_celltrain.formats.registry import (
    format_named,
    formats,
    is_writable,
    read_experiments,
)
from napari_celltrain.images.array import ArraySource

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL")

CELLS = {"old": 60, "new": 90}
"""Cells a time point: by their number the content tells which one it is."""
TIMES = 6
PLACES = {
    "OrganoidTracker": "tracks.aut",
    "OrganoidTracker list": "all.autlist",
    "TrackMate XML": "tracks.xml",
    "GEFF": "tracks.geff",
    "GEFF for Mastodon": "mastodon.geff",
    "Cell Tracking Challenge": "01_RES",
    "CSV table": "tracks.csv",
    "napari points CSV": "points.csv",
    "Mastodon CSV": "mastodon.csv",
}
"""Where each format that can be written is written to."""
OTHERS = {"detector folder": "detector", "packed detector": "packed.celltrain"}


def content(which: str) -> Experiment:
    """Tracked cells, far enough from each other for label images to keep them all."""
    n = CELLS[which]
    side = 12 * int(np.ceil(np.sqrt(max(CELLS.values())))) + 12
    grid = np.stack(np.divmod(np.arange(n), side // 12), -1) * 12.0 + 6
    positions = np.column_stack([np.zeros(n * TIMES), np.tile(grid, (TIMES, 1))])
    links = np.stack([np.arange(n * (TIMES - 1)), np.arange(n, n * TIMES)], -1)
    return Experiment(
        "cells",
        Annotations(np.repeat(np.arange(TIMES), n), positions, links),
        ArraySource(np.zeros((TIMES, 1, side, side), np.uint8), "tzyx"),
        voxel_size_um=(1.0, 1.0, 1.0),
    )


def writer(name: str, path: Path):
    """Return what writes "old" or "new" there."""
    if name in PLACES:
        chosen = format_named(name)
        experiments = {which: content(which) for which in CELLS}
        return lambda which: chosen.write(path, experiments[which])  # type: ignore[attr-defined]
    import torch

    from napari_celltrain.detector.design import choose_design
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.detector.folder import DetectorInfo
    from napari_celltrain.detector.network import CentreNet
    from napari_celltrain.sharing.packing import pack_detector

    design = choose_design(
        diameter=10.0, spacing=11.0, voxel_size=(1.0, 1.0, 1.0), planes=1, unit="px", width=8
    )
    detectors = {}
    for seed, which in enumerate(CELLS):
        torch.manual_seed(seed)
        weights = CentreNet(design).state_dict()
        info = DetectorInfo(name=which, design=design)
        detectors[which] = Detector(info, weights, device="cpu", precision="float32")
    with torch.device("meta"):
        CentreNet(design)  # torch loads much for that: here, before a process forks, and once
    if name == "detector folder":
        return lambda which: detectors[which].save(path)
    sources = {which: path.parent.parent / f"{path.stem}-{which}" for which in CELLS}
    for which, source in sources.items():
        detectors[which].save(source)
    return lambda which: pack_detector(sources[which], path)


def which_is_there(name: str, path: Path) -> str:
    """Read it, all of it; an error or another number of cells means that it is neither."""
    if name in OTHERS:
        from napari_celltrain.detector.detector import Detector

        return Detector.from_folder(path, device="cpu", precision="float32").info.name
    (experiment,) = read_experiments(path)
    annotations = experiment.annotations
    if name != "napari points CSV":  # which has no links
        assert len(annotations.links) == len(annotations) * (TIMES - 1) // TIMES
    found = {n * TIMES: which for which, n in CELLS.items()}
    return found[len(annotations)]


# The process forks before anything is written, so that no library has threads yet; each fork
# tells when it is ready, and dies some time within the next two writings.
KILLING = """
import importlib.util, os, pathlib, random, signal, sys, time
spec = importlib.util.spec_from_file_location("writers", sys.argv[1])
writers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writers)
name, path, seed = sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4])
chance = random.Random(seed)
write = writers.writer(name, path)
for line in sys.stdin:
    read_end, write_end = os.pipe()
    child = os.fork()
    if not child:
        write("old")  # and whatever a library loads at its first use
        begin = time.monotonic()
        write("new")
        write("old")
        os.write(write_end, str(time.monotonic() - begin).encode())
        while True:
            write("new")
            write("old")
    os.close(write_end)
    told = os.read(read_end, 100)
    os.close(read_end)
    if told:
        time.sleep(chance.uniform(0, 1.2 * float(told)))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else f"ended by itself: {status}", flush=True)
"""


def leftovers(path: Path) -> list[Path]:
    return list(path.parent.rglob(TEMPORARY_PREFIX + "*"))


def kill_in_writing(name: str, folder: Path, kills: int, seed: int = 0) -> int:
    """Kill a writer until it was so often in the midst of a writing; returns how often in all."""
    path = folder / "place" / {**PLACES, **OTHERS}[name]
    path.parent.mkdir()
    inside = 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLING, __file__, name, str(path), str(seed)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    tries = 0
    while inside < kills:
        tries += 1
        assert tries < 50 * kills
        process.stdin.write("next\n")
        process.stdin.flush()
        told = process.stdout.readline().strip()
        assert told == "killed", (told, process.communicate())
        if leftovers(path):
            inside += 1
            if path.exists():
                assert which_is_there(name, path) in CELLS
            for place in {path.parent, *(one.parent for one in leftovers(path))}:
                write_text(place / "beside.txt", "the next writing there tidies up")
            assert not leftovers(path)
        assert which_is_there(name, path) in CELLS
    process.stdin.close()
    process.wait(60)
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()
    return tries


def test_no_writer_is_forgotten():
    assert {one.name for one in formats() if is_writable(one)} == set(PLACES)


@pytest.mark.parametrize("name", [*PLACES, *OTHERS])
def test_killed_inside_a_writing_it_is_the_old_or_the_new(name, tmp_path):
    kill_in_writing(name, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [*PLACES, *OTHERS])
def test_killed_many_times_inside_a_writing_it_is_the_old_or_the_new(name, tmp_path):
    kill_in_writing(name, tmp_path, 100, seed=random.randrange(10**9))


# --- a full disk ---

# A limit on the size of files is what a full disk or a quota is: the kernel stops a write half-way.
FULL = """
import importlib.util, pathlib, resource, signal, sys
spec = importlib.util.spec_from_file_location("writers", sys.argv[1])
writers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writers)
write = writers.writer(sys.argv[2], pathlib.Path(sys.argv[3]))
write("old")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
try:
    write("new")
except writers.CellTrainError as error:
    print(error)
"""


@pytest.mark.parametrize("room", [0, 100])
@pytest.mark.parametrize("name", [*PLACES, *OTHERS])
def test_where_there_is_no_room_it_is_a_sentence_and_the_old_stays(name, tmp_path, room):
    path = tmp_path / "place" / {**PLACES, **OTHERS}[name]
    path.parent.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL, __file__, name, str(path), str(room)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    assert "can't be written" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert which_is_there(name, path) == "old"
    assert not leftovers(path)
