"""Everything that the program writes, twice: one content is called old, the other new.

`writer` returns what writes a kind of file, `which_is_there` reads it back, all of it. The tests
that kill it, fill its disk and let its system calls fail take what there is from here.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError  # noqa: F401 (a child process catches it)
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats.registry import format_named, read_experiments
from napari_celltrain.images.array import ArraySource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[str], Any]

CELLS = {"old": 60, "new": 90}
"""Cells a time point: by their number the content tells which one it is."""
TIMES = 6
FORMATS = {
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
PLACES = {
    **FORMATS,
    "detector folder": "detector",
    "packed detector": "packed.celltrain",
    "bioimage.io package": "package.zip",
    "cells of a prediction": "cells.csv",
    "counts of a prediction": "counts.csv",
    "chart of a prediction": "chart.svg",
    "settings": "settings.toml",
    "state of a run": "run.json",
    "report of a run": "report.html",
    "data set": "dataset.toml",
    "preview": "preview",
    "sample": "sample",
    "job for a cluster": "job",
    "checkpoints": "checkpoints",
    "prepared frames": "prepared",
    "history that is shortened": "history.jsonl",
    "how fast this machine computes": "arithmetic.json",
}
"""Where everything is written to."""
IN_PARTS = ("data set", "preview", "sample", "job for a cluster", "prepared frames")
"""Several files, each of them whole, the one that tells which it is at the end."""
SLOW = ("bioimage.io package", "preview", "job for a cluster")


def writer(name: str, path: Path) -> Write:
    """Return what writes "old" or "new" there."""
    if name in FORMATS:
        chosen = format_named(name)
        experiments = {which: content(which) for which in CELLS}
        return lambda which: chosen.write(path, experiments[which])  # type: ignore[attr-defined]
    write: Write = _WRITERS[name](path)
    return write


def which_is_there(name: str, path: Path) -> str:
    """Read it, all of it; an error or another content means that it is neither."""
    if name in FORMATS:
        (experiment,) = read_experiments(path)
        return _which(experiment, linked=name != "napari points CSV")
    found: str = _READERS[name](path)
    return found


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


def _which(experiment: Experiment, *, linked: bool = True) -> str:
    annotations = experiment.annotations
    if linked:
        assert len(annotations.links) == len(annotations) * (TIMES - 1) // TIMES
    return {n * TIMES: which for which, n in CELLS.items()}[len(annotations)]


# --- detectors ---


def _design() -> Any:
    from napari_celltrain.detector.design import choose_design

    return choose_design(
        diameter=10.0, spacing=11.0, voxel_size=(1.0, 1.0, 1.0), planes=1, unit="px", width=8
    )


def _detectors() -> dict[str, Any]:
    import torch

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.detector.folder import DetectorInfo
    from napari_celltrain.detector.network import CentreNet

    design = _design()
    detectors = {}
    for seed, which in enumerate(CELLS):
        torch.manual_seed(seed)
        weights = CentreNet(design).state_dict()
        info = DetectorInfo(name=which, design=design)
        detectors[which] = Detector(info, weights, device="cpu", precision="float32")
    with torch.device("meta"):
        CentreNet(design)  # torch loads much for that: here, before a process forks, and once
    return detectors


def _saved(path: Path) -> dict[str, Path]:
    sources = {which: path.parent.parent / f"{path.stem}-{which}" for which in CELLS}
    for which, detector in _detectors().items():
        detector.save(sources[which])
    return sources


def _detector_writer(path: Path) -> Write:
    detectors = _detectors()
    return lambda which: detectors[which].save(path)


def _package_writer(path: Path) -> Write:
    from napari_celltrain.sharing.packing import pack_detector

    sources = _saved(path)
    return lambda which: pack_detector(sources[which], path)


def _read_detector(path: Path) -> str:
    from napari_celltrain.detector.detector import Detector

    return Detector.from_folder(path, device="cpu", precision="float32").info.name


def _zoo_writer(path: Path) -> Write:
    """What `write_bioimageio` does at its end; what comes before takes long, elsewhere."""
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.files import replacing
    from napari_celltrain.sharing import About, model_zoo
    from napari_celltrain.sharing.packing import pack_detector

    spec, version = model_zoo._library()
    described = {}
    for which, source in _saved(path).items():
        about = About(which * 3, "CC-BY-4.0", ("A Person",), "Finds cells.")
        detector = Detector.from_folder(source, device="cpu", precision="float32")
        parts = source.with_name(f"parts-{which}")
        parts.mkdir()
        pack_detector(source, parts / "detector.celltrain", about)
        model_zoo._write_parts(parts, detector, about)
        described[which] = model_zoo._describe(parts, detector, about, version)

    def write(which: str) -> None:
        with model_zoo._forgotten_files_closed(), replacing(path) as temporary:
            spec.save_bioimageio_package(described[which], output_path=temporary)

    return write


def _read_zoo(path: Path) -> str:
    with zipfile.ZipFile(path) as package:
        assert package.testzip() is None
        described = package.read("rdf.yaml").decode()
    return next(which for which in CELLS if which * 3 in described)


# --- predictions ---


def _cells_writer(path: Path) -> Write:
    from napari_celltrain.prediction.output import write_cells

    def write(which: str) -> None:
        found = content(which).annotations
        score = np.ones(len(found))
        scored = Annotations(found.t, found.positions, features={"score": score})
        write_cells(path, Experiment("cells", scored))

    return write


def _extras_writer(option: str, path: Path) -> Write:
    import argparse

    from napari_celltrain.cli import predict
    from napari_celltrain.prediction.movie import Summary

    arguments = argparse.Namespace(**{"counts": None, "plot": None, option: path})

    def write(which: str) -> None:
        counts = tuple((f"{which} movie", t, t % 7) for t in range(CELLS[which]))
        failed = predict._write_extras(Summary(counts=counts), arguments)
        if failed is not None:
            raise failed

    return write


def _read_counts(path: Path) -> str:
    first, *rows = path.read_text("utf-8").splitlines()
    assert first == "experiment,t,cells"
    return {n: which for which, n in CELLS.items()}[len(rows)]


def _in_page(path: Path, end: str) -> str:
    text = path.read_text("utf-8")
    assert text.rstrip().endswith(end)
    return next(which for which in CELLS if f"{which} movie" in text)


# --- runs and settings ---


def _settings(which: str) -> Any:
    from napari_celltrain.training.settings import TrainingSettings

    return TrainingSettings.from_dict({"budget": {"steps": CELLS[which]}})


def _settings_writer(path: Path) -> Write:
    from napari_celltrain.files import write_text

    return lambda which: write_text(path, _settings(which).to_toml())


def _read_settings(path: Path) -> str:
    from napari_celltrain.training.settings import TrainingSettings

    steps = TrainingSettings.from_toml(path).budget.steps
    return next(which for which, n in CELLS.items() if n == steps)


def _state_writer(path: Path) -> Write:
    from napari_celltrain.training.run import RunFolder

    run = RunFolder(path.parent)
    return lambda which: run.write_state(fingerprint=which * 100)


def _read_state(path: Path) -> str:
    from napari_celltrain.training.run import RunFolder

    kept: str = RunFolder(path.parent).read_state()["fingerprint"]
    return next(which for which in CELLS if which * 100 == kept)


def _report_writer(path: Path) -> Write:
    from napari_celltrain.training.run import RunFolder

    for which in CELLS:
        run = RunFolder(path.parent.parent / f"{which} movie")
        run.path.mkdir()
        run.settings_file.write_text(_settings(which).to_toml(), "utf-8")
    return lambda which: _command(
        "plot", path.parent.parent / f"{which} movie", "--out", path, "--errors", "0"
    )


def _checkpoints_writer(path: Path) -> Write:
    import torch

    from napari_celltrain.training.checkpoint import Checkpoint, save_checkpoint

    def write(which: str) -> None:
        names = [one.stem for one in path.glob("step-*")]
        step = 1 + max((int(name.partition("-")[2]) for name in names), default=0)
        tensors = {"model.a": torch.full((200, 1000), float(CELLS[which]))}
        save_checkpoint(path, Checkpoint(step, tensors, {"which": which}))

    return write


def _read_checkpoints(path: Path) -> str:
    """All of them have to be whole, not the newest alone: nothing here damages one."""
    from napari_celltrain.training.checkpoint import KEPT, _load

    files = sorted(path.glob("step-*"))
    assert len(files) <= KEPT + 1  # one that is no longer needed may be left, until the next
    checkpoints = [_load(file) for file in files]
    assert all(checkpoint is not None for checkpoint in checkpoints)
    newest = checkpoints[-1]
    assert newest is not None
    which: str = newest.state["which"]
    assert (newest.tensors["model.a"] == CELLS[which]).all()
    return which


def _frames_writer(path: Path) -> Write:
    """Frames in which some pixels have no value, of which there are two files each."""
    from napari_celltrain.training.prepare import prepare

    design = _design()
    experiments = {}
    for which, brightness in CELLS.items():
        movie = np.zeros((1, 1, brightness, 60), np.float32)
        movie[..., ::2] = brightness
        movie[..., :5, :5] = np.nan
        images = ArraySource(movie, "tzyx")
        experiments[which] = content(which).with_(images=images)

    def write(which: str) -> None:
        made = prepare([experiments[which]], [(0, 0)], design, [(1.0, 1.0, 1.0)], path)
        assert len(made) == 1

    return write


def _read_frames(path: Path) -> str:
    """Those of data that are no more may be left beside the others: nobody takes them."""
    from napari_celltrain.training.empty_frames import beside

    heights = []
    files = [file for file in path.glob("*.npy") if _is_kept(file)]
    for file in files:
        frame = np.load(file)  # which fails for half of one
        assert frame.dtype == np.float16
        if not file.name.endswith(".missing.npy"):
            assert beside(file) in files
            heights.append(frame.shape[1])
    if not heights:
        return "unfinished"
    return {n: which for which, n in CELLS.items()}[max(heights)]


def _history_writer(path: Path) -> Write:
    """The new one is what a run that goes on from its third step makes of the old one."""
    from napari_celltrain.files import write_text
    from napari_celltrain.training.events import Step
    from napari_celltrain.training.history import event_to_json
    from napari_celltrain.training.run import RunFolder

    run = RunFolder(path.parent)
    steps = [
        Step(step, 1.0 * step, 0.5, 1e-3, 100.0, 500.0, "cpu", None, None)
        for step in range(1, CELLS["new"] + 1)
    ]
    whole = "".join(event_to_json(step) + "\n" for step in steps)

    def write(which: str) -> None:
        if which == "old":
            write_text(path, whole)
        else:
            run.truncate_history(CELLS["old"], 0)

    return write


def _read_history(path: Path) -> str:
    from napari_celltrain.training.run import RunFolder

    assert path.read_bytes().endswith(b"\n")
    steps = [getattr(event, "step", 0) for event in RunFolder(path.parent).read_history()]
    assert steps == list(range(1, len(steps) + 1))
    return {CELLS["new"]: "old", CELLS["old"]: "new"}[len(steps)]


def _arithmetic_writer(path: Path) -> Write:
    from napari_celltrain.detector.compute import Arithmetic, _remember

    ways = [Arithmetic("float32"), Arithmetic("bfloat16"), Arithmetic("float32", "channels first")]
    return lambda which: _remember(path, "a machine", dict.fromkeys(ways, float(CELLS[which])))


def _read_arithmetic(path: Path) -> str:
    (seconds,) = set(json.loads(path.read_text())["a machine"].values())
    return next(which for which, n in CELLS.items() if n == seconds)


def _command(*words: object) -> None:
    """Run a command that prints nothing, and whose sentence is raised."""
    from napari_celltrain.cli.parser import make_parser

    arguments = make_parser().parse_args([str(word) for word in words])
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        arguments.run(arguments)


# --- folders of several files ---


def _dataset_writer(path: Path) -> Write:
    from napari_celltrain.dataset import Dataset, Member
    from napari_celltrain.dataset.writing import write_dataset

    sets = {which: Dataset((Member(content(which).with_(images=None)),)) for which in CELLS}
    return lambda which: write_dataset(path, sets[which])


def _read_dataset(path: Path) -> str:
    from napari_celltrain.dataset import load_dataset

    if not path.exists():
        return "unfinished"
    return _which(load_dataset(path, require_images=False).experiments[0])


def _preview_writer(path: Path) -> Write:
    from napari_celltrain.cli.preview import write_preview
    from napari_celltrain.training.preview import PreviewCrop

    def write(which: str) -> None:
        _put_away(path)
        side = CELLS[which]
        image = np.zeros((1, side, side), np.float32)
        crop = PreviewCrop(
            image, image, np.ones((20, 3)), np.ones(20, np.int8), image, image > -1,
            (1.0, 1.0, 1.0), "um",
        )  # fmt: skip
        write_preview(path, [crop])

    return write


def _read_preview(path: Path) -> str:
    import imagecodecs
    import tifffile

    sides = {tifffile.imread(file).shape[-1] for file in path.rglob("[!.]*.tif") if _is_kept(file)}
    for file in filter(_is_kept, path.rglob("points.csv")):
        assert len(file.read_text("utf-8").splitlines()) == 21
    if not (path / "overview.png").exists():
        return "unfinished"
    imagecodecs.png_decode((path / "overview.png").read_bytes())
    assert (path / "crop-000" / "points.csv").exists()
    (side,) = sides
    return {n: which for which, n in CELLS.items()}[side]


def _sample_writer(path: Path) -> Write:
    from napari_celltrain.simulation.sample import write_sample

    return lambda which: write_sample(
        path, kind="plane", seed=CELLS[which], time_points=3, size=(1, 64, 64), n_cells=5
    )


def _read_sample(path: Path) -> str:
    from napari_celltrain.images import open_images

    if (path / "images").exists():
        movie = open_images(path / "images")
        assert [movie.read_frame(t).shape for t in movie.time_points] == [(1, 64, 64)] * 3
    if (path / "plane.aut").exists():
        read_experiments(path / "plane.aut")
    if not (path / "dataset.toml").exists():
        return "unfinished"
    text = (path / "dataset.toml").read_text("utf-8")
    assert text.endswith('annotated = "time-points"\n')
    return next(which for which, n in CELLS.items() if f"seed {n}" in text)


def _job_writer(path: Path) -> Write:
    from napari_celltrain.simulation.sample import write_sample

    source = path.parent.parent / "source"
    write_sample(source, kind="plane", time_points=3, size=(1, 64, 64), n_cells=5)

    def write(which: str) -> None:
        _put_away(path)
        _command("export-job", source, "--out", path, "--minutes", CELLS[which])

    return write


def _read_job(path: Path) -> str:
    from napari_celltrain.dataset import load_dataset

    if not path.exists():  # the old one was put away, and the new one is not complete
        return "unfinished"
    assert (path / "README.txt").stat().st_size > 100
    (experiment,) = load_dataset(path / "dataset.toml").experiments
    assert experiment.images is not None
    for t in experiment.images.time_points:
        experiment.images.read_frame(t)
    assert (path / "job.sh").stat().st_size > 100
    text = (path / "settings.toml").read_text("utf-8")
    return next(which for which, n in CELLS.items() if f"minutes = {n}.0" in text)


def _put_away(path: Path) -> None:
    """Remove a folder at once, or not at all."""
    away = path.parent.parent / "away"
    shutil.rmtree(away, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        path.rename(away)


def _is_kept(file: Path) -> bool:
    """Tell a file from one that is being written."""
    return not any(part.startswith(".celltrain-") for part in file.parts)


_WRITERS: dict[str, Callable[[Path], Write]] = {
    "detector folder": _detector_writer,
    "packed detector": _package_writer,
    "bioimage.io package": _zoo_writer,
    "cells of a prediction": _cells_writer,
    "counts of a prediction": functools.partial(_extras_writer, "counts"),
    "chart of a prediction": functools.partial(_extras_writer, "plot"),
    "settings": _settings_writer,
    "state of a run": _state_writer,
    "report of a run": _report_writer,
    "data set": _dataset_writer,
    "preview": _preview_writer,
    "sample": _sample_writer,
    "job for a cluster": _job_writer,
    "checkpoints": _checkpoints_writer,
    "prepared frames": _frames_writer,
    "history that is shortened": _history_writer,
    "how fast this machine computes": _arithmetic_writer,
}
_READERS: dict[str, Callable[[Path], str]] = {
    "detector folder": _read_detector,
    "packed detector": _read_detector,
    "bioimage.io package": _read_zoo,
    "cells of a prediction": lambda path: _which(read_experiments(path)[0], linked=False),
    "counts of a prediction": _read_counts,
    "chart of a prediction": functools.partial(_in_page, end="</svg>"),
    "settings": _read_settings,
    "state of a run": _read_state,
    "report of a run": functools.partial(_in_page, end="</html>"),
    "data set": _read_dataset,
    "preview": _read_preview,
    "sample": _read_sample,
    "job for a cluster": _read_job,
    "checkpoints": _read_checkpoints,
    "prepared frames": _read_frames,
    "history that is shortened": _read_history,
    "how fast this machine computes": _read_arithmetic,
}
