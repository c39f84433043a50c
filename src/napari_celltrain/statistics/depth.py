"""How deep cells are in z beside their width: whether planes are as far apart as is said.

Cells are about as deep as wide; a microscope draws them out to two or three times that, and a flat
culture is a quarter of it. In the planes above and below a cell's centre a blob filter
(`blob_filter`) answers less and less; where it has lost half, the cell has its upper or lower end.
That is measured in planes and the width in pixels, so a distance between planes that is wrong by
ten shows, which nothing else tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Finding
from napari_celltrain.statistics.blob_filter import usable_positions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX, Experiment
    from napari_celltrain.statistics.blob_filter import BlobFilter

REACH = 16
"""Planes: so far above and below it is looked."""
MOST_PIXELS = 16_000_000
"""So many are read, at most (three planes always)."""
MOST_FRAMES = 4
FEWEST = 15
"""Positions that are seen in a plane and in their own, or the plane says nothing."""
TALL, FLAT = 5.0, 0.16
"""Depths, in widths, that no cell has. Right data had 0.4 to 1.6 (two annotated sets of real
images, ten simulated ones, with a point spread function up to 7 um long)."""
DOUBTFUL_TALL, DOUBTFUL_FLAT = 2.5, 0.3
"""Depths that are doubted together with planes that are unusually far from each other, or near."""
FAR, NEAR = 25.0, 0.7
"""Distances between planes, in pixels of the plane, that few microscopes are set to."""
THIN = 0.15
"""Of a cell's width: a whole stack is deeper."""
IMPOSSIBLE = (0.1, 100.0)
"""Distances between planes, in pixels, that are doubted without looking."""
STRONGER, WEAKER = 1.2, 0.6
"""A plane off: the answer in the plane to one side is so much stronger than in the positions' own,
and in that to the other side so much weaker. Right data had 1.09 at most, and 0.82 beside it."""


@dataclass(frozen=True)
class Depth:
    """How far a cell reaches up and down.

    Parameters
    ----------
    planes
        From a cell's centre to its upper or lower end.
    at_least
        True where the end is not seen: the stack ends before.
    """

    planes: float
    at_least: bool


def impossible_distance(experiment: Experiment) -> Finding | None:
    """Say so when planes are at a distance that makes no sense beside the width of a pixel."""
    images, voxel = experiment.images, experiment.known_voxel_size_um
    if images is None or voxel is None or images.frame_shape[0] < 2:
        return None
    if IMPOSSIBLE[0] < voxel[0] / float(np.sqrt(voxel[1] * voxel[2])) < IMPOSSIBLE[1]:
        return None
    sentence = f"Planes {voxel[0]:.3g} um apart make no sense beside pixels {voxel[2]:.3g} um wide"
    return _finding(experiment, sentence)


def voxel_words(experiment: Experiment) -> str:
    """Return the voxel size as (z, y, x) in words."""
    return " x ".join(f"{size:.3g}" for size in experiment.known_voxel_size_um or ())


def depth_findings(blobs: BlobFilter, sign: float) -> Iterator[Finding]:
    """Say so when cells are too deep or too flat, or when positions are one plane off.

    Parameters
    ----------
    blobs
        The filter, for positions that lie on cells.
    sign
        1 for cells brighter than their surroundings, -1 for darker ones.
    """
    images, voxel = blobs.experiment.images, blobs.experiment.known_voxel_size_um
    if images is None or images.frame_shape[0] < 3:
        return
    profile = depth_profile(blobs, sign)
    if profile is None:
        return
    finding = _plane_off(profile)
    if finding is not None:
        yield finding
    elif voxel is not None:
        finding = _odd_depth(blobs.experiment, depth_of(profile), blobs.diameter, voxel)
        if finding is not None:
            yield finding


