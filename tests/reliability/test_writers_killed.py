"""Kill -9 and a full disk inside every writer: the old content or the new, nothing beside it."""

from __future__ import annotations

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
    path = folder / "place" / PLACES[name]
    path.parent.mkdir()
    accepted = {*CELLS, "unfinished"} if name in IN_PARTS else set(CELLS)
    inside = 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLING, WRITERS_FILE, name, str(path), str(seed)],
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
                assert which_is_there(name, path) in accepted
            for left in sorted(leftovers(path), key=lambda one: len(one.parts)):
                if left.exists():  # it is not within one that is gone by now
                    write_text(left.parent / "beside.txt", "the next writing there tidies up")
            assert not leftovers(path)
        if path.exists() or name not in IN_PARTS:
            assert which_is_there(name, path) in accepted
    process.stdin.close()
    process.wait(60)
    process.stdout.close()
    assert process.stderr is not None
    process.stderr.close()
    return tries


def test_no_writer_is_forgotten():
    assert {one.name for one in formats() if is_writable(one)} == set(FORMATS)


@pytest.mark.parametrize("name", EVERY_DAY)
def test_killed_inside_a_writing_it_is_the_old_or_the_new(name, tmp_path):
    kill_in_writing(name, tmp_path, 2)


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
name, path = sys.argv[2], pathlib.Path(sys.argv[3])
write = writers.writer(name, path)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
for room in map(int, sys.argv[4:]):
    write("old")
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    said = None
    try:
        write("new")
    except writers.CellTrainError as error:
        said = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    left = [str(one) for one in path.parent.rglob(".celltrain-*")]
    print(json.dumps([said, writers.which_is_there(name, path), left]))
"""


@pytest.mark.parametrize("name", EVERY_DAY)
def test_where_there_is_no_room_it_is_a_sentence_and_the_old_stays(name, tmp_path):
    path = tmp_path / "place" / PLACES[name]
    path.parent.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL, WRITERS_FILE, name, str(path), "0", "100"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(outcomes) == 2
    for said, found, left in outcomes:
        assert "can't be written" in said
        assert "\n" not in said
        assert found in ("old", *(["unfinished"] if name in IN_PARTS else []))
        assert not left
