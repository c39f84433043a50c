"""Running a detector on one time point of a movie."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_celltrain.detector.window import window_time_points
from napari_celltrain.errors import CellTrainError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.experiment import FrameSource


PIECE_VOXELS = 2_000_000
"""Working voxels of the middle of a frame that are enough to get an impression of it."""
PIECE_PLANES = 16
"""Of a deep stack these are enough, if something has to be left out."""


def read_inputs(
    design: Design, source: FrameSource, t: int, channels: Sequence[int]
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
    read = {u: [source.read_frame(u, c) for c in channels] for u in dict.fromkeys(times)}
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


def middle_piece(frames: Sequence[NDArray[Any]], steps: Sequence[float]) -> list[NDArray[Any]]:
    """Cut the middle out of frames that would be too large at the working scale."""
    shape = frames[0].shape
    working = [n / step for n, step in zip(shape, steps, strict=True)]
    excess = math.prod(working) / PIECE_VOXELS
    if excess <= 1:
        return list(frames)
    # less depth first: cells are as wide in every plane
    deep = max(min(1.0, PIECE_PLANES / working[0]), 1 / excess)
    share = (deep, *(2 * [math.sqrt(min(1.0, 1 / (excess * deep)))]))
    box = []
    for n, part in zip(shape, share, strict=True):
        length = max(1, round(n * part))
        box.append(slice((n - length) // 2, (n - length) // 2 + length))
    return [frame[tuple(box)] for frame in frames]
