"""Files from strangers: mutated at random they give a result or a sentence, and run nothing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import shutil
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import tomli_w
import torch
from filelock import FileLock, Timeout

from napari_celltrain.cli import doctor, main
from napari_celltrain.cli import report as page
from napari_celltrain.dataset import load_dataset
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import INFO_FILE
from napari_celltrain.detector.package import member_names, read_member, write_package
from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import open_images
from napari_celltrain.prediction.partial import PartialResults, measured_before, weights_digest
from napari_celltrain.prediction.predict import FrameResult
from napari_celltrain.prediction.reserved import Reserved
from napari_celltrain.sharing.card import About
from napari_celltrain.sharing.packing import card_of, pack_detector
from napari_celltrain.training.checkpoint import Checkpoint, load_newest, save_checkpoint
from napari_celltrain.training.loop import train
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings

CPU = {"device": "cpu", "precision": "float32"}
FAST = 150
LONG = 5000
CPU_LIMIT_S = 5.0
MEMORY_LIMIT = 256 * 2**20
"""More than is taken for any of these small files when it is sound."""
LONG_MARKS = [pytest.mark.slow, pytest.mark.timeout(3600)]

INTERESTING = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    -(2**63),
    10**30,
    0.5,
    -0.0,
    1e308,
    1e-308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../etc/passwd",
    "\x00",
    "é" * 50,
    "9" * 5000,
    [],
    {},
    [[]],
    [0] * 10_000,
    {"a": {"b": {}}},
    [1, 2],
    [1, 2, 3],
    [-1, 1],
    [10**9] * 3,
]


def mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert: what disks, transfers and attackers do."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        kind = rng.randrange(6)
        place = rng.randrange(len(data) + 1)
        if kind == 0 and data:
            data[place % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del data[place:]
        elif kind == 2:
            data[place:place] = rng.randbytes(rng.randrange(1, 40))
        elif kind == 3 and data:
            end = min(len(data), place + rng.randrange(1, 200))
            data[place:end] = data[place:end] * rng.randrange(0, 4)
        elif kind == 4:
            data[place : place + 8] = rng.choice([b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 7])
        else:
            token = rng.choice([b"{", b"[", b'"', b"\n", b"=", b"nan", b"1e999", b"\\u0000", b"]"])
            data[place:place] = token * rng.choice([1, 1, 50])
    return bytes(data)


def mutated_values(value, rng: random.Random, depth: int = 0):
    """Change something in nested JSON values: the file stays valid JSON, the content does not."""
    if isinstance(value, (dict, list)) and value and (depth == 0 or rng.random() < 0.75):
        value = value.copy()
        key = rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
        what = rng.random()
        if what < 0.15:
            del value[key]
        elif what < 0.25 and isinstance(value, dict):
            value["surprise"] = rng.choice(INTERESTING)
        else:
            value[key] = mutated_values(value[key], rng, depth + 1)
        return value
    if isinstance(value, (int, float)) and rng.random() < 0.5:
        return rng.choice([value * 1000, -value, value + 1, value / 3])
    return rng.choice(INTERESTING)


@contextlib.contextmanager
def limited():
    """Fail when what is done takes long, or much memory where the system tells the most of it."""
    before = _memory(forget=True)
    begin = time.process_time()
    yield
    assert time.process_time() - begin < CPU_LIMIT_S
    assert _memory() - before < MEMORY_LIMIT


def _memory(*, forget: bool = False) -> int:
    """Return the most bytes that this process had since it was last to forget; 0 if unknown."""
    with contextlib.suppress(OSError):
        if forget:
            Path("/proc/self/clear_refs").write_text("5")
        status = Path("/proc/self/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])
    return 0


def _short(error: Exception, longest: int) -> None:
    assert "\n" not in str(error)
    assert len(str(error)) < longest


def test_what_takes_too_long_or_too_much_would_be_noticed(monkeypatch):
    with limited():
        pass
    if Path("/proc/self/clear_refs").exists():
        with pytest.raises(AssertionError), limited():
            np.ones(MEMORY_LIMIT + 2**24, np.uint8)
        with limited():  # what was taken before does not count
            pass
    monkeypatch.setattr(time, "process_time", iter([0.0, 2 * CPU_LIMIT_S]).__next__)
    with pytest.raises(AssertionError), limited():
        pass


@pytest.fixture(scope="module")
def detector_folder(small_detector, tmp_path_factory):
    folder = tmp_path_factory.mktemp("detector") / "detector"
    small_detector.save(folder)
    return folder


def fuzz_detector(source, folder, seed: int) -> str:
    """Spoil a detector folder in one way, load it and use it; returns what happened."""
    rng = random.Random(seed)
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    info, weights = folder / INFO_FILE, next(folder.glob("*.safetensors"))
    kind = rng.randrange(3)
    if kind == 0:
        info.write_bytes(mutated_bytes(info.read_bytes(), rng))
    elif kind == 1:
        info.write_text(json.dumps(mutated_values(json.loads(info.read_text()), rng)))
    else:  # by somebody who puts the right checksum on it
        content = mutated_bytes(weights.read_bytes(), rng)
        digest = hashlib.sha256(content).hexdigest()
        values = json.loads(info.read_text())
        values.update(weights_file=f"weights-{digest[:12]}.safetensors", weights_sha256=digest)
        (folder / values["weights_file"]).write_bytes(content)
        info.write_text(json.dumps(values))
    return _tried(folder)


def _tried(place) -> str:
    """Use a detector; returns what came of it."""
    try:
        with limited():
            detector = Detector.from_folder(place, **CPU)
            frames = [np.random.default_rng(0).random((1, 32, 32))] * detector.design.n_inputs
            found = detector.detect(frames, (1.0, 1.0, 1.0))
    except CellTrainError as error:
        _short(error, 1500)
        return "refused"
    assert np.isfinite(found.positions).all()
    return "loaded"


def _fuzz_detectors(source, folder, n: int, start: int = 0) -> dict[str, int]:
    results = {"refused": 0, "loaded": 0}
    for seed in range(start, start + n):
        results[fuzz_detector(source, folder, seed)] += 1
    return results


def test_mutated_detectors_are_loaded_or_refused(detector_folder, tmp_path):
    results = _fuzz_detectors(detector_folder, tmp_path / "d", FAST)
    assert results["refused"] > FAST / 2


@pytest.fixture(scope="module")
def packed(small_detector, detector_folder):
    return pack_detector(detector_folder, detector_folder.parent / "packed.celltrain", About())


def fuzz_package(source, path, seed: int) -> str:
    """Spoil a packed detector, or what is in it; use it, and show its card."""
    rng = random.Random(seed)
    content = source.read_bytes()
    if rng.random() < 0.7:  # most of it is weights; the names and sizes are at the end
        directory = content.rindex(b"detector.json") - 200
        head = b"" if rng.random() < 0.3 else content[:directory]
        path.write_bytes(head + mutated_bytes(content[len(head) :], rng))
    else:
        members = {name: read_member(source, name) for name in member_names(source)}
        name = rng.choice(list(members))
        members[name] = mutated_bytes(members[name], rng)
        write_package(path, members)
    with limited(), contextlib.suppress(CellTrainError):
        assert len(card_of(path)) < 2**20
    return _tried(path)


@pytest.mark.parametrize("n", [FAST, pytest.param(LONG, marks=LONG_MARKS)])
def test_mutated_packages_are_loaded_or_refused(packed, tmp_path, n):
    results = [fuzz_package(packed, tmp_path / "a.celltrain", seed) for seed in range(n)]
    assert results.count("refused") > n / 3


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_mutated_detectors_are_loaded_or_refused(detector_folder, tmp_path):
    _fuzz_detectors(detector_folder, tmp_path / "d", LONG, start=10**6)


def fuzz_settings(folder, seed: int) -> str:
    rng = random.Random(seed)
    path = folder / "settings.toml"
    settings = TrainingSettings.from_dict(
        {"budget": {"minutes": 2.5}, "design": {"time_window": [-1, 1]}}
    )
    path.write_bytes(mutated_bytes(settings.to_toml().encode(), rng))
    try:
        with limited():
            TrainingSettings.from_toml(path).to_toml()
    except CellTrainError as error:
        _short(error, 600)
        return "refused"
    return "loaded"


@pytest.mark.parametrize("n", [FAST * 4, pytest.param(LONG * 4, marks=pytest.mark.slow)])
def test_mutated_settings_are_read_or_refused(tmp_path, n):
    results = [fuzz_settings(tmp_path, seed) for seed in range(n)]
    assert results.count("refused") > n / 3


DATASET = """
[[experiment]]
name = "first"
images = "movie.tif"
annotations = "points.csv"
marks = "marks.csv"
time_points = [0, 2]
time_offset = 0
channels = [1]
voxel_size_um = [2.0, 0.5, 0.5]
annotated = "region"
regions = [{polygon = [[0, 0], [0, 8.5], [8, 8]], time_points = [0, 1]}]
role = "held-out"