def depth_profile(blobs: BlobFilter, sign: float) -> NDArray[np.float64] | None:
    """Return how strongly the filter answers above and below positions.

    Parameters
    ----------
    blobs, sign
        As in `depth_findings`.

    Returns
    -------
    (2 * REACH + 1,), the answer in a plane relative to that in the positions' own plane, which is
    in the middle; NaN where too few positions have such a plane. None where there are too few.
    """
    t, places = usable_positions(blobs.experiment)
    times = np.unique(t)
    if len(t) < FEWEST:
        return None
    assert blobs.experiment.images is not None
    depth, height, width = blobs.experiment.images.frame_shape
    reach = int(np.clip((MOST_PIXELS // (height * width) - 1) // 2, 1, REACH))
    frames = int(
        np.clip(MOST_PIXELS // (height * width * min(depth, 2 * reach + 1)), 1, MOST_FRAMES)
    )
    chosen = times[np.unique(np.linspace(0, len(times) - 1, frames).round().astype(int))]
    answers = sign * np.concatenate(
        [_answers(blobs, int(time), places[t == time], reach) for time in chosen]
    )
    own = answers[:, REACH]
    profile = np.full(2 * REACH + 1, np.nan)
    for place in range(2 * REACH + 1):
        both = np.isfinite(answers[:, place]) & np.isfinite(own)
        total = own[both].sum()
        if np.count_nonzero(both) >= FEWEST and total > 0:
            profile[place] = answers[both, place].sum() / total
    return profile if np.isfinite(profile[REACH]) else None


def _answers(
    blobs: BlobFilter, t: int, places: NDArray[np.float64], reach: int
) -> NDArray[np.float64]:
    """Return the filter's answers at (z, y, x) positions (n, 3), (n, 2 * REACH + 1) from below."""
    assert blobs.experiment.images is not None
    depth = blobs.experiment.images.frame_shape[0]
    own = np.rint(places[:, 0]).astype(np.int64)
    middle = int(np.median(own))
    answers = np.full((len(places), 2 * REACH + 1), np.nan)
    for z in range(max(0, middle - reach), min(depth, middle + reach + 1)):
        seen = blobs.response(t, z)
        offset = z - own + REACH
        within = (offset >= 0) & (offset <= 2 * REACH)
        if seen is None:
            continue
        index = (places[:, 1:] - seen[1]).round().astype(np.int64)
        within &= ((index >= 0) & (index < seen[0].shape)).all(axis=1)
        answers[np.flatnonzero(within), offset[within]] = seen[0][tuple(index[within].T)]
    return answers


def depth_of(profile: NDArray[np.float64]) -> Depth:
    """Return how far from their centre cells end: where half of the answer is left."""
    ends, last = [], 0
    for side in (profile[REACH:], profile[REACH::-1]):
        known = int(np.argmax(np.append(np.isnan(side), True)))
        lost = np.flatnonzero(side[:known] < 0.5)
        if len(lost):
            k = int(lost[0])
            ends.append(k - 1 + (side[k - 1] - 0.5) / (side[k - 1] - side[k]))
        last = max(last, known - 1)
    return Depth(float(np.mean(ends)), False) if ends else Depth(float(last), True)


def _odd_depth(experiment: Experiment, depth: Depth, diameter: float, voxel: ZYX) -> Finding | None:
    pixel = float(np.sqrt(voxel[1] * voxel[2]))
    spacing, width = voxel[0] / pixel, diameter * pixel
    share = 2 * depth.planes * spacing / diameter
    tall = share > (DOUBTFUL_TALL if spacing > FAR else TALL)
    flat = not depth.at_least and share < (DOUBTFUL_FLAT if spacing < NEAR else FLAT)
    if tall or flat:
        deep = f"{'at least ' if depth.at_least else ''}{share * width:.2g} um deep"
        sentence = f"The cells would be {width:.2g} um wide and {deep}"
        return _finding(experiment, sentence)
    planes = experiment.images.frame_shape[0]  # type: ignore[union-attr]
    if spacing < NEAR and planes * spacing < THIN * diameter:
        sentence = (
            f"The cells would be {width:.2g} um wide, and all {planes} planes together "
            f"{planes * voxel[0]:.2g} um deep"
        )
        return _finding(experiment, sentence)
    return None


def _finding(experiment: Experiment, sentence: str) -> Finding:
    return Finding(
        "warning",
        "plane-distance",
        f"{sentence}; look whether the voxel size ({voxel_words(experiment)} um in z, y, x) is "
        "right, in z above all.",
    )


def _plane_off(profile: NDArray[np.float64]) -> Finding | None:
    below, above = profile[REACH - 1], profile[REACH + 1]
    for one, other, words in ((below, above, "before"), (above, below, "after")):
        if one > STRONGER and other < WEAKER:  # NaN is neither
            return Finding(
                "warning",
                "plane-shift",
                f"The positions fit the plane {words} theirs better than their own; planes may be "
                "counted from 0 in one file and from 1 in the other.",
            )
    return None
