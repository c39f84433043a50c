"""The places a detector considered, down to a low score; which of them are cells is a threshold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Annotations

if TYPE_CHECKING:
    from numpy.typing import NDArray


MOST_BARS = 1_000_000
"""Time points from the first to the last that are each given a number of cells."""


@dataclass(eq=False)
class Candidates:
    """Candidates of a movie, in the order in which they were found; grows while predicting.

    Parameters
    ----------
    t
        Time point numbers, shape (N,).
    positions
        (z, y, x) pixels of the image as stored, shape (N, 3).
    scores
        0 to 1, shape (N,).
    times
        The time points that were looked at, also those where nothing was found.
    """

    t: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    positions: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    scores: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    times: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.t)

    def extended(
        self, found: list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]
    ) -> Candidates:
        """Return these and those of more time points: (t, positions, scores) each."""
        return Candidates(
            np.concatenate([self.t, *(np.full(len(scores), t) for t, _, scores in found)]),
            np.concatenate([self.positions, *(positions for _, positions, _ in found)]),
            np.concatenate([self.scores, *(scores for _, _, scores in found)]),
            [*self.times, *(t for t, _, _ in found)],
        )

    def reaching(self, threshold: float) -> NDArray[np.bool_]:
        """Tell which candidates count as cells, shape (N,)."""
        return np.asarray(self.scores >= threshold)

    def per_time_point(self, threshold: float) -> tuple[int, NDArray[np.int64]]:
        """Return the first time point looked at, and the cells of it and each later one.

        Where their numbers are dates, there are far too many between them: then only those looked
        at follow each other.
        """
        if not self.times:
            return 0, np.zeros(0, np.int64)
        first, last = min(self.times), max(self.times)
        t = self.t[self.reaching(threshold)]
        if last - first >= MOST_BARS:
            times = np.unique(np.asarray(self.times))
            return first, np.bincount(np.searchsorted(times, t), minlength=len(times))
        return first, np.bincount(t - first, minlength=last - first + 1)

    def histogram(self, bins: int = 60) -> NDArray[np.int64]:
        """Return how many candidates have a score in each of so many equal parts of 0 to 1."""
        return np.histogram(self.scores, bins=bins, range=(0, 1))[0]

    def annotations(self, threshold: float) -> Annotations:
        """Return those that reach a threshold, with their scores."""
        keep = self.reaching(threshold)
        scores = {"score": self.scores[keep]}
        return Annotations(self.t[keep], self.positions[keep], features=scores)
