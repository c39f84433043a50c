"""The long forms of the reliability tests, as a table for docs/reliability.md.

    python benchmarks/reliability.py [--at-once 2] [--write]
    python benchmarks/reliability.py --only kills --kills 20

The cases are those of tests/reliability, which run shorter in the everyday suite.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import importlib.util
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.detector.detector import Detector
from napari_celltrain.sharing.card import About
from napari_celltrain.sharing.packing import pack_detector
from napari_celltrain.training.checkpoint import Checkpoint, load_newest, save_checkpoint
from napari_celltrain.training.loop import train
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"

Row = tuple[str, str, str]


def load(name: str) -> ModuleType:
    """Load a module of the tests, which are no package."""
    path = ROOT / "tests" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look there
    sys.path.append(str(path.parent))  # some of them take what they need from beside them
    spec.loader.exec_module(module)
    return module


def small_settings(steps: int) -> TrainingSettings:
    return TrainingSettings.from_dict(
        {
            "budget": {"steps": steps},
            "design": {"width": 4},
            "optimiser": {"crop_size": 32, "batch_size": 2, "ema": 0.9, "learning_rate": 0.006},
            "compute": {
                "device": "cpu",
                "threads": 1,
                "precision": "float32",
                "checkpoint_every_s": 1000,
            },
        }
    )


def small_dataset() -> Dataset:
    blobs = load("conftest")._blobs
    return Dataset((Member(blobs(times=6, shape=(1, 48, 48), cells=5)),))


def kills(folder: Path, number: int) -> Row:
    """Kill -9 at random moments, resume, compare with a run that was never killed."""
    resume = load("reliability/test_resume")
    data = folder / "data"
    data.mkdir()
    resume.write_to_disk(small_dataset().experiments[0], small_settings(resume.STEPS), data)
    plain = folder / "plain"
    resume.run_and_kill(data, plain, random.Random(0), 0)
    killed = runs = 0
    inside: list[Path] = []
    while killed < number:
        killed += resume.kill_and_compare(data, plain, folder / f"run{runs}", runs, 20, inside)
        runs += 1
    return (
        "kill -9 at a random moment, then resume",
        f"{killed} kills of {runs} runs, a checkpoint after every step, {len(inside)} inside a "
        "checkpoint write",
        f"none began before its last complete checkpoint, all {runs} runs ended with the weights "
        "(SHA-256) of the run that was never killed, history unbroken, no temporary files",
    )


def stops(folder: Path, moments: int) -> Row:
    """Ask a real run on frames of 100 MB to end, on one thread."""
    interruption = load("reliability/test_interruption")
    stopped = interruption.stop_with_large_frames(folder, moments, (50, 1000, 1000), 8.0)
    seconds = [one.seconds for one in stopped]
    phases = ", ".join(
        f"{phase} {max(seconds[moments * i : moments * (i + 1)]):.1f} s"
        for i, phase in enumerate(interruption.PHASES)
    )
    return (
        "SIGTERM to `celltrain train` on frames of 50 x 1000 x 1000 pixels, on one thread",
        f"{len(stopped)} moments of preparing, training and evaluating",
        f"ended after {min(seconds):.1f} to {max(seconds):.1f} s (at most: {phases}), status 143; "
        "what there was of checkpoints is whole, and the next start went on from it",
    )


def prediction_kills(folder: Path, number: int) -> Row:
    """Kill -9 the predictor at random moments, resume, compare with what was never killed."""
    movies = load("prediction/test_movie")
    with quiet():
        detector = load("prediction/conftest").eager_detector(planes=4)
        killed = movies.kill_and_resume(detector, folder, number)
    assert killed == number
    return (
        "kill -9 of a prediction at a random moment, then resume",
        f"{killed} kills",
        "the file is byte for byte that of one sitting: nothing lost, no time point twice",
    )


def writer_kills(folder: Path, number: int) -> Row:
    """Kill -9 every writer in the midst of a writing."""
    writers = load("reliability/test_writers_killed")
    names = list(writers.PLACES)
    tries = inside = 0
    for place, name in enumerate(names):
        (folder / str(place)).mkdir()
        # one package takes seconds
        kills = -(-number // 10) if name == "bioimage.io package" else number
        tries += writers.kill_in_writing(name, folder / str(place), kills, seed=place)
        inside += kills
    return (
        f"kill -9 in the midst of a writing, each of {len(names)} writers",
        f"{inside} kills inside a writing, {tries} in all",
        "the old or the new content, whole; the next writing there tidies up",
    )


def dask_kills() -> Row:
    """Kill -9 the workers of a dask cluster."""
    tests("-m", "slow", "prediction/test_cluster.py")
    return (
        "kill -9 of a worker of a dask cluster during a prediction",
        "20 kills",
        "the results are those of one process, each time point once",
    )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is printed, not even by processes that are started meanwhile."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def tests(*arguments: str) -> int:
    """Run some of the tests; returns how many passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT / "tests")
    passed = re.search(r"(\d+) passed", done.stdout)
    assert done.returncode == 0, done.stdout
    assert passed is not None
    return int(passed[1])


