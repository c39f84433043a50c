"""From the network's grid to cell centres: threshold, local maxima, offsets, suppression."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

NEIGHBOURS = sorted(
    (step for step in itertools.product((-1, 0, 1), repeat=3) if step != (0, 0, 0)),
    key=lambda step: sum(map(abs, step)),
)
"""Faces first: they rule out nearly everything."""


def find_peaks(
    logits: torch.Tensor, offsets: torch.Tensor, floor: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Find local maxima of the heat map.

    Parameters
    ----------
    logits
        (z, y, x), before the sigmoid.
    offsets
        (3, z, y, x), grid voxels from the voxel's centre to the cell's centre.
    floor
        Lowest score that counts.

    Returns
    -------
    Grid indices (n, 3), positions (n, 3) in grid voxels, scores (n,).
    Of equal neighbours the first in (z, y, x) order is the maximum.
    """
    level = float(np.log(floor / (1 - floor)))
    # a margin that is lower than everything stands for the places outside
    padded = F.pad(logits, (1, 1, 1, 1, 1, 1), value=-torch.inf)
    plane, row = padded.shape[1] * padded.shape[2], padded.shape[2]
    flat = padded.reshape(-1)
    place = torch.nonzero(flat >= level)[:, 0]
    value = flat[place]
    for step in NEIGHBOURS:
        other = flat[place + (step[0] * plane + step[1] * row + step[2])]
        earlier = step < (0, 0, 0)
        kept = ~(other >= value if earlier else other > value)
        place, value = place[kept], value[kept]
    z, y, x = place // plane - 1, place // row % padded.shape[1] - 1, place % row - 1
    index = torch.stack([z, y, x], dim=1)
    offset = offsets[:, z, y, x].T.clamp(-2, 2).nan_to_num(0.0)
    scores = torch.sigmoid(value.double())
    grid = index.cpu().numpy()
    return grid, grid + offset.double().cpu().numpy(), scores.cpu().numpy()


def suppress(
    positions: NDArray[np.float64], scores: NDArray[np.float64], radius: float
) -> NDArray[np.int64]:
    """Pick detections, best first, none nearer than `radius` to a better one.

    Parameters
    ----------
    positions
        (n, 3) in physical units.
    scores
        (n,).
    radius
        In the same unit.

    Returns
    -------
    Indices of those kept, ascending.
    """
    n = len(positions)
    if n < 2:
        return np.arange(n)
    pairs = cKDTree(positions).query_pairs(radius, output_type="ndarray")
    if not len(pairs):
        return np.arange(n)
    # equal scores are decided by place, so that the order of computation does not matter
    rank = np.empty(n, np.int64)
    order = np.lexsort((positions[:, 2], positions[:, 1], positions[:, 0], -scores))
    rank[order] = np.arange(n)
    worse = np.where(rank[pairs[:, 0]] > rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    better = pairs.sum(axis=1) - worse
    by_rank = np.argsort(rank[worse], kind="stable")
    keep = np.ones(n, bool)
    for bad, good in zip(worse[by_rank].tolist(), better[by_rank].tolist(), strict=True):
        if keep[good]:
            keep[bad] = False
    return np.flatnonzero(keep)
