"""Which axis of a layer is which: time, channel, z, y, x.

napari does not ask for names of axes, so most layers have none. What is known is taken in this
order: what a person chose in a dock, the layer's axis labels, what the program that made the layer
wrote into its metadata or its array (xarray), what fits the cells marked in it, the usual order.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.layers import keep_in_note, note, state

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari.layers import Image, Labels, Layer, Points, Tracks

AXES = "axes"
"""The key in an image layer's note for the axes that a person chose."""
LIKELY = "likely_axes"
"""The key for the axes that fit the cells marked in it."""
CHANNEL = "channel"
"""The key for the channel to look at, counted from 0."""

USUAL = {2: "yx", 3: "tyx", 4: "tzyx", 5: "tczyx"}
CHOICES = {
    3: ("tyx", "zyx", "cyx"),
    4: ("tzyx", "tcyx", "ctyx", "zcyx", "czyx"),
    5: ("tczyx", "tzcyx", "ctzyx"),
}
"""What the axes of a layer without names may be."""

FEW = 6
"""More channels than this are rare; an axis in front that is longer is time."""
_WORDS = {
    "t": ("t", "time", "timepoint", "timepoints", "frame", "frames"),
    "c": ("c", "ch", "channel", "channels", "wavelength"),
    "z": ("z", "depth", "plane", "planes", "slice", "slices"),
    "y": ("y", "height", "row", "rows"),
    "x": ("x", "width", "col", "cols", "column", "columns"),
}
_LETTERS = {word: letter for letter, words in _WORDS.items() for word in words}
_METADATA_KEYS = ("axes", "dims", "dimension_order", "dim_order")


def axes_of(layer: Image | Labels) -> str:
    """Return which axes an image or labels layer has: letters of ``tczyx``, one for each.

    The colours of an RGB image are no axis, here as in napari.

    Raises
    ------
    CellTrainError
        For more than five axes, and for one.
    """
    stated = named_axes(layer)
    if stated is not None:
        return stated
    if layer.ndim not in USUAL:
        raise CellTrainError(
            f"The layer '{layer.name}' has {layer.ndim} axes; wanted is (time, channel, z, y, x) "
            "or some of these. Split it into layers first (right-click the layer, Split Stack)."
        )
    likely = note(layer).get(LIKELY)
    if isinstance(likely, str) and len(likely) == layer.ndim:
        return likely
    return _by_shape(shape_of(layer))


def named_axes(layer: Image | Labels) -> str | None:
    """Return the axes as somebody has named them; None where nobody has."""
    if not 2 <= layer.ndim <= 5:
        return None
    chosen = note(layer).get(AXES)
    if isinstance(chosen, str) and len(chosen) == layer.ndim:
        return chosen
    return _completed(layer.axis_labels) or _of_its_program(layer)


def axes_are_guessed(layer: Image | Labels) -> bool:
    """Tell whether a person should be asked; also true once somebody has been."""
    program = _completed(layer.axis_labels) or _of_its_program(layer)
    return layer.ndim in CHOICES and program is None


def columns_of(layer: Points | Tracks | Layer) -> str:
    """Return which axes the coordinates of a layer have, where no image says it.

    Raises
    ------
    CellTrainError
        For more than five columns, and for one.
    """
    labelled = _completed(layer.axis_labels) if 2 <= layer.ndim <= 5 else None
    if labelled is None and layer.ndim not in USUAL:
        raise CellTrainError(
            f"The layer '{layer.name}' has {layer.ndim} coordinates; wanted is (time, channel, z, "
            "y, x) or some of these."
        )
    return labelled or USUAL[layer.ndim]


def columns_beside(image: Image, layer: Layer) -> str:
    """Return which axes a layer's coordinates have, given the image that they lie in.

    Labels count where there are any. Else the last coordinates are the image's, as napari shows
    them, but that cells without a channel lie in an image with channels.
    """
    labelled = _completed(layer.axis_labels) if 2 <= layer.ndim <= 5 else None
    return labelled or last_columns(axes_of(image), layer.ndim)


def last_columns(axes: str, count: int) -> str:
    """Return the names of so many coordinates in an image of these axes; ``?`` for any others."""
    if count < len(axes):
        axes = axes.replace("c", "")
    return axes[-count:].rjust(count, "?")


def shape_of(layer: Image | Labels) -> tuple[int, ...]:
    """Return the lengths of a layer's axes, of the finest level and without colours."""
    shape = (layer.data[0] if layer.multiscale else layer.data).shape
    return tuple(int(length) for length in shape[: layer.ndim])


