"""Moving the viewer to a place that something was noticed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Points

from napari_celltrain.gui.image_source import to_world
from napari_celltrain.gui.open_experiments import OpenExperiment, open_experiments

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

    from napari_celltrain.experiment import Finding


def show_finding(viewer: ViewerModel, finding: Finding) -> None:
    """Go to the time point of a finding, and select the points that it is about."""
    for found in open_experiments(viewer.layers):
        if found.name == finding.experiment or not finding.experiment:
            go_to(viewer, found, finding.time_point, finding.points)
            return


def go_to(
    viewer: ViewerModel,
    experiment: OpenExperiment,
    time_point: int | None,
    points: tuple[int, ...] = (),
) -> None:
    """Show a time point of an experiment, with some of its points selected and in the middle.

    Parameters
    ----------
    viewer
        napari's viewer.
    experiment
        Whose layers are made visible.
    time_point
        None: that of the first of the points.
    points
        Rows of the points layer; those that are gone are left out.
    """
    for layer in experiment.layers:
        layer.visible = True
    layer = experiment.points
    if layer is not None:
        rows = [row for row in points if row < len(layer.data)]
        if rows:
            world = to_world(layer, np.asarray(layer.data)[rows])
            place = world[0] if time_point is None else _at(world, time_point)
            look_at(viewer, place)
            viewer.layers.selection.active = layer
            layer.selected_data = set(rows)
            return
    if time_point is not None:
        show_time_point(viewer, time_point)


def show_time_point(viewer: ViewerModel, time_point: int) -> None:
    """Move the time slider: the first axis, whose world numbers are time points."""
    if viewer.dims.ndim > 2:
        viewer.dims.set_point(0, time_point * _time_scale(viewer))


def shown_time_point(viewer: ViewerModel) -> int | None:
    """Return the time point that the slider is at; None without a time axis."""
    if viewer.dims.ndim < 3:
        return None
    return round(float(viewer.dims.point[0]) / _time_scale(viewer))


def look_at(viewer: ViewerModel, world: NDArray[np.float64]) -> None:
    """Bring a world position into the middle, in its time point and plane."""
    ndim = viewer.dims.ndim
    place = np.zeros(ndim)
    shared = min(ndim, len(world))
    place[ndim - shared :] = world[len(world) - shared :]
    for axis in range(ndim):
        if axis not in viewer.dims.displayed:
            viewer.dims.set_point(axis, place[axis])
    shown = [place[axis] for axis in viewer.dims.displayed]
    camera = getattr(viewer, "scene", viewer).camera  # napari before 0.9 had it on the viewer
    centre = list(camera.center)
    centre[-len(shown) :] = shown
    camera.center = tuple(centre)


def _at(world: NDArray[np.float64], time_point: int) -> NDArray[np.float64]:
    near: NDArray[np.float64] = world[np.abs(world[:, 0] - time_point).argmin()]
    return near


def _time_scale(viewer: ViewerModel) -> float:
    """Other people's layers may count time in seconds."""
    for layer in viewer.layers:
        if layer.ndim == viewer.dims.ndim and not isinstance(layer, Points):
            return float(layer.scale[0]) or 1.0
    return 1.0
