"""Detections beside an annotation: which are right, which are missing, which are wrong. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.evaluation.scores import Scores

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from numpy.typing import NDArray

    from napari_celltrain.evaluation.threshold import ScoredFrame

FOUND, MISSED, FALSE = "found", "missed", "false"


@dataclass(frozen=True, eq=False)
class Outcomes:
    """The place of each right, missing and wrong cell.

    Parameters
    ----------
    t, positions
        Time points, shape (N,), and (z, y, x) pixels, shape (N, 3).
    outcome
        ``found``, ``missed`` or ``false`` for each.
    """

    t: NDArray[np.int64]
    positions: NDArray[np.float64]
    outcome: NDArray[np.str_]

    @classmethod
    def of(cls, places: Iterable[tuple[int, NDArray[np.float64], str]]) -> Outcomes:
        """Put (time point, positions, outcome) together."""
        places = list(places)
        return cls(
            np.concatenate([np.empty(0, np.int64), *(np.full(len(p), t) for t, p, _ in places)]),
            np.concatenate([np.empty((0, 3)), *(p for _, p, _ in places)]),
            np.concatenate([np.empty(0, "U6"), *(np.full(len(p), o) for _, p, o in places)]),
        )


@dataclass(frozen=True, eq=False)
class Comparison(Outcomes):
    """The sum over frames, and the place of each outcome.

    Parameters
    ----------
    scores
        Precision, recall, F1, localisation error.
    unit
        Of the localisation error.
    frames, learnt_from
        Time points that were compared, and how many of them the detector was trained on.
    """

    scores: Scores
    unit: str
    frames: int = 0
    learnt_from: int = 0

    @property
    def in_words(self) -> str:
        """One sentence."""
        s = self.scores
        if not (s.tp or s.fp or s.fn):
            return "There is nothing to compare: no annotated time point was looked at."
        error = f", centres {s.localisation_error:.2g} {self.unit} off" if s.tp else ""
        learnt = ""
        if self.learnt_from:
            which = f"{self.learnt_from} of these {self.frames} time points were"
            if self.learnt_from == self.frames:
                which = "These time points were" if self.frames > 1 else "This time point was"
            learnt = f" {which} trained on: the figures are better than for new images."
        return (
            f"F1 {s.f1:.3f}, precision {s.precision:.3f}, recall {s.recall:.3f}{error} "
            f"({s.tp} right, {s.fn} missed, {s.fp} false).{learnt}"
        )


def compare(
    frames: Iterable[tuple[int, ScoredFrame]],
    threshold: float,
    unit: str,
    seen: Container[int] = (),
) -> Comparison:
    """Compare the candidates that reach a threshold with the annotation, frame by frame.

    Parameters
    ----------
    frames
        (time point, candidates and annotation).
    threshold
        From which score on a candidate is a cell.
    unit
        Of the frames' scale.
    seen
        Time points that the detector was trained on.
    """
    total = Scores()
    places: list[tuple[int, NDArray[np.float64], str]] = []
    n, learnt_from = 0, 0
    for t, frame in frames:
        n, learnt_from = n + 1, learnt_from + (t in seen)
        verdict = frame.verdict_at(threshold)
        total += verdict.scores
        places += [
            (t, frame.found[verdict.right], FOUND),
            (t, frame.truth[verdict.missed], MISSED),
            (t, frame.found[verdict.false], FALSE),
        ]
    every = Outcomes.of(places)
    return Comparison(every.t, every.positions, every.outcome, total, unit, n, learnt_from)
