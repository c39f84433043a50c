"""Running a detector on one time point of a movie."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_celltrain.detector.window import window_time_points
from napari_celltrain.errors import CellTrainError, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.experiment import FrameSource


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
