"""A napari image layer as a movie, and positions between a layer's world and its pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.layers import note

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX, FrameSource

VOXEL_SIZE = "voxel_size_um"
"""The key in an image layer's note for the voxel size that a person stated."""

_AXES = {4: "tzyx", 3: "tyx", 2: "yx"}
_TO_UM = {"nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "meter": 1e6}


def axes_of(layer: Image | Labels) -> str:
    """Return which axes an image or labels layer has: a part of ``tzyx``.

    Three axes are (t, y, x) unless the layer's first axis is labelled z.

    Raises
    ------
    CellTrainError
        For colour images and for more than four axes.
    """
    if getattr(layer, "rgb", False):
        raise CellTrainError(
            f"The layer '{layer.name}' is a colour image; split it into channels first "
            "(right-click the layer, Split RGB)."
        )
    if layer.ndim not in _AXES:
        raise CellTrainError(
            f"The layer '{layer.name}' has {layer.ndim} axes; wanted is (time, z, y, x). Split "
            "its channels into layers first (right-click the layer, Split Stack)."
        )
    if layer.ndim == 3 and layer.axis_labels[0].lower().startswith("z"):
        return "zyx"
    return _AXES[layer.ndim]


def source_of(layer: Image) -> tuple[FrameSource, int]:
    """Return the movie that an image layer shows, and which of its channels.

    The file it was opened from where this plugin opened it, else the layer's array.

    Raises
    ------
    CellTrainError
        For layers that are no movie of one channel.
    """
    written = note(layer)
    experiment = written.get("experiment")
    if written.get("role") == "image" and experiment is not None and experiment.images is not None:
        return experiment.images, int(written.get("channel", 0))
    from napari_celltrain.images.array import ArraySource

    source = ArraySource(
        layer.data[0] if layer.multiscale else layer.data,
        axes_of(layer),
        name=layer.name,
        time_offset=first_time_point(layer),
        voxel_size_um=voxel_size_of(layer),
    )
    return source, 0


def first_time_point(layer: Image | Labels) -> int:
    """Return the time point number of index 0: where the layer begins in the world."""
    if not axes_of(layer).startswith("t"):
        return 0
    return round(float(layer.translate[0]) / (float(layer.scale[0]) or 1.0))


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
    pixels = hasattr(layer, "multiscale")  # an image or labels; others only have coordinates
    axes = axes_of(layer) if pixels else "tzyx"[-layer.ndim :]
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
    axes = world.shape[1]
    return _to_movie(image, np.asarray(world, np.float64), np.eye(axes), np.zeros(axes))


def layer_to_movie(image: Image, layer: Layer, data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn data coordinates of a layer into (t, z, y, x) of the image that it lies on."""
    return _to_movie(image, np.asarray(data, np.float64), *affine(layer))


def to_world(layer: Layer, data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn a layer's data coordinates, shape (N, D), into world positions."""
    return _transformed(np.asarray(data, np.float64), *affine(layer))


def _to_movie(
    image: Image,
    data: NDArray[np.float64],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Go to the world by a matrix and an offset, and from there to the image, in one go."""
    image_matrix, image_offset = affine(image)
    inverse = np.linalg.inv(image_matrix)
    shared = min(image.ndim, len(matrix))
    into = inverse[:, image.ndim - shared :]
    both = np.round(into @ matrix[len(matrix) - shared :], 12)  # 1.0 stays 1.0
    moved = into @ offset[len(matrix) - shared :] - inverse @ image_offset
    pixels = _transformed(data, both, moved)
    out = np.zeros((len(data), 4))
    for column, axis in enumerate(axes_of(image)):
        out[:, "tzyx".index(axis)] = pixels[:, column]
    out[:, 0] += first_time_point(image)
    return out


def _transformed(
    points: NDArray[np.float64], matrix: NDArray[Any], offset: NDArray[Any]
) -> NDArray[np.float64]:
    """Return points @ matrix.T + offset; by columns where no axes mix, which is much quicker."""
    rows, columns = matrix.shape
    if np.count_nonzero(matrix) > np.count_nonzero(np.diagonal(matrix, columns - rows)):
        mixed: NDArray[np.float64] = points @ matrix.T + offset
        return mixed
    out = np.empty((len(points), rows))
    for row in range(rows):
        column = row + columns - rows
        factor = matrix[row, column] if column >= 0 else 0.0
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
