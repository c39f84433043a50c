"""Pictures of images and of what a detector finds in them, as PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import content_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Colour = tuple[int, int, int]
Outline = NDArray[np.float64]
"""(y, x) around a centre, shape (n, 2)."""
ORANGE: Colour = (255, 140, 0)
SIGNATURE = b"\x89PNG\r\n\x1a\n"
COVER_SIDE = 256
"""Half the width of a cover, and its height, in pixels at least."""


def grey(plane: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a plane (y, x) as a picture (y, x, 3), from its dark to its bright pixels."""
    values = np.nan_to_num(plane.astype(np.float32))
    dark, bright = np.percentile(values, (1, 99.8))
    shade = np.clip((values - dark) / max(float(bright - dark), 1e-6) * 255, 0, 255)
    return np.stack([shade.astype(np.uint8)] * 3, axis=-1)


def enlarged(picture: NDArray[np.uint8], side: int) -> tuple[NDArray[np.uint8], int]:
    """Repeat the pixels of a picture until its longer side is about `side`.

    Returns
    -------
    The picture, and how often its pixels are repeated along each axis.
    """
    factor = max(1, round(side / max(picture.shape[:2])))
    return picture.repeat(factor, 0).repeat(factor, 1), factor


def dot(picture: NDArray[np.uint8], y: float, x: float, radius: int, colour: Colour) -> None:
    """Draw a square dot; what of it lies outside is left out."""
    row, column = int(y), int(x)
    picture[
        max(0, row - radius) : max(0, row + radius),
        max(0, column - radius) : max(0, column + radius),
    ] = colour


def circle(radius: float) -> Outline:
    """Return the outline of a ring, two pixels thick."""
    angle = np.linspace(0, 2 * np.pi, max(16, int(10 * radius)), endpoint=False)
    rim = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return np.concatenate([rim * radius, rim * (radius + 1)])


def square(radius: float) -> Outline:
    """Return the outline of a square of which the circle of that radius is inside."""
    along = np.linspace(-radius, radius, max(16, int(3 * radius)))
    sides = [
        np.stack(both, axis=1)
        for side in (-radius, 1 - radius, radius, radius - 1)
        for both in ((np.full_like(along, side), along), (along, np.full_like(along, side)))
    ]
    return np.concatenate(sides)


def cross(radius: float) -> Outline:
    """Return the outline of a diagonal cross."""
    along = np.linspace(-radius, radius, max(16, int(3 * radius)))
    return np.concatenate(
        [np.stack([along + shift, sign * along], axis=1) for shift in (0, 1) for sign in (1, -1)]
    )


def mark(
    picture: NDArray[np.uint8],
    centres: Iterable[tuple[float, float]],
    outline: Outline,
    colour: Colour,
) -> None:
    """Draw an outline around each centre (y, x), all in pixels of the picture."""
    height, width = picture.shape[:2]
    for centre in centres:
        rows, columns = np.rint(np.asarray(centre) + outline).astype(int).T
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        picture[rows[inside], columns[inside]] = colour


def cover(image: NDArray[np.float32], heat_map: NDArray[np.float32]) -> bytes:
    """Return a picture twice as wide as high: an image, and the heat map over it.

    Parameters
    ----------
    image
        (z, y, x) or (y, x); of planes the brightest pixels are shown.
    heat_map
        Of the same axes, coarser by whole numbers; from 0 to 1.
    """
    flat = [one if one.ndim == 2 else one.max(axis=0) for one in (image, heat_map)]
    left = grey(flat[0])
    scores = flat[1].repeat(left.shape[0] // flat[1].shape[0], 0)
    scores = scores.repeat(left.shape[1] // flat[1].shape[1], 1)[..., None]
    right = (left * (1 - scores) + np.array(ORANGE) * scores).astype(np.uint8)
    side = min(left.shape[:2])
    both = np.concatenate([left[:side, :side], right[:side, :side]], axis=1)
    return png(enlarged(both, 2 * COVER_SIDE)[0])


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return a picture (y, x, 3) as a PNG file."""
    from imagecodecs import png_encode

    return bytes(png_encode(np.ascontiguousarray(picture), level=9))


def read_png(path: Path, most_bytes: int) -> bytes:
    """Return the content of a PNG file.

    Raises
    ------
    CellTrainError
        When it is none, too large, or can't be read.
    """
    try:
        content = content_of(path, most_bytes)
    except OSError as error:
        raise CellTrainError(f"{path} can't be read: {error.strerror}.") from None
    if not content.startswith(SIGNATURE):
        raise CellTrainError(f"{path} is no PNG picture.")
    return content
