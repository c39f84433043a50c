"""How good a detector is: the real predictor on annotated frames.

Used by training for its held-out frames and by ``celltrain evaluate``; there is no other metric.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.detector.detections import Job
from napari_celltrain.detector.detector import FLOOR
from napari_celltrain.evaluation.scores import Scores
from napari_celltrain.evaluation.threshold import ScoredFrame
from napari_celltrain.experiment import Status
from napari_celltrain.known import frame_annotations, known_place
from napari_celltrain.prediction.contrast import brightness_at
from napari_celltrain.prediction.first_look import FirstLook, look_at_movie
from napari_celltrain.prediction.frames import read_inputs
from napari_celltrain.statistics import estimate_diameter
from napari_celltrain.training.events import FrameErrors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import ZYX, Experiment, Finding

    Scorer = Callable[[int, NDArray[np.float64], NDArray[np.float64]], ScoredFrame]
    """From a time point, places (n, 3) and their scores (n,) to what they are worth."""


@dataclass(frozen=True, eq=False)
class JudgedFrame:
    """One annotated frame beside the candidates found in it.

    Parameters
    ----------
    member, t
        Which frame of the data set.
    scored
        Candidates and annotation.
    brightness
        Of each candidate, 0 (the image's dark level) to about 1 (its bright level).
    """

    member: int
    t: int
    scored: ScoredFrame
    brightness: NDArray[np.float64]

    def errors(self, threshold: float, experiment: str) -> FrameErrors:
        """Return where detections at a threshold are right and wrong."""
        verdict = self.scored.verdict_at(threshold)
        return FrameErrors(
            experiment,
            self.member,
            self.t,
            self.scored.found[verdict.right],
            self.scored.truth[verdict.missed],
            self.scored.found[verdict.false],
        )


def candidates(
    detector: Detector,
    experiments: Sequence[Experiment],
    frames: Sequence[tuple[int, int]],
    *,
    voxel_sizes: Sequence[ZYX] | None = None,
    cell_diameters: Sequence[float] | None = None,
    gamma: float | None = None,
    tolerance: float | None = None,
    border_px: float = 0.0,
    exclude_dying: bool = False,
    read: Callable[[int, int], list[NDArray[np.generic]]] | None = None,
    stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[Finding], None] = lambda finding: None,
) -> Iterator[JudgedFrame]:
    """Run the detector on annotated frames.

    Parameters
    ----------
    detector
        To be judged.
    experiments
        Of the data set.
    frames
        (experiment index, time point) of each frame.
    voxel_sizes
        Of each experiment in the detector's unit; None: as the experiments say, or as training
        would assume (`voxel_size_of`).
    cell_diameters
        Of each experiment, in the detector's unit; None: as the detector has them, or measured
        first where it has to be told (`cell_size`).
    gamma
        Power of the brightness of all; None: as in `predict`, for each experiment.
    tolerance
        Greatest distance of a match in the detector's unit; None: half the cell diameter.
    border_px
        Within so many pixels of the image's y and x edges nothing counts.
    exclude_dying
        As in training.
    read
        Gives the network's inputs for (member, t); None: from the experiments' images.
    stopping
        Asked now and then; when it says so, the frames that are not done are given up.
    tell
        Gets what was found out about the movies first.
    """
    design = detector.design
    own = -design.time_window[0] * design.n_channels
    sizes: dict[int, ZYX] = {}
    looks: dict[int, FirstLook] = {}
    scorers: dict[int, Scorer] = {}
    images: deque[NDArray[np.generic]] = deque()

    def jobs() -> Iterator[Job]:
        for member, t in frames:
            if stopping():
                return
            experiment = experiments[member]
            if member not in looks:
                sizes[member] = (
                    voxel_size_of(detector, experiment)
                    if voxel_sizes is None
                    else voxel_sizes[member]
                )
                assert experiment.images is not None
                look = look_at_movie(
                    detector,
                    experiment.images,
                    experiment.channels,
                    sizes[member],
                    cell_diameter=None if cell_diameters is None else cell_diameters[member],
                    gamma=gamma,
                    stopping=stopping,
                )
                if look is None:
                    return
                looks[member] = look
                for finding in looks[member].findings:
                    tell(finding)
            if read is not None:
                inputs = read(member, t)
            else:
                assert experiment.images is not None
                inputs = read_inputs(design, experiment.images, t, experiment.channels)
            images.append(inputs[own])
            yield Job(inputs, sizes[member], looks[member].cell_diameter, looks[member].gamma)

    each = detector.detect_each(jobs(), floor=FLOOR, stopping=stopping)
    for (member, t), found in zip(frames, each, strict=False):
        look, image = looks[member], images.popleft()
        if member not in scorers:
            diameter = look.cell_diameter or design.diameter
            scorers[member] = scorer(
                experiments[member],
                diameter,
                sizes[member],
                tolerance=0.5 * diameter if tolerance is None else tolerance,
                border_px=border_px,
                exclude_dying=exclude_dying,
            )
        brightness = np.empty(0)
        if len(found):
            brightness = brightness_at(image, found.positions, found.levels[own], look.gamma)
        yield JudgedFrame(
            member,
            t,
            scorers[member](t, found.positions, found.scores),
            brightness,
        )
        if stopping():
            return


def scorer(
    experiment: Experiment,
    diameter: float,
    voxel_size: ZYX,
    *,
    tolerance: float,
    border_px: float = 0.0,
    exclude_dying: bool = False,
) -> Scorer:
    """Return a function that puts candidates beside the annotation of their frame.

    What nobody knows does not count. All that does not depend on the frame is found out here.

    Parameters
    ----------
    experiment
        With annotations and images.
    diameter
        Of a cell.
    voxel_size
        (z, y, x) of the images, in the unit of the diameter.
    tolerance
        Greatest distance of a match, in the same unit.
    border_px
        Within so many pixels of the image's y and x edges nothing counts.
    exclude_dying
        As in training.
    """
    assert experiment.images is not None
    shape = experiment.images.frame_shape
    known_at = known_place(experiment, diameter, voxel_size)

    def in_border(places: NDArray[np.float64]) -> NDArray[np.bool_]:
        if border_px <= 0:
            return np.zeros(len(places), bool)
        last = np.array(shape[1:]) - 1
        near = (places[:, 1:] < border_px) | (places[:, 1:] > last - border_px)
        return np.asarray(near.any(axis=1))

    def score(t: int, found: NDArray[np.float64], scores: NDArray[np.float64]) -> ScoredFrame:
        truth, status = frame_annotations(experiment, t, exclude_dying=exclude_dying)
        truth, status = truth[status != Status.NOT_A_CELL], status[status != Status.NOT_A_CELL]
        return ScoredFrame(
            found=found,
            scores=scores,
            truth=truth,
            tolerance=tolerance,
            scale=voxel_size,
            ignore_found=in_border(found) | ~known_at(t).at(found),
            ignore_truth=in_border(truth) | (status == Status.UNKNOWN),
        )

    return score


def voxel_size_of(detector: Detector, experiment: Experiment) -> ZYX:
    """Return the voxel size of an annotated experiment in a detector's unit.

    Where nobody knows it, it is assumed to be such that the annotated cells are as wide as the
    detector has them, which is what training assumes too.

    Raises
    ------
    CellTrainError
        When that can't be measured either.
    """
    size = experiment.known_voxel_size_um
    if size is None and detector.design.unit == "um":
        estimate = estimate_diameter(experiment)
        if estimate is not None:
            um = detector.design.diameter / estimate.diameter
            size = (um, um, um)
    return detector.voxel_size_for(size, f"'{experiment.name}'")


def annotated_diameter(design: Design, experiment: Experiment) -> float:
    """Return how wide the annotated cells of an experiment are, in the unit of a design.

    As the design has them, unless those it was made from were of unlike size.
    """
    if design.sizes is not None:
        estimate = estimate_diameter(experiment)
        if estimate is not None and estimate.unit == design.unit:
            return estimate.diameter
    return design.diameter


def total(frames: Sequence[JudgedFrame], threshold: float) -> Scores:
    """Add up the scores of all frames at a threshold."""
    return Scores.total(frame.scored.score_at(threshold) for frame in frames)