def resumes(folder: Path) -> Row:
    """Stop after each step and resume, all the way to the end."""
    from napari_celltrain.training import pace
    from napari_celltrain.training.control import Control
    from napari_celltrain.training.events import Step

    resume = load("reliability/test_resume")
    dataset, settings = small_dataset(), small_settings(resume.STEPS)
    train(dataset, folder / "whole", settings)
    train(dataset, folder / "again", settings)
    assert resume.digest(folder / "whole") == resume.digest(folder / "again")
    pace.TELL_EVERY_S, sittings = 0.0, 0
    while True:
        control = Control()

        def stop(event: Any, control: Control = control) -> None:
            if isinstance(event, Step):
                control.stop()

        sittings += 1
        finished = train(dataset, folder / "bits", settings, [stop], control=control, resume=True)
        if finished.reason == "steps done":
            break
    assert resume.digest(folder / "whole") == resume.digest(folder / "bits")
    resume.check_history(folder / "bits")
    return (
        "stopped after every step and resumed",
        f"{sittings} sittings of one run; the same seed twice",
        "weights, averages and optimiser bit for bit those of one sitting",
    )


def system_calls() -> Row:
    """Let each system call of a write fail once, with each error."""
    both = ("-m", "slow or not slow")
    passed = tests(*both, "test_files.py", "reliability/test_failing_calls.py")
    return (
        "a system call of a write fails (ENOSPC, EIO, EACCES, EINTR), Ctrl+C or kill -9 in between",
        f"{passed} cases, each of a file or of all calls of a writer",
        "the old or the new content, whole; a sentence; a prediction that goes on ends with the "
        "same bytes",
    )


def mutations(folder: Path, number: int) -> list[Row]:
    """Detectors, settings, data sets, runs, checkpoints and predictions, changed at random."""
    hostile = load("reliability/test_hostile_files")
    run = folder / "run"
    train(small_dataset(), run, small_settings(40))
    Detector.from_folder(run, device="cpu", precision="float32").save(folder / "detector")
    detectors = Counter(
        hostile.fuzz_detector(folder / "detector", folder / "spoilt", seed)
        for seed in range(number)
    )
    settings = Counter(hostile.fuzz_settings(folder, seed) for seed in range(4 * number))
    (folder / "history").mkdir()
    for seed in range(number):
        hostile.fuzz_run(run, folder / "history", seed)
    packed = pack_detector(folder / "detector", folder / "packed.celltrain", About())
    packages = Counter(
        hostile.fuzz_package(packed, folder / "spoilt.celltrain", seed) for seed in range(number)
    )
    (folder / "data").mkdir()
    hostile.write_data(folder / "data")
    datasets = Counter(hostile.fuzz_dataset(folder / "data", seed) for seed in range(number))
    detector = Detector.from_folder(folder / "detector", device="cpu", precision="float32")
    partial = folder / "cells.csv.partial"
    header = hostile.unfinished(partial, detector)
    content = partial.read_bytes()
    partials = Counter(
        hostile.fuzz_partial(content, header, detector, partial, seed) for seed in range(number)
    )
    tensors = {"model.a": torch.arange(12.0).reshape(3, 4)}
    path = save_checkpoint(folder / "checkpoints", Checkpoint(5, tensors, {"seconds": 1.0}))
    content, taken = path.read_bytes(), 0
    for seed in range(number):
        path.write_bytes(hostile.mutated_bytes(content, random.Random(seed)))
        loaded, _ = load_newest(path.parent)
        if loaded is not None:
            assert torch.equal(loaded.tensors["model.a"], tensors["model.a"])
            taken += path.read_bytes() != content
    return [
        (
            "detector folders changed at random, a third of them with a right checksum on changed weights",  # noqa: E501
            f"{number} ({detectors['refused']} refused, {detectors['loaded']} harmless)",
            "a sentence or a working detector; nothing executed",
        ),
        (
            "packed detectors changed at random, and what is in them",
            f"{number} ({packages['refused']} refused, {packages['loaded']} harmless)",
            "a sentence or a working detector and its card",
        ),
        (
            "data set files changed at random",
            f"{number} ({datasets['refused']} refused)",
            "a sentence or a data set",
        ),
        (
            "files of unfinished predictions changed at random",
            f"{number} ({partials['refused']} refused)",
            "a sentence, and the file as it was, or a prediction that goes on",
        ),
        (
            "settings files changed at random",
            f"{4 * number} ({settings['refused']} refused)",
            "a sentence or valid settings",
        ),
        (
            "histories and states of runs changed at random",
            f"{2 * number}",
            "read without an error",
        ),
        (
            "checkpoints changed at random",
            f"{number} ({taken} with a change outside of what counts)",
            "never taken for another content",
        ),
    ]


