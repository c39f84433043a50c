"""How strongly a blob filter of the cells' size answers at positions, beside their surroundings.

At a cell's centre the mean over a cell less the mean around it is greater than a cell's width away.
The share of such neighbouring places that a position beats (the area under the ROC curve, 0.5 for
chance) says how well positions and image fit. Only near places are compared: within a tissue even
positions of another movie lie on brighter ground than the empty rest of the image. Dark cells beat
few places, which is as good.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import uniform_filter

from napari_celltrain.errors import CellTrainError
from napari_celltrain.statistics.diameter import inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment

FEW_FRAMES, MOST_FRAMES = 4, 8
"""Looked at where there are many positions in each, and where there are few."""
ENOUGH = 120
"""Positions: then no further plane is looked at, but one of each frame."""
MOST_PLANES = 16
MOST_PIXELS = 8_000_000
"""So many pixels are looked at, at most (one plane of each frame always)."""
MOST_SIDE = 1500
"""Pixels: of larger planes the middle is looked at."""
LARGEST = 1e30
"""Float pixels beyond this have no value, as in `detector.resample`."""
RINGS = ((0.75, 0.0), (1.1, 0.4))
"""Where a position's surroundings are looked at: radius in diameters, turn in radians."""


@dataclass(frozen=True, eq=False)
class Plane:
    """The answer of the filter in one plane, and the positions in it.

    Parameters
    ----------
    response
        (y, x), in units of its own spread.
    points
        (n, 2), (y, x) relative to the part of the plane that was looked at.
    corner
        (y, x) of that part.
    t, z
        Which plane of the movie.
    """

    response: NDArray[np.float32]
    points: NDArray[np.float64]
    corner: NDArray[np.float64]
    t: int
    z: int

    def values(self) -> NDArray[np.float32]:
        """Return the answer at the positions; those outside are left out."""
        index = self.points.round().astype(np.int64)
        within = ((index >= 0) & (index < self.response.shape)).all(axis=1)
        return np.asarray(self.response[tuple(index[within].T)])


