"""File > Save: cells or tracks of a layer in any tracking format that can be written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from napari.layers import Points, Tracks

    from napari_celltrain.experiment import Experiment


def write_points(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one points layer; called by napari.

    Raises
    ------
    CellTrainError
        When the suffix belongs to no format, or the place can't be written.
    """
    from napari.layers import Points

    from napari_celltrain.formats.registry import write_experiment

    layer = Points(np.asarray(data), **meta)
    write_experiment(path, experiment_of(layer))
    return [path]


def write_tracks(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write one tracks layer, its divisions included; called by napari.

    Raises
    ------
    CellTrainError
        When the suffix belongs to no format, or the place can't be written.
    """
    from napari.layers import Tracks

    from napari_celltrain.formats.registry import write_experiment

    layer = Tracks(np.asarray(data), **meta)
    write_experiment(path, experiment_of(layer))
    return [path]


def experiment_of(layer: Points | Tracks) -> Experiment:
    """Return the experiment that a layer stands for, in the pixels of the image it lies on.

    Where it lies on none, or is no longer in the viewer, its own coordinates are the pixels.
    """
    from napari import current_viewer
    from napari.layers import Points

    from napari_celltrain.gui.open_experiments import OpenExperiment, fits, open_experiments

    viewer = current_viewer()
    for found in () if viewer is None else open_experiments(viewer.layers):
        shown = found.points if isinstance(layer, Points) else found.tracks
        if (
            shown is not None
            and shown.name == layer.name
            and np.array_equal(shown.data, layer.data)
            and found.images
            and fits(shown, found.images[0])
        ):
            if isinstance(layer, Points):
                return found.read()
            return OpenExperiment(found.images, tracks=found.tracks).read()
    if isinstance(layer, Points):
        return OpenExperiment([], layer).read()
    return OpenExperiment([], tracks=layer).read()


def save_as(path: str | Path, experiment: Experiment, format_name: str | None = None) -> None:
    """Write in the format of a name, else in the one that the suffix says.

    Raises
    ------
    CellTrainError
        When the suffix is missing or unknown, or the place can't be written.
    """
    from napari_celltrain.formats.registry import write_experiment

    path = Path(path)
    if not path.suffix and format_name is None:
        raise CellTrainError(
            f"{path.name} has no suffix; it says the format, for example {path.name}.csv."
        )
    write_experiment(path, experiment, format_name)
