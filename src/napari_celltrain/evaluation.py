"""How good detections are: one-to-one matching with the annotated cells, and the usual scores.

All distances are physical: positions are multiplied by `scale` (the voxel size), and the tolerance
is in the same unit. With the default scale everything is in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

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


@dataclass(frozen=True)
class Scores:
    """Counts of right and wrong detections; add them up over frames and experiments.

    Where there was nothing to find and nothing was found, the ratios are NaN: such a frame says
    nothing. Where there were cells and none was found, or none and some were found, they are 0.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0
    distance_sum: float = 0.0
    """Sum of the distances of the matched pairs, so that means over frames come out right."""

    def __add__(self, other: Scores) -> Scores:
        return Scores(
            self.tp + other.tp,
            self.fp + other.fp,
            self.fn + other.fn,
            self.distance_sum + other.distance_sum,
        )

    @classmethod
    def total(cls, scores: Iterable[Scores]) -> Scores:
        """Add up any number of scores."""
        return sum(scores, start=cls())

    @property
    def precision(self) -> float:
        """Share of the detections that are cells."""
        return self._ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        """Share of the cells that were found."""
        return self._ratio(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return self._ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def localisation_error(self) -> float:
        """Mean distance of the matched pairs, in the unit of the matching; NaN without any."""
        return self.distance_sum / self.tp if self.tp else float("nan")

    def _ratio(self, part: int, whole: int) -> float:
        if whole:
            return part / whole
        return 0.0 if self.fp or self.fn else float("nan")


@dataclass(frozen=True, eq=False)
class ScoredFrame:
    """The candidates of one frame beside its annotation, for `best_threshold`.

    Parameters
    ----------
    found
        Candidate positions down to a low score, (z, y, x) pixels, shape (N, 3).
    scores
        Their scores, shape (N,).
    truth
        Annotated positions, shape (M, 3).
    tolerance
        Greatest distance of a match, in the unit of `scale`.
    scale
        Voxel size.
    ignore_found, ignore_truth
        As in `score_frame`.
    """

    found: NDArray[np.float64]
    scores: NDArray[np.floating[Any]]
    truth: NDArray[np.float64]
    tolerance: float
    scale: ZYX = UNSCALED
    ignore_found: NDArray[np.bool_] | None = None
    ignore_truth: NDArray[np.bool_] | None = None

    def score_at(self, threshold: float) -> Scores:
        """Score the candidates that reach a threshold."""
        keep = np.asarray(self.scores) >= threshold
        ignore = None if self.ignore_found is None else self.ignore_found[keep]
        return score_frame(
            np.asarray(self.found)[keep],
            self.truth,
            self.tolerance,
            self.scale,
            ignore_found=ignore,
            ignore_truth=self.ignore_truth,
        )


@dataclass(frozen=True)
class Calibration:
    """A score threshold, and what it gives on the frames it was chosen on."""

    threshold: float
    scores: Scores


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
    found_index, truth_index, distances = _close_pairs(found, truth, tolerance, scale)
    chosen = _assign(found_index, truth_index, distances)
    chosen = chosen[np.argsort(found_index[chosen], kind="stable")]
    pairs = np.stack([found_index[chosen], truth_index[chosen]], axis=1)
    return Matching(pairs, distances[chosen])


def score_frame(
    found: ArrayLike,
    truth: ArrayLike,
    tolerance: float,
    scale: ZYX = UNSCALED,
    *,
    ignore_found: NDArray[np.bool_] | None = None,
    ignore_truth: NDArray[np.bool_] | None = None,
) -> Scores:
    """Score the detections of one frame.

    Parameters
    ----------
    found, truth, tolerance, scale
        As in `match`.
    ignore_found
        Detections at places where nobody knows (a border, a region without annotation), shape
        (N,): one that is no match is no false positive.
    ignore_truth
        Annotations that don't count (in the border, or marked as unknown), shape (M,): missing
        one is no error, and a detection on one is neither right nor wrong.

    Notes
    -----
    Annotations that count are matched first, with all detections; only then may an ignored
    annotation excuse a detection that is left.
    """
    found = _points(found)
    truth = _points(truth)
    counts = _mask(ignore_truth, len(truth))
    matching = match(found, truth[~counts], tolerance, scale)
    left = np.ones(len(found), bool)
    left[matching.pairs[:, 0]] = False
    excused = _excused(found, truth[counts], tolerance, scale, ignore_found)
    tp = len(matching.pairs)
    return Scores(
        tp=tp,
        fp=int(np.count_nonzero(left & ~excused)),
        fn=int(np.count_nonzero(~counts)) - tp,
        distance_sum=float(matching.distances.sum()),
    )


def best_threshold(
    frames: Sequence[ScoredFrame],
    *,
    groups: Sequence[int] | None = None,
    floor: float = 0.0,
    default: float = 0.5,
    slack: float = 0.002,
) -> Calibration:
    """Choose the score threshold with the best F1 over all frames together.

    Every threshold is tried, each with its own largest one-to-one matching: candidates join in
    the order of their scores, and each is matched by an augmenting path if there is one, which
    keeps the matching largest at every step (a greedy algorithm is exact on this transversal
    matroid). Of the thresholds whose F1 is within `slack` of the best, the middle of the widest
    unbroken range that holds a best one is returned, so that a slightly different image does
    not fall off an edge.

    Parameters
    ----------
    frames
        Candidates and annotations.
    groups
        Which experiment each frame is of. F1 is averaged over them, each with the square root of
        its cells as weight, so that one with many cells does not decide for all. None: one.
    floor
        The score below which candidates were never produced.
    default
        Returned when there is nothing to calibrate on: no candidate is a cell.
    slack
        How much F1 counts as equally good.
    """
    outcomes = [_outcomes(frame) for frame in frames]
    of_frame = np.zeros(len(frames), np.int64) if groups is None else np.asarray(groups)
    names, of_frame = np.unique(of_frame, return_inverse=True)
    n_truth = np.zeros(len(names))
    for frame, group in zip(frames, of_frame, strict=True):
        ignored = _mask(frame.ignore_truth, len(_points(frame.truth)))
        n_truth[group] += np.count_nonzero(~ignored)
    scores = np.concatenate([np.empty(0), *(scores for scores, _ in outcomes)])
    right = np.concatenate([np.empty(0, np.int8), *(outcome for _, outcome in outcomes)])
    group = np.repeat(of_frame, [len(scores) for scores, _ in outcomes])
    if not (right > 0).any():
        threshold = default
    else:
        threshold = _middle_of_plateau(scores, right, group, n_truth, floor, slack)
    return Calibration(threshold, Scores.total(frame.score_at(threshold) for frame in frames))


def _middle_of_plateau(
    scores: NDArray[Any],
    right: NDArray[Any],
    group: NDArray[Any],
    n_truth: NDArray[Any],
    floor: float,
    slack: float,
) -> float:
    order = np.argsort(-scores, kind="stable")
    scores, right, group = scores[order], right[order], group[order]
    f1 = np.zeros(len(scores))
    for number in np.flatnonzero(n_truth):
        tp = np.cumsum((right > 0) & (group == number))
        fp = np.cumsum((right < 0) & (group == number))
        share = np.sqrt(n_truth[number]) / np.sqrt(n_truth).sum()
        f1 += share * 2 * tp / (tp + fp + n_truth[number])
    # Threshold in (below, scores]: everything up to the last candidate of that score is kept.
    last_of_score = np.append(scores[1:] != scores[:-1], True)
    upper, f1 = scores[last_of_score], f1[last_of_score]
    lower = np.append(upper[1:], min(floor, upper[-1]))
    best = f1.max()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], f1 >= best - slack, [False]])))
    ranges = [
        (float(upper[first] - lower[end - 1]), first, end)
        for first, end in edges.reshape(-1, 2)
        if (f1[first:end] == best).any()
    ]
    _, first, end = max(ranges, key=lambda candidate: candidate[0])
    middle = (upper[first] + lower[end - 1]) / 2
    # Equal neighbours of a float can't be told apart: never fall on or below the excluded end.
    return float(middle if middle > lower[end - 1] else upper[end - 1])


