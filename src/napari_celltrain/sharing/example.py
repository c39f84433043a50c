"""A drawn image to test an exported network with, and the sizes of images it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_celltrain.detector.intensity import CLIP, HIGH, LOW
from napari_celltrain.detector.network import reach

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.folder import DetectorInfo
    from napari_celltrain.sharing.heat_map import HeatMapNet

EPSILON = 1e-6
"""Added to the range of brightness, as the zoo's format has it."""


def axes_of(design: Design) -> tuple[str, ...]:
    """Return the names of the spatial axes."""
    return ("y", "x") if design.flat else ("z", "y", "x")


def spatial(design: Design, zyx: tuple[Any, Any, Any]) -> tuple[Any, ...]:
    """Return the values of the axes that there are."""
    return zyx[1:] if design.flat else zyx


def halo(design: Design) -> tuple[int, ...]:
    """Return how much of a block's edge is not exact, in input pixels along its axes.

    Multiples of the total stride, so that every block is computed as the whole would be. None
    along z: stacks are seldom deeper than the network looks, and are not cut there.
    """
    around = [
        0 if axis == 0 else -(-(far + 1) // step) * step
        for axis, (far, step) in enumerate(zip(reach(design), design.total_stride, strict=True))
    ]
    return spatial(design, (around[0], around[1], around[2]))


def smallest(design: Design) -> tuple[int, ...]:
    """Return the smallest input, in pixels along its axes."""
    steps = spatial(design, design.total_stride)
    return tuple(2 * around + step for around, step in zip(halo(design), steps, strict=True))


def example_image(design: Design, info: DetectorInfo) -> NDArray[np.float32]:
    """Draw round cells of the right size at the working voxel size; nobody's data are given away.

    Returns
    -------
    (1, inputs, z, y, x), or without z where the design is flat.
    """
    rng = np.random.default_rng(0)
    steps, least = spatial(design, design.total_stride), smallest(design)
    # deep enough for two cells, and wider than a block
    width = design.diameter / np.array(spatial(design, design.working_voxel_size))
    shape = [
        max(small, int(np.ceil(2 * wide / step)) * step) if around == 0 else small + step
        for small, wide, step, around in zip(least, width, steps, halo(design), strict=True)
    ]
    dark, bright = info.intensity or (100.0, 1000.0)
    image = rng.normal(dark, 0.03 * abs(bright - dark), (1, design.n_inputs, *shape))
    grid = np.indices(shape, dtype=np.float64)
    for _ in range(max(4, round(0.15 * np.prod(shape) / np.prod(width)))):
        centre = rng.uniform(0, shape).reshape(-1, *(1 for _ in shape))
        box = tuple(
            slice(max(0, int(c - 2 * w)), int(c + 2 * w) + 2)
            for c, w in zip(centre.ravel(), width, strict=True)
        )
        scale = (width / 4).reshape(centre.shape)
        distance = (((grid[(slice(None), *box)] - centre) / scale) ** 2).sum(axis=0)
        image[(slice(None), slice(None), *box)] += (
            rng.uniform(0.6, 1.2) * (bright - dark) * np.exp(-distance / 2)
        )
    return image.astype(np.float32)


def normalised(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Do what the description asks programs to do before the network, for each input by itself."""
    axes = tuple(range(2, image.ndim))
    low, high = np.percentile(image, [LOW, HIGH], axis=axes, keepdims=True)
    scaled: NDArray[np.float32] = np.clip((image - low) / (high - low + EPSILON), *CLIP)
    return scaled.astype(np.float32)


def run_network(
    network: HeatMapNet | torch.jit.ScriptModule, image: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return scores and offsets of a raw image."""
    with torch.inference_mode():
        scores, offsets = network(torch.from_numpy(normalised(image)))
    return scores.numpy(), offsets.numpy()
