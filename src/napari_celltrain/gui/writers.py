"""File > Save: cells or tracks of a layer in any tracking format that can be written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.belonging import strays
from napari_celltrain.gui.layer_annotations import about_what_is_left_out

if TYPE_CHECKING:
    from napari.layers import Points, Tracks

    from napari_celltrain.experiment import Experiment
    from napari_celltrain.gui.open_experiments import OpenExperiment


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
    write_experiment(path, experiment_of(layer, meta.get("metadata")))
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
    write_experiment(path, experiment_of(layer, meta.get("metadata")))
    return [path]


def experiment_of(layer: Points | Tracks, metadata: dict[str, Any] | None = None) -> Experiment:
    """Return the experiment that a layer stands for, in the pixels of the image it lies on.

    Where it lies on none, or is in no viewer, its own coordinates are the pixels. Positions beside
    the image are said in a notification: no two rows of a file are in different units.

    Parameters
    ----------
    layer
        To be written; napari hands its data over, not the layer that is in the viewer.
    metadata
        The very dictionary of the layer in the viewer, which tells it from one of its name.
    """
    from napari.layers import Points
    from napari.utils.notifications import show_warning

    from napari_celltrain.gui.open_experiments import OpenExperiment

    for finding in about_what_is_left_out(layer, layer.name):
        show_warning(finding.message)
    found = _shown_as(layer, metadata)
    if found is not None and found.images:
        image = found.images[0]
        outside, count = strays(found.annotation or layer, image)
        if outside < max(count, 1) or found.is_certain:
            if outside:
                show_warning(
                    f"{outside} of the {count} positions in '{layer.name}' "
                    f"{'lies' if outside == 1 else 'lie'} outside the image '{image.name}'; "
                    "they are written in its pixels as well."
                )
            return found.read()
        show_warning(
            f"Nothing in '{layer.name}' lies in the image '{image.name}', so its own coordinates "
            "are written as pixels."
        )
    if isinstance(layer, Points):
        return OpenExperiment([], layer).read()
    return OpenExperiment([], tracks=layer).read()


def _shown_as(layer: Points | Tracks, metadata: dict[str, Any] | None) -> OpenExperiment | None:
    """Return the layer with the images it lies on, in whichever viewer it is."""
    from napari import Viewer, current_viewer
    from napari.layers import Points

    from napari_celltrain.gui.open_experiments import OpenExperiment, open_experiments

    current = current_viewer()
    others = [one for one in getattr(Viewer, "_instances", ()) if one is not current]
    alike = None
    for viewer in ([] if current is None else [current]) + others:
        for found in open_experiments(viewer.layers):
            shown = found.points if isinstance(layer, Points) else found.tracks
            if shown is None:
                continue
            own = found if shown is found.points else OpenExperiment(found.images, tracks=shown)
            if metadata is not None and shown.metadata is metadata:
                return own
            same = shown.name == layer.name and np.array_equal(shown.data, layer.data)
            alike = own if alike is None and same else alike
    return alike


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
