"""How much of a movie is computed in one go: by memory, and less after it ran out.

What is chosen here changes nothing but memory and time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from napari_celltrain.detector.memory import tile_voxels_for
from napari_celltrain.detector.tiling import Tile, share_memory, tiles_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.detector.compute import Precision
    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.under_way import FrameUnderWay

SMALLEST_TILE = 50_000
"""Where even this does not fit into memory, nothing will."""
MOST_TOGETHER = 4
"""Small frames that are computed in one go: more would have threads wait for frames."""
TOGETHER_VOXELS = 2**18
"""Working voxels of these together: beside the work in more, steps of Python cost little."""
TOGETHER_BYTES = 2**25
"""What they may take together as they are stored."""


class TileSizes:
    """Cuts frames into tiles and tells how many small frames go together.

    Parameters
    ----------
    design, device, precision
        Of the network.
    threads
        That compute tiles at once.
    """

    def __init__(
        self, design: Design, device: torch.device, precision: Precision, threads: int
    ) -> None:
        self._design, self._device, self._threads = design, device, threads
        self.memory_shared_by = threads
        """Tiles that memory is shared out to; tiles are chosen by it, whoever computes them."""
        self.tile_voxels = tile_voxels_for(design, device, precision, threads)
        """Working voxels of the largest tile."""
        self.together_voxels = TOGETHER_VOXELS
        """Working voxels of the small frames that go together."""
        self._too_large = math.inf
        """Voxels of the smallest tile for which memory did not do."""

    def cut(self, frame: FrameUnderWay, asked: tuple[int, int, int] | None) -> None:
        """Cut a frame into tiles: of the size (z, y, x) that is asked for, or by memory."""
        shape = frame.images[0].shape
        frame.at_once = self._threads
        tiles: Sequence[Tile] = ()
        if 0 not in shape and asked is not None:
            tiles = tiles_of(shape, frame.steps, self._design, self.tile_voxels, asked)
            if max(one.voxels for one in tiles) >= self._too_large:
                tiles = ()  # what was asked for did not fit before
        if 0 not in shape and not tiles:
            tiles, frame.at_once = share_memory(
                shape, frame.steps, self._design, self.tile_voxels, self.memory_shared_by
            )
        frame.tiles = tiles
        frame.by_itself = asked is not None or len(tiles) != 1
        # no more at once than threads: a queue would only keep the next frame waiting
        frame.at_once = min(frame.at_once, self._threads)

    def together(self, frame: FrameUnderWay) -> int:
        """Return how many such frames are computed in one go: several where they are small."""
        if frame.by_itself or self._device.type != "cpu":
            return 1
        voxels = min(self.together_voxels, self.tile_voxels // frame.at_once)
        fit = min(voxels // frame.tiles[0].voxels, TOGETHER_BYTES // max(1, frame.n_bytes))
        return max(1, min(fit, MOST_TOGETHER))

    def ran_out(self, frame: FrameUnderWay) -> bool:
        """Take less from now on, this frame too, since memory did not do; False: there is no less.

        Frames that were computed together are computed each by itself; else the tile is halved, or
        fewer are computed at once.
        """
        if frame.place is not None:
            self.together_voxels = 0
            return True
        largest, at_once = max((one.voxels for one in frame.tiles), default=0), frame.at_once
        if largest < SMALLEST_TILE:
            return False
        self._too_large = min(self._too_large, largest)
        self.tile_voxels = min(self.tile_voxels, largest // 2)
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self.cut(frame, None)
        # what a tile has to see around its own part does not get smaller with it
        return max(one.voxels for one in frame.tiles) * frame.at_once < largest * at_once
