"""Everything that opens a file, and every name that it opens files by."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING, Any

from napari_celltrain.dataset import load_dataset
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import INFO_FILE
from napari_celltrain.formats.registry import formats, read_experiments
from napari_celltrain.images import open_images
from napari_celltrain.images.opening import SUFFIXES as IMAGE_SUFFIXES
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SUFFIXES = sorted(
    {
        "",
        *(suffix for one in formats() for suffix in one.suffixes),
        *IMAGE_SUFFIXES,
        *(
            ".hdf5",
            ".toml",
            ".celltrain",
            ".safetensors",
            ".npy",
            ".npz",
            ".json",
            ".jsonl",
            ".png",
        ),
    }
)
NAMES = [
    *(f"a{suffix}" for suffix in SUFFIXES),
    INFO_FILE,
    "dataset.toml",
    "settings.toml",
    "zarr.json",
    ".zattrs",
    "man_track.txt",
]
"""Files that are looked for in folders, too."""


def readers() -> dict[str, Callable[[Path], Any]]:
    """Return what opens a file or a folder, by what it is called."""
    known: dict[str, Callable[[Path], Any]] = {
        "tracking data": read_experiments,
        "images": _all_frames,
        "data set": load_dataset,
        "settings": TrainingSettings.from_toml,
        "detector": lambda path: Detector.from_folder(path, device="cpu", precision="float32"),
    }
    for one in formats():
        known[one.name] = lambda path, one=one: read_experiments(path, format_name=one.name)
    return known


def _all_frames(path: Path) -> None:
    movie = open_images(path)
    for t in movie.time_points:
        movie.read_frame(t)


def printed(*words: object) -> tuple[int, str]:
    """Run a command; return its exit status, and everything that it says."""
    from napari_celltrain.cli import main

    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        status = main([str(word) for word in words])
    return status, told.getvalue()


COMMANDS = (
    "count PLACE",
    "convert PLACE OUT/x.csv",
    "convert GOOD/points.csv PLACE",
    "convert GOOD/points.csv OUT/x.aut --images PLACE",
    "preview PLACE --out OUT/preview",
    "preview GOOD/dataset.toml --out PLACE --count 1",
    "train PLACE --out OUT/run --steps 1",
    "train GOOD/dataset.toml --out PLACE --steps 1 --threads 1 --set design.width=4",
    "train GOOD/dataset.toml --out OUT/run --settings PLACE --steps 1 --threads 1",
    "train --out PLACE --resume",
    "predict PLACE GOOD/t{time}.tif --out OUT/x.csv",
    "predict GOOD/run PLACE --out OUT/x.csv --voxel-size 1,1,1 --threads 1",
    "predict GOOD/run GOOD/t{time}.tif --out PLACE.csv --voxel-size 1,1,1 --threads 1",
    "predict GOOD/run GOOD/t{time}.tif --out OUT/x.csv --counts PLACE.csv --voxel-size 1,1,1",
    "evaluate PLACE GOOD/dataset.toml",
    "evaluate GOOD/run PLACE",
    "export PLACE --out OUT/x.celltrain",
    "export GOOD/run --out PLACE.celltrain --no-screenshot",
    "export GOOD/run --out OUT/x.celltrain --screenshot PLACE",
    "export-job PLACE --out OUT/job",
    "export-job GOOD/dataset.toml --out PLACE",
    "export-job GOOD/dataset.toml --out OUT/job --settings PLACE",
    "plot PLACE",
    "plot GOOD/run --out PLACE.svg --errors 0",
    "plot GOOD/run --out PLACE.html --errors 0",
    "doctor PLACE",
    "sample PLACE",
)
"""Each file or folder that a command reads or writes, in place of PLACE."""
