"""One time point on its way through the threads that look for its cells."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from napari_celltrain.detector.intensity import IntensityRange, intensity_range, measure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    import torch
    from numpy.typing import NDArray

    from napari_celltrain.detector.sight import Found
    from napari_celltrain.detector.tiling import Tile
    from napari_celltrain.experiment import ZYX


class GivenUp(Exception):
    """Nobody waits for this time point any more."""


class FrameUnderWay:
    """One time point on its way through the threads."""

    def __init__(
        self,
        images: Sequence[NDArray[Any]],
        voxel_size: ZYX,
        steps: ZYX,
        gamma: float,
        floor: float,
        levels: Sequence[IntensityRange] | None = None,
    ) -> None:
        self.images, self.voxel_size, self.steps = images, voxel_size, steps
        self.gamma, self.floor = gamma, floor
        self.n_bytes = sum(one.nbytes for one in images)
        self.futures: list[Future[Any]] = []
        self.place: int | None = None
        """Which of the frames of its future it is, where several are computed in one go."""
        self.tiles: Sequence[Tile] = ()
        self.at_once = 1
        self.by_itself = True
        """Not to be computed in one go with others."""
        self.seconds = 0.0
        self.stopped = False
        self.ready: torch.Tensor | None = None
        """What the network sees, when it was made before a thread was free."""
        self._lock = threading.Lock()
        self._levels = None if levels is None else list(levels)

    def levels(self, thinned: Sequence[torch.Tensor] | None = None) -> list[IntensityRange]:
        """Measure dark and bright once; the first tile does it for all.

        `thinned` are the images at the working scale in plane, where they are there already.
        """
        with self._lock:
            if self._levels is None and thinned is not None:
                self._levels = [measure(one) for one in thinned]
            elif self._levels is None:
                self._levels = [intensity_range(one, self.steps) for one in self.images]
            return self._levels

    def took(self, seconds: float) -> None:
        """Add the time of a tile."""
        with self._lock:
            self.seconds += seconds

    def go_on(self) -> None:
        """Raise `GivenUp` when nobody waits for this any more."""
        if self.stopped:
            raise GivenUp

    def unfinished(self) -> bool:
        """Tell whether a tile is still under way."""
        return not all(future.done() for future in self.futures)

    def found(self) -> list[Found]:
        """Return what was found in each tile; raises what went wrong with any."""
        if self.place is not None:
            together: list[list[Found]] = self.futures[0].result()
            return together[self.place]
        return [part for future in self.futures for part in future.result()]

    def cancel(self) -> None:
        """Give up; a tile that is under way is left where it is."""
        self.stopped = True
        for future in self.futures:
            future.cancel()
