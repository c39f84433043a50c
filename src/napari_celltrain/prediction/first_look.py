"""A look at a few frames before a movie is searched: what the detector has to be told of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.detector.detections import Job
from napari_celltrain.detector.intensity import intensity_range
from napari_celltrain.detector.resample import sampled_planes
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding
from napari_celltrain.prediction.cell_size import middle_for_sizes, needs_size, size_of_cells
from napari_celltrain.prediction.contrast import (
    Impression,
    brightness_at,
    impression,
    mending_gamma,
)
from napari_celltrain.prediction.frames import Part, middle_of, read_inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.detections import Detections
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import ZYX, FrameSource
    from napari_celltrain.prediction.frames import Box

FRAMES = 3
"""Middle, first and last of a movie: cells grow and divide, and not all images are alike."""
PIECE_VOXELS = 300_000
"""Working voxels of the middle of a frame that are looked at for the contrast."""
ENOUGH = 60
"""Candidates: if they look as in training, no further frame has to be looked at."""
HELD_BYTES = 2**28
"""Where all frames that are looked at take no more, they are read as a whole and once."""


@dataclass(frozen=True)
class FirstLook:
    """What a detector has to be told of a movie.

    Parameters
    ----------
    cell_diameter
        In the detector's unit; None: as in training.
    gamma
        Power of the brightness with which the images look like those of the training.
    findings
        What was found out, in words.
    """

    cell_diameter: float | None
    gamma: float
    findings: tuple[Finding, ...] = ()


def look_at_movie(
    detector: Detector,
    source: FrameSource,
    channels: Sequence[int],
    voxel_size: ZYX,
    *,
    cell_diameter: float | None = None,
    gamma: float | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> FirstLook | None:
    """Find out what the detector has to be told of a movie.

    The same movie gives the same answer, whichever of its time points are wanted.

    Parameters
    ----------
    detector
        That is to look for cells.
    source, channels
        The movie, and what of it is looked at.
    voxel_size
        (z, y, x) in the detector's unit.
    cell_diameter, gamma
        What is known already; None: find it out.
    stopping
        Asked now and then.

    Returns
    -------
    What was found out; None when it was stopped.
    """
    try:
        return _look(
            detector,
            _Looks(detector, source, channels, stopping),
            source.name,
            voxel_size,
            cell_diameter,
            gamma,
        )
    except _Stopped:
        return None


class _Stopped(Exception):
    """Nobody wants to know any more."""


def _look(
    detector: Detector,
    looks: _Looks,
    name: str,
    voxel_size: ZYX,
    cell_diameter: float | None,
    gamma: float | None,
) -> FirstLook:
    findings: list[Finding] = []
    if cell_diameter is None and needs_size(detector):
        cell_diameter, findings = size_of_cells(
            detector,
            looks.parts(voxel_size),
            voxel_size,
            name,
            1.0 if gamma is None else gamma,
            looks.find,
        )
    if gamma is None:
        gamma = mending_gamma(
            detector.info,
            lambda power, all_of_them: looks.impression(
                voxel_size, cell_diameter, power, all_of_them=all_of_them
            ),
        )
        if gamma != 1.0:
            findings = [*findings, _told(gamma, name)]
    return FirstLook(cell_diameter, gamma, tuple(findings))


def _told(gamma: float, name: str) -> Finding:
    unlike = (
        f"Faint things stand out more in {name} than in the training images"
        if gamma > 1
        else f"The cells of {name} are dimmer, beside its brightest places, than in training"
    )
    return Finding(
        "info",
        "gamma",
        f"{unlike}: a gamma of {gamma:g} is applied before cells are looked for. Give a gamma of "
        "1 if that is not right.",
        name,
    )


class _Looks:
    """The few time points of a movie that are looked at, and what of them has to be read."""

    def __init__(
        self,
        detector: Detector,
        source: FrameSource,
        channels: Sequence[int],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._detector, self._source, self._channels = detector, source, channels
        self._stopping = stopping
        existing = source.time_points
        places = np.linspace(0, len(existing) - 1, FRAMES).round().astype(int)
        first, middle, last = (existing[int(place)] for place in places)
        self._times = list(dict.fromkeys((middle, first, last)))
        pixels = math.prod(source.frame_shape) * detector.design.n_inputs * len(self._times)
        self._small = pixels * np.dtype(source.dtype).itemsize <= HELD_BYTES
        self._whole: dict[int, list[NDArray[Any]]] = {}
        """Frames of time points that were read, where they are small."""
        self._jobs: dict[int, Job | None] = {}

    def parts(self, voxel_size: ZYX) -> Iterator[Part]:
        """Yield what is needed to measure cells, of each time point that can be read."""
        shape = self._source.frame_shape
        box = middle_for_sizes(self._detector, voxel_size, shape)
        for t in self._times:
            if self._small:
                self._whole[t] = self._read(t)  # once, for all looks
            frames = self._read(t, box)
            if frames:
                yield Part(frames, box, shape)

    def find(self, job: Job) -> Detections:
        """Look for cells.

        Raises
        ------
        _Stopped
            When nobody wants to know any more.
        """
        for found in self._detector.detect_each([job], stopping=self._stopping):
            self._go_on()
            return found
        raise _Stopped

    def impression(
        self,
        voxel_size: ZYX,
        cell_diameter: float | None,
        gamma: float,
        *,
        all_of_them: bool,
    ) -> Impression:
        """Look for cells in the middle of the frames: of all, or until there are enough."""
        detector = self._detector
        own = -detector.design.time_window[0] * detector.design.n_channels
        scores, brightness = [np.empty(0)], [np.empty(0)]
        seen = impression(scores[0], brightness[0], detector.threshold)
        for t in self._times:
            job = self._job(t, voxel_size, cell_diameter)
            if job is None or job.levels is None:
                continue
            found = self.find(job._replace(gamma=gamma))
            at = brightness_at(job.frames[own], found.positions, job.levels[own], gamma)
            scores.append(found.scores)
            brightness.append(at)
            seen = impression(
                np.concatenate(scores), np.concatenate(brightness), detector.threshold
            )
            if not all_of_them and seen.clear + seen.undecided >= ENOUGH:
                break
        return seen

    def _job(self, t: int, voxel_size: ZYX, cell_diameter: float | None) -> Job | None:
        """Return the same part of a time point every time; None when it can't be read."""
        if t not in self._jobs:
            design, shape = self._detector.design, self._source.frame_shape
            steps = design.steps(design.relative(voxel_size, cell_diameter), shape[0])
            box = middle_of(shape, steps, PIECE_VOXELS)
            # dark and bright are those of the whole frame, as when cells are looked for in it
            planes = sampled_planes(shape[0])
            whole = slice(None)
            piece = self._read(t, box)
            parts = [self._read(t, (slice(int(z), int(z) + 1), whole, whole)) for z in planes]
            sampled = [np.concatenate(one) for one in zip(*parts, strict=False)]
            complete = len(piece) == len(sampled) == design.n_inputs
            levels = [intensity_range(one, steps) for one in sampled]
            self._jobs[t] = (
                Job(piece, voxel_size, cell_diameter, levels=levels) if complete else None
            )
        return self._jobs[t]

    def _read(self, t: int, box: Box | None = None) -> list[NDArray[Any]]:
        """Read a part of a time point; one that can't be read is empty: that is told in its turn.

        Raises
        ------
        _Stopped
            When nobody wants to know any more.
        """
        self._go_on()
        if t in self._whole and box is not None:
            return [frame[box] for frame in self._whole[t]]
        try:
            return read_inputs(self._detector.design, self._source, t, self._channels, box)
        except CellTrainError:
            return []

    def _go_on(self) -> None:
        if self._stopping():
            raise _Stopped
