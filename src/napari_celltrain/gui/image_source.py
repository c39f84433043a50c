"""A napari image layer as a movie, and positions between a layer's world and its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels

from napari_celltrain.gui.layer_axes import (
    axes_of,
    channel_of,
    columns_beside,
    columns_of,
    last_columns,
)
from napari_celltrain.gui.layers import ARRAY, note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Layer
    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX, FrameSource

VOXEL_SIZE = "voxel_size_um"
"""The key in an image layer's note for the voxel size that a person stated."""

_TO_S = {"millisecond": 1e-3, "second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_TO_UM = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "meter": 1e6}


def source_of(layer: Image) -> tuple[FrameSource, int]:
    """Return the movie that an image layer shows, and which of its channels.

    The file it was opened from where this plugin opened it and nobody has put other pixels into the
    layer, else the layer's array: with all of its channels where it has an axis for them, in grey
    where it is in colour.

    Raises
    ------
    CellTrainError
        For layers that are no movie.
    """
    written = note(layer)
    experiment = written.get("experiment")
    if experiment is not None and shows_its_file(layer):
        return experiment.images, int(written.get("channel", 0))
    from napari_celltrain.images.array import ArraySource

    source = ArraySource(
        layer.data[0] if layer.multiscale else layer.data,
        axes_of(layer) + ("s" if layer.rgb else ""),
        name=layer.name,
        time_offset=first_time_point(layer),
        voxel_size_um=voxel_size_of(layer),
        frame_interval_s=_frame_interval_of(layer),
    )
    return source, channel_of(layer)


def shows_its_file(layer: Image) -> bool:
    """Tell whether a layer shows what this plugin opened: its array may have been replaced since.

    A layer that napari duplicates still does; what a filter makes of it does not.
    """
    written = note(layer)
    experiment = written.get("experiment")
    if written.get("role") != "image" or experiment is None or experiment.images is None:
        return False
    return ARRAY not in written or getattr(layer.data, "name", None) == written[ARRAY]


def movies_in(images: Iterable[Image]) -> dict[str, list[Image]]:
    """Group image layers into movies: the channels that this plugin opened together are one.

    A duplicate of a channel is a movie of its own.
    """
    images = list(images)
    first: dict[tuple[Any, Any], Image] = {}
    for layer in sorted(images, key=lambda one: not shows_its_file(one)):
        first.setdefault((note(layer).get("key"), note(layer).get("channel")), layer)
    movies: dict[str, list[Image]] = {}
    for layer in images:
        key = note(layer).get("key")
        if key is None or first[key, note(layer).get("channel")] is not layer:
            key = f"layer {id(layer)}"
        movies.setdefault(key, []).append(layer)
    return movies


def first_time_point(layer: Image | Labels) -> int:
    """Return the time point number of index 0: where the layer begins in the world."""
    axis = axes_of(layer).find("t")
    if axis < 0:
        return 0
    return round(float(layer.translate[axis]) / (float(layer.scale[axis]) or 1.0))


def _frame_interval_of(layer: Image) -> float | None:
    """Return seconds between time points; None where the layer doesn't count in a unit of time."""
    axis = axes_of(layer).find("t")
    factor = _TO_S.get(str(layer.units[axis])) if axis >= 0 else None
    return None if factor is None else float(layer.scale[axis]) * factor


def voxel_size_of(layer: Layer) -> ZYX | None:
    """Return (z, y, x) in um; None where the layer only knows pixels.

    A scale without a unit is taken as um when it isn't 1: that is what napari's own readers and
    older plugins mean by it.
    """
    if VOXEL_SIZE in note(layer):
        return note(layer)[VOXEL_SIZE]  # type: ignore[no-any-return]
    written = note(layer).get("experiment")
    if written is not None:
        return written.known_voxel_size_um  # type: ignore[no-any-return]
    scale = [float(value) for value in layer.scale]
    axes = axes_of(layer) if isinstance(layer, (Image, Labels)) else columns_of(layer)
    sizes = dict(zip(axes, scale, strict=True))
    factors = dict(zip(axes, (_TO_UM.get(str(unit), 0.0) for unit in layer.units), strict=True))
    in_plane = factors["y"]
    if not in_plane and sizes["y"] == sizes["x"] == 1.0:
        return None
    factor = in_plane or 1.0
    z_factor = factors.get("z", 0.0) or factor
    return (sizes.get("z", 1.0) * z_factor, sizes["y"] * factor, sizes["x"] * factor)


def world_to_movie(image: Image, world: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn world positions into (t, z, y, x): time point numbers and pixels of the image.

    Parameters
    ----------
    image
        The image layer.
    world
        Shape (N, D); D as many as the viewer has axes, the last ones are the image's.
    """
    count = world.shape[1]
    columns = last_columns(axes_of(image), count)
    return _to_movie(image, columns, np.asarray(world, np.float64), np.eye(count), np.zeros(count))


def layer_to_movie(image: Image, layer: Layer, data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn data coordinates of a layer into (t, z, y, x) of the image that it lies on."""
    columns = columns_beside(image, layer)
    return _to_movie(image, columns, np.asarray(data, np.float64), *affine(layer))


def to_world(layer: Layer, data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn a layer's data coordinates, shape (N, D), into world positions."""
    return _transformed(np.asarray(data, np.float64), *affine(layer))


def movie_to_data(
    axes: str, t: NDArray[np.int64], positions: NDArray[np.float64], channel: int = 0
) -> NDArray[np.float64]:
    """Return coordinates for these axes, shape (N, D).

    Parameters
    ----------
    axes
        Letters of ``tczyx``.
    t, positions
        Shape (N,), and (z, y, x), shape (N, 3).
    channel
        For all of them.
    """
    columns = {"t": t, "c": np.full(len(t), channel), **dict(zip("zyx", positions.T, strict=True))}
    return np.stack([columns[axis] for axis in axes], axis=1).astype(np.float64)


def _to_movie(
    image: Image,
    columns: str,
    data: NDArray[np.float64],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Go to the world by a matrix and an offset, and from there to the image, in one go."""
    axes = axes_of(image)
    image_matrix, image_offset = affine(image)
    inverse = np.linalg.inv(image_matrix)
    same = np.array([[axis == column for column in columns] for axis in axes], np.float64)
    both = np.round(inverse @ same @ matrix, 12)  # 1.0 stays 1.0
    pixels = _transformed(data, both, inverse @ (same @ offset - image_offset))
    out = np.zeros((len(data), 4))
    for column, axis in enumerate(axes):
        if axis != "c":
            out[:, "tzyx".index(axis)] = pixels[:, column]
    out[:, 0] += first_time_point(image)
    return out


def _transformed(
    points: NDArray[np.float64], matrix: NDArray[Any], offset: NDArray[Any]
) -> NDArray[np.float64]:
    """Return points @ matrix.T + offset; by columns where no axes mix, which is much quicker."""
    if (np.count_nonzero(matrix, axis=1) > 1).any():
        mixed: NDArray[np.float64] = points @ matrix.T + offset
        return mixed
    out = np.empty((len(points), len(matrix)))
    for row, column in enumerate(np.abs(matrix).argmax(axis=1)):
        factor = matrix[row, column]
        out[:, row] = offset[row] if not factor else points[:, column] * factor + offset[row]
    return out


def affine(layer: Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the matrix (D, D) and the offset (D,) that take a layer's data into the world."""
    origin = np.asarray(layer.data_to_world((0.0,) * layer.ndim), np.float64)
    columns: list[Any] = [
        np.asarray(layer.data_to_world(tuple(unit)), np.float64) - origin
        for unit in np.eye(layer.ndim)
    ]
    return np.stack(columns, axis=1), origin
