"""What can be asked for when a movie is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_celltrain.detector.detector import FLOOR

if TYPE_CHECKING:
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import ZYX
    from napari_celltrain.prediction.predict import OnDamaged

LOWEST, HIGHEST = 1e-4, 0.9999
"""Scores come out of a sigmoid: they never are 0 or 1."""


@dataclass(frozen=True)
class Options:
    """How to predict.

    Parameters
    ----------
    time_range
        First and last time point, inclusive; None: all.
    channels
        Counted from 0; None: what the experiment states, else those of the training.
    voxel_size_um
        (z, y, x); None: what the experiment or its images say.
    cell_diameter
        In the detector's unit; None: see `predict`.
    gamma
        Power of the brightness; None: see `predict`.
    threshold
        Lowest score of a cell; None: the detector's own for this experiment or what it is `like`.
    like
        The experiment of the training that a movie is of the kind of; None: that of its own name.
    floor
        Write weaker candidates too, down to this score, so that the threshold can be moved later.
    tile
        Image voxels (z, y, x) to compute at once; None: by memory.
    on_damaged
        ``stop`` or ``skip``, see `predict`.
    resume
        Go on with what an earlier prediction to the same place left unfinished, or refuse it where
        something else was asked for. Without it the same is gone on with too, and of something
        else nothing is thrown away.
    """

    time_range: tuple[int, int] | None = None
    channels: tuple[int, ...] | None = None
    voxel_size_um: ZYX | None = None
    cell_diameter: float | None = None
    gamma: float | None = None
    threshold: float | None = None
    like: str | None = None
    floor: float | None = None
    tile: tuple[int, int, int] | None = None
    on_damaged: OnDamaged = "stop"
    resume: bool = False

    def threshold_for(self, detector: Detector, name: str) -> float:
        """Lowest score of a cell of an experiment."""
        if self.threshold is not None:
            return self.threshold
        return detector.info.threshold_for(name if self.like is None else self.like)

    def least_score(self, detector: Detector, name: str) -> float:
        """Lowest score that is written."""
        threshold = self.threshold_for(detector, name)
        return threshold if self.floor is None else min(self.floor, threshold)

    def search_floor(self, detector: Detector, name: str) -> float:
        """Lowest score that is looked for, and kept while the prediction is unfinished."""
        return min(max(min(self.least_score(detector, name), FLOOR), LOWEST), HIGHEST)


DEFAULT = Options()
