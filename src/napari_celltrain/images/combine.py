"""Movies made of other movies: channels summed, channels side by side, one after the other."""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError, counted
from napari_celltrain.images.movie import Crop, Header, Movie, has_time_point

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import FrameSource


class SummedChannels(Movie):
    """New channels, each the sum of some channels of a movie, in 8 bit.

    As OrganoidTracker does it: each channel is scaled so that its brightest pixel of the frame is
    255 (8-bit channels stay as they are), and they are added up with saturation at 255. Because
    of the scaling a crop costs a whole frame.

    Parameters
    ----------
    source
        The movie.
    groups
        For each new channel the channels that are added, counted from 0. Both stay attributes.

    Raises
    ------
    CellTrainError
        When a group is empty or names a channel that is not there.
    """

    def __init__(self, source: FrameSource, groups: Sequence[Sequence[int]]) -> None:
        self.source = source
        self.groups = tuple(tuple(int(channel) for channel in group) for group in groups)
        if not self.groups or not all(self.groups):
            raise CellTrainError(f"{source.name}: there are no channels to add up.")
        for channel in (channel for group in self.groups for channel in group):
            if not 0 <= channel < source.n_channels:
                raise CellTrainError(
                    f"{source.name} has {counted(source.n_channels, 'channel')}, so "
                    f"channel {channel + 1} can't be added up with others."
                )
        super().__init__(_header_like(source, n_channels=len(groups), dtype=np.dtype(np.uint8)))

    def stamp(self, t: int, channel: int) -> str | None:
        """Return a text that changes when any of the stored frames does."""
        return _stamp(self, [(self.source, t, part) for part in self.groups[channel]])

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        total = np.zeros(self.frame_shape, np.uint16)
        for part in self.groups[channel]:
            total += _to_8_bit(self.source.read_frame(t, part))
            np.minimum(total, 255, out=total)
        return total[crop].astype(np.uint8)


class AppendedChannels(Movie):
    """The channels of several movies side by side, for the time points that all of them have.

    Raises
    ------
    CellTrainError
        When the movies differ in frame size or share no time point.
    """

    def __init__(self, sources: Sequence[FrameSource]) -> None:
        self.sources = _of_one_size(sources)
        self._first_channel = [0, *accumulate(source.n_channels for source in sources)]
        first, *others = self.sources
        common: Sequence[int] = first.time_points
        if any(other.time_points != common for other in others):
            shared = set(common).intersection(*(set(other.time_points) for other in others))
            common = tuple(sorted(shared))
        if not len(common):
            raise CellTrainError(f"The movies {_names(sources)} have no time point in common.")
        super().__init__(
            _header_like(
                first,
                time_points=common,
                n_channels=self._first_channel[-1],
                dtype=np.result_type(*(source.dtype for source in sources)),
                reads_side_by_side=_side_by_side(sources),
            )
        )

    def stamp(self, t: int, channel: int) -> str | None:
        """Return a text that changes when the stored frame does."""
        source, own = self._at(channel)
        return _stamp(self, [(source, t, own)])

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        source, own = self._at(channel)
        return source.read_crop(t, own, crop)

    def _at(self, channel: int) -> tuple[FrameSource, int]:
        """Return which movie has a channel, and its number there."""
        index = bisect_right(self._first_channel, channel) - 1
        return self.sources[index], channel - self._first_channel[index]


class AppendedTime(Movie):
    """Several movies one after the other.

    The first keeps its time point numbers; each next one begins right after the one before it,
    with its gaps kept.

    Raises
    ------
    CellTrainError
        When the movies differ in frame size or number of channels.
    """

    def __init__(self, sources: Sequence[FrameSource]) -> None:
        self.sources = _of_one_size(sources)
        if len({source.n_channels for source in sources}) > 1:
            raise CellTrainError(
                f"The movies {_names(sources)} have different numbers of channels, so they can't "
                "be put one after the other."
            )
        self._shifts: list[int] = []
        time_points: list[int] = []
        for source in sources:
            start = time_points[-1] + 1 if time_points else source.time_points[0]
            self._shifts.append(start - source.time_points[0])
            time_points.extend(t + self._shifts[-1] for t in source.time_points)
        super().__init__(
            _header_like(
                sources[0],
                time_points=tuple(time_points),
                dtype=np.result_type(*(source.dtype for source in sources)),
                reads_side_by_side=_side_by_side(sources),
            )
        )

    def stamp(self, t: int, channel: int) -> str | None:
        """Return a text that changes when the stored frame does."""
        source, own = self._at(t)
        return _stamp(self, [(source, own, channel)])

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        source, own = self._at(t)
        return source.read_crop(own, channel, crop)

    def _at(self, t: int) -> tuple[FrameSource, int]:
        """Return which movie has a time point, and its number there."""
        for source, shift in zip(self.sources, self._shifts, strict=True):
            if has_time_point(source.time_points, t - shift):
                return source, t - shift
        raise AssertionError(f"time point {t} is in the header but in no movie")


def _stamp(movie: Movie, parts: Sequence[tuple[FrameSource, int, int]]) -> str | None:
    """Return what becomes of the stamps of the frames that one is made of; None if one has none."""
    stamps = [
        None if (stamp := getattr(source, "stamp", None)) is None else stamp(t, channel)
        for source, t, channel in parts
    ]
    return None if None in stamps else f"{type(movie).__name__}|{stamps}"


def _header_like(source: FrameSource, **changes: Any) -> Header:
    fields: dict[str, Any] = {
        "name": source.name,
        "time_points": source.time_points,
        "n_channels": source.n_channels,
        "frame_shape": source.frame_shape,
        "dtype": source.dtype,
        "voxel_size_um": source.voxel_size_um,
        "frame_interval_s": source.frame_interval_s,
        "is_colour": getattr(source, "is_colour", False),
        "chunk_shape": getattr(source, "chunk_shape", None),
        "reads_side_by_side": _side_by_side([source]),
    }
    return Header(**(fields | changes))


def _side_by_side(sources: Sequence[FrameSource]) -> bool:
    return all(getattr(source, "reads_side_by_side", False) for source in sources)


def _of_one_size(sources: Sequence[FrameSource]) -> tuple[FrameSource, ...]:
    if not sources:
        raise CellTrainError("There are no movies to put together.")
    for source in sources:
        if source.frame_shape != sources[0].frame_shape:
            raise CellTrainError(
                f"The frames of {source.name} are {source.frame_shape} (z, y, x) and those of "
                f"{sources[0].name} are {sources[0].frame_shape}: they can't be put together."
            )
        if not len(source.time_points):
            raise CellTrainError(f"{source.name} has no time points.")
    return tuple(sources)


def _names(sources: Sequence[FrameSource]) -> str:
    return ", ".join(source.name for source in sources)


def _to_8_bit(frame: NDArray[Any]) -> NDArray[np.uint8]:
    if frame.dtype == np.uint8:
        return frame
    brightest = float(frame.max(initial=0))
    if not brightest > 0:
        return np.zeros(frame.shape, np.uint8)
    return np.clip(frame * np.float32(255 / brightest), 0, 255).astype(np.uint8)
