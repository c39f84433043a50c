"""What is asked of a detector, and what it answers: plain data."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_celltrain.detector.intensity import IntensityRange
    from napari_celltrain.experiment import ZYX


class Job(NamedTuple):
    """One time point to look at; everything as in `Detector.detect`."""

    frames: Sequence[NDArray[Any]]
    voxel_size_um: ZYX | None = None
    cell_diameter: float | None = None
    gamma: float = 1.0
    levels: Sequence[IntensityRange] | None = None
    """Of each of `frames`, where those are parts of larger ones; None: measured."""


@dataclass(frozen=True, eq=False)
class Detections:
    """Cell centres found in one frame.

    Parameters
    ----------
    positions
        (z, y, x) pixels of the image as stored, shape (n, 3), 0 = centre of the first pixel.
    scores
        0 to 1, shape (n,).
    levels
        What became dark and bright in each network input.
    seconds
        Of computing, all threads together.
    """

    positions: NDArray[np.float64]
    scores: NDArray[np.float64]
    levels: tuple[IntensityRange, ...] = ()
    seconds: float = 0.0

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> Detections:
        """Return those with at least this score."""
        keep = self.scores >= threshold
        return replace(self, positions=self.positions[keep], scores=self.scores[keep])
