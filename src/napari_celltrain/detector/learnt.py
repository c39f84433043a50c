"""Which frames a detector has learnt from, whatever their movie is called.

A name says little: that of a table of positions is often ``points``, and a movie can be given
another. So one frame of each movie is kept as a checksum of its pixels.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_celltrain.experiment import Experiment

_TRIES = 3
"""Frames that are looked at for one that shows something."""


class FrameSample(BaseModel):
    """A frame by which its movie is known again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    t: int
    channel: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{32}$")
    """Of the plane in the middle and the size of the frame."""


class TrainedOn(BaseModel):
    """One experiment a detector was trained on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    experiment: str
    time_points: tuple[int, ...]
    voxel_size_um: tuple[float, float, float] | None = None
    sample: FrameSample | None = None
    """None where nothing tells its frames from others, and in detectors made before there was
    one: then the name has to do."""


def trained_on(
    experiments: Sequence[Experiment],
    frames: Iterable[tuple[int, int]],
    before: Sequence[TrainedOn] = (),
) -> tuple[TrainedOn, ...]:
    """Note which frames are learnt from.

    Parameters
    ----------
    experiments
        Of the data set, with images.
    frames
        (experiment index, time point) of each frame.
    before
        What was learnt from until now; none of it is forgotten.
    """
    known = Recognition(before)
    times: dict[int, set[int]] = {}
    for member, t in frames:
        times.setdefault(member, set()).add(t)
    going_on = [experiments[member] for member in times]
    parts = tuple(
        TrainedOn(
            experiment=experiments[member].name,
            time_points=tuple(sorted(own | known.time_points(experiments[member]))),
            voxel_size_um=experiments[member].known_voxel_size_um,
            sample=_sample(experiments[member], own),
        )
        for member, own in times.items()
    )
    return (*parts, *(one for one in before if not any(known.is_of(one, e) for e in going_on)))


class Recognition:
    """Finds what was learnt from among experiments; each frame needed for it is read once.

    Parameters
    ----------
    parts
        What was learnt from.
    """

    def __init__(self, parts: Sequence[TrainedOn]) -> None:
        self._parts = parts
        self._digests: dict[tuple[int, int, int], str | None] = {}
        self._kept: list[Experiment] = []  # their numbers would be given again once they are gone

    def time_points(self, experiment: Experiment) -> set[int]:
        """Return the time points of an experiment that were learnt from."""
        return {t for part in self._parts if self.is_of(part, experiment) for t in part.time_points}

    def frames(self, experiments: Sequence[Experiment]) -> set[tuple[int, int]]:
        """Return (experiment index, time point) of all frames that were learnt from."""
        return {(i, t) for i, one in enumerate(experiments) for t in self.time_points(one)}

    def is_of(self, part: TrainedOn, experiment: Experiment) -> bool:
        """Tell whether an experiment shows the movie of what was learnt from."""
        named_so = part.experiment == experiment.name
        sample, images = part.sample, experiment.images
        if sample is None or images is None or sample.t not in images.time_points:
            return named_so  # there is nothing to compare
        if sample.channel >= images.n_channels:
            return False
        key = (id(experiment), sample.t, sample.channel)
        if key not in self._digests:
            self._kept.append(experiment)
            self._digests[key] = _digest(experiment, sample.t, sample.channel)
        digest = self._digests[key]
        return named_so if digest is None else digest == sample.sha256


def seen_through(window: tuple[int, int], times: Iterable[int]) -> set[int]:
    """Return the time points that a network with a time window has seen when it learnt some."""
    return {t + d for t in times for d in range(window[0], window[1] + 1)}


def _sample(experiment: Experiment, times: Iterable[int]) -> FrameSample | None:
    channel = experiment.channels[0]
    for t in sorted(times)[:_TRIES]:
        digest = _digest(experiment, t, channel)
        if digest is not None:
            return FrameSample(t=t, channel=channel, sha256=digest)
    return None


def _digest(experiment: Experiment, t: int, channel: int) -> str | None:
    """Return a checksum of a frame; None when it can't be read or has one value only."""
    images = experiment.images
    assert images is not None
    middle = images.frame_shape[0] // 2
    try:
        plane = images.read_crop(t, channel, (slice(middle, middle + 1), slice(None), slice(None)))
    except CellTrainError:
        return None
    pixels = np.ascontiguousarray(plane, dtype="<f4")  # a copy may be stored in another type
    if not np.isfinite(pixels).any() or float(np.nanmin(pixels)) == float(np.nanmax(pixels)):
        return None
    digest = hashlib.sha256(repr(tuple(images.frame_shape)).encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()[:32]