def n_channels(layer: Image | Labels) -> int:
    """Return how long a layer's channel axis is; 1 without one."""
    axes = axes_of(layer)
    return shape_of(layer)[axes.index("c")] if "c" in axes else 1


def channel_of(layer: Image) -> int:
    """Return the channel that was chosen in a layer with a channel axis; else the first."""
    chosen = note(layer).get(CHANNEL, 0)
    return int(chosen) if isinstance(chosen, int) and 0 <= chosen < n_channels(layer) else 0


def choose_channel(layer: Image, channel: int) -> None:
    """Keep which channel of a layer with a channel axis is looked at."""
    keep_in_note(layer, CHANNEL, channel)


def choose_axes(layer: Image, axes: str) -> None:
    """Keep what a person says the axes are."""
    state(layer, AXES, axes)


def note_likely_axes(images: Iterable[Image], marked: Sequence[Points | Tracks | Labels]) -> None:
    """Find out, by the cells marked in them, which axis of unnamed images is that of channels."""
    for image in images:
        if image.ndim not in (4, 5) or named_axes(image) is not None:
            continue
        likely = _by_cells(image, marked)
        if likely is not None:
            keep_in_note(image, LIKELY, likely)


def _by_cells(image: Image, marked: Sequence[Points | Tracks | Labels]) -> str | None:
    """Return the axes with which cells that have no channel lie within the image."""
    shape = shape_of(image)
    usual = _by_shape(shape)
    for layer in marked:
        if layer.ndim != image.ndim - 1 or not len(layer.data):
            continue
        # of four axes the usual ones hold no channels: positions in them lie in one time point
        timed = hasattr(layer, "graph")
        if image.ndim == 4 and not timed and _lie_in(layer, image, 0):
            continue
        fitting = [axis for axis in range(image.ndim - 2) if _lie_in(layer, image, axis)]
        if fitting:
            best = min(fitting, key=lambda axis: (axis != usual.find("c"), shape[axis]))
            rest = "tzyx" if image.ndim == 5 else "tyx"
            return f"{rest[:best]}c{rest[best:]}"
    return None


def _lie_in(layer: Points | Tracks | Labels, image: Image, channel_axis: int) -> bool:
    """Tell whether cells lie in an image when one of its axes is that of channels."""
    kept = [axis for axis in range(image.ndim) if axis != channel_axis]
    if hasattr(layer, "selected_label"):  # labels are as large as their image
        return shape_of(layer) == tuple(shape_of(image)[axis] for axis in kept)
    outer = np.asarray(image.extent.world)[:, kept]
    slack = np.abs(np.asarray(image.scale))[kept] / 4
    own = np.asarray(layer.extent.world)
    return bool((own[0] >= outer[0] - slack).all() and (own[1] <= outer[1] + slack).all())


def _by_shape(shape: tuple[int, ...]) -> str:
    """Return the usual axes; of five, the channels are the shorter of the second and the third."""
    if len(shape) < 5:
        return USUAL[len(shape)]
    if shape[0] <= FEW < min(shape[1], shape[2]):
        return "ctzyx"
    return "tzcyx" if shape[2] < shape[1] else "tczyx"


def _of_its_program(layer: Image | Labels) -> str | None:
    """Return what an xarray, or a reader in the metadata, calls the axes."""
    stated: list[Any] = [getattr(layer.data, "dims", None)]
    stated += [layer.metadata.get(key) for key in _METADATA_KEYS]
    for names in stated:
        if not isinstance(names, (str, tuple, list)):
            continue
        if getattr(layer, "rgb", False) and len(names) == layer.ndim + 1:
            names = names[:-1]
        if len(names) == layer.ndim:
            found = _completed([str(name) for name in names])
            if found is not None:
                return found
    return None


def _completed(labels: Sequence[str]) -> str | None:
    """Return a letter for each label; those that say nothing get the usual ones of the rest."""
    letters = [_LETTERS.get(re.split(r"[\s\[(:_]", str(label).lower())[0], "") for label in labels]
    named = [letter for letter in letters if letter]
    if not named or len(set(named)) < len(named):
        return None
    rest = [letter for letter in "xytzc" if letter not in named][: letters.count("")]
    if len(named) + len(rest) < len(letters) or not {"y", "x"} <= {*named, *rest}:
        return None
    waiting = iter(sorted(rest, key="tczyx".index))
    return "".join(letter or next(waiting) for letter in letters)
