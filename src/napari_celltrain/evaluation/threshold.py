"""The score from which a candidate is called a cell: chosen where F1 is best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.evaluation.matching import UNSCALED, as_points, close_pairs
from napari_celltrain.evaluation.scores import Scores, Verdict, as_mask, excused_by, judge_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX


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
        As in `judge_frame`.
    """

    found: NDArray[np.float64]
    scores: NDArray[np.floating[Any]]
    truth: NDArray[np.float64]
    tolerance: float
    scale: ZYX = UNSCALED
    ignore_found: NDArray[np.bool_] | None = None
    ignore_truth: NDArray[np.bool_] | None = None

    def verdict_at(self, threshold: float) -> Verdict:
        """Judge the candidates that reach a threshold; those below are neither right nor false."""
        keep = np.asarray(self.scores) >= threshold
        verdict = judge_frame(
            np.asarray(self.found)[keep],
            self.truth,
            self.tolerance,
            self.scale,
            ignore_found=None if self.ignore_found is None else self.ignore_found[keep],
            ignore_truth=self.ignore_truth,
        )
        right, false = np.zeros(len(keep), bool), np.zeros(len(keep), bool)
        right[keep], false[keep] = verdict.right, verdict.false
        return replace(verdict, right=right, false=false)

    def score_at(self, threshold: float) -> Scores:
        """Score the candidates that reach a threshold."""
        return self.verdict_at(threshold).scores


@dataclass(frozen=True)
class Calibration:
    """A score threshold, and what it gives on the frames it was chosen on."""

    threshold: float
    scores: Scores


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
        ignored = as_mask(frame.ignore_truth, len(as_points(frame.truth)))
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
    found, truth = as_points(frame.found), as_points(frame.truth)
    scores = np.asarray(frame.scores, np.float64)
    ignored = as_mask(frame.ignore_truth, len(truth))
    outcome = np.full(len(found), -1, np.int8)
    outcome[excused_by(found, truth[ignored], frame.tolerance, frame.scale, frame.ignore_found)] = 0
    found_index, truth_index, distances = close_pairs(
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
