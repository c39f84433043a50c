"""One normalisation for training and prediction: the frame's own dark and bright levels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_celltrain.detector.resample import SAMPLES, resample_in_plane, sampled_planes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LOW, HIGH = 1.0, 99.8
CLIP = (-1.0, 6.0)
"""Normalised values are limited to this range: one hot pixel must not matter."""


@dataclass(frozen=True)
class IntensityRange:
    """The stored values that become 0 and 1."""

    low: float
    high: float
    constant: bool = False
    """True when there is nothing between them: all but single voxels have one value."""

    def normalise(self, image: torch.Tensor, gamma: float = 1.0) -> torch.Tensor:
        """Map `low` to 0 and `high` to 1, in place, limited to `CLIP`.

        With a `gamma`, what lies above 0 is raised to that power, and what lies below to its
        mirror image (`power`).
        """
        image = image.sub_(self.low).mul_(1.0 / (self.high - self.low)).clamp_(*CLIP)
        if gamma != 1.0:
            image.copy_(image.sign() * power(image.abs(), gamma)).clamp_(*CLIP)
        return image


def power(values: torch.Tensor, gamma: float) -> torch.Tensor:
    """Raise values of at least 0 to a power, rounded to sixteenths.

    By square roots and products, which are rounded in one way everywhere: a power by logarithms
    depends in its last bit on how the work is cut into pieces, so on threads and tiles.
    """
    sixteenths = max(1, round(16 * gamma))
    result = torch.ones_like(values)
    whole, rest = divmod(sixteenths, 16)
    for _ in range(whole):
        result *= values
    root = values
    for part in (8, 4, 2, 1):
        root = root.sqrt()
        if rest & part:
            result *= root
    return result


def intensity_range(frame: NDArray[np.generic], steps: Sequence[float]) -> IntensityRange:
    """Measure the levels of a (z, y, x) frame at the working scale.

    At the working scale, because noise of single pixels averages out there: the same cells at
    another magnification get the same levels. A sample of planes and voxels is enough, and it
    never depends on tiles. A constant frame gets a range of 1 (more for huge values).
    """
    return measure(resample_in_plane(frame[sampled_planes(len(frame))], steps))


def measure(planes: torch.Tensor) -> IntensityRange:
    """Measure the levels of a frame whose planes are at the working scale, (z, y', x')."""
    values = planes[sampled_planes(len(planes))].reshape(-1)
    every = max(1, len(values) // SAMPLES)
    # an odd stride does not fall in step with the rows of the image
    ordered = np.sort(values[:: every | 1].numpy())  # several times as fast as np.percentile
    low, high = (_between(ordered, percent / 100) for percent in (LOW, HIGH))
    constant = not high - low > 1e-6 * max(1.0, abs(high))
    if constant:
        high = low + max(1.0, 1e-3 * abs(low))  # so much that float32 can tell them apart
    return IntensityRange(low, high, constant)


def _between(ordered: NDArray[np.float32], share: float) -> float:
    """Return the value that this share of the others lies below, interpolated linearly."""
    place = share * (len(ordered) - 1)
    below = int(place)
    first, second = float(ordered[below]), float(ordered[min(below + 1, len(ordered) - 1)])
    return first + (place - below) * (second - first)