def damaged_files(number: int) -> list[Row]:
    """Files of every format that can be read, changed at random; a process for each family."""
    return [
        _damaged("tracking data", ROOT / "tests" / "formats" / "mutate.py", ["1"], number),
        _damaged("images", ROOT / "tests" / "images" / "test_fuzzing.py", [], number),
    ]


def _damaged(what: str, program: Path, seed: list[str], number: int) -> Row:
    families = list(load(str(program.relative_to(ROOT / "tests").with_suffix(""))).FAMILIES)
    refused = read = most = 0
    for family in families:
        command = [sys.executable, str(program), family, *seed, str(number)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        told = re.search(r"(\d+) refused, (\d+) read, (\d+) MiB at most", done.stdout)
        assert told is not None, done.stdout
        refused, read = refused + int(told[1]), read + int(told[2])
        most = max(most, int(told[3]))
    return (
        f"files of {what} changed at random ({', '.join(families)})",
        f"{refused + read} ({refused} refused, {read} read)",
        f"a result or a sentence, less than 5 s of processor time each, {most} MiB at most",
    )


def load_of_positions(points: int, times: int, experiments: int) -> Row:
    """Everything that is done with all positions before training."""
    module = load("reliability/test_load")
    seconds, mib = module.planned_apart(points, times, experiments, small_settings(10))
    parts = ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items() if name != "make")
    return (
        "many positions: count, check, split, plan",
        f"{points:_} positions, {times:_} time points, {experiments} experiments".replace("_", " "),
        f"{parts}, {mib:.0f} MiB of memory at most",
    )


def training_on_positions(folder: Path, points: int, times: int, experiments: int) -> Row:
    """Prepare and train on all of them."""
    module = load("reliability/test_load")
    settings = small_settings(20).changed(["data.max_held_out_frames=4"])
    seconds, mib, finished = module.train_on_many(points, times, experiments, settings, folder)
    return (
        f"many positions: prepare and train {finished.step} steps",
        f"{points:_} positions, {times:_} time points, {experiments} experiments".replace("_", " "),
        f"{seconds:.0f} s, {mib:.0f} MiB of memory at most",
    )


def soak(folder: Path, steps: int) -> Row:
    """A day of a stub network, with evaluations and checkpoints."""
    module = load("reliability/test_load")
    with pytest.MonkeyPatch.context() as patch:
        seen = module.soak(small_dataset(), small_settings(10), folder / "soak", patch, steps)
    third = len(seen["step"]) // 3
    spread = max(seen["rss_mib"][third:]) - min(seen["rss_mib"][third:])
    handles = max(seen["handles"][third:]) - min(seen["handles"][third:])
    return (
        "soak: 24 hours of a simulated clock, with a stub network",
        f"{steps} steps, each in the history; a checkpoint every two minutes of it",
        f"memory within {spread:.0f} MiB, file handles within {handles:.0f}",
    )


