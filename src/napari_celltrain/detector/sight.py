"""What the network sees of a frame, and where in the image the cells are that it finds there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_celltrain.detector.detections import Detections
from napari_celltrain.detector.peaks import find_peaks, suppress
from napari_celltrain.detector.resample import (
    resample,
    resample_in_depth,
    resample_in_plane,
    to_input,
)
from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.tiling import Tile
    from napari_celltrain.detector.under_way import FrameUnderWay

    Found = tuple[NDArray[np.float64], NDArray[np.float64]]
    """(z, y, x) pixels of the image, shape (n, 3), and scores, shape (n,)."""


def shape_of(frames: Sequence[NDArray[Any]], design: Design) -> tuple[int, ...]:
    """Return the (z, y, x) shape of the images of a time point.

    Raises
    ------
    CellTrainError
        When they are not as many as the detector looks at, or not of one shape.
    """
    if len(frames) != design.n_inputs:
        raise CellTrainError(
            f"This detector looks at {design.n_inputs} images at once (time window "
            f"{design.time_window}, {design.n_channels} channels), not at {len(frames)}."
        )
    shape = frames[0].shape
    if len(shape) != 3 or any(frame.shape != shape for frame in frames):
        raise CellTrainError(
            f"A frame must be (z, y, x) and all of one shape, not "
            f"{[frame.shape for frame in frames]}."
        )
    return shape


def input_of(frame: FrameUnderWay, tile: Tile, device: torch.device) -> torch.Tensor:
    """Bring a tile to the working scale and to normalised brightness."""
    shape = [b - a for a, b in tile.outer]
    image = torch.zeros((1, len(frame.images), *shape), device=device)
    inside = tuple(slice(0, b - a) for a, b in tile.part)
    if len(frame.tiles) == 1 and device.type == "cpu":
        # the whole frame: what its levels are measured on is what is looked at
        thinned = [resample_in_plane(one, frame.steps, tile.part[1:]) for one in frame.images]
        for k, (planes, level) in enumerate(zip(thinned, frame.levels(thinned), strict=True)):
            deep = resample_in_depth(planes, len(planes), frame.steps[0], tile.part[0])
            image[0, k][inside] = level.normalise(deep, frame.gamma)
        return image
    for k, (one, level) in enumerate(zip(frame.images, frame.levels(), strict=True)):
        image[0, k][inside] = level.normalise(
            resample(one, frame.steps, tile.part, device), frame.gamma
        )
    return image


def cells_of(frame: FrameUnderWay, tile: Tile, output: torch.Tensor, design: Design) -> Found:
    """Find the cells that are a tile's own in what the network says of it, (4, z', y', x')."""
    grid_stride = np.array(design.strides[0])
    first = np.array([a for a, _ in tile.outer]) // grid_stride
    grid, position, scores = find_peaks(output[0], output[1:], frame.floor)
    working = np.array([b for _, b in tile.part])  # padding holds no cells
    low = np.array([a for a, _ in tile.core]) // grid_stride - first
    high = -(-np.minimum([b for _, b in tile.core], working) // grid_stride) - first
    own = ((grid >= low) & (grid < high)).all(axis=1)
    in_working = (position[own] + first + 0.5) * grid_stride - 0.5
    in_image = to_input(in_working, frame.steps)
    return np.clip(in_image, -0.5, np.array(frame.images[0].shape) - 0.5), scores[own]


def detections_of(frame: FrameUnderWay, found: Sequence[Found], design: Design) -> Detections:
    """Put together what was found in the tiles of a frame: of cells too near the better ones."""
    positions = np.concatenate([np.empty((0, 3)), *(part[0] for part in found)])
    scores = np.concatenate([np.empty(0), *(part[1] for part in found)])
    kept = suppress(positions * np.asarray(frame.voxel_size), scores, design.suppression_radius)
    positions, scores = positions[kept], scores[kept]
    order = np.lexsort((positions[:, 2], positions[:, 1], positions[:, 0]))
    levels = tuple(frame.levels()) if found else ()
    return Detections(positions[order], scores[order], levels, frame.seconds)
