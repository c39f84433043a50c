"""What is noticed while a movie is searched, told once and not at every time point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Finding
from napari_celltrain.prediction.unlike import (
    not_stored,
    unlike_ground,
    unlike_intensity,
    unlike_pixels,
    unlike_sign,
    unlike_size,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_celltrain.detector.detections import Detections
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import FrameSource
    from napari_celltrain.prediction.predict import Request
    from napari_celltrain.prediction.reading import Inputs

OF_EACH_TIME_POINT = ("damaged-frame", "no-contrast")
"""Told for each time point: nothing was found there, and the others say nothing about it."""


class OnceTeller:
    """Passes findings on, each kind once.

    Parameters
    ----------
    tell
        Gets them.
    """

    def __init__(self, tell: Callable[[Finding], None]) -> None:
        self._tell = tell
        self._told: set[tuple[str, int | None]] = set()

    def __call__(self, finding: Finding) -> None:
        """Pass a finding on, or not."""
        each = finding.code in OF_EACH_TIME_POINT
        key = finding.code, finding.time_point if each else None
        if key not in self._told:
            self._told.add(key)
            self._tell(finding)

    def knows(self, code: str) -> bool:
        """Tell whether a finding of this kind was passed on."""
        return any(code == told for told, _ in self._told)


class MovieTeller:
    """Looks at what was read and found of each time point, and tells what is odd.

    Parameters
    ----------
    detector
        That looks for the cells.
    source
        The movie.
    request
        What was asked for.
    tell
        Gets the findings.
    """

    def __init__(
        self,
        detector: Detector,
        source: FrameSource,
        request: Request,
        tell: Callable[[Finding], None],
    ) -> None:
        self._info, self._threshold = detector.info, detector.threshold
        self._name, self._request, self._tell = source.name, request, OnceTeller(tell)
        self._share_stored = getattr(source, "share_stored", None)
        self._size_known = self._ground_known = False

    def damaged(self, inputs: Inputs) -> None:
        """Tell of a time point, or a neighbour, that can't be read."""
        what = (
            f"Time point {inputs.t} is left out."
            if not inputs.frames
            else f"Time point {inputs.t} is looked at without this neighbour."
        )
        message = f"{inputs.damage} {what}"
        self._tell(Finding("warning", "damaged-frame", message, self._name, inputs.t))

    def look(self, inputs: Inputs, found: Detections) -> None:
        """Look at the pixels, and at the cells' width until there were enough cells."""
        design = self._info.design
        own = -design.time_window[0] * design.n_channels  # where it is in the time window
        own_channels = slice(own, own + design.n_channels)
        frames, levels = inputs.frames[own_channels], found.levels[own_channels]
        notes = unlike_intensity(self._info, self._name, inputs.t, frames, levels)
        if not self._tell.knows("not-finite-pixels"):
            notes += unlike_pixels(self._name, inputs.t, frames)
        if not self._tell.knows("wrapped-pixels"):
            notes += unlike_sign(self._name, inputs.t, frames)
        if not self._size_known and isinstance(frames[0], np.ndarray):
            sizes = unlike_size(
                self._info,
                self._name,
                inputs.t,
                frames[0],
                found.above(self._threshold),
                self._request.voxel_size,
                self._request.cell_diameter,
            )
            self._size_known = sizes is not None
            notes += sizes or []
        if not self._ground_known and isinstance(frames[0], np.ndarray) and len(frames) == 1:
            cells = found.above(self._threshold)
            ground = unlike_ground(self._info, self._name, inputs.t, frames[0], levels[0], cells)
            self._ground_known = ground is not None
            notes += ground or []
        if self._share_stored is not None and not self._tell.knows("not-stored"):
            channels = self._request.channels
            share = min(self._share_stored(inputs.t, channel) for channel in channels)
            notes += not_stored(self._name, inputs.t, share)
        for note in notes:
            self._tell(note)
