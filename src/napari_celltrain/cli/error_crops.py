"""Pictures of what a detector got wrong on its held-out frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.cli.output import say
from napari_celltrain.errors import CellTrainError
from napari_celltrain.sharing.pictures import ORANGE, dot, enlarged, grey

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment
    from napari_celltrain.training.run import RunFolder

_WIDTH_IN_CELLS = 4.0
OUTSIDE = (38, 50, 64)
"""The colour of what lies beyond the edge of the image: no grey, so that nobody sees dark cells."""
_Place = tuple["Experiment", int, float, "NDArray[np.float64]"]
"""Experiment, time point, cell diameter in pixels, (z, y, x)."""


@dataclass(frozen=True)
class ErrorCrop:
    """A picture around one error.

    Parameters
    ----------
    picture
        (y, x, 3), a grey square, the error in its middle within a ring of four dots.
    experiment
        Its name.
    place
        Where in it, and the score of a false detection.
    """

    picture: NDArray[np.uint8]
    experiment: str
    place: str


def errors_of(folder: RunFolder, at_most: int) -> dict[str, list[ErrorCrop]]:
    """Return pictures of errors by heading; none, and a remark, where they can't be made."""
    if at_most <= 0:
        return {}
    try:
        missed, false = error_crops(folder, at_most)
    except CellTrainError as error:
        say(f"No pictures of errors: {error}")
        return {}
    return {"Missed cells": missed, "False detections, the surest first": false}


def error_crops(folder: RunFolder, at_most: int) -> tuple[list[ErrorCrop], list[ErrorCrop]]:
    """Return pictures of missed cells and of false detections of a run's best detector.

    Parameters
    ----------
    folder
        Of the run; its data set has to be where it was.
    at_most
        So many of each kind; false detections with the highest scores come first.

    Raises
    ------
    CellTrainError
        When the run has no detector yet or its data set can't be read.
    """
    from napari_celltrain.dataset import load_dataset, split
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.detector.learnt import Recognition
    from napari_celltrain.prediction.judge import candidates
    from napari_celltrain.training.settings import TrainingSettings

    if not folder.dataset_file.is_file():
        raise CellTrainError("the data of the run are in no file.")
    settings = TrainingSettings.from_toml(folder.settings_file)
    dataset = load_dataset(folder.dataset_file)
    detector = Detector.from_folder(folder.path)
    learnt = Recognition(detector.info.trained_on).frames(dataset.experiments)
    share, window = settings.data.held_out_share, settings.design.time_window
    held_out = split(dataset, share, window, learnt=learnt).held_out
    missed: list[_Place] = []
    false: list[tuple[float, _Place]] = []
    for judged in candidates(
        detector,
        dataset.experiments,
        held_out,
        gamma=1.0,
        exclude_dying=settings.data.exclude_dying,
    ):
        frame = judged.scored
        verdict = frame.verdict_at(
            detector.info.threshold_for(dataset.experiments[judged.member].name)
        )
        size = 2 * frame.tolerance / frame.scale[2]  # a cell
        where = (dataset.experiments[judged.member], judged.t, size)
        missed += [(*where, place) for place in frame.truth[verdict.missed]]
        wrong = zip(frame.scores[verdict.false], frame.found[verdict.false], strict=True)
        false += [(float(score), (*where, place)) for score, place in wrong]
    false.sort(key=lambda pair: -pair[0])
    return (
        [_crop(*place) for place in missed[:at_most]],
        [_crop(*place, score) for score, place in false[:at_most]],
    )


def _crop(
    experiment: Experiment,
    t: int,
    diameter_px: float,
    position: NDArray[np.float64],
    score: float | None = None,
) -> ErrorCrop:
    assert experiment.images is not None  # its frame was just judged
    z, y, x = (round(float(p)) for p in position)
    half = max(8, round(_WIDTH_IN_CELLS * diameter_px / 2))
    shape = experiment.images.frame_shape
    z_shown = min(max(z, 0), shape[0] - 1)
    rows = slice(max(0, y - half), min(shape[1], y + half + 1))
    columns = slice(max(0, x - half), min(shape[2], x + half + 1))
    crop = (slice(z_shown, z_shown + 1), rows, columns)
    plane = experiment.images.read_crop(t, experiment.channels[0], crop)[0]
    named = [("t", t), ("z", z), ("y", y), ("x", x)]
    values = [f"{name} {value}" for name, value in named if name != "z" or shape[0] > 1]
    if score is not None:
        values.append(f"score {score:.2f}")
    picture = _marked(plane, (y - rows.start, x - columns.start), half, diameter_px / 2)
    return ErrorCrop(picture, experiment.name, ", ".join(values))


def _marked(
    plane: NDArray[Any], centre: tuple[int, int], half: int, radius: float
) -> NDArray[np.uint8]:
    """Return a square picture, enlarged to about 128 pixels, with dots around its middle.

    Parameters
    ----------
    plane
        (y, x); of a place near the edge of the image it is less than the square.
    centre
        What is going to be in the middle, in pixels of the plane.
    half
        So many pixels are shown to each side.
    radius
        Of a cell, in pixels.
    """
    side = 2 * half + 1
    square = np.full((side, side, 3), OUTSIDE, np.uint8)
    top, left = (half - c for c in centre)
    height, width = plane.shape
    square[top : top + height, left : left + width] = grey(plane)
    picture, factor = enlarged(square, 128)
    middle = (half + 0.5) * factor
    away = 1.3 * radius * factor
    for dy, dx in ((0, away), (0, -away), (away, 0), (-away, 0)):
        dot(picture, middle + dy, middle + dx, 2, ORANGE)
    return picture
