"""From the network's grid to cell centres: threshold, local maxima, offsets, suppression."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NEIGHBOURS = sorted(
    (step for step in itertools.product((-1, 0, 1), repeat=3) if step != (0, 0, 0)),
    key=lambda step: sum(map(abs, step)),
)
"""Faces first: they rule out nearly everything."""
BETWEEN = 5
"""Places looked at on the way from one peak to another."""
VALLEY = 0.85
"""Two peaks are two cells if the heat between them falls below so much of the lower one."""


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


def of_their_own(
    heat: torch.Tensor,
    grid: NDArray[np.int64],
    positions: NDArray[np.float64],
    scores: NDArray[np.float64],
    voxel_size: Sequence[float],
    radius: float,
) -> NDArray[np.bool_]:
    """Tell which peaks stand on their own, and not on the slope of a better one.

    A large cell has a broad hill, which may have more than one top; between two cells there is a
    valley. Whether a peak is kept depends on nothing farther than `radius` from it, so tiles don't
    matter.

    Parameters
    ----------
    heat
        Logits, (z, y, x).
    grid, positions, scores
        Of `find_peaks`.
    voxel_size
        Of the grid, (z, y, x).
    radius
        Peaks farther apart than this, in the same unit, are always of different cells.

    Returns
    -------
    (n,).
    """
    keep = np.ones(len(grid), bool)
    if len(grid) < 2:
        return keep
    pairs = cKDTree(positions * np.asarray(voxel_size)).query_pairs(radius, output_type="ndarray")
    if not len(pairs):
        return keep
    # equal scores are decided by place: the first of (z, y, x) is the better one
    rank = np.empty(len(grid), np.int64)
    rank[np.lexsort((grid[:, 2], grid[:, 1], grid[:, 0], -scores))] = np.arange(len(grid))
    first_is_worse = rank[pairs[:, 0]] > rank[pairs[:, 1]]
    worse = np.where(first_is_worse, pairs[:, 0], pairs[:, 1])
    better = pairs.sum(axis=1) - worse
    shares = np.arange(1, BETWEEN + 1) / (BETWEEN + 1)
    path = grid[worse][:, None] + (grid[better] - grid[worse])[:, None] * shares[:, None]
    z, y, x = np.moveaxis(np.rint(path).astype(np.int64), -1, 0)
    lowest = torch.sigmoid(heat[z, y, x].double()).amin(dim=1).cpu().numpy()
    keep[worse[lowest > VALLEY * scores[worse]]] = False
    return keep


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
