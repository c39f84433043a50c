"""Precision, recall, F1 and localisation error of the detections in a frame, or in many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.evaluation.matching import UNSCALED, as_points, close_pairs, match

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike, NDArray

    from napari_celltrain.experiment import ZYX


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
class Verdict:
    """What became of each position in a frame.

    Parameters
    ----------
    right, false
        For each detection, shape (N,): it is an annotated cell that counts; it is none. One that
        is neither lies where nobody knows.
    missed
        For each annotation, shape (M,): it counts, and nothing found it.
    scores
        Their sum.
    """

    right: NDArray[np.bool_]
    false: NDArray[np.bool_]
    missed: NDArray[np.bool_]
    scores: Scores


def judge_frame(
    found: ArrayLike,
    truth: ArrayLike,
    tolerance: float,
    scale: ZYX = UNSCALED,
    *,
    ignore_found: NDArray[np.bool_] | None = None,
    ignore_truth: NDArray[np.bool_] | None = None,
) -> Verdict:
    """Tell which detections of a frame are right, and sum them up.

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
    found, truth = as_points(found), as_points(truth)
    ignored = as_mask(ignore_truth, len(truth))
    counting = np.flatnonzero(~ignored)
    matching = match(found, truth[counting], tolerance, scale)
    right = np.zeros(len(found), bool)
    right[matching.pairs[:, 0]] = True
    missed = ~ignored
    missed[counting[matching.pairs[:, 1]]] = False
    false = ~right & ~excused_by(found, truth[ignored], tolerance, scale, ignore_found)
    scores = Scores(
        tp=len(matching.pairs),
        fp=int(np.count_nonzero(false)),
        fn=int(np.count_nonzero(missed)),
        distance_sum=float(matching.distances.sum()),
    )
    return Verdict(right, false, missed, scores)


def excused_by(
    found: NDArray[np.float64],
    ignored_truth: NDArray[np.float64],
    tolerance: float,
    scale: ZYX,
    ignore_found: NDArray[np.bool_] | None,
) -> NDArray[np.bool_]:
    """Return which detections are no error: in an ignored place, or near an ignored annotation."""
    excused = as_mask(ignore_found, len(found)).copy()
    excused[close_pairs(found, ignored_truth, tolerance, scale)[0]] = True
    return excused


def as_mask(mask: NDArray[np.bool_] | None, length: int) -> NDArray[np.bool_]:
    """Return a mask of that length; none is all False."""
    return np.zeros(length, bool) if mask is None else np.asarray(mask, bool).reshape(length)
