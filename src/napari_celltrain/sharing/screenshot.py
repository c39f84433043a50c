"""A picture for the model card: one held-out frame, with what the detector got right and wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.errors import CellTrainError, counted
from napari_celltrain.sharing.pictures import circle, cross, enlarged, grey, mark, png, square

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.experiment import Experiment
    from napari_celltrain.sharing.pictures import Colour, Outline
    from napari_celltrain.training.events import FrameErrors

BLUE: Colour = (86, 180, 233)
YELLOW: Colour = (240, 228, 66)
RED: Colour = (213, 94, 0)
"""Found, missed and false, as in the window: told apart by the colour blind, and by shape."""
WIDEST_IN_CELLS = 24.0
"""A card shows a part of the frame in which single cells can be seen."""
DEEP_IN_CELLS = 0.5
BESIDE_IN_CELLS = 0.35
"""Planes that are shown, and beyond them those in which centres are marked."""
SIDE = 720
"""Of the picture, in pixels, about."""


@dataclass(frozen=True)
class Screenshot:
    """A picture and what is to be seen in it.

    Parameters
    ----------
    content
        A PNG file.
    caption
        A sentence or two.
    """

    content: bytes
    caption: str


def held_out_screenshot(folder: Path) -> Screenshot:
    """Return a picture of what the best detector of a run finds in a frame that it never saw.

    The frame is the middle one of those held out, not the best one.

    Parameters
    ----------
    folder
        Of the run; its images have to be where they were.

    Raises
    ------
    CellTrainError
        When it is no run, or its held-out frames can't be read.
    """
    from napari_celltrain.dataset import load_dataset, split
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.detector.learnt import Recognition
    from napari_celltrain.prediction.judge import candidates
    from napari_celltrain.training.run import RunFolder
    from napari_celltrain.training.settings import TrainingSettings

    run = RunFolder(folder.absolute())
    if RunFolder(run.path.parent).best == run.path:
        run = RunFolder(run.path.parent)
    if not run.dataset_file.is_file() or not run.is_run():
        raise CellTrainError(f"{folder} is not beside the images that it was judged on.")
    settings = TrainingSettings.from_toml(run.settings_file)
    dataset = load_dataset(run.dataset_file)
    detector = Detector.from_folder(run.path)
    learnt = Recognition(detector.info.trained_on).frames(dataset.experiments)
    share, window = settings.data.held_out_share, settings.design.time_window
    frames = split(dataset, share, window, learnt=learnt)
    member, t = frames.held_out[len(frames.held_out) // 2]
    (judged,) = candidates(
        detector,
        dataset.experiments,
        [(member, t)],
        gamma=1.0,
        exclude_dying=settings.data.exclude_dying,
    )
    errors = judged.errors(detector.threshold, dataset.experiments[member].name)
    return draw_errors(
        dataset.experiments[member], detector.design, errors, learnt=(member, t) in frames.train
    )


def draw_errors(
    experiment: Experiment, design: Design, errors: FrameErrors, *, learnt: bool = False
) -> Screenshot:
    """Draw what was right and wrong in a frame onto a part of it.

    Parameters
    ----------
    experiment
        With images.
    design
        Of the detector.
    errors
        Of one frame of the experiment.
    learnt
        Whether the detector learnt from this frame.
    """
    assert experiment.images is not None
    size = experiment.known_voxel_size_um if design.unit == "um" else None
    diameter = design.diameter / np.array(size or (1.0, 1.0, 1.0))
    places = [errors.found, errors.missed, errors.false]
    every = np.concatenate(places)
    box = _window(every, diameter, experiment.images.frame_shape)
    pixels = experiment.images.read_crop(errors.time_point, experiment.channels[0], box)
    plane = grey(pixels.max(axis=0))
    step = -(-max(plane.shape[:2]) // SIDE)  # of large cells every second pixel will do
    picture, factor = enlarged(np.ascontiguousarray(plane[::step, ::step]), SIDE)
    scale = factor / step
    low, high = (np.array([getattr(axis, end) for axis in box]) for end in ("start", "stop"))
    radius = 0.5 * float(diameter[2]) * scale
    # a cell whose centre is a little above or below can be seen as well
    beyond = np.array([max(0.5, BESIDE_IN_CELLS * float(diameter[0])), 0.5, 0.5])
    shapes: list[tuple[Outline, Colour]] = [
        (circle(radius), BLUE), (square(radius), YELLOW), (cross(0.5 * radius), RED),
    ]  # fmt: skip
    counts = []
    for some, (outline, colour) in zip(places, shapes, strict=True):
        within = some[((some >= low - beyond) & (some <= high - 1 + beyond)).all(axis=1)]
        mark(picture, map(tuple, (within[:, 1:] - low[1:] + 0.5) * scale), outline, colour)
        counts.append(len(within))
    seen = ", which it learnt from" if learnt else ", which it did not learn from"
    planes = "" if len(pixels) == 1 else f", the brightest of {len(pixels)} planes"
    return Screenshot(
        png(picture),
        f"A part of time point {errors.time_point} of {experiment.name}{seen}{planes}: "
        f"{counted(counts[0], 'cell')} found (blue rings), {counts[1]} missed (yellow squares), "
        f"{counted(counts[2], 'false detection')} (red crosses).",
    )


def _window(
    places: NDArray[np.float64], diameter: NDArray[np.float64], shape: tuple[int, int, int]
) -> tuple[slice, slice, slice]:
    """Return where to look: around the middle of what is there.

    Parameters
    ----------
    places
        (z, y, x) pixels of cells and detections, shape (n, 3).
    diameter, shape
        Of a cell and of the frame, in pixels along (z, y, x).
    """
    middle = np.median(places, axis=0) if len(places) else (np.array(shape) - 1) / 2
    slices = []
    for axis, cells in enumerate((DEEP_IN_CELLS, WIDEST_IN_CELLS, WIDEST_IN_CELLS)):
        length = min(shape[axis], max(1, round(cells * float(diameter[axis]))))
        start = round(float(middle[axis]) - (length - 1) / 2)
        start = min(max(0, start), shape[axis] - length)
        slices.append(slice(start, start + length))
    return slices[0], slices[1], slices[2]
