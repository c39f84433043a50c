"""Layers that hold results: detections with their scores, and errors beside an annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Points

from napari_celltrain.gui.comparison import FALSE, FOUND, MISSED
from napari_celltrain.gui.image_source import first_time_point, movie_to_data, to_world
from napari_celltrain.gui.layer_axes import axes_of, channel_of
from napari_celltrain.gui.layers import METADATA, hollow, note

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_celltrain.gui.candidates import Candidates
    from napari_celltrain.gui.comparison import Outcomes

_PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")

OUTCOME_COLOURS = {FOUND: "#56b4e9", MISSED: "#f0e442", FALSE: "#d55e00"}
OUTCOME_SYMBOLS = {FOUND: "disc", MISSED: "square", FALSE: "x"}
"""Shape as well as colour."""
OUTCOME_FACES = {FOUND: "transparent", MISSED: "transparent", FALSE: "#d55e00"}
OUTCOME_SIZES = {FOUND: 0.9, MISSED: 1.2, FALSE: 0.8}
"""Of the cell diameter."""


def in_layer(
    image: Image,
    t: NDArray[np.int64],
    positions: NDArray[np.float64],
    channel: int | None = None,
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    """Return data and arguments of a points layer that lies on an image layer.

    The layer is placed like the image, wherever somebody has moved it. On our own image layers the
    first coordinate is the time point number; on somebody else's (which may have fewer axes, or
    channels) the coordinates are the image's indices.

    Parameters
    ----------
    image
        The layer.
    t, positions
        Time point numbers, shape (N,), and (z, y, x) pixels, shape (N, 3).
    channel
        Where they lie along a channel axis; None: in the one chosen for the layer.
    """
    place = {"ndim": image.ndim, **{name: getattr(image, name) for name in _PLACE}}
    if "experiment" not in note(image) or image.ndim != 4:
        return _indices(image, t, positions, channel), place
    first = np.asarray(image.rotate)[:, 0] * image.scale[0] * first_time_point(image)
    place["translate"] = np.asarray(image.translate) - first  # the image's index 0 is its first
    return np.column_stack([t, positions]).astype(np.float64), place


def place_in_world(
    image: Image, t: NDArray[np.int64], positions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return where napari's camera and sliders find positions, shape (N, D)."""
    return to_world(image, _indices(image, t, positions))


def _indices(
    image: Image,
    t: NDArray[np.int64],
    positions: NDArray[np.float64],
    channel: int | None = None,
) -> NDArray[np.float64]:
    """Return indices of an image layer's array."""
    if channel is None:
        channel = channel_of(image)
    return movie_to_data(axes_of(image), t - first_time_point(image), positions, channel)


def add_detections(viewer: ViewerModel, name: str, image: Image, size: float) -> Points:
    """Add an empty layer for detections.

    Parameters
    ----------
    viewer
        napari's viewer.
    name
        Of the layer.
    image
        The layer that the cells are looked for in.
    size
        Cell diameter in pixels.
    """
    data, place = in_layer(image, np.empty(0, np.int64), np.empty((0, 3)))
    layer = Points(
        data,
        name=name,
        size=size,
        features={"score": np.empty(0)},
        metadata={METADATA: {"key": note(image).get("key"), "role": "detections"}},
        **hollow("#56b4e9"),
        **place,
    )
    # not `add_points`: plugins see the viewer through a proxy, which would hand out another one
    viewer.add_layer(layer)
    return layer


def show_candidates(layer: Points, image: Image, candidates: Candidates, threshold: float) -> None:
    """Put candidates into their layer; those below the threshold are there, but not shown."""
    size = float(np.atleast_1d(layer.current_size)[0])
    with layer.events.blocker_all():
        layer.data = in_layer(image, candidates.t, candidates.positions)[0]
    layer.features = {"score": candidates.scores}
    layer.size = size
    layer.shown = candidates.reaching(threshold)
    if len(candidates):  # napari takes no colours for no points
        layer.border_color = score_colours(candidates.scores)
    layer.events.data(value=layer.data)


def score_colours(scores: np.ndarray) -> np.ndarray:
    """Return colours from red (unsure) over orange to bright yellow (sure), shape (N, 4)."""
    share = np.clip(scores, 0, 1)
    return np.column_stack([np.ones_like(share), 0.25 + 0.7 * share, 0.1 + 0.2 * share, share**0])


def add_errors(
    viewer: ViewerModel,
    name: str,
    outcomes: Outcomes,
    image: Image,
    diameter_px: float,
    channel: int | None = None,
) -> Points:
    """Add a layer of found, missed and false cells, in different colours and shapes.

    An earlier one of the same name is filled anew, and stays hidden if it was: to put another layer
    in its place would take a fraction of a second, in which the window does nothing.
    """
    data, place = in_layer(image, outcomes.t, outcomes.positions, channel)
    kinds = outcomes.outcome.tolist()
    look: dict[str, Any] = {
        "size": [OUTCOME_SIZES[one] * diameter_px for one in kinds] or diameter_px,
        "features": {"outcome": outcomes.outcome},
        "symbol": [OUTCOME_SYMBOLS[one] for one in kinds] or "disc",
        "border_color": [OUTCOME_COLOURS[one] for one in kinds] or "white",
        "face_color": [OUTCOME_FACES[one] for one in kinds] or "transparent",
        "metadata": {METADATA: {"role": "errors", "image": image.unique_id}},
    }
    for earlier in viewer.layers:
        if earlier.name == name and note(earlier).get("role") == "errors":
            if earlier.ndim == image.ndim:
                for attribute in _PLACE:  # it may have been moved since
                    if not np.array_equal(getattr(earlier, attribute), place[attribute]):
                        setattr(earlier, attribute, place[attribute])
                _fill(earlier, data, look)
                return earlier
            viewer.layers.remove(earlier)
            break
    layer = Points(data, name=name, **{**hollow("white"), **look, **place})
    viewer.add_layer(layer)
    return layer


def _fill(layer: Points, data: NDArray[np.float64], look: dict[str, Any]) -> None:
    """Put other points into a layer, drawn once."""
    layer.selected_data = set()
    with layer.events.blocker_all():
        layer.data = data
        for name, value in look.items():
            if len(data) or name in ("features", "metadata"):  # no looks for no points
                setattr(layer, name, value)
    layer.refresh()