def _outcomes(frame: ScoredFrame) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Return the scores of the candidates, and 1 (a cell), 0 (nobody's) or -1 (wrong) for each."""
    found, truth = _points(frame.found), _points(frame.truth)
    scores = np.asarray(frame.scores, np.float64)
    ignored = _mask(frame.ignore_truth, len(truth))
    outcome = np.full(len(found), -1, np.int8)
    outcome[_excused(found, truth[ignored], frame.tolerance, frame.scale, frame.ignore_found)] = 0
    found_index, truth_index, distances = _close_pairs(
        found, truth[~ignored], frame.tolerance, frame.scale
    )
    near: dict[int, list[int]] = {}
    for pair in np.lexsort((distances, found_index)):
        near.setdefault(int(found_index[pair]), []).append(int(truth_index[pair]))
    owner: dict[int, int] = {}
    candidates = np.fromiter(near, np.int64, len(near))
    for candidate in candidates[np.argsort(-scores[candidates], kind="stable")].tolist():
        if _augment(candidate, near, owner):
            outcome[candidate] = 1
    return scores, outcome


def _augment(start: int, near: dict[int, list[int]], owner: dict[int, int]) -> bool:
    """Give `start` a true position, moving earlier owners along a shortest alternating path."""
    reached_from: dict[int, int] = {}
    came_by: dict[int, int | None] = {start: None}
    queue = [start]
    for candidate in queue:
        for target in near[candidate]:
            if target in reached_from:
                continue
            reached_from[target] = candidate
            if target in owner:
                queue.append(owner[target])
                came_by[owner[target]] = target
                continue
            free: int | None = target
            while free is not None:
                mover = reached_from[free]
                owner[free] = mover
                free = came_by[mover]
            return True
    return False


def _excused(
    found: NDArray[np.float64],
    ignored_truth: NDArray[np.float64],
    tolerance: float,
    scale: ZYX,
    ignore_found: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    excused = _mask(ignore_found, len(found)).copy()
    excused[_close_pairs(found, ignored_truth, tolerance, scale)[0]] = True
    return excused


def _close_pairs(
    found: ArrayLike, truth: ArrayLike, tolerance: float, scale: ZYX
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return found index, truth index and distance of all pairs within the tolerance."""
    if not tolerance >= 0:
        raise ValueError(f"the tolerance must be 0 or more, not {tolerance}")
    factor = np.asarray(scale, np.float64)
    a, b = _points(found) * factor, _points(truth) * factor
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


def _points(values: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(values, np.float64).reshape(-1, 3)


def _mask(mask: NDArray[np.bool_] | None, length: int) -> NDArray[np.bool_]:
    return np.zeros(length, bool) if mask is None else np.asarray(mask, bool).reshape(length)
