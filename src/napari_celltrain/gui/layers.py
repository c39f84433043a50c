"""An experiment as napari layers.

How numbers map, so that the slider, the positions and the files agree:

* every layer has the axes (t, z, y, x); a 2D movie has one plane, for which napari shows no slider.
  (A flat annotation without its movie has the axes (t, y, x), as napari's own readers give them to
  a 2D movie: so the two fit when the movie is opened too.);
* napari's *world* coordinate on the time axis is the movie's own time point number. The image
  layer of a series that starts at 37 is moved to 37 (`translate`), and a point's own first
  coordinate is its time point number. (The small number right of napari's slider counts steps
  from 0; our widgets always say the time point.);
* in space, world coordinates are micrometres where the voxel size is known, else pixels: image,
  points and tracks have the voxel size as `scale`, and their data are pixels of the image as
  stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal
from uuid import uuid4

import numpy as np

from napari_celltrain.experiment import Status
from napari_celltrain.gui.lazy_images import display_range, lazy_array
from napari_celltrain.gui.lineages import napari_tracks

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_celltrain.experiment import ZYX, Annotations, Experiment

METADATA = "celltrain"
"""The key in a layer's metadata under which `LayerNote` fields are kept."""

ARRAY = "array"
"""The key in an image layer's note for the name of the dask array that shows the file."""

CELL_ID = "cell_id"
"""The feature that ties a point to the position it was read as, and so to its links."""

LayerData = tuple[Any, dict[str, Any], str]
Role = Literal["image", "cells", "tracks", "detections", "errors", "preview"]

_CHANNEL_COLOURS = ("green", "magenta", "cyan", "yellow", "red", "blue")
_SYMBOLS = {Status.CELL: "disc", Status.UNKNOWN: "square", Status.NOT_A_CELL: "x"}


def note(layer: Layer) -> dict[str, Any]:
    """Return what this plugin wrote on a layer; empty for a layer of somebody else."""
    found = layer.metadata.get(METADATA, {})
    return found if isinstance(found, dict) else {}


def keep_in_note(layer: Layer, key: str, value: Any) -> None:
    """Write something on a layer; on a dictionary of its own, which copies of layers share."""
    layer.metadata[METADATA] = {**note(layer), key: value}


def state(layer: Layer, key: str, value: Any) -> None:
    """Write on a layer what a person says of it, and let everybody know who listens to it."""
    keep_in_note(layer, key, value)
    layer.events.metadata()


def placement(voxel_size_um: ZYX | None, first_time_point: int = 0) -> dict[str, Any]:
    """Return the layer arguments that put (t, z, y, x) pixels where they belong in the world."""
    known = voxel_size_um is not None
    return {
        "scale": (1.0, *(voxel_size_um if voxel_size_um is not None else (1.0, 1.0, 1.0))),
        "translate": (float(first_time_point), 0.0, 0.0, 0.0),
        "units": ("pixel", *(("um",) * 3 if known else ("pixel",) * 3)),
        "axis_labels": ("t", "z", "y", "x"),
    }


def experiment_layers(
    experiment: Experiment, *, visible: bool = True, with_units: bool = True
) -> list[LayerData]:
    """Return image layers (one a channel), a points layer, and tracks if there are links.

    Parameters
    ----------
    experiment
        What to show.
    visible
        Whether the layers are shown at first.
    with_units
        False leaves the word um away: beside an experiment in pixels napari would complain.
    """
    key = uuid4().hex
    voxel = experiment.known_voxel_size_um
    shown = {"key": key, "experiment": experiment}
    layers = _image_layers(experiment, shown, visible)
    if experiment.annotations.links.size:
        rows, graph = napari_tracks(experiment.annotations)
        tracks = {
            "name": f"{experiment.name} tracks",
            "graph": graph,
            "visible": visible,
            "tail_length": 5,
            "metadata": {METADATA: {**shown, "role": "tracks"}},
            **placement(voxel),
        }
        layers.append((rows, tracks, "tracks"))
    layers.append(cells_layer(experiment, key=key, visible=visible))
    if _is_flat(experiment):
        layers = [_without_depth(*layer) for layer in layers]
    if not with_units:
        for _, arguments, _ in layers:
            del arguments["units"]
    return layers


def cells_layer(
    experiment: Experiment, *, key: str, visible: bool = True, name: str | None = None
) -> LayerData:
    """Return the points layer of an experiment's annotations."""
    annotations = experiment.annotations
    arguments = {
        "name": name or f"{experiment.name} cells",
        "ndim": 4,
        "features": _features(annotations),
        "size": point_size(annotations),
        "symbol": _symbols(annotations),
        "visible": visible,
        "metadata": {METADATA: {"key": key, "experiment": experiment, "role": "cells"}},
        **hollow("#ffb000"),
        **placement(experiment.known_voxel_size_um),
    }
    return np.column_stack([annotations.t, annotations.positions]), arguments, "points"


