"""Moving the viewer to a place that something was noticed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Points

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.image_source import layer_to_movie, to_world
from napari_celltrain.gui.layer_axes import axes_of
from napari_celltrain.gui.open_experiments import OpenExperiment, open_experiments
from napari_celltrain.gui.result_layers import place_in_world

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            world = _places(layer, experiment.images, rows)
            place = world[0] if time_point is None else _at(viewer, world, time_point)
            look_at(viewer, place)
            viewer.layers.selection.active = layer
            layer.selected_data = set(rows)
            return
    if time_point is not None:
        show_time_point(viewer, time_point)


def show_time_point(viewer: ViewerModel, time_point: int) -> None:
    """Move the time slider, whose world numbers are time points."""
    if viewer.dims.ndim > 2:
        found = _time_axis(viewer)
        if found is not None:
            viewer.dims.set_point(found[0], time_point * found[1])


def show_channel(viewer: ViewerModel, layer: Image, channel: int) -> None:
    """Move the slider of a layer's channel axis."""
    axis = axes_of(layer).index("c")
    place = np.zeros(layer.ndim)
    place[axis] = channel
    viewer.dims.set_point(
        axis + viewer.dims.ndim - layer.ndim, float(to_world(layer, place[None])[0, axis])
    )


def shown_time_point(viewer: ViewerModel) -> int | None:
    """Return the time point that the slider is at; None without a time axis."""
    if viewer.dims.ndim < 3:
        return None
    found = _time_axis(viewer)
    return None if found is None else round(float(viewer.dims.point[found[0]]) / found[1])


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


def _places(layer: Points, images: Sequence[Image], rows: Sequence[int]) -> NDArray[np.float64]:
    """Return where sliders and camera find rows of a points layer."""
    data = np.asarray(layer.data, np.float64)[rows]
    if not images or layer.ndim >= images[0].ndim:
        return to_world(layer, data)
    movie = layer_to_movie(images[0], layer, data)  # its channels and planes are the image's
    return place_in_world(images[0], movie[:, 0].round().astype(np.int64), movie[:, 1:])


def _at(viewer: ViewerModel, world: NDArray[np.float64], time_point: int) -> NDArray[np.float64]:
    found = _time_axis(viewer)
    if found is None:
        return np.asarray(world[0])
    axis, scale = found
    times = world[:, max(axis - viewer.dims.ndim + world.shape[1], 0)]
    return np.asarray(world[np.abs(times - time_point * scale).argmin()])


def _time_axis(viewer: ViewerModel) -> tuple[int, float] | None:
    """Return which slider is time, and how far a time point is: others may count in seconds.

    It is the first one, unless a layer with as many axes as the viewer says otherwise.
    """
    for layer in viewer.layers:
        if layer.ndim != viewer.dims.ndim or isinstance(layer, Points):
            continue
        axis = 0
        if isinstance(layer, (Image, Labels)):
            try:
                axis = axes_of(layer).find("t")
            except CellTrainError:
                continue
            if axis < 0:
                return None
        return axis, float(layer.scale[axis]) or 1.0
    return 0, 1.0
