"""From the network's grid to cell centres: threshold, local maxima, offsets, suppression."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 2**17
"""Grid voxels compared at once; half a megabyte stays in a processor's cache."""
Place = tuple[int, int, int]
FACES: tuple[Place, ...] = ((0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0), (-1, 0, 0), (1, 0, 0))
"""They rule out nearly everything."""
OTHERS: tuple[Place, ...] = tuple(
    (z, y, x) for z, y, x in itertools.product((-1, 0, 1), repeat=3) if z * z + y * y + x * x > 1
)


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
    planes, rows, columns = (n + 2 for n in logits.shape)
    padded = torch.full((planes, rows, columns), -torch.inf, device=logits.device)
    padded[1:-1, 1:-1, 1:-1] = logits
    plane, row = rows * columns, columns
    heat = padded.reshape(-1)
    place = _above_faces(heat, level, plane, row)
    steps = [z * plane + y * row + x for z, y, x in OTHERS]
    value, others = heat[place], heat[place[:, None] + torch.tensor(steps, device=place.device)]
    earlier = torch.tensor([step < 0 for step in steps], device=place.device)
    beaten = (others > value[:, None]) | (earlier & (others == value[:, None]))
    place = place[~beaten.any(dim=1)]
    index = torch.stack([place // plane, place % plane // row, place % row], dim=1) - 1
    z, y, x = index.T
    offset = offsets[:, z, y, x].T.float().clamp(-2, 2).nan_to_num(0.0)
    # doubles only here: graphics of Apple have none
    scores = torch.sigmoid(heat[place].cpu().double())
    grid = index.cpu().numpy()
    return grid, grid + offset.cpu().double().numpy(), scores.numpy()


def _above_faces(heat: torch.Tensor, level: float, plane: int, row: int) -> torch.Tensor:
    """Return where a padded heat map reaches a level and no face of the voxel has more heat."""
    on_processor = heat.device.type == "cpu"
    # NumPy compares several times as fast as PyTorch there, and faster still within its cache
    values: Any = heat.numpy() if on_processor else heat
    end = len(heat) - plane
    at_once = CHUNK if on_processor else len(heat)
    found = []
    for first in range(plane, end, at_once):
        last = min(first + at_once, end)
        centre = values[first:last]
        peak = centre >= level
        for z, y, x in FACES:
            step = z * plane + y * row + x
            other = values[first + step : last + step]
            # of equal neighbours the first is the maximum
            peak &= ~((other >= centre) if step < 0 else (other > centre))
        places = torch.from_numpy(np.flatnonzero(peak)) if on_processor else peak.nonzero()[:, 0]
        found.append(places + first)
    return torch.cat(found)


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
