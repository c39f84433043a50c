"""Do the positions lie on the cells, and the cells under positions? If not: what would help.

Positions in another unit, with y and x exchanged, one time point off or of another movie all look
fine as numbers, and so do those of the cells in one corner; only the image tells. How well they fit
is measured by a blob filter (`blob_filter`), in a few planes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import center_of_mass, label, maximum_filter
from scipy.spatial import cKDTree

from napari_celltrain.experiment import Finding
from napari_celltrain.statistics.blob_filter import BlobFilter
from napari_celltrain.statistics.depth import depth_findings, impossible_distance, voxel_words
from napari_celltrain.statistics.diameter import estimate_diameter, inside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment
    from napari_celltrain.statistics.blob_filter import Plane
    from napari_celltrain.statistics.diameter import Diameter

    Reading = Callable[[NDArray[np.float64]], NDArray[np.float64]]
    """From (z, y, x) as annotated, (n, 3), to what they may be."""

MOST_CHANNELS = 6
FEWEST = 15
"""Positions below which chance decides whether they fit."""
ENOUGH = 25
"""Positions that say something of other time points, and of cells that are not marked."""
BAD = 0.12
"""A fit nearer than this to chance is none."""
GOOD = 0.25
"""Another reading has to be at least so far from chance ..."""
BETTER = 0.12
"""... and by so much further than the plain one."""
CLEAR = 0.4
"""A fit that leaves no question. On eight annotated sets of real images it was 0.43 to 0.50, and
0.27 to 0.40 with marks that were moved by 0.3 diameters (standard deviation, each axis)."""
BETTER_IN_TIME = 1.05
"""How much stronger the filter has to answer at another time point, in every frame looked at (on
five annotated movies it was 0.99 at most)."""
UNMARKED = 0.7
"""So many places that look like the marked cells, for each of those, are no oversights. Eight
completely annotated sets of real images had 0.07 at most, with half of the marks 0.9 and more."""
FEWEST_UNMARKED = 10
USUAL_UM = (1.5, 50.0)
"""Widths of cells and nuclei that need no question."""


def fit_findings(experiment: Experiment) -> Iterator[Finding]:
    """Look at a few planes with positions, and say when these do not lie on cells.

    Reads some planes, `blob_filter.MOST_PIXELS` at a time at most. Nothing is said where there are
    too few positions, and nothing about frames that can't be read (`pixel_findings` does).
    """
    estimate = _estimate(experiment)
    if estimate is None:
        return
    usual = estimate.unit == "px" or USUAL_UM[0] <= estimate.diameter <= USUAL_UM[1]
    # how far some marked cells are from each other says nothing of their size
    usual = usual or (estimate.source == "spacing" and experiment.completeness != "time-points")
    if not usual:
        yield Finding(
            "warning",
            "cell-size",
            f"The cells would be {estimate.diameter:.3g} um wide; look whether the voxel size "
            f"({voxel_words(experiment)} um in z, y, x) is right.",
        )
    impossible = impossible_distance(experiment)
    if impossible is not None:
        yield impossible
    blobs = BlobFilter(experiment, _in_pixels(experiment, estimate))
    planes = blobs.planes()
    number = _number(planes)
    if number < FEWEST:
        return
    plain = blobs.fit(planes)
    finding = _does_not_fit(blobs, planes, plain)
    if finding is not None:
        yield finding
        return
    shifted = list(_off_in_time(blobs, planes, plain)) if number >= ENOUGH else []
    yield from shifted
    if abs(plain) < GOOD:
        yield _doubtful(planes, plain)
        return
    odd = shifted
    if usual and impossible is None:
        odd = [*odd, *depth_findings(blobs, 1.0 if plain > 0 else -1.0)]
        yield from odd[len(shifted) :]
    if estimate.source == "image" and not odd and number >= ENOUGH:
        yield from _unmarked(experiment, planes, blobs.diameter, plain)


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


def _does_not_fit(blobs: BlobFilter, planes: Sequence[Plane], plain: float) -> Finding | None:
    """Say what is wrong with positions that don't lie on cells; None where they do.

    Those that fit half-heartedly do, if nothing else would fit better.
    """
    if abs(plain) >= CLEAR:
        return None
    t = planes[0].t
    if abs(plain) < BAD:
        for shift, words in ((-1, "before"), (1, "after")):
            shifted = list(_shifted(blobs, planes, shift))
            if _number(shifted) >= FEWEST and abs(blobs.fit(shifted)) >= GOOD:
                return _time_shift(words, t)
        channel = _channel_that_fits(blobs)
        if channel is not None:
            used = blobs.experiment.channels[0]
            return Finding(
                "warning",
                "off-cells",
                f"The positions don't lie on anything brighter or darker than its surroundings in "
                f"channel {used + 1}, which is used. They would in channel {channel + 1}.",
                time_point=t,
            )
    best, words = max(
        (_fit_of(blobs, reading), words) for words, reading in _readings(blobs.experiment).items()
    )
    if best >= max(GOOD, abs(plain) + BETTER):
        advice = f"They would {words}."
    elif abs(plain) < BAD:
        advice = "Are they of this movie and this channel, and in pixels? Open them over the image."
    else:
        return None
    much = "anything" if abs(plain) < BAD else "much that is"
    return Finding(
        "warning",
        "off-cells",
        f"The positions don't lie on {much} brighter or darker than its surroundings. {advice}",
        time_point=t,
    )


def _doubtful(planes: Sequence[Plane], plain: float) -> Finding:
    word, share = ("brighter", 0.5 + plain) if plain > 0 else ("darker", 0.5 - plain)
    return Finding(
        "info",
        "hardly-on-cells",
        f"The positions are {word} than only {share:.0%} of the places a cell's width away, which "
        "is more than chance (50%), but little for cells (above 90%); open them over the image.",
        time_point=planes[0].t,
    )


def _readings(experiment: Experiment) -> dict[str, Reading]:
    """Return what else the positions might be, in words that follow "They would"."""
    assert experiment.images is not None
    last = np.array(experiment.images.frame_shape) - 1.0
    voxel = np.array(experiment.known_voxel_size_um or (1.0, 1.0, 1.0))
    if last[0] == 0:
        voxel[0] = 1.0
    readings: dict[str, Reading] = {"if y and x were exchanged": lambda p: p[:, [0, 2, 1]]}
    if (np.abs(voxel - 1) > 0.05).any():
        readings["if they were in micrometres"] = lambda p: p / voxel
        readings["if they had been divided by the voxel size once too often"] = lambda p: p * voxel
    for axis, name in enumerate("zyx"):
        if last[axis] > 0:
            readings[f"if {name} were counted from the other end"] = _mirrored(axis, last[axis])
    if last[0] > 0:
        readings["if z and x were exchanged"] = lambda p: p[:, ::-1]
        readings["in the plane before theirs"] = lambda p: p - np.array((1, 0, 0))
        readings["in the plane after theirs"] = lambda p: p + np.array((1, 0, 0))
    return readings


def _mirrored(axis: int, last: float) -> Reading:
    def mirrored(positions: NDArray[np.float64]) -> NDArray[np.float64]:
        turned = positions.copy()
        turned[:, axis] = last - turned[:, axis]
        return turned

    return mirrored


def _fit_of(blobs: BlobFilter, reading: Reading) -> float:
    """Return how far from chance a reading of the positions is; 0 where too few are inside."""
    experiment = blobs.experiment
    assert experiment.images is not None
    positions = reading(experiment.usable_annotations().positions)
    if not np.count_nonzero(inside(positions, experiment.images.frame_shape)) > len(positions) / 2:
        return 0.0
    planes = blobs.planes(positions)
    return abs(blobs.fit(planes)) if _number(planes) >= FEWEST else 0.0


def _number(planes: Sequence[Plane]) -> int:
    return sum(len(plane.points) for plane in planes)


def _channel_that_fits(blobs: BlobFilter) -> int | None:
    """Return another channel, from 0, on whose cells the positions lie; None: there is none."""
    experiment = blobs.experiment
    fits = {}
    for channel in range(min(experiment.images.n_channels, MOST_CHANNELS)):  # type: ignore[union-attr]
        if channel != experiment.channels[0]:
            other = BlobFilter(experiment, blobs.diameter, channel)
            fits[channel] = abs(other.fit(other.planes()))
    best = max(fits, key=lambda channel: fits[channel], default=None)
    return best if best is not None and fits[best] >= GOOD else None


def _off_in_time(blobs: BlobFilter, planes: Sequence[Plane], plain: float) -> Iterator[Finding]:
    """Positions that fit the images of the time point before or after better, in every frame."""
    sign = 1.0 if plain > 0 else -1.0
    own = _mean_answers(planes)
    for shift, words in ((-1, "before"), (1, "after")):
        others = _mean_answers(_shifted(blobs, planes, shift))
        better = [sign * value > BETTER_IN_TIME * sign * own[t] for t, value in others.items()]
        if len(better) >= 2 and all(better):
            yield _time_shift(words, planes[0].t)
            return


def _mean_answers(planes: Iterable[Plane]) -> dict[int, float]:
    """Return the mean answer at the positions of each time point that has five or more."""
    values: dict[int, list[NDArray[np.float32]]] = {}
    for plane in planes:
        values.setdefault(plane.t, []).append(plane.values())
    together = {t: np.concatenate(of_frame) for t, of_frame in values.items()}
    return {t: float(one.mean()) for t, one in together.items() if len(one) >= 5}


def _unmarked(
    experiment: Experiment, planes: Sequence[Plane], diameter: float, plain: float
) -> Iterator[Finding]:
    """Places that look like the marked cells, but are not marked although all cells should be."""
    if experiment.completeness != "time-points":
        return
    sign = 1.0 if plain > 0 else -1.0
    answers: dict[int, list[NDArray[np.float32]]] = {}
    for plane in planes:
        answers.setdefault(plane.t, []).append(sign * plane.values())
    marked, unmarked = 0, dict.fromkeys(answers, 0)
    for plane in planes:
        own = np.concatenate(answers[plane.t])
        if not len(own):
            continue
        response = sign * plane.response
        like = max(float(np.percentile(own, 25)), 1e-6)
        peaks = (response >= like) & (response == maximum_filter(response, round(diameter) | 1))
        areas, number = label(peaks, np.ones((3, 3)))  # a flat top is one peak
        centres = np.array(center_of_mass(peaks, areas, range(1, number + 1))).reshape(-1, 2)
        distances, _ = cKDTree(_marks_near(experiment, plane, diameter)).query(centres)
        marked += int(np.count_nonzero(distances <= 0.75 * diameter))
        unmarked[plane.t] += int(np.count_nonzero(distances > 0.75 * diameter))
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


def _marks_near(experiment: Experiment, plane: Plane, diameter: float) -> NDArray[np.float64]:
    """Return the (y, x) of all marks whose cells may be seen in a plane, cells or not."""
    annotations = experiment.usable_annotations()
    here = annotations.positions[annotations.at(plane.t)]
    here = here[np.isfinite(here).all(axis=1)]
    voxel = experiment.known_voxel_size_um or (1.0, 1.0, 1.0)
    planes = diameter * float(np.sqrt(voxel[1] * voxel[2])) / voxel[0]
    return np.asarray(here[np.abs(here[:, 0] - plane.z) <= max(1.0, planes) + 1, 1:] - plane.corner)


def _shifted(blobs: BlobFilter, planes: Sequence[Plane], shift: int) -> Iterator[Plane]:
    """Yield the positions of the planes on the images of other time points, where there are."""
    existing = set(blobs.experiment.image_time_points())
    for plane in planes:
        if plane.t + shift in existing:
            seen = blobs.response(plane.t + shift, plane.z)
            if seen is not None:
                yield replace(plane, response=seen[0])


def _time_shift(words: str, t: int) -> Finding:
    return Finding(
        "warning",
        "time-shift",
        f"The positions fit the image of the time point {words} better than that of their own, in "
        "every frame looked at; time points may be counted from 0 in one file and from 1 in the "
        "other.",
        time_point=t,
    )
