"""Do the positions lie on the cells, and the cells under positions? If not: what would help.

Positions in another unit, with y and x exchanged, one time point off or of another movie all look
fine as numbers, and so do those of the cells in one corner; only the image tells. At a cell's
centre a blob filter of the cell's size answers more strongly than elsewhere, so the share of random
places that a position beats (the area under the ROC curve, 0.5 for chance) says how well positions
and image fit. Dark cells beat few places, which is as good.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import center_of_mass, label, maximum_filter, uniform_filter
from scipy.spatial import cKDTree

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding
from napari_celltrain.statistics.diameter import estimate_diameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment
    from napari_celltrain.statistics.diameter import Diameter

MOST_FRAMES = 4
MOST_SIDE = 1500
"""Pixels: of larger planes the middle is looked at."""
MOST_CHANNELS = 6
FEWEST = 25
"""Positions below which chance decides."""
BAD = 0.12
"""A fit nearer than this to chance is none."""
GOOD = 0.25
"""Another reading has to be at least so far from chance, and twice as far as the plain one."""
BETTER_IN_TIME = 1.05
"""How much stronger the filter has to answer at another time point, in every frame looked at (on
five annotated movies it was 0.99 at most)."""
UNMARKED = 0.7
"""So many places that look like the marked cells, for each of those, are no oversights. Eight
completely annotated sets of real images had 0.07 at most, with half of the marks 0.9 and more."""
FEWEST_UNMARKED = 10
USUAL_UM = (1.5, 50.0)
"""Widths of cells and nuclei that need no question."""


@dataclass(frozen=True, eq=False)
class _Plane:
    """The answer of the blob filter in one plane, and the positions in it."""

    response: NDArray[np.float32]
    points: NDArray[np.float64]
    """(y, x), relative to the plane looked at."""
    corner: NDArray[np.float64]
    t: int
    z: int


def fit_findings(experiment: Experiment) -> Iterator[Finding]:
    """Look at a few planes with positions, and say when these do not lie on cells.

    Reads at most a dozen planes. Nothing is said where there are too few positions, and nothing
    about frames that can't be read (`pixel_findings` does).
    """
    estimate = _estimate(experiment)
    if estimate is None:
        return
    if estimate.unit == "um" and not USUAL_UM[0] <= estimate.diameter <= USUAL_UM[1]:
        yield Finding(
            "warning",
            "cell-size",
            f"The cells would be {estimate.diameter:.3g} um wide; look whether the voxel size "
            f"({_voxel(experiment)} um in z, y, x) is right.",
        )
    diameter = _in_pixels(experiment, estimate)
    planes = [plane for plane in _planes(experiment, diameter) if len(plane.points)]
    if sum(len(plane.points) for plane in planes) < FEWEST:
        return
    plain = _fit(planes, lambda points: points)
    if abs(plain) < BAD:
        yield _does_not_fit(experiment, planes, plain, diameter)
    else:
        shifted = list(_off_in_time(experiment, planes, diameter, plain))
        yield from shifted
        if estimate.source == "image" and not shifted:
            yield from _unmarked(experiment, planes, diameter, plain)


def _voxel(experiment: Experiment) -> str:
    return " x ".join(f"{size:.3g}" for size in experiment.known_voxel_size_um or ())


def _estimate(experiment: Experiment) -> Diameter | None:
    if experiment.images is None or not len(experiment.image_time_points()):
        return None
    if experiment.channels[0] >= experiment.images.n_channels:
        return None
    return estimate_diameter(experiment)


def _in_pixels(experiment: Experiment, estimate: Diameter) -> float:
    voxel = experiment.known_voxel_size_um
    pixel = 1.0 if estimate.unit == "px" or voxel is None else float(np.sqrt(voxel[1] * voxel[2]))
    return float(np.clip(estimate.diameter / pixel, 4, 80))


def _planes(experiment: Experiment, diameter: float) -> Iterator[_Plane]:
    annotations = experiment.usable_annotations()
    usable = annotations.is_cell & np.isfinite(annotations.positions).all(axis=1)
    times = np.intersect1d(annotations.t[usable], experiment.image_time_points())
    if not len(times):
        return
    for t in times[np.unique(np.linspace(0, len(times) - 1, MOST_FRAMES).round().astype(int))]:
        here = annotations.positions[usable & (annotations.t == t)]
        z = int(np.clip(np.median(here[:, 0].round()), 0, experiment.images.frame_shape[0] - 1))  # type: ignore[union-attr]
        here = here[np.abs(here[:, 0] - z) <= 1.0]
        found = _response(experiment, int(t), z, diameter)
        if found is not None:
            response, corner = found
            yield _Plane(response, here[:, 1:] - corner, corner, int(t), z)


def _response(
    experiment: Experiment, t: int, z: int, diameter: float
) -> tuple[NDArray[np.float32], NDArray[np.float64]] | None:
    """Return the mean over a cell less the mean around it, in units of its own spread."""
    images = experiment.images
    assert images is not None
    height, width = images.frame_shape[1:]
    low = np.array([max(0, (n - MOST_SIDE) // 2) for n in (height, width)])
    crop = (
        slice(z, z + 1),
        slice(int(low[0]), int(min(height, low[0] + MOST_SIDE))),
        slice(int(low[1]), int(min(width, low[1] + MOST_SIDE))),
    )
    try:
        plane = np.asarray(images.read_crop(t, experiment.channels[0], crop))[0]
    except CellTrainError:
        return None
    plane = np.nan_to_num(plane.astype(np.float32), posinf=0.0, neginf=0.0)
    plane = np.minimum(plane, np.percentile(plane, 99.5))  # bright debris must not decide
    inner = max(3, round(0.6 * diameter) | 1)
    outer = round(2 * diameter) | 1
    response = uniform_filter(plane, inner) - uniform_filter(plane, outer)
    spread = float(response.std())
    if not spread > 0:
        return None
    return (response / spread).astype(np.float32), low.astype(np.float64)


def _at(plane: _Plane, points: NDArray[np.float64]) -> NDArray[np.float32]:
    index = points.round().astype(np.int64)
    inside = ((index >= 0) & (index < plane.response.shape)).all(axis=1)
    return np.asarray(plane.response[tuple(index[inside].T)])


def _fit(
    planes: list[_Plane], reading: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> float:
    """Return how much better than chance positions do, -0.5 to 0.5; 0 where too few are inside."""
    shares, wanted = [], 0
    for plane in planes:
        values = _at(plane, reading(plane.points + plane.corner) - plane.corner)
        every = plane.response.reshape(-1)
        every = np.sort(every[:: max(1, len(every) // 20_000) | 1])
        shares.append(np.searchsorted(every, values) / len(every))
        wanted += len(plane.points)
    together = np.concatenate(shares)
    if len(together) < max(FEWEST, 0.5 * wanted):
        return 0.0
    return float(together.mean() - 0.5)


def _does_not_fit(
    experiment: Experiment, planes: list[_Plane], plain: float, diameter: float
) -> Finding:
    for shift, words in ((-1, "before"), (1, "after")):
        shifted = list(_shifted(experiment, planes, diameter, shift))
        if shifted and abs(_fit(shifted, lambda points: points)) >= GOOD:
            return _time_shift(words, planes[0].t)
    channel = _channel_that_fits(experiment, diameter)
    if channel is not None:
        used = experiment.channels[0]
        return Finding(
            "warning",
            "off-cells",
            f"The positions don't lie on anything brighter or darker than its surroundings in "
            f"channel {used + 1}, which is used. They would in channel {channel + 1}.",
            time_point=planes[0].t,
        )
    voxel = np.array((experiment.known_voxel_size_um or (1.0, 1.0, 1.0))[1:])
    readings: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
        "if y and x were exchanged": lambda points: points[:, ::-1],
    }
    if (np.abs(voxel - 1) > 0.05).any():
        readings["if they were in micrometres"] = lambda points: points / voxel
        readings["if they had been divided by the voxel size once too often"] = lambda points: (
            points * voxel
        )
    fits = {words: abs(_fit(planes, reading)) for words, reading in readings.items()}
    best = max(fits, key=lambda words: fits[words])
    if fits[best] >= max(GOOD, 2 * abs(plain)):
        advice = f"They would {best}."
    else:
        advice = "Are they of this movie and this channel, and in pixels? Open them over the image."
    return Finding(
        "warning",
        "off-cells",
        f"The positions don't lie on anything brighter or darker than its surroundings. {advice}",
        time_point=planes[0].t,
    )


def _channel_that_fits(experiment: Experiment, diameter: float) -> int | None:
    """Return another channel, from 0, on whose cells the positions lie; None: there is none."""
    others = range(min(experiment.images.n_channels, MOST_CHANNELS))  # type: ignore[union-attr]
    fits = {
        channel: abs(_fit(planes, lambda points: points))
        for channel in others
        if channel != experiment.channels[0]
        and (planes := list(_planes(experiment.with_(channels=(channel,)), diameter)))
    }
    best = max(fits, key=lambda channel: fits[channel], default=None)
    return best if best is not None and fits[best] >= GOOD else None


def _off_in_time(
    experiment: Experiment, planes: list[_Plane], diameter: float, plain: float
) -> Iterator[Finding]:
    """Positions that fit the images of the time point before or after better, in every frame."""
    sign = 1.0 if plain > 0 else -1.0
    own = {plane.t: sign * float(_at(plane, plane.points).mean()) for plane in planes}
    for shift, words in ((-1, "before"), (1, "after")):
        better = [
            sign * float(_at(other, other.points).mean()) > BETTER_IN_TIME * own[other.t]
            for other in _shifted(experiment, planes, diameter, shift)
        ]
        if len(better) >= 2 and all(better):
            yield _time_shift(words, planes[0].t)
            return


def _unmarked(
    experiment: Experiment, planes: list[_Plane], diameter: float, plain: float
) -> Iterator[Finding]:
    """Places that look like the marked cells, but are not marked although all cells should be."""
    if experiment.completeness != "time-points":
        return
    sign = 1.0 if plain > 0 else -1.0
    marked, unmarked = 0, {}
    for plane in planes:
        own = sign * _at(plane, plane.points)
        if not len(own):
            continue
        response = sign * plane.response
        like = max(float(np.percentile(own, 25)), 1e-6)
        peaks = (response >= like) & (response == maximum_filter(response, round(diameter) | 1))
        areas, number = label(peaks, np.ones((3, 3)))  # a flat top is one peak
        centres = np.array(center_of_mass(peaks, areas, range(1, number + 1))).reshape(-1, 2)
        distances, _ = cKDTree(_marks_near(experiment, plane, diameter)).query(centres)
        marked += int(np.count_nonzero(own >= like))
        unmarked[plane.t] = int(np.count_nonzero(distances > 0.75 * diameter))
    total = sum(unmarked.values())
    if total >= max(FEWEST_UNMARKED, UNMARKED * marked):
        yield Finding(
            "warning",
            "unmarked",
            f"Only about {marked / (marked + total):.0%} of what looks like the marked cells is "
            "marked; the rest will be learnt as background. If not all cells of these time points "
            "are marked, say which are: all in a box or region, or only some.",
            time_point=max(unmarked, key=lambda t: unmarked[t]),
        )


def _marks_near(experiment: Experiment, plane: _Plane, diameter: float) -> NDArray[np.float64]:
    """Return the (y, x) of all marks whose cells may be seen in a plane, cells or not."""
    annotations = experiment.usable_annotations()
    here = annotations.positions[annotations.at(plane.t)]
    here = here[np.isfinite(here).all(axis=1)]
    voxel = experiment.known_voxel_size_um or (1.0, 1.0, 1.0)
    planes = diameter * float(np.sqrt(voxel[1] * voxel[2])) / voxel[0]
    return np.asarray(here[np.abs(here[:, 0] - plane.z) <= max(1.0, planes) + 1, 1:] - plane.corner)


def _shifted(
    experiment: Experiment, planes: list[_Plane], diameter: float, shift: int
) -> Iterator[_Plane]:
    """Yield the positions of the planes on the images of other time points, where there are."""
    existing = set(experiment.image_time_points())
    for plane in planes:
        if plane.t + shift in existing and len(plane.points) >= 5:
            found = _response(experiment, plane.t + shift, plane.z, diameter)
            if found is not None:
                yield replace(plane, response=found[0])


def _time_shift(words: str, t: int) -> Finding:
    return Finding(
        "warning",
        "time-shift",
        f"The positions fit the image of the time point {words} better than that of their own, in "
        "every frame looked at; time points may be counted from 0 in one file and from 1 in the "
        "other.",
        time_point=t,
    )
