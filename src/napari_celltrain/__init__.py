"""Train a cell-centre detector on your own tracked movies, and use it, without leaving napari."""

from __future__ import annotations

import os
from typing import Any

# Read when torch is loaded, which comes later: threads that wait sleep instead of spinning. On a
# machine that also does something else, spinning costs several times the work itself.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
__all__ = ["CellTrainError", "Detector", "Experiment", "__version__", "train"]


def __getattr__(name: str) -> Any:
    """Import on first use: ``import napari_celltrain`` stays cheap (no torch, no napari)."""
    if name == "Detector":
        from napari_celltrain.detector.detector import Detector

        return Detector
    if name == "train":
        from napari_celltrain.training.loop import train

        return train
    if name == "Experiment":
        from napari_celltrain.experiment import Experiment

        return Experiment
    if name == "CellTrainError":
        from napari_celltrain.errors import CellTrainError

        return CellTrainError
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