Part = Callable[[argparse.Namespace, Path], Row | list[Row]]
PARTS: dict[str, Part] = {
    "resumes": lambda asked, folder: resumes(folder),
    "system-calls": lambda asked, folder: system_calls(),
    "mutations": lambda asked, folder: mutations(folder, asked.mutations),
    "damaged-files": lambda asked, folder: damaged_files(asked.damaged),
    "positions": lambda asked, folder: load_of_positions(asked.points, 5000, 50),
    "training-on-positions": lambda asked, folder: training_on_positions(
        folder, asked.points, 5000, 50
    ),
    "soak": lambda asked, folder: soak(folder, asked.steps),
    "kills": lambda asked, folder: kills(folder, asked.kills),
    "stops": lambda asked, folder: stops(folder, asked.stops),
    "prediction-kills": lambda asked, folder: prediction_kills(folder, asked.kills),
    "dask-kills": lambda asked, folder: dask_kills(),
    "writer-kills": lambda asked, folder: writer_kills(folder, asked.writer_kills),
}
LONGEST = "writer-kills"
"""As long as all the others together: it is begun first."""


def rows_of(part: str, arguments: argparse.Namespace) -> list[str]:
    """Do a part in this process; return its lines of the table."""
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        rows = PARTS[part](arguments, Path(folder))
    minutes = (time.perf_counter() - begin) / 60
    return [
        "| " + " | ".join((*row, f"{minutes:.1f}")) + " |"
        for row in (rows if isinstance(rows, list) else [rows])
    ]


def rows_apart(part: str, options: list[str]) -> list[str]:
    """Do a part in a process of its own; return its lines of the table."""
    command = [sys.executable, __file__, *options, "--only", part]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    if done.returncode != 0:
        lines = [f"| {part} | | FAILED | |"]
        print(done.stdout, done.stderr, file=sys.stderr)
    print("\n".join(lines), flush=True)
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--stops", type=int, default=6, help="in each phase of a run")
    parser.add_argument("--writer-kills", type=int, default=100, help="of each writer")
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--damaged", type=int, default=5000, help="files of each family")
    parser.add_argument("--points", type=int, default=2_000_000)
    parser.add_argument("--steps", type=int, default=60_000)
    numbers = [action.dest for action in parser._actions if action.type is int]
    parser.add_argument("--at-once", type=int, default=1, help="parts that run side by side")
    parser.add_argument("--only", choices=PARTS, help="one part, in this process")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.name}")
    arguments = parser.parse_args()
    if arguments.only:
        torch.set_num_threads(1)
        print("\n".join(rows_of(arguments.only, arguments)), flush=True)
        return
    options = [
        word
        for name in numbers
        for word in (f"--{name.replace('_', '-')}", str(getattr(arguments, name)))
    ]
    order = sorted(PARTS, key=lambda part: part != LONGEST)
    with ThreadPoolExecutor(arguments.at_once) as processes:
        made = dict(
            zip(order, processes.map(lambda part: rows_apart(part, options), order), strict=True)
        )
    head = ["| what is done to it | how often | what came of it | minutes |", "|---|---|---|---|"]
    text = "\n".join([*head, *(line for part in PARTS for line in made[part])])
    if "FAILED" in text:
        raise SystemExit("Not all of it went well; nothing is written.")
    if arguments.write:
        page = PAGE.read_text("utf-8")
        before, rest = page.split(BEGIN)
        _, after = rest.split(END)
        command = " ".join(
            ["python benchmarks/reliability.py", *options, f"--at-once {arguments.at_once}"]
        )
        told = (
            f"Made {datetime.date.today()} with `{command}` on Python "
            f"{platform.python_version()}, torch {torch.__version__}, {platform.system()}."
        )
        PAGE.write_text(f"{before}{BEGIN}\n{told}\n\n{text}\n{END}{after}", "utf-8")


if __name__ == "__main__":
    main()