def hollow(colour: str) -> dict[str, Any]:
    """Return the look of a ring that does not hide the cell inside it."""
    return {
        "face_color": "transparent",
        "border_color": colour,
        "border_width": 0.08,
        "border_width_is_relative": True,
        "projection_mode": _depth_mode(),
    }


def point_size(annotations: Annotations, default: float = 10.0) -> float:
    """Return a diameter in pixels that lets neighbours be told apart.

    Three quarters of the median distance between neighbours in the best annotated time point.
    """
    if len(annotations) < 2:
        return default
    from scipy.spatial import cKDTree

    numbers, counts = np.unique(annotations.t, return_counts=True)
    positions = annotations.positions[annotations.at(int(numbers[counts.argmax()]))][:2000, 1:]
    if len(positions) < 2:
        return default
    distances = cKDTree(positions).query(positions, k=2)[0][:, 1]
    return float(np.clip(0.75 * np.median(distances), 4.0, 60.0))


def show_through_depth(viewer: ViewerModel, thickness: float) -> None:
    """Let points be seen in the planes above and below their own.

    A nucleus spans several planes; napari shows a point in one. Thick slices (in z only) mend
    that. Image layers keep showing the plane itself: with thick slices napari would average.

    Parameters
    ----------
    viewer
        napari's viewer.
    thickness
        How far above and below, in world units (um where the voxel size is known).
    """
    if viewer.dims.ndim < 3:
        return
    if not any(viewer.dims.margin_left) and not any(viewer.dims.margin_right):
        for layer in viewer.layers:
            if getattr(layer, "projection_mode", "none") == "mean":
                layer.projection_mode = "none"  # what it showed until now
    events = viewer.dims.events
    # both, and only then a look: points in a slice with one side would be divided by nothing
    with events.margin_left.blocker(), events.margin_right.blocker():
        for side in ("margin_left", "margin_right"):
            margins = list(getattr(viewer.dims, side))
            margins[-3] = max(margins[-3], thickness)
            setattr(viewer.dims, side, margins)
    events.margin_right(value=viewer.dims.margin_right)


def _is_flat(experiment: Experiment) -> bool:
    """Tell whether there is no movie, and nothing that speaks of depth."""
    depths = experiment.annotations.positions[:, 0]
    return experiment.images is None and bool(len(depths)) and not depths.any()


def _without_depth(data: Any, arguments: dict[str, Any], kind: str) -> LayerData:
    """Leave the z axis out of a points or tracks layer."""
    axes = [0, 2, 3]
    columns = [0, *(axis + 1 for axis in axes)] if kind == "tracks" else axes
    placed = {
        name: tuple(arguments[name][axis] for axis in axes)
        for name in ("scale", "translate", "units", "axis_labels")
    }
    flat = {**arguments, **placed}
    if "ndim" in flat:
        flat["ndim"] = len(axes)
    return data[:, columns], flat, kind


def _image_layers(experiment: Experiment, shown: dict[str, Any], visible: bool) -> list[LayerData]:
    source = experiment.images
    if source is None or not len(source.time_points):
        return []
    several = source.n_channels > 1
    layers = []
    for channel in range(source.n_channels):
        array = lazy_array(source, channel)
        arguments = {
            "name": f"{experiment.name} channel {channel + 1}" if several else experiment.name,
            "visible": visible and (not several or channel in experiment.channels),
            "colormap": _CHANNEL_COLOURS[channel % len(_CHANNEL_COLOURS)] if several else "gray",
            "blending": "additive" if several else "translucent",
            "projection_mode": "none",
            "metadata": {
                METADATA: {**shown, "role": "image", "channel": channel, ARRAY: array.name}
            },
            **placement(experiment.known_voxel_size_um, source.time_points[0]),
        }
        limits = display_range(source, channel)
        if limits is not None:
            arguments["contrast_limits"] = limits
        layers.append((array, arguments, "image"))
    return layers


def _features(annotations: Annotations) -> dict[str, Any]:
    columns: dict[str, Any] = dict(annotations.features)
    if annotations.links.size:
        columns[CELL_ID] = np.arange(len(annotations))
    if not annotations.is_cell.all():
        columns["status"] = annotations.status
    return columns


def _symbols(annotations: Annotations) -> Any:
    if annotations.is_cell.all():
        return "disc"
    assert annotations.status is not None  # set in __post_init__
    return [_SYMBOLS[Status(status)] for status in annotations.status.tolist()]


def _depth_mode() -> str:
    """Points fade with their distance to the plane from napari 0.9 on; before, they just show."""
    from napari.layers import Points

    try:
        Points(ndim=2, projection_mode="rescale_linear")
    except ValueError:
        return "all"
    return "rescale_linear"