[[experiment]]
images = "movie.tif"
series = 1
annotations = "points.csv"
entry = 1
channel = 1
annotated = "box"
role = "train"
"""


def write_data(folder):
    """Write a data set that says all that one can, and what it names."""
    tifffile.imwrite(folder / "movie.tif", np.zeros((3, 12, 12), np.uint16), imagej=True)
    (folder / "points.csv").write_text("t,y,x\n0,1,1\n1,2,2\n2,3,4\n")
    (folder / "marks.csv").write_text("t,y,x,status\n0,5,5,-1\n1,6,6,0\n")


def fuzz_dataset(folder, seed: int) -> str:
    """Spoil a data set file, which lies beside what `write_data` wrote, and read it."""
    rng = random.Random(seed)
    path = folder / "dataset.toml"
    content = mutated_bytes(DATASET.encode(), rng)
    if rng.random() < 0.6:  # sound TOML that says something else
        values = tomllib.loads(DATASET)
        with contextlib.suppress(TypeError, ValueError):  # None is nothing that TOML can say
            content = tomli_w.dumps(mutated_values(values, rng)).encode()
    path.write_bytes(content)
    try:
        with limited():
            for experiment in load_dataset(path, require_images=rng.random() < 0.5).experiments:
                assert np.isfinite(experiment.annotations.positions).all()
    except CellTrainError as error:
        _short(error, 1500)
        return "refused"
    return "loaded"


@pytest.mark.parametrize("n", [FAST, pytest.param(LONG, marks=LONG_MARKS)])
def test_mutated_data_sets_are_read_or_refused(tmp_path, n):
    write_data(tmp_path)
    (tmp_path / "dataset.toml").write_text(DATASET)
    assert len(load_dataset(tmp_path / "dataset.toml")) == 2
    results = [fuzz_dataset(tmp_path, seed) for seed in range(n)]
    assert n / 10 < results.count("refused") < 0.95 * n


PARTIAL_SHAPE = (1, 30, 40)


def unfinished(path, detector) -> dict:
    """Write the file of an unfinished prediction; returns what was asked for."""
    header = {
        "celltrain_partial": 1,
        "detector": weights_digest(detector),
        "movie": "m",
        "place": None,
        "shape": list(PARTIAL_SHAPE),
        "channels": [0],
        "voxel_size": [1.0, 1.0, 1.0],
        "cell_diameter": 9.5,
        "gamma": 1.0,
        "floor": 0.05,
    }
    found = FrameResult(0, np.array([[0.0, 3, 4], [0, 8.25, 9]]), np.array([0.5, 0.75]), 0.1)
    with PartialResults(Reserved(path), header, resume=False) as partial:
        for t in range(4):
            partial.add(replace(found, t=t, damage="cut short" if t == 3 else None), "stamp")
    return header


def fuzz_partial(content: bytes, header: dict, detector, path, seed: int) -> str:
    """Spoil the file of an unfinished prediction and go on from it."""
    rng = random.Random(seed)
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    if rng.random() < 0.5:
        lines[place] = json.dumps(mutated_values(json.loads(lines[place]), rng)).encode() + b"\n"
    else:
        lines[place] = mutated_bytes(lines[place], rng)
    spoilt = b"".join(lines)
    path.write_bytes(spoilt)
    try:
        with limited():
            measured = measured_before(path, detector)
            assert all(one is None or 0 < one < np.inf for one in measured)
            with PartialResults(Reserved(path), header, resume=True) as partial:
                known = [t for t in range(-10, 10) if partial.result(t, "stamp") is not None]
                for t in known:
                    result = partial.result(t)
                    assert ((result.positions >= -0.5) & (result.positions < 40)).all()
                    assert ((result.scores >= 0) & (result.scores <= 1)).all()
                partial.add(FrameResult(11, np.empty((0, 3)), np.empty(0), 0.1), "stamp")
            with PartialResults(Reserved(path), header, resume=True) as partial:
                again = [t for t in range(-10, 12) if partial.result(t, "stamp") is not None]
            assert again == [*known, 11]
    except CellTrainError as error:
        _short(error, 1500)
        assert path.read_bytes() == spoilt  # somebody may want to have it
        return "refused"
    return "loaded"


@pytest.mark.parametrize("n", [FAST, pytest.param(LONG, marks=LONG_MARKS)])
def test_a_prediction_goes_on_from_a_mutated_file_or_refuses(small_detector, tmp_path, n):
    path = tmp_path / "cells.csv.partial"
    header = unfinished(path, small_detector)
    content = path.read_bytes()
    results = [fuzz_partial(content, header, small_detector, path, seed) for seed in range(n)]
    assert n / 10 < results.count("refused") < n / 2


@pytest.mark.timeout(20)
@pytest.mark.parametrize("part", ["a.", "a . ", '"a".', "'a' .\t", "a-1."])
@pytest.mark.parametrize("before", ["", "[", "x = {"])
def test_a_key_of_thousands_of_parts_is_refused_at_once(tmp_path, part, before):
    """A document of 60 kB took 11 s and 3.5 GB."""
    after = {"": " = 1", "[": "]", "x = {": " = 1}"}[before]
    path = tmp_path / "odd.toml"
    path.write_text(before + 100_000 * part + "a" + after)
    begin = time.monotonic()
    for read in (TrainingSettings.from_toml, load_dataset):
        with pytest.raises(CellTrainError, match="fifty parts"):
            read(path)
    assert time.monotonic() - begin < 5


def test_numbers_with_points_are_no_keys(tmp_path):
    path = tmp_path / "long.toml"
    numbers = ", ".join(["[1.5, 2.25]"] * 20_000)
    path.write_text(f"[[experiment]]\nname = 'x'\nregions = [{{polygon = [{numbers}]}}]\n")
    with pytest.raises(CellTrainError) as told:
        load_dataset(path)
    assert "parts" not in str(told.value)


def fuzz_run(source, folder, seed: int) -> None:
    """Spoil history, state or detector of a run folder; reading and telling of it never fails."""
    rng = random.Random(seed)
    run = RunFolder(folder)
    run.best.mkdir(exist_ok=True)
    shutil.copy(source / "settings.toml", folder)
    for name in ("history.jsonl", "run.json", f"best/{INFO_FILE}"):
        content = (source / name).read_bytes()
        if rng.random() < 0.5:
            content = mutated_bytes(content, rng)
        else:
            lines = content.splitlines() if name.endswith("l") else [content]
            place = rng.randrange(len(lines))
            lines[place] = json.dumps(mutated_values(json.loads(lines[place]), rng)).encode()
            content = b"\n".join(lines) + b"\n"
        (folder / name).write_bytes(content)
    with limited():
        run.is_finished()
        history = run.read_history()
        page._summary(run)
        page._choices(history)
        page._findings(history)
        doctor._run_log(folder)
        run.truncate_history(30, 30)
        before = run.read_history()
        assert run.read_history() == before


@pytest.mark.parametrize("n", [FAST, pytest.param(LONG, marks=pytest.mark.slow)])
def test_mutated_run_folders_are_read(small_run, tmp_path, n):
    for seed in range(n):
        fuzz_run(small_run, tmp_path, seed)


def test_the_page_of_a_run_with_odd_numbers_is_written(small_run, tmp_path, capsys):
    run = tmp_path / "run"
    shutil.copytree(small_run, run, ignore=shutil.ignore_patterns("prepared", "checkpoints"))
    state = json.loads((run / "run.json").read_bytes())
    state.update(best_f1="good", threshold=[], seconds=float("nan"), experiments="x", started=3)
    (run / "run.json").write_text(json.dumps(state))
    info = json.loads((run / "best" / INFO_FILE).read_bytes())
    info.update(precision="high", design=True)
    (run / "best" / INFO_FILE).write_text(json.dumps(info))
    assert main(["plot", str(run)]) == 0
    assert "Traceback" not in capsys.readouterr().err
    assert not any("good" in line for line in doctor._run_log(run))
    assert "<html" in (run / "report.html").read_text("utf-8")


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "history.jsonl",
        "debug.log",
        "settings.toml",
        "dataset.toml",
        "best/detector.json",
    ],
)
def test_a_pipe_in_a_run_folder_is_not_waited_for(small_run, tmp_path, name, capsys):
    """Nobody writes to it, so reading it would never end."""
    run = tmp_path / "run"
    shutil.copytree(small_run, run, ignore=shutil.ignore_patterns("prepared"))
    (run / name).unlink(missing_ok=True)
    os.mkfifo(run / name)
    for command in ("plot", "count"):
        main([command, str(run)])
    main(["train", "--out", str(run), "--resume"])
    with contextlib.suppress(CellTrainError):
        doctor._run_log(run)
    main(["count", str(run / name)])
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_an_unfinished_prediction_is_refused(small_detector, tmp_path):
    path = tmp_path / "cells.csv.partial"
    header = unfinished(path, small_detector)
    path.unlink()
    os.mkfifo(path)
    assert measured_before(path, small_detector) == (None, None)
    with pytest.raises(CellTrainError, match="no ordinary file"):
        PartialResults(Reserved(path), header, resume=True)


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("spoil", ["bytes", "pipe", "large"])
def test_a_spoilt_name_of_the_process_that_trains_is_left_out(tmp_path, monkeypatch, spoil):
    def held(*args, **kwargs):
        raise Timeout("run.lock")

    monkeypatch.setattr(FileLock, "acquire", held)
    owner = tmp_path / "run.pid"
    if spoil == "pipe":
        os.mkfifo(owner)
    else:
        owner.write_bytes(b"\xff\xfe" if spoil == "bytes" else b"process 1" * 10_000)
    with pytest.raises(CellTrainError) as told, RunFolder(tmp_path).locked():
        pass
    assert str(told.value).startswith("Another process is training in")
    _short(told.value, 400)


@pytest.mark.skipif(os.name == "nt", reason="has no such pipes")
@pytest.mark.timeout(60)
def test_a_pipe_among_the_images_is_a_damaged_time_point(tmp_path):
    for t in range(3):
        tifffile.imwrite(tmp_path / f"t{t}.tif", np.zeros((8, 8), np.uint8))
    movie = open_images(tmp_path)
    (tmp_path / "t1.tif").unlink()
    os.mkfifo(tmp_path / "t1.tif")
    with pytest.raises(CellTrainError, match="no ordinary file"):
        movie.read_frame(1)


@pytest.mark.parametrize("n", [FAST, pytest.param(LONG, marks=pytest.mark.slow)])
def test_mutated_checkpoints_are_never_taken(tmp_path, n):
    """The checksum is over everything: only the very content that was written is taken."""
    tensors = {"model.a": torch.arange(12.0).reshape(3, 4), "ema.a": torch.ones(2)}
    path = save_checkpoint(tmp_path, Checkpoint(5, tensors, {"seconds": 1.0}))
    content = path.read_bytes()
    for seed in range(n):
        bad = mutated_bytes(content, random.Random(seed))
        path.write_bytes(bad)
        loaded, _ = load_newest(tmp_path)
        if loaded is not None:
            assert loaded.step == 5
            assert set(loaded.tensors) == set(tensors)
            assert all(torch.equal(loaded.tensors[key], value) for key, value in tensors.items())


FORGED = {
    "no state": lambda state, tensors: state.clear(),
    "no design": lambda state, tensors: state.pop("design"),
    "a huge design": lambda state, tensors: state["design"].update(width=10**9),
    "another design": lambda state, tensors: state["design"].update(width=16),
    "no plan": lambda state, tensors: state.pop("plan"),
    "a huge crop": lambda state, tensors: state["plan"]["groups"][0].update(
        shape=[1, 10**6, 10**6]
    ),
    "crops of text": lambda state, tensors: state["plan"]["groups"][0].update(shape="big"),
    "batches without end": lambda state, tensors: state["plan"]["groups"][0].update(
        batch_size=10**9
    ),
    "no schedule": lambda state, tensors: state.pop("schedule"),
    "no weights": lambda state, tensors: tensors.clear(),
    "weights of another size": lambda state, tensors: tensors.update(
        {"model.head.bias": torch.zeros(99)}
    ),
    "weights that are not finite": lambda state, tensors: tensors.update(
        {"model.head.bias": torch.full((4,), torch.nan)}
    ),
    "text for numbers": lambda state, tensors: state.update(best_f1="good", worse="bad"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_a_forged_checkpoint_with_a_right_checksum_is_a_sentence(
    small_dataset, fast_settings, tmp_path, forgery
):
    """Somebody who can write a valid checkpoint still can't crash or hang the program."""
    run = tmp_path / "run"
    short = fast_settings.changed(["budget.steps=2"])
    train(small_dataset, run, short)
    newest, _ = load_newest(run / "checkpoints")
    assert newest is not None
    state, tensors = json.loads(json.dumps(dict(newest.state))), dict(newest.tensors)
    FORGED[forgery](state, tensors)
    for path in (run / "checkpoints").iterdir():
        path.unlink()
    save_checkpoint(run / "checkpoints", Checkpoint(2, tensors, state))
    more = fast_settings.changed(["budget.steps=4"])
    with pytest.raises(CellTrainError) as error:
        train(small_dataset, run, more, resume=True)
    assert "checkpoint" in str(error.value)
    assert "\n" not in str(error.value)
