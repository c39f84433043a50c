"""Where an annotation says something; elsewhere training neither rewards nor punishes.

An annotated frame is rarely annotated everywhere: only within a box or a drawn region, only some
cells, or not along the image's edge, where benchmark annotations leave cut cells out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX, Experiment

CELL = 4
"""Image pixels per pixel of the map of drawn regions."""
SURE = 12.0
"""An empty edge is 'not annotated' once this many positions were expected in it (e**-12)."""


DYING = ("dead", "shed", "shed_outside", "stimulated_shed")
"""Values of the position feature ``ending`` that mean a dying cell."""


@dataclass(frozen=True, eq=False)
class KnownPlace:
    """Where one frame is annotated completely.

    Parameters
    ----------
    low, high
        (z, y, x) image pixels: between them (inclusive) the annotation is complete.
    mask
        In plane, one value for `CELL` x `CELL` image pixels; None: all of it.
    nothing
        True when only the marks themselves are known.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    mask: NDArray[np.bool_] | None = None
    nothing: bool = False

    def in_plane(self, y: NDArray[np.floating], x: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell which of some in-plane places are known."""
        if self.nothing:
            return np.zeros(np.broadcast(y, x).shape, bool)
        known = (y >= self.low[1]) & (y <= self.high[1]) & (x >= self.low[2]) & (x <= self.high[2])
        if self.mask is not None:
            row = np.clip((y / CELL).astype(np.intp), 0, self.mask.shape[0] - 1)
            column = np.clip((x / CELL).astype(np.intp), 0, self.mask.shape[1] - 1)
            known &= self.mask[row, column]
        return np.asarray(known)

    def at(self, positions: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which (z, y, x) positions (n, 3) are known."""
        return self.in_plane(positions[:, 1], positions[:, 2]) & self.in_depth(positions[:, 0])

    def in_depth(self, z: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Tell which planes are known."""
        return np.asarray((z >= self.low[0]) & (z <= self.high[0]))


def known_place(
    experiment: Experiment, diameter: float, voxel_size: ZYX
) -> Callable[[int], KnownPlace]:
    """Return a function from a time point to where it is known.

    Parameters
    ----------
    experiment
        With images.
    diameter
        Of a cell.
    voxel_size
        (z, y, x) of the images, in the unit of the diameter.
    """
    assert experiment.images is not None
    shape = np.array(experiment.images.frame_shape)
    margins = edge_margins(experiment, diameter, voxel_size)
    low, high = _triple(margins[0] - 0.5), _triple(shape - 0.5 - margins[1])
    # the box around the centres, and half a cell more: the cells themselves belong to it
    half = 0.5 * diameter / np.array(voxel_size)

    def at(t: int) -> KnownPlace:
        if experiment.completeness == "box":
            positions = experiment.annotations.positions[experiment.annotations.at(t)]
            positions = positions[np.isfinite(positions).all(axis=1)]
            if len(positions):
                return KnownPlace(
                    _triple(positions.min(axis=0) - half), _triple(positions.max(axis=0) + half)
                )
        if experiment.completeness == "region":
            regions = [r for r in experiment.regions if r.holds_at(t)]
            if regions:
                mask = np.zeros(-(-shape[1:] // CELL), bool)
                for region in regions:
                    mask |= _inside((np.array(region.vertices) + 0.5) / CELL, mask.shape)
                return KnownPlace(low, high, mask)
        if experiment.completeness == "time-points":
            return KnownPlace(low, high)
        return KnownPlace(low, high, nothing=True)

    return at


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def frame_annotations(
    experiment: Experiment, t: int, *, exclude_dying: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.int8]]:
    """Positions (n, 3) in image pixels and status (n,) of one time point.

    Positions outside the image by more than half a voxel are left out: there is nothing to see.
    """
    annotations = experiment.annotations
    index = annotations.at(t)
    positions = annotations.positions[index]
    assert annotations.status is not None
    status = annotations.status[index].copy()
    if exclude_dying and "ending" in annotations.features:
        ending = np.asarray(annotations.features["ending"])[index]
        status[np.isin(ending.astype(str), DYING)] = Status.UNKNOWN
    keep = np.isfinite(positions).all(axis=1)
    if experiment.images is not None:
        upper = np.array(experiment.images.frame_shape) - 0.5
        keep &= ((positions >= -0.5) & (positions <= upper)).all(axis=1)
    return positions[keep], status[keep]


def edge_margins(experiment: Experiment, diameter: float, voxel_size: ZYX) -> NDArray[np.float64]:
    """Find edges of the image that were left out when cells were marked.

    Benchmarks don't annotate cells that the image's edge cuts. Where the cells lie evenly and a
    strip along an edge (at most a cell and a half wide) is empty although many positions were to be
    expected in it, the strip is taken as not annotated.

    Returns
    -------
    (low or high side, axis) widths in image pixels, shape (2, 3); z is always 0.
    """
    margins = np.zeros((2, 3))
    if experiment.images is None or experiment.completeness != "time-points":
        return margins
    positions = experiment.usable_annotations().positions
    shape = experiment.images.frame_shape
    if len(positions) < 20:
        return margins
    for axis in (1, 2):
        length = shape[axis]
        widest = min(1.5 * diameter / voxel_size[axis], 0.2 * length)
        along = positions[:, axis]
        along = along[(along >= -0.5) & (along <= length - 0.5)]
        if not len(along):
            continue
        for side, distance in enumerate((along + 0.5, length - 0.5 - along)):
            gap = float(distance.min())
            # as dense in the strip next to the gap as anywhere: an image that is simply empty
            # near its edge has no such step
            beyond = np.count_nonzero((distance >= gap) & (distance < gap + widest))
            expected = beyond / widest * min(gap, widest)
            if gap > 2 and expected > SURE:
                margins[side, axis] = min(gap, widest)
    return margins


def _inside(polygon: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Rasterise a polygon of (y, x) vertices: the even-odd rule at the centres of the pixels."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    inside = np.zeros(shape, bool)
    for (y1, x1), (y2, x2) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        crosses = (y1 > y) != (y2 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            at = (x2 - x1) * (y - y1) / (y2 - y1) + x1
        inside ^= crosses & (x < at)
    return inside
