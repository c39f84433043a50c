"""Which image an annotation belongs to, where nobody and no file has said it."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.image_source import first_time_point, layer_to_movie
from napari_celltrain.gui.layer_axes import axes_of, columns_beside, shape_of
from napari_celltrain.gui.layers import keep_in_note, note

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Image, Labels, Layer
    from numpy.typing import NDArray

SETTLED = "settled_on"
"""The key in an annotation layer's note for the image it went with, and those it was among."""


def likeliest(layer: Layer, images: Mapping[str, list[Image]]) -> str | None:
    """Return the key of the image that an annotation most likely belongs to.

    It has as many axes, most positions lie in it, and its name is in the annotation's. What was
    found once stays while few positions lie elsewhere: a stray click or a new name of an image
    says nothing of the other positions. Only an image that came later is a reason to look again.
    """
    earlier, among = note(layer).get(SETTLED, (None, frozenset()))
    there = frozenset(group[0].unique_id for group in images.values())
    settled = next((key for key, group in images.items() if group[0].unique_id == earlier), None)
    if settled is not None and there <= among and _few(*strays(layer, images[settled][0])):
        return settled
    counts = {key: strays(layer, group[0]) for key, group in images.items()}

    def likeness(key: str) -> tuple[bool, bool, int, bool, float, float]:
        image, (outside, count) = images[key][0], counts[key]
        return (
            _alike_in_axes(layer, image),
            2 * outside <= count,
            len(image.name) if _is_named_in(image.name, layer.name) else 0,
            key == settled and _few(outside, count),
            -outside / max(count, 1),
            SequenceMatcher(None, layer.name.lower(), image.name.lower()).ratio(),
        )

    key = max(images, key=likeness, default=None)
    if key is not None and counts[key][1] and _few(*counts[key]):  # an empty layer says nothing
        keep_in_note(layer, SETTLED, (images[key][0].unique_id, there))
    return key


def strays(layer: Layer, image: Image) -> tuple[int, int]:
    """Return how many positions of an annotation lie outside an image, and how many there are.

    Give or take a pixel. Labels count as one position, as they are as large as their image.
    """
    try:
        if type(layer).__name__ == "Labels":
            return int(not _covers(layer, image)), 1
        inside = lies_in(layer, image)
    except CellTrainError:
        return 1, 1
    return int(np.count_nonzero(~inside)), len(inside)


def lies_in(layer: Layer, image: Image) -> NDArray[np.bool_]:
    """Tell of each finite position of a points or tracks layer whether it is in an image.

    Raises
    ------
    CellTrainError
        When the layer or the image is of too many axes.
    """
    data = np.asarray(layer.data, np.float64)[:, -layer.ndim :]
    shown = getattr(layer, "shown", None)
    if shown is not None:
        data = data[np.asarray(shown, bool)]
    data = data[np.isfinite(data).all(axis=1)]
    axes, shape, columns = axes_of(image), shape_of(image), columns_beside(image, layer)
    movie = layer_to_movie(image, layer, data)
    inside = np.ones(len(data), bool)
    for axis in set(axes) & set(columns) - {"c"}:
        column, length = movie[:, "tzyx".index(axis)], shape[axes.index(axis)]
        if axis == "t":
            column = column - first_time_point(image)
        inside &= (column >= -1.5 - 1e-6) & (column <= length + 0.5 + 1e-6)
    return inside


def _few(outside: int, count: int) -> bool:
    """Tell whether an annotation lies in an image but for a click or two beside it."""
    return 2 * outside <= count and outside <= max(1, count // 4)


def _covers(labels: Labels, image: Image) -> bool:
    """Tell whether labels are of an image's size and lie on it."""
    if _size(labels) != _size(image):
        return False
    axes, columns = axes_of(image), columns_beside(image, labels)
    own, outer = (np.asarray(one.extent.world) for one in (labels, image))
    slack = np.abs(np.asarray(image.scale)) + 1e-6
    for axis in set(axes) & set(columns) - {"c"}:
        mine, its = columns.index(axis), axes.index(axis)
        if own[0, mine] < outer[0, its] - slack[its] or own[1, mine] > outer[1, its] + slack[its]:
            return False
    return True


def _alike_in_axes(layer: Layer, image: Image) -> bool:
    """Tell whether an annotation has an image's axes; it may do without the channels."""
    try:
        axes = axes_of(image)
    except CellTrainError:
        return False
    return layer.ndim in (len(axes), len(axes.replace("c", "")))


def _is_named_in(image: str, annotation: str) -> bool:
    """Tell whether an annotation is called after an image, as in 'embryo 1 cells'."""
    return bool(re.search(rf"(?<!\w){re.escape(image)}(?!\w)", annotation, re.IGNORECASE))


def _size(layer: Image | Labels) -> tuple[int, int]:
    """Return (y, x)."""
    axes, shape = axes_of(layer), shape_of(layer)
    return shape[axes.index("y")], shape[axes.index("x")]
