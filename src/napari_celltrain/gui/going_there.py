"""Moving the viewer to a place that something was noticed at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels, Points

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.image_source import layer_to_movie, to_world
from napari_celltrain.gui.layer_annotations import usable_rows
from napari_celltrain.gui.layer_axes import axes_of, shape_of
from napari_celltrain.gui.layers import note, show_through_depth
from napari_celltrain.gui.open_experiments import OpenExperiment, open_experiments
from napari_celltrain.gui.result_layers import place_in_world

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Layer
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
        Positions in what was read from the points layer; those that are gone are left out.
    """
    for layer in experiment.layers:
        layer.visible = True
    layer = experiment.points
    if layer is not None:
        usable = usable_rows(layer)
        rows = [int(usable[number]) for number in points if number < len(usable)]
        if rows:
            world = _places(layer, experiment.images, rows)
            place = world[0] if time_point is None else _at(viewer, world, time_point)
            look_at(viewer, place)
            viewer.layers.selection.active = layer
            layer.selected_data = set(rows)
            return
    if time_point is not None:
        show_time_point(viewer, time_point)


def lay_on_movies(viewer: ViewerModel, experiments: Iterable[OpenExperiment]) -> None:
    """Put annotations that were opened without their movies where their movies are."""
    for experiment in experiments:
        try:
            if not experiment.align():
                continue
        except CellTrainError:  # it is told where the experiment is read
            continue
        image, points = experiment.images[0], experiment.points
        axes = axes_of(image)
        if points is None or "z" not in axes or shape_of(image)[axes.index("z")] < 2:
            continue
        scale = {axis: abs(float(image.scale[axes.index(axis)])) for axis in "zx"}
        size = float(np.atleast_1d(points.current_size)[0]) * scale["x"]
        show_through_depth(viewer, max(size / 2, scale["z"]))


def show_alone(experiment: OpenExperiment, others: Iterable[OpenExperiment]) -> None:
    """Show one experiment and hide the others; what is hidden lies on top of it otherwise."""
    own = {id(layer) for layer in experiment.layers}
    for other in others:
        for layer in other.layers:
            if id(layer) not in own:
                layer.visible = False
    for layer in experiment.layers:
        layer.visible = True


def uncover(viewer: ViewerModel, image: Image) -> None:
    """Show a movie, alone if another one is shown: what is drawn on it would lie on that one."""
    if image.visible or image not in viewer.layers:
        return
    every = open_experiments(viewer.layers)
    shown = next((one for one in every if image in one.images), None)
    if shown is None or any(other.visible for other in shown.images):  # another channel of it
        image.visible = True
        return
    show_alone(shown, every)
    look_at_all_of(viewer, shown)
    for layer in viewer.layers:
        if note(layer).get("role") == "errors":
            layer.visible = note(layer).get("image") == image.unique_id


def look_at_all_of(viewer: ViewerModel, experiment: OpenExperiment) -> None:
    """Bring the whole of an experiment into sight, at a time point and a plane that it has.

    Its annotation becomes the layer that is edited.
    """
    layers = experiment.images or experiment.layers
    world = np.asarray(layers[0].extent.world)
    if not np.isfinite(world).all():  # nothing is in it yet
        return
    ndim, shared = viewer.dims.ndim, min(viewer.dims.ndim, world.shape[1])
    time = _time_axis(viewer)
    for number in range(shared):
        axis = ndim - shared + number
        low, high = world[:, world.shape[1] - shared + number]
        if axis in viewer.dims.displayed or low <= viewer.dims.point[axis] <= high:
            continue
        is_time = time is not None and axis == time[0]
        nearest = min(max(viewer.dims.point[axis], low), high)
        viewer.dims.set_point(axis, nearest if is_time else (low + high) / 2)
    fit(viewer, layers)
    if experiment.annotation is not None:
        viewer.layers.selection.active = experiment.annotation


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


def fit(viewer: ViewerModel, layers: list[Layer]) -> None:
    """Let these layers fill the canvas."""
    newer = hasattr(viewer, "scene")
    if newer and max(layer.ndim for layer in layers) == viewer.dims.ndim:
        viewer.fit_to_view(layers=layers)
        return
    # napari before 0.9 fits everything, and newer ones fail at layers with fewer axes than the
    # viewer; from there on by the sizes
    if newer:
        viewer.fit_to_view()
    else:
        viewer.reset_view()
    world = np.asarray(layers[0].extent.world)
    everything = np.asarray(viewer.layers.extent.world)
    shown = list(viewer.dims.displayed)
    own = [axis - viewer.dims.ndim + world.shape[1] for axis in shown]
    if min(own) < 0:  # it is flat along an axis that is shown
        return
    camera = viewer.scene.camera if newer else viewer.camera
    ratio = np.ptp(everything, axis=0)[shown] / np.maximum(np.ptp(world, axis=0)[own], 1e-9)
    camera.zoom *= float(ratio.min())
    centre = list(camera.center)
    centre[-len(shown) :] = world.mean(axis=0)[own].tolist()
    camera.center = tuple(centre)


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
