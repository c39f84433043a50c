"""Running a detector on one time point of a movie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_celltrain.detector.window import window_time_points
from napari_celltrain.errors import CellTrainError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.experiment import FrameSource

    Box = tuple[slice, slice, slice]


PIECE_PLANES = 16
"""Of a deep stack these are enough, if something has to be left out."""


@dataclass(frozen=True, eq=False)
class Part:
    """What a detector sees of a part of a time point.

    Parameters
    ----------
    frames
        One (z, y, x) array for each network input.
    box
        Where that lies in the frame, (z, y, x).
    whole
        Shape of the frame.
    """

    frames: Sequence[NDArray[Any]]
    box: Box
    whole: tuple[int, int, int]

    def cut(self, box: Box) -> list[NDArray[Any]]:
        """Return a box of the frame that lies within this part."""
        z, y, x = (
            slice(one.start - own.start, one.stop - own.start)
            for one, own in zip(box, self.box, strict=True)
        )
        return [frame[z, y, x] for frame in self.frames]


def read_inputs(
    design: Design, source: FrameSource, t: int, channels: Sequence[int], box: Box | None = None
) -> list[NDArray[Any]]:
    """Read what a detector needs to see for one time point.

    Parameters
    ----------
    design
        Of the detector: its time window and number of channels.
    source
        The movie.
    t
        Time point.
    channels
        Channels to use, counted from 0.
    box
        The part to read, (z, y, x); None: all of it.

    Returns
    -------
    One (z, y, x) array for each network input, in the order of training.

    Raises
    ------
    CellTrainError
        When a channel does not exist or a frame can't be read.
    """
    check_channels(design, source, channels)
    times = window_time_points(source.time_points, t, design.time_window)

    def part(u: int, channel: int) -> NDArray[Any]:
        return source.read_frame(u, channel) if box is None else source.read_crop(u, channel, box)

    read = {u: [part(u, channel) for channel in channels] for u in dict.fromkeys(times)}
    return [frame for u in times for frame in read[u]]


def check_channels(design: Design, source: FrameSource, channels: Sequence[int]) -> None:
    """Refuse channels that the movie does not have, or that the detector can't use.

    Raises
    ------
    CellTrainError
        Naming the channel, counted from 1.
    """
    for channel in channels:
        if not 0 <= channel < source.n_channels:
            raise CellTrainError(
                f"{source.name} has {counted(source.n_channels, 'channel')}; there is no channel "
                f"{channel + 1}."
            )
    if len(channels) != design.n_channels:
        raise CellTrainError(
            f"This detector looks at {counted(design.n_channels, 'channel')} at once, "
            f"but {len(channels)} were given."
        )


def middle_of(shape: tuple[int, int, int], steps: Sequence[float], voxels: int) -> Box:
    """Return the middle of a (z, y, x) frame that has about so many voxels at the working scale.

    All of it, if it has no more.
    """
    working = [n / step for n, step in zip(shape, steps, strict=True)]
    excess = max(1.0, math.prod(working) / voxels)
    # less depth first: cells are as wide in every plane
    deep = 1.0 if excess == 1 else max(min(1.0, PIECE_PLANES / working[0]), 1 / excess)
    share = (deep, *(2 * [math.sqrt(min(1.0, 1 / (excess * deep)))]))
    lengths = [max(1, round(n * part)) for n, part in zip(shape, share, strict=True)]
    z, y, x = (
        slice((n - length) // 2, (n - length) // 2 + length)
        for n, length in zip(shape, lengths, strict=True)
    )
    return z, y, x
