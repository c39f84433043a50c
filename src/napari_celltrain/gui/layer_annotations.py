"""What points, labels and tracks layers say: positions in the pixels of the image, and links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.experiment import Annotations, Finding
from napari_celltrain.gui.image_source import first_time_point, layer_to_movie, movie_to_data
from napari_celltrain.gui.label_layers import centres_in
from napari_celltrain.gui.layer_axes import axes_of, columns_beside, columns_of
from napari_celltrain.gui.layers import CELL_ID, note

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer, Points, Tracks
    from numpy.typing import NDArray

_OWN_COLUMNS = {CELL_ID, "status"}
LEFT_OUT = "left-out"
"""The code of the finding about positions that are no numbers."""
_FARTHEST = 1e16
"""Nothing is so far away, dates as time points included; beyond it whole numbers overflow."""


def usable_rows(layer: Points | Tracks) -> NDArray[np.int64]:
    """Return the rows of a layer that are read: those that are shown and are numbers."""
    usable = (np.abs(np.asarray(layer.data, np.float64)) < _FARTHEST).all(axis=1)
    shown = getattr(layer, "shown", None)  # hidden ones are candidates below a threshold
    return np.flatnonzero(usable if shown is None else usable & np.asarray(shown, bool))


def about_what_is_left_out(layer: Points | Tracks, experiment: str) -> tuple[Finding, ...]:
    """Say how many positions are not read because they are no numbers; nothing where all are."""
    shown = getattr(layer, "shown", None)
    count = (len(layer.data) if shown is None else int(np.count_nonzero(shown))) - len(
        usable_rows(layer)
    )
    if not count:
        return ()
    said = "1 position has" if count == 1 else f"{count} positions have"
    words = f"{said} no finite coordinates in the layer '{layer.name}' and {{}} left out."
    return (Finding("warning", LEFT_OUT, words.format("is" if count == 1 else "are"), experiment),)


def annotations_of(points: Points, image: Image | None) -> Annotations:
    """Return the cells in a points layer, with the links of those that are still there.

    Parameters
    ----------
    points
        Of any number of axes; the last ones are the image's.
    image
        The image they lie in; its pixels are the unit. Without one, the layer's own data are
        taken as pixels.
    """
    rows = usable_rows(points)
    data = np.asarray(points.data, np.float64)[rows]
    movie = _in_movie(points, image, data)
    t = np.round(movie[:, 0]).astype(np.int64)
    features = {str(name): column.to_numpy()[rows] for name, column in points.features.items()}
    status = features.get("status")
    if status is not None:
        status = np.nan_to_num(status.astype(float), nan=1.0).astype(np.int8)
    original = note(points).get("experiment")
    links = np.empty((0, 2), np.int64)
    link_features: dict[str, NDArray[Any]] = {}
    if original is not None and CELL_ID in features and len(t):
        links, link_features = _surviving_links(original.annotations, features[CELL_ID], t)
    columns = {name: column for name, column in features.items() if name not in _OWN_COLUMNS}
    return Annotations(t, movie[:, 1:], links, status, columns, link_features)


def annotations_of_tracks(tracks: Tracks, image: Image | None) -> Annotations:
    """Return the positions and links in a tracks layer: along each track, and by its graph."""
    rows = np.asarray(tracks.data, np.float64)[usable_rows(tracks)]
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rows = rows[order]
    movie = _in_movie(tracks, image, rows[:, 1:])
    t = np.round(movie[:, 0]).astype(np.int64)
    ids = rows[:, 0].astype(np.int64)
    along = np.flatnonzero((ids[1:] == ids[:-1]) & (t[1:] > t[:-1]))
    links = [np.column_stack([along, along + 1])]
    first = {number: int(np.argmax(ids == number)) for number in tracks.graph}
    last = {number: int(index) for index, number in enumerate(ids.tolist())}
    for child, parents in tracks.graph.items():
        for parent in np.atleast_1d(parents).tolist():
            if parent in last and child in last and t[last[parent]] < t[first[child]]:
                links.append(np.array([[last[parent], first[child]]]))
    return Annotations(t, movie[:, 1:], np.concatenate(links), features={"track_id": ids})


def annotations_of_labels(labels: Labels, image: Image | None) -> Annotations:
    """Return the centre of each label; equal labels are not taken as the same cell.

    Raises
    ------
    CellTrainError
        While the labels are being counted, or when they can't be read.
    """
    indices, numbers = centres_in(labels)
    if image is None:
        movie = indices + np.array([first_time_point(labels), 0, 0, 0])
    else:
        own = movie_to_data(axes_of(labels), indices[:, 0].astype(np.int64), indices[:, 1:])
        movie = _in_movie(labels, image, own)
    t = np.round(movie[:, 0]).astype(np.int64)
    return Annotations(t, movie[:, 1:], features={"label": numbers})


def channel_marked(layer: Points | Tracks, image: Image) -> int | None:
    """Return the channel of an image in which cells were marked; None where nothing says it."""
    columns = columns_beside(image, layer)
    if "c" not in columns or "c" not in axes_of(image) or not len(layer.data):
        return None
    data = np.asarray(layer.data, np.float64)[:, -layer.ndim :]
    scale, moved = image.scale[axes_of(image).index("c")], columns.index("c")
    world = data[:, moved] * layer.scale[moved] + layer.translate[moved]
    start = image.translate[axes_of(image).index("c")]
    numbers, counts = np.unique(np.round((world - start) / (scale or 1.0)), return_counts=True)
    return int(numbers[counts.argmax()])


def _in_movie(layer: Layer, image: Image | None, data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (t, z, y, x) of a layer's data; without an image, its data are taken as pixels."""
    if image is not None:
        return layer_to_movie(image, layer, data)
    movie = np.zeros((len(data), 4))
    for column, axis in enumerate(columns_of(layer)):
        if axis != "c":
            movie[:, "tzyx".index(axis)] = data[:, column]
    return movie


def _surviving_links(
    original: Annotations, cell_ids: NDArray[Any], t: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Return the original links between points that are still there, in the new numbering.

    A point that napari made as a copy of a selected one has its id too; the first one counts.
    """
    row_of = np.full(len(original), -1, np.int64)
    known = np.flatnonzero(~np.isnan(cell_ids.astype(float)))
    ids = cell_ids[known].astype(np.int64)
    valid = (ids >= 0) & (ids < len(original))
    row_of[ids[valid][::-1]] = known[valid][::-1]
    links = row_of[original.links]
    kept = (links >= 0).all(axis=1) & (t[links[:, 0]] < t[links[:, 1]])
    return links[kept], {name: column[kept] for name, column in original.link_features.items()}
