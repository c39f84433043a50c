"""Kill -9 and a full disk inside every writer: the old content or the new, nothing beside it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from napari_celltrain.files import TEMPORARY_PREFIX, write_text
from napari_celltrain.formats.registry import formats, is_writable

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs fork and SIGKILL")

WRITERS_FILE = str(Path(__file__).with_name("all_writers.py"))
WRITERS = runpy.run_path(WRITERS_FILE)
PLACES, CELLS, which_is_there = (WRITERS[name] for name in ("PLACES", "CELLS", "which_is_there"))
FORMATS, IN_PARTS, SLOW = (WRITERS[name] for name in ("FORMATS", "IN_PARTS", "SLOW"))
EVERY_DAY = [name for name in PLACES if name not in SLOW]


# The process forks before anything is written, so that no library has threads yet; each fork
# tells when it is ready, and dies some time within the next two writings, or once something
# unfinished is seen. What takes long to load is loaded before, once for all writers.
KILLING = """
import importlib.util, json, os, pathlib, random, signal, sys, time
spec = importlib.util.spec_from_file_location("writers", sys.argv[1])
writers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writers)
for one in sys.argv[2:]:
    importlib.import_module(one)

def seen(folder, pattern):
    try:
        return any(folder.rglob(pattern))
    except OSError:  # a folder within was replaced meanwhile
        return False

for line in sys.stdin:
    if line.startswith("["):
        name, path, seed, unfinished = json.loads(line)
        chance, path = random.Random(seed), pathlib.Path(path)
        write = writers.writer(name, path)
        continue
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
        moment = chance.uniform(0, 1.2 * float(told))
        if line == "random\\n":
            time.sleep(moment)
        else:
            end = time.monotonic() + 5 * float(told)
            while time.monotonic() < end and not seen(path.parent, unfinished):
                pass
            time.sleep(moment * chance.choice((0, 0.01, 0.1)))
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else f"ended by itself: {status}", flush=True)
"""
LOADED_BEFORE = (
    "geff",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "matplotlib.figure",
    "zarr",
    "napari_celltrain.cli.plot",
    "napari_celltrain.cli.predict",
    "napari_celltrain.prediction.output",
    "napari_celltrain.training.prepare",
)


class Killer:
    """A process whose forks write, and are killed while they do."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", KILLING, WRITERS_FILE, *LOADED_BEFORE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def prepare(self, name: str, path: Path, seed: int) -> None:
        self._say(json.dumps([name, str(path), seed, TEMPORARY_PREFIX + "*"]))

    def kill(self, moment: str) -> None:
        self._say(moment)
        assert self._process.stdout is not None
        told = self._process.stdout.readline().strip()
        assert told == "killed", (told, self._process.communicate())

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def killer():
    killer = Killer()
    yield killer
    killer.close()


def leftovers(path: Path) -> list[Path]:
    return list(path.parent.rglob(TEMPORARY_PREFIX + "*"))


def kill_in_writing(name: str, folder: Path, kills: int, seed: int = 0) -> int:
    """Kill a writer until it was so often in the midst of a writing; returns how often in all."""
    with contextlib.closing(Killer()) as killer:
        return _kill_in_writing(killer, "random", name, folder, kills, seed)


def _kill_in_writing(
    killer: Killer, moment: str, name: str, folder: Path, kills: int, seed: int = 0
) -> int:
    path = folder / "place" / PLACES[name]
    path.parent.mkdir()
    accepted = {*CELLS, "unfinished"} if name in IN_PARTS else set(CELLS)
    killer.prepare(name, path, seed)
    inside = tries = 0
    while inside < kills:
        tries += 1
        assert tries < 50 * kills
        killer.kill(moment)
        if leftovers(path):
            inside += 1
            if path.exists():
                assert which_is_there(name, path) in accepted
            for left in sorted(leftovers(path), key=lambda one: len(one.parts)):
                if left.exists():  # it is not within one that is gone by now
                    write_text(left.parent / "beside.txt", "the next writing there tidies up")
            assert not leftovers(path)
        if path.exists() or name not in IN_PARTS:
            assert which_is_there(name, path) in accepted
    return tries


def test_no_writer_is_forgotten():
    assert {one.name for one in formats() if is_writable(one)} == set(FORMATS)


@pytest.mark.parametrize("name", EVERY_DAY)
def test_killed_inside_a_writing_it_is_the_old_or_the_new(name, tmp_path, killer):
    _kill_in_writing(killer, "seen", name, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", PLACES)
def test_killed_many_times_inside_a_writing_it_is_the_old_or_the_new(name, tmp_path):
    kill_in_writing(name, tmp_path, 100, seed=random.randrange(10**9))


# --- a full disk ---

# A limit on the size of files is what a full disk or a quota is: the kernel stops a write half-way.
# One process for all of it, since loading what a writer needs takes seconds.
FULL = """
import importlib.util, json, pathlib, resource, signal, sys
spec = importlib.util.spec_from_file_location("writers", sys.argv[1])
writers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(writers)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for line in sys.stdin:
    name, path, *rooms = json.loads(line)
    path = pathlib.Path(path)
    write = writers.writer(name, path)
    outcomes = []
    for room in rooms:
        write("old")
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
        said = None
        try:
            write("new")
        except writers.CellTrainError as error:
            said = str(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        left = [str(one) for one in path.parent.rglob(".celltrain-*")]
        outcomes.append([said, writers.which_is_there(name, path), left])
    print(json.dumps(outcomes), flush=True)
"""


@pytest.fixture(scope="module")
def no_room(tmp_path_factory):
    """What becomes of a writing by name, path, and the bytes that there is room for."""
    process = subprocess.Popen(
        [sys.executable, "-c", FULL, WRITERS_FILE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("temporary"))},
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def outcomes(name, path, *rooms):
        process.stdin.write(json.dumps([name, str(path), *rooms]) + "\n")
        process.stdin.flush()
        told = process.stdout.readline()
        assert told, process.communicate()
        return json.loads(told)

    yield outcomes
    process.communicate(timeout=60)


@pytest.mark.parametrize("name", EVERY_DAY)
def test_where_there_is_no_room_it_is_a_sentence_and_the_old_stays(name, tmp_path, no_room):
    path = tmp_path / "place" / PLACES[name]
    path.parent.mkdir()
    for said, found, left in no_room(name, path, 0, 100):
        assert "can't be written" in said
        assert "\n" not in said
        assert found in ("old", *(["unfinished"] if name in IN_PARTS else []))
        assert not left
