"""Whether the annotations are enough to start, and what more would help most."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.errors import counted
from napari_celltrain.statistics.counts import count, total
from napari_celltrain.statistics.diameter import inside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.experiment import Experiment, Finding
    from napari_celltrain.statistics.counts import Totals

CELLS_TO_START = 50
"""Thin real stacks with 10 cells a frame trained well with ten frames, and poorly with two."""
FRAMES_TO_START = 3
FRAMES_TO_TEST = 4
"""A single movie with fewer has none to spare for the honest test (`dataset/splitting.py`)."""
CELLS_TO_BE_GOOD = 500
FRAMES_TO_BE_GOOD = 15
MOST_OUTSIDE = 0.5
"""Where a larger share of the cells lies outside the images, those inside are there by chance."""


def enough(
    experiments: Sequence[Experiment], found: Sequence[Sequence[Finding]] = ()
) -> tuple[bool, str]:
    """Tell whether training can start with these experiments.

    Parameters
    ----------
    experiments
        To be learnt from together.
    found
        What `findings` says of each of them; without it, only what their readers noticed counts.

    Returns
    -------
    bool
        True when a detector can be expected to learn something.
    str
        One or two sentences: what there is, and what more would help most.
    """
    with_images = [
        part for experiment in experiments if len((part := _with_image(experiment)).annotations)
    ]
    wrong = _to_put_right(experiments, found)
    if wrong:
        return False, wrong
    if not with_images:
        if any(len(experiment.annotations) for experiment in experiments):
            return (
                False,
                "There are annotations, but no images that belong to them: open those too, or name "
                "both in a dataset.toml.",
            )
        return False, (
            f"Nothing is annotated yet. Mark the centre of every cell in {FRAMES_TO_TEST} or "
            "more time points that lie far apart."
        )
    sums = total([count(experiment) for experiment in with_images])
    here = (
        f"{counted(sums.positions, 'cell')} in {counted(sums.annotated_time_points, 'time point')}"
    )
    are = "is" if sums.positions == 1 else "are"
    left = sums.time_points - sums.annotated_time_points
    other = f"{'a second' if len(with_images) == 1 else 'another'} image or movie"
    to_test = FRAMES_TO_TEST if len(with_images) == 1 else FRAMES_TO_START
    frames = to_test - sums.annotated_time_points
    more = f"every cell of {frames} more, far from the others in time" if frames <= left else other
    if sums.annotated_time_points < FRAMES_TO_START:
        return False, f"{here} {are} too little to train and to test on: annotate {more}."
    if sums.positions < CELLS_TO_START:
        here_each = sums.positions / sums.annotated_time_points
        frames = math.ceil((CELLS_TO_START - sums.positions) / here_each)
        return False, (
            f"{here} {are} too little to begin with; about {CELLS_TO_START} cells are needed. "
            f"Annotate {f'{frames} more time points' if frames <= left else other}."
        )
    if frames > 0:
        return True, f"{here}: enough to start, but too few to test on: annotate {more}."
    advice = _what_next(with_images, sums)
    return True, f"{here}: enough to start. {advice}"


def _to_put_right(experiments: Sequence[Experiment], found: Sequence[Sequence[Finding]]) -> str:
    """Say what no number of annotations makes up for; empty where there is nothing of that kind."""
    errors = []
    for number, experiment in enumerate(experiments):
        about = f"{experiment.name}: " if len(experiments) > 1 else ""
        noticed = [*experiment.findings, *(found[number] if found else ())]
        # where nothing is marked yet, the others can be learnt from all the same
        errors += [
            about + finding.message
            for finding in dict.fromkeys(noticed)
            if finding.severity == "error" and finding.code != "no-annotations"
        ]
    if errors:
        several = f"{len(errors)} errors have to be put right before training, the first of them"
        one = "This error has to be put right before training"
        return f"{one if len(errors) == 1 else several}: {errors[0]}"
    for experiment in experiments:
        cells, within = _inside(experiment)
        if within < (1 - MOST_OUTSIDE) * cells:
            return (
                f"Only {within} of the {cells} cells of {experiment.name} lie inside the images; "
                "that has to be put right before training."
            )
    return ""


def _inside(experiment: Experiment) -> tuple[int, int]:
    """Return how many cells have an image, and how many of them lie in it."""
    if experiment.images is None:
        return 0, 0
    annotations = _with_image(experiment).annotations
    places = annotations.positions[annotations.is_cell]
    return len(places), int(np.count_nonzero(inside(places, experiment.images.frame_shape)))


def _with_image(experiment: Experiment) -> Experiment:
    """Leave only the annotations that have an image; nothing can be learnt from the others."""
    annotations = experiment.annotations
    has_image = np.isin(annotations.t, experiment.image_time_points())
    return experiment.with_(annotations=annotations.select(has_image))


def _what_next(experiments: Sequence[Experiment], sums: Totals) -> str:
    if any(experiment.completeness == "sparse" for experiment in experiments):
        return (
            "Marking every cell of a few time points would help most: where only some are marked, "
            "nobody knows what is background."
        )
    if sums.annotated_time_points == sums.time_points and (
        sums.positions < CELLS_TO_BE_GOOD or sums.annotated_time_points < FRAMES_TO_BE_GOOD
    ):
        if len(experiments) == 1:
            return "All of the movie is annotated: a second movie would help most."
        return "All that is open is annotated: another movie would help most."
    if sums.positions < CELLS_TO_BE_GOOD or sums.annotated_time_points < FRAMES_TO_BE_GOOD:
        return "More time points, spread over the movie, would help most."
    if len(experiments) == 1:
        return (
            "A second movie, taken on another day, would help most: it shows what the detector "
            "is worth elsewhere."
        )
    return "Corrected predictions on frames where it fails would help most."
