"""Distances between neighbouring cells of a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment

MOST_QUERIES = 20_000
"""The median of so many distances is as good as that of all."""
MOST_FRAMES = 50


def time_points_with_numbers(
    t: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the time points that occur, ascending, and how often each does."""
    if not len(t):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    ordered = np.sort(t, kind="stable")  # a single pass where they are in order, as they mostly are
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    return ordered[starts], np.diff(np.append(starts, len(ordered)))


def frames_of(t: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield every time point that occurs, ascending, with the indices of its positions."""
    times, numbers = time_points_with_numbers(t)
    order = np.argsort(t, kind="stable")
    ends = np.cumsum(numbers)
    for time, start, end in zip(times.tolist(), ends - numbers, ends, strict=True):
        yield time, order[start:end]


def nearest_distances(experiment: Experiment) -> NDArray[np.float64]:
    """Return the distance to the nearest cell of the same frame, for a sample of the cells.

    In um where the voxel size is known, else in pixels. Marks at exactly one place are one cell.
    Empty when no frame has two cells.
    """
    annotations = experiment.usable_annotations()
    usable = np.flatnonzero(annotations.is_cell & np.isfinite(annotations.positions).all(axis=1))
    scale = np.asarray(experiment.known_voxel_size_um or (1.0, 1.0, 1.0))
    frames = [usable[indices] for _, indices in frames_of(annotations.t[usable])]
    # Many small frames, or few large ones: either way about so many neighbours are looked up.
    frames = frames[:: max(1, min(len(frames) // MOST_FRAMES, len(usable) // MOST_QUERIES))]
    distances = []
    for indices in frames:
        here = annotations.positions[indices] * scale
        queries = here[:: max(1, len(here) * len(frames) // MOST_QUERIES)]
        if len(here) > 1:
            distances.append(_nearest_apart(here, queries))
    return np.concatenate(distances) if distances else np.empty(0)


def _nearest_apart(
    points: NDArray[np.float64], queries: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance from each query to the nearest point elsewhere."""
    tree = cKDTree(points)
    nearest = tree.query(queries, k=2)[0][:, 1]
    if (nearest == 0).any():  # marked twice: leave the copies out
        points = np.unique(points, axis=0)
        if len(points) < 2:
            return np.empty(0)
        nearest = cKDTree(points).query(queries, k=2)[0][:, 1]
    return np.asarray(nearest)
