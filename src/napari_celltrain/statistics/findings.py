"""What looks wrong or is worth knowing before training: sentences, each with a place to go to.

What the readers noticed is in `Experiment.findings` and is not repeated here.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_celltrain.experiment import Finding
from napari_celltrain.statistics.diameter import estimate_diameter, inside
from napari_celltrain.statistics.fit import fit_findings
from napari_celltrain.statistics.pixels import pixel_findings
from napari_celltrain.statistics.spacing import frames_of, time_points_with_numbers
from napari_celltrain.statistics.time_shift import time_shift_finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment, Severity

MOST_POINTS = 1000
"""A finding names at most so many positions."""
MOST_ODD_FRAMES = 5
SAME_PLACE_PX = 0.01
CLOSE_SHARE = 0.25
"""Marks nearer than this share of a cell's diameter are hardly two cells."""
FEW_CELLS = 30


def findings(experiment: Experiment, *, look_at_images: bool = True) -> list[Finding]:
    """Check an experiment's annotations, and a few of its frames.

    Parameters
    ----------
    experiment
        To be checked within its time range.
    look_at_images
        Read a few planes: for the cell diameter, and for damaged or empty frames. Without it
        nothing is read, and it takes milliseconds.

    Returns
    -------
    list of Finding
        The worst first; empty when nothing is worth a word.
    """
    known = {finding.code for finding in experiment.findings}
    # Without images it would follow from the spacing, which is just what is looked at here.
    measured = estimate_diameter(experiment) if look_at_images and experiment.images else None
    diameter = measured.diameter if measured and measured.source == "image" else None
    found = [
        *_about_amount(experiment),
        *_about_places(experiment),
        *_about_pairs(experiment, diameter),
        *_about_odd_frames(experiment),
    ]
    if look_at_images and experiment.images is not None:
        found += [*pixel_findings(experiment), *fit_findings(experiment)]
        # Positions that lie on nothing at all were compared with the neighbouring frames already.
        if diameter is not None and all(finding.code != "time-shift" for finding in found):
            voxel = experiment.known_voxel_size_um or (1.0, 1.0, 1.0)
            shift = time_shift_finding(experiment, diameter / math.sqrt(voxel[1] * voxel[2]))
            found += [] if shift is None else [shift]
    severities = ("error", "warning", "info")
    found.sort(key=lambda finding: severities.index(finding.severity))
    return [
        replace(finding, experiment=experiment.name)
        for finding in found
        if finding.code not in known
    ]


def _about_amount(experiment: Experiment) -> Iterator[Finding]:
    annotations = experiment.usable_annotations()
    t = annotations.t[annotations.is_cell]
    times, _ = time_points_with_numbers(t)
    if not len(t):
        yield Finding("error", "no-annotations", "No cell is annotated.")
        return
    if len(times) == 1:
        alone = len(experiment.image_time_points()) == 1
        yield Finding(
            "warning",
            "one-frame",
            f"Only time point {times[0]} is annotated, so nothing is left to test the detector on; "
            f"annotate {'a second image or movie' if alone else 'a second one, far from it'}.",
            time_point=int(times[0]),
        )
    if len(t) < FEW_CELLS:
        yield Finding(
            "warning",
            "few-annotations",
            f"Only {_many(len(t), 'cell')} {'is' if len(t) == 1 else 'are'} annotated; "
            "a detector needs some fifty to begin with.",
        )
    if experiment.images is None and not any(
        finding.code == "images-missing" for finding in experiment.findings
    ):
        yield Finding("warning", "no-images", "There are no images to these annotations.")


def _about_places(experiment: Experiment) -> Iterator[Finding]:
    annotations = experiment.usable_annotations()
    finite = np.isfinite(annotations.positions).all(axis=1)
    if not finite.all():
        odd = np.flatnonzero(~finite)
        yield _at(
            experiment,
            "warning",
            "not-a-number",
            f"{_many(len(odd), 'position')} {'has' if len(odd) == 1 else 'have'} no finite "
            "coordinates and can't be used",
            odd,
        )
    images = experiment.images
    if images is None or not finite.any():
        return
    has_image = np.isin(annotations.t, np.asarray(images.time_points))
    without = np.flatnonzero(~has_image)
    if len(without):
        times, _ = time_points_with_numbers(annotations.t[without])
        severity: Severity = "warning" if has_image.any() else "error"
        yield _at(
            experiment,
            severity,
            "no-image",
            f"{_many(len(without), 'position')} at {_many(len(times), 'time point')} without an "
            f"image; the movie has {images.time_points[0]} to {images.time_points[-1]}",
            without,
        )
    outside = finite & has_image & ~inside(annotations.positions, images.frame_shape)
    count = int(outside.sum())
    if count:
        all_out = count == np.count_nonzero(finite & has_image)
        yield _at(
            experiment,
            "error" if all_out else "warning",
            "outside-image",
            f"{'All' if all_out else ''} {_many(count, 'position')} "
            f"{'lies' if count == 1 else 'lie'} outside the image".strip(),
            np.flatnonzero(outside),
        )
    yield from _about_unit(experiment, annotations.positions[finite])


