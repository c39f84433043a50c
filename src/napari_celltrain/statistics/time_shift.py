"""Whether the annotations are one frame off: marks that fit the frame before or after."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.experiment import Finding
from napari_celltrain.statistics.diameter import N_BINS, annotated_places, read_plane, ring_profile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment

BETTER = 0.7
"""The marks are nearer to the middles of cells elsewhere, by this factor at least."""
MOST_CONFIRM = 0.65
AS_CLEAR = 0.8
"""As much of its contrast a cell has there, too: in the middle of nothing is nothing."""
LEAST_CELLS = 20
REACH = 0.6
"""In diameters: within so far of a mark the middle of its cell is sought."""


def time_shift_finding(experiment: Experiment, diameter_px: float) -> Finding | None:
    """Compare how far the marks are from the middles of cells in their frame and its neighbours.

    The middle is the brightness centroid around the mark (or the darkness', for dark cells).
    Cells that hardly move say nothing, and then nothing is said.

    Parameters
    ----------
    experiment
        With images and annotations.
    diameter_px
        Of a cell, in pixels of the plane.
    """
    images = experiment.images
    if images is None:
        return None
    times = set(images.time_points)
    offsets: dict[int, list[NDArray[np.float64]]] = {-1: [], 0: [], 1: []}
    contrasts: dict[int, list[NDArray[np.float64]]] = {-1: [], 0: [], 1: []}
    looked_at: set[int] = set()
    for t, z, centres in annotated_places(experiment):
        # One plane of a frame, and only frames with a neighbour on either side.
        if t in looked_at or not {t - 1, t + 1} <= times:
            continue
        planes = {
            shift: read_plane(images, t + shift, experiment.channels[0], z) for shift in offsets
        }
        own = planes[0]
        if own is None or planes[-1] is None or planes[1] is None:
            continue
        looked_at.add(t)
        dark = _median(_contrasts(own, centres, diameter_px)) < 0
        for shift, plane in planes.items():
            assert plane is not None
            contrasts[shift].append((-1 if dark else 1) * _contrasts(plane, centres, diameter_px))
            offsets[shift].append(
                np.array([_offset(plane, y, x, REACH * diameter_px, dark) for y, x in centres])
            )
    if len(looked_at) < 2:
        return None
    joined = {shift: np.concatenate(found) for shift, found in offsets.items()}
    usable = np.all([np.isfinite(found) for found in joined.values()], axis=0)
    if np.count_nonzero(usable) < LEAST_CELLS:
        return None
    typical = {shift: float(np.median(found[usable])) for shift, found in joined.items()}
    best = min(typical, key=lambda shift: typical[shift])
    confirmed = float((joined[best] < joined[0])[usable].mean())
    if best == 0 or typical[best] > BETTER * typical[0] or confirmed < MOST_CONFIRM:
        return None
    clear = {shift: _median(np.concatenate(found)) for shift, found in contrasts.items()}
    if clear[best] < AS_CLEAR * clear[0]:
        return None
    return Finding(
        "warning",
        "time-shift",
        f"The cells fit the image of the time point {'after' if best == 1 else 'before'} theirs "
        "better than their own: the annotations seem to be one frame off. Nothing was changed.",
        time_point=min(looked_at),
    )


def _contrasts(
    plane: NDArray[Any], centres: NDArray[np.float64], diameter: float
) -> NDArray[np.float64]:
    """Return how much brighter than its surroundings each place is, (n,) or fewer."""
    inner, outer = round(0.3 / 1.2 * N_BINS), round(0.7 / 1.2 * N_BINS)
    profiles = (ring_profile(plane, y, x, 1.2 * diameter, np.ones(2)) for y, x in centres)
    return np.array(
        [one[:inner].mean() - one[outer:].mean() for one in profiles if one is not None]
    )


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) else 0.0


def _offset(plane: NDArray[Any], y: float, x: float, reach: float, dark: bool) -> float:
    """Return how far a mark is from the middle of what is there; NaN where pixels are missing."""
    y0, x0 = math.ceil(y - reach), math.ceil(x - reach)
    y1, x1 = math.floor(y + reach) + 1, math.floor(x + reach) + 1
    if y0 < 0 or x0 < 0 or y1 > plane.shape[0] or x1 > plane.shape[1]:
        return math.nan
    crop = plane[y0:y1, x0:x1].astype(np.float64)
    if not np.isfinite(crop).all():
        return math.nan
    weight = -crop if dark else crop
    weight = weight - np.percentile(weight, 30)  # most of what is no cell
    rows, columns = np.arange(y0, y1) - y, np.arange(x0, x1) - x
    weight[(weight < 0) | (np.hypot(rows[:, None], columns) > reach)] = 0
    total = weight.sum()
    if not total > 0:
        return math.nan
    return float(
        np.hypot((weight.sum(axis=1) * rows).sum(), (weight.sum(axis=0) * columns).sum()) / total
    )
