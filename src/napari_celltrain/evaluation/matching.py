"""Which found position is which annotated one: one to one, within a distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from napari_celltrain.experiment import ZYX

UNSCALED: ZYX = (1.0, 1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Matching:
    """Which found position is which true one.

    Parameters
    ----------
    pairs
        Indices (found, truth), shape (P, 2), ascending by found; each index occurs once.
    distances
        Physical distance of each pair, shape (P,).
    """

    pairs: NDArray[np.int64]
    distances: NDArray[np.float64]


def match(found: ArrayLike, truth: ArrayLike, tolerance: float, scale: ZYX = UNSCALED) -> Matching:
    """Match found positions with true ones, one to one, within a distance.

    As many pairs as possible are made, and among those choices the one with the least total
    distance is taken. Only pairs within the tolerance (inclusive) are looked at, found by a
    KD-tree, and only those that compete for a position go through the assignment.

    Parameters
    ----------
    found, truth
        (z, y, x) positions in pixels, shapes (N, 3) and (M, 3). Positions that are not finite
        match nothing.
    tolerance
        Greatest distance of a pair, in the unit of `scale`.
    scale
        Voxel size (z, y, x).
    """
    found_index, truth_index, distances = close_pairs(found, truth, tolerance, scale)
    chosen = _assign(found_index, truth_index, distances)
    chosen = chosen[np.argsort(found_index[chosen], kind="stable")]
    pairs = np.stack([found_index[chosen], truth_index[chosen]], axis=1)
    return Matching(pairs, distances[chosen])


def close_pairs(
    found: ArrayLike, truth: ArrayLike, tolerance: float, scale: ZYX
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return found index, truth index and distance of all pairs within the tolerance."""
    if not tolerance >= 0:
        raise ValueError(f"the tolerance must be 0 or more, not {tolerance}")
    factor = np.asarray(scale, np.float64)
    a, b = as_points(found) * factor, as_points(truth) * factor
    finite_a = np.flatnonzero(np.isfinite(a).all(axis=1))
    finite_b = np.flatnonzero(np.isfinite(b).all(axis=1))
    if not (len(finite_a) and len(finite_b)):
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    pairs = cKDTree(a[finite_a]).sparse_distance_matrix(
        cKDTree(b[finite_b]), tolerance, output_type="ndarray"
    )
    pairs = pairs[np.lexsort((pairs["j"], pairs["i"]))]
    return (
        finite_a[pairs["i"]].astype(np.int64),
        finite_b[pairs["j"]].astype(np.int64),
        pairs["v"].astype(np.float64),
    )


def _assign(
    found_index: NDArray[np.int64],
    truth_index: NDArray[np.int64],
    distances: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Choose the pairs (indices into the arrays) of the best assignment."""
    # A pair whose two ends are in no other pair is settled: in practice that is nearly all.
    settled = (_occurrences(found_index) == 1) & (_occurrences(truth_index) == 1)
    rest = np.flatnonzero(~settled)
    if len(rest):
        rest = rest[_solve(found_index[rest], truth_index[rest], distances[rest])]
    return np.concatenate([np.flatnonzero(settled), rest])


def _occurrences(index: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(index)[index] if len(index) else index


def _solve(
    found_index: NDArray[np.int64],
    truth_index: NDArray[np.int64],
    distances: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Take as many pairs as possible, and among those choices the least total distance.

    A sparse Jonker-Volgenant assignment in which every found position may also stay alone, in a
    column of its own, at a price that no difference in distance can outweigh.
    """
    _, row = np.unique(found_index, return_inverse=True)
    _, column = np.unique(truth_index, return_inverse=True)
    n_rows, n_columns = int(row.max()) + 1, int(column.max()) + 1
    alone = (distances.max() or 1.0) * (min(n_rows, n_columns) + 1)
    everyone = np.arange(n_rows)
    cost = csr_array(
        (
            # The solver takes a zero for a missing entry, hence a shift that is the same for all.
            np.concatenate([distances, np.full(n_rows, alone)]) + alone,
            (np.concatenate([row, everyone]), np.concatenate([column, n_columns + everyone])),
        ),
        shape=(n_rows, n_columns + n_rows),
    )
    solved_rows, solved_columns = min_weight_full_bipartite_matching(cost)
    column_of_row = np.empty(n_rows, np.int64)
    column_of_row[solved_rows] = solved_columns
    return np.flatnonzero(column_of_row[row] == column)


def as_points(values: ArrayLike) -> NDArray[np.float64]:
    """Return positions as floats of shape (N, 3), also where there are none."""
    return np.asarray(values, np.float64).reshape(-1, 3)