def _about_unit(experiment: Experiment, positions: NDArray[np.float64]) -> Iterator[Finding]:
    """Positions in um that are taken for pixels fill just a corner of the image."""
    voxel = experiment.known_voxel_size_um
    assert experiment.images is not None
    if voxel is None or max(voxel[1:]) > 0.8 or len(positions) < 20:
        return
    extent = np.asarray(experiment.images.frame_shape[1:]) * np.asarray(voxel[1:])
    reach = positions[:, 1:].max(axis=0)
    if (reach <= extent).all() and (reach >= 0.8 * extent).all():
        share = max(voxel[1:])
        yield Finding(
            "warning",
            "unit",
            f"All positions lie in the first {share:.0%} of the image in y and x, just as if they "
            "were in micrometres and are taken for pixels; look whether they lie on the cells.",
        )


def _about_pairs(experiment: Experiment, diameter: float | None) -> Iterator[Finding]:
    annotations = experiment.usable_annotations()
    usable = np.flatnonzero(annotations.is_cell & np.isfinite(annotations.positions).all(axis=1))
    voxel = experiment.known_voxel_size_um
    scale = np.asarray(voxel or (1.0, 1.0, 1.0))
    unit = "px" if voxel is None else "um"
    near = 1.0 if diameter is None else CLOSE_SHARE * diameter  # 1 um, or 1 pixel
    same: list[NDArray[np.int64]] = []
    close: list[NDArray[np.int64]] = []
    for _, indices in frames_of(annotations.t[usable]):
        here = usable[indices]
        points = annotations.positions[here]
        pairs = cKDTree(points * scale).query_pairs(near, output_type="ndarray")
        apart = np.abs(points[pairs[:, 0]] - points[pairs[:, 1]]).max(axis=1) >= SAME_PLACE_PX
        close.append(here[pairs[apart]])
        same.append(here[pairs[~apart]])
    for pairs, code, sentence in (
        (same, "duplicates", "marked twice at the same place"),
        (close, "close-pairs", f"closer than {near:.3g} {unit}"),
    ):
        found = np.concatenate([np.empty((0, 2), np.int64), *pairs])
        if len(found):
            subject = "cell" if code == "duplicates" else "pair"
            verb = "is" if len(found) == 1 else "are"
            yield _at(
                experiment,
                "warning",
                code,
                f"{_many(len(found), subject)} {verb} {sentence}",
                found.ravel(),
            )


def _about_odd_frames(experiment: Experiment) -> Iterator[Finding]:
    """Frames with far fewer cells than those around them: half annotated, most likely."""
    if experiment.completeness != "time-points":
        return
    annotations = experiment.usable_annotations()
    times, numbers = time_points_with_numbers(annotations.t[annotations.is_cell])
    odd = []
    for i in range(len(times)):
        around = np.append(numbers[max(0, i - 2) : i], numbers[i + 1 : i + 3])
        # Only neighbours in time say anything: gaps part a movie.
        near = np.append(times[max(0, i - 2) : i], times[i + 1 : i + 3])
        around = around[np.abs(near - times[i]) <= 4]
        if len(around) >= 2 and np.median(around) >= 8 and numbers[i] < 0.4 * np.median(around):
            odd.append((int(times[i]), int(numbers[i]), int(np.median(around))))
    for t, number, around_it in odd[:MOST_ODD_FRAMES]:
        yield Finding(
            "warning",
            "few-in-frame",
            f"Time point {t} has {_many(number, 'position')}, its neighbours {around_it}: what is "
            "not marked there will be learnt as background.",
            time_point=t,
        )
    if len(odd) > MOST_ODD_FRAMES:
        yield Finding(
            "warning",
            "few-in-frame",
            f"{len(odd) - MOST_ODD_FRAMES} more time points have far fewer positions than their "
            "neighbours; if only some cells are marked, say that the annotation is sparse.",
            time_point=odd[MOST_ODD_FRAMES][0],
        )


def _at(
    experiment: Experiment,
    severity: Severity,
    code: str,
    sentence: str,
    indices: NDArray[np.int64],
) -> Finding:
    """Make a finding about positions; `indices` are those of the annotations within the range."""
    annotations = experiment.annotations
    if experiment.time_range is not None:
        first, last = experiment.time_range
        indices = np.flatnonzero((annotations.t >= first) & (annotations.t <= last))[indices]
    t = int(annotations.t[indices].min())
    where = "" if len(indices) == 1 else "the first "
    return Finding(
        severity,
        code,
        f"{sentence} ({where}at time point {t}).",
        time_point=t,
        points=tuple(
            indices[np.argsort(annotations.t[indices], kind="stable")][:MOST_POINTS].tolist()
        ),
    )


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