class BlobFilter:
    """Answers of the filter in planes of a movie; the last ones are kept.

    Parameters
    ----------
    experiment
        With images.
    diameter
        Of a cell, in pixels of the plane.
    channel
        Of the images; None: the one that is used.
    """

    def __init__(self, experiment: Experiment, diameter: float, channel: int | None = None) -> None:
        self.experiment = experiment
        self.diameter = diameter
        self._channel = experiment.channels[0] if channel is None else channel
        _, height, width = experiment.images.frame_shape  # type: ignore[union-attr]
        pixels = min(height, MOST_SIDE) * min(width, MOST_SIDE)
        self._most = max(1, min(MOST_PLANES, MOST_PIXELS // pixels))
        self._kept: OrderedDict[
            tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float64]] | None
        ] = OrderedDict()

    def response(self, t: int, z: int) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
        """Return the answer in a plane, (y, x), and the corner of the part looked at.

        None where the plane can't be read or shows nothing.
        """
        if (t, z) not in self._kept:
            self._kept[t, z] = self._look(t, z)
            if len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return self._kept[t, z]

    def _look(self, t: int, z: int) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
        images = self.experiment.images
        assert images is not None
        height, width = images.frame_shape[1:]
        low = np.array([max(0, (n - MOST_SIDE) // 2) for n in (height, width)])
        crop = (
            slice(z, z + 1),
            slice(int(low[0]), int(min(height, low[0] + MOST_SIDE))),
            slice(int(low[1]), int(min(width, low[1] + MOST_SIDE))),
        )
        try:
            plane = np.asarray(images.read_crop(t, self._channel, crop))[0]
        except CellTrainError:
            return None
        plane = _with_values(plane)
        plane = np.minimum(plane, np.percentile(plane, 99.5))  # bright debris must not decide
        inner = max(3, round(0.6 * self.diameter) | 1)
        outer = round(2 * self.diameter) | 1
        response = uniform_filter(plane, inner) - uniform_filter(plane, outer)
        spread = float(response.std())
        if not spread > 0:
            return None
        return (response / spread).astype(np.float32), low.astype(np.float64)

    def planes(self, positions: NDArray[np.float64] | None = None) -> list[Plane]:
        """Return the planes with most positions of some frames, spread over the movie.

        Parameters
        ----------
        positions
            (n, 3), (z, y, x): what to take the annotated positions for; None: for what they are.
        """
        t, places = usable_positions(self.experiment, positions)
        found = []
        for time, z in self._chosen(t, places):
            seen = self.response(time, z)
            if seen is not None:
                here = places[(t == time) & (np.rint(places[:, 0]) == z), 1:]
                found.append(Plane(seen[0], here - seen[1], seen[1], time, z))
        return found

    def _chosen(self, t: NDArray[np.int64], places: NDArray[np.float64]) -> list[tuple[int, int]]:
        """Choose planes (t, z): one of each frame, and more until there are enough positions."""
        times, numbers = np.unique(t, return_counts=True)
        if not len(times):
            return []
        images = self.experiment.images
        assert images is not None
        depth = images.frame_shape[0]
        z = np.rint(places[:, 0]).astype(np.int64)
        frames = int(np.clip(ENOUGH / np.median(numbers), FEW_FRAMES, MOST_FRAMES))
        chosen_times = times[np.unique(np.linspace(0, len(times) - 1, frames).round().astype(int))]
        waiting = []
        for time in chosen_times.tolist():
            counts = np.bincount(np.clip(z[t == time], 0, depth - 1), minlength=depth)
            order = np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]
            waiting.append([(time, int(plane), int(counts[plane])) for plane in order])
        chosen: list[tuple[int, int]] = []
        positions = 0
        while any(waiting):
            for ones in waiting:
                if ones and (len(chosen) < len(waiting) or positions < ENOUGH):
                    time, plane, number = ones.pop(0)
                    chosen.append((time, plane))
                    positions += number
            if positions >= ENOUGH or len(chosen) >= self._most:
                break
        return sorted(chosen[: max(self._most, len(waiting))])

    def fit(self, planes: Sequence[Plane]) -> float:
        """Return how much better than their surroundings positions do, -0.5 to 0.5; 0 for none."""
        shares = [_share_beaten(plane, self.diameter) for plane in planes]
        together = np.concatenate([np.empty(0), *shares])
        return float(together.mean() - 0.5) if len(together) else 0.0


def _with_values(plane: NDArray[Any]) -> NDArray[np.float32]:
    """Return a plane as float32, with the median where pixels have no value."""
    with np.errstate(over="ignore"):
        values = plane.astype(np.float32)
    missing = ~(np.abs(values) < LARGEST)
    if missing.any():
        values[missing] = 0.0 if missing.all() else np.median(values[~missing])
    return values


def usable_positions(
    experiment: Experiment, positions: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return time points and (z, y, x) of the cells that lie in an image of the movie."""
    assert experiment.images is not None
    annotations = experiment.usable_annotations()
    places = annotations.positions if positions is None else positions
    usable = annotations.is_cell & np.isfinite(places).all(axis=1)
    usable &= np.isin(annotations.t, experiment.image_time_points())
    usable[usable] = inside(places[usable], experiment.images.frame_shape)
    return annotations.t[usable], places[usable]


def _share_beaten(plane: Plane, diameter: float) -> NDArray[np.float64]:
    """Return for each position the share of the places around it that answer less."""
    shape = plane.response.shape
    turns = np.arange(8) * np.pi / 4
    around = np.concatenate(
        [
            radius * diameter * np.stack([np.sin(turns + turn), np.cos(turns + turn)], axis=1)
            for radius, turn in RINGS
        ]
    )
    index = plane.points.round().astype(np.int64)
    index = index[((index >= 0) & (index < shape)).all(axis=1)]
    near = index[:, None] + around.round().astype(np.int64)
    within = ((near >= 0) & (near < shape)).all(axis=2)
    near = np.clip(near, 0, np.array(shape) - 1)
    less = plane.response[near[..., 0], near[..., 1]] < plane.response[tuple(index.T)][:, None]
    seen = within.sum(axis=1)
    return np.asarray((less & within).sum(axis=1)[seen > 0] / seen[seen > 0])
