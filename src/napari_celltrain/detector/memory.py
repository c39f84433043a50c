"""How much of a frame fits into memory at once."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from napari_celltrain.detector.compute import Precision
    from napari_celltrain.detector.design import Design

MOST_VOXELS = {"cpu": 6_000_000, "cuda": 64_000_000, "mps": 16_000_000}
"""Larger tiles save nothing more: halos are a small share of them."""
LEAST_VOXELS = 400_000
"""Below this a tile is nearly all halo; memory that small is told by an error."""
LIVE = 7
"""Feature maps of the finest level that are alive at once, a convolution's scratch included."""
SHARE = 0.4
"""Of the free memory that tiles may take together."""


def bytes_per_voxel(design: Design, precision: Precision) -> float:
    """Estimate the memory that computing takes for each working voxel."""
    item = 2 if precision == "bfloat16" else 4
    finest = design.width * item * LIVE / math.prod(design.strides[0])
    return finest + design.n_inputs * (4 + item) + 16 / math.prod(design.strides[0]) * 4


def free_bytes(device: torch.device) -> float:
    """Return the memory that is free now on a device."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return float(psutil.virtual_memory().available)


def choose_tile_voxels(
    design: Design, device: torch.device, precision: Precision, threads: int
) -> int:
    """Choose the largest tile, in working voxels, of which every thread can compute one.

    Halved until it fits, so that small changes of the free memory change nothing.
    """
    voxels = MOST_VOXELS[device.type]
    limit = SHARE * free_bytes(device) / threads
    while voxels > LEAST_VOXELS and voxels * bytes_per_voxel(design, precision) > limit:
        voxels //= 2
    return voxels
