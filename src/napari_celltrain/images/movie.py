"""What all movies on a disk have in common: a header, checks, and errors that name the place."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from bisect import bisect_left
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX

Crop = tuple[slice, slice, slice]
MOST_TIMES = 10**6
MOST_CHANNELS = 10**4
"""An empty zarr can claim any number of them, and lists of them would fill the memory."""
WHOLE: Crop = (slice(None), slice(None), slice(None))


@dataclass(frozen=True)
class Header:
    """What can be known of a movie without reading a pixel; see `FrameSource` for the meanings."""

    name: str
    time_points: Sequence[int]
    n_channels: int
    frame_shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    voxel_size_um: ZYX | None = None
    frame_interval_s: float | None = None
    is_colour: bool = False
    chunk_shape: tuple[int, int, int] | None = None
    reads_side_by_side: bool = True

    def __post_init__(self) -> None:
        """Refuse sizes that no image has, which damaged files claim, and what is no grey value."""
        if min(self.n_channels, *self.frame_shape) < 1:
            raise CellTrainError(
                f"{self.name} claims {self.n_channels} channels of frames of {self.frame_shape} "
                "(z, y, x) pixels; it is damaged."
            )
        if len(self.time_points) > MOST_TIMES or self.n_channels > MOST_CHANNELS:
            raise CellTrainError(
                f"{self.name} claims {len(self.time_points)} time points of {self.n_channels} "
                "channels, more than any movie has; it is damaged."
            )
        if np.dtype(self.dtype).kind not in "buif":
            raise CellTrainError(
                f"The pixels of {self.name} are of the type '{self.dtype}'; they have to be whole "
                "or real numbers. Save the image as one of those, such as 16 bit."
            )
        # Pixels are handed out in the machine's own byte order, whatever the file's.
        object.__setattr__(self, "dtype", np.dtype(self.dtype).newbyteorder("="))


def check_beside(named: str | Path, of: Path) -> None:
    """Refuse a file that another one names, unless it lies in the same folder or below.

    A file of a stranger could have any file of this machine shown as an image, and shared.

    Raises
    ------
    CellTrainError
        Naming both.
    """
    folder = os.path.dirname(os.path.abspath(of))
    place = os.path.abspath(os.path.join(folder, named))
    if not Path(place).is_relative_to(folder):
        raise CellTrainError(
            f"{of} says that its pixels are in {named}, which is not in its own folder; that is "
            "not opened unasked. Open that file itself, or put them together."
        )


class Movie(ABC):
    """A `FrameSource` made of a header and a way to read a part of a frame.

    Subclasses implement `_read`, and may raise anything there: the error that comes out names the
    movie, the place and the time point.

    Attributes
    ----------
    location
        The file or folder it is read from; None for what is in memory, or made of other movies.
    pattern
        In a folder of files: the pattern of their names.
    series
        In a file of several images: the number of the image, from 1.
    """

    location: Path | None = None
    pattern: str | None = None
    series: int | None = None

    def __init__(self, header: Header, location: Path | None = None) -> None:
        self._header = header
        if location is not None:
            self.location = location

    @property
    def name(self) -> str:
        """A short name."""
        return self._header.name

    @property
    def time_points(self) -> Sequence[int]:
        """The time points that exist, ascending."""
        return self._header.time_points

    @property
    def n_channels(self) -> int:
        """How many channels a frame has."""
        return self._header.n_channels

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(z, y, x) of every frame."""
        return self._header.frame_shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the pixels."""
        return self._header.dtype

    @property
    def voxel_size_um(self) -> ZYX | None:
        """(z, y, x) in micrometres; None when not stated."""
        return self._header.voxel_size_um

    @property
    def frame_interval_s(self) -> float | None:
        """Seconds between time points; None when not stated."""
        return self._header.frame_interval_s

    @property
    def is_colour(self) -> bool:
        """Whether the file holds red, green and blue, which are read as one grey channel."""
        return self._header.is_colour

    @property
    def reads_side_by_side(self) -> bool:
        """Whether several threads may read at once."""
        return self._header.reads_side_by_side

    @property
    def chunk_shape(self) -> tuple[int, int, int] | None:
        """(z, y, x) of what is stored, and so decoded, in one piece; None: planes."""
        return self._header.chunk_shape

    def read_frame(self, t: int, channel: int = 0) -> NDArray[Any]:
        """Return the (z, y, x) array of a time point, in the stored type.

        Raises
        ------
        CellTrainError
            When there is no such time point or channel, or it can't be read.
        """
        return self.read_crop(t, channel, WHOLE)

    def read_crop(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        """Return a (z, y, x) part of a frame; slices as numpy takes them, with a step of 1.

        Raises
        ------
        CellTrainError
            As `read_frame`.
        """
        if not has_time_point(self.time_points, t):
            raise CellTrainError(f"{self.name} has no time point {t}; {self._extent()}.")
        if not 0 <= channel < self.n_channels:
            raise CellTrainError(
                f"{self.name} has no channel {channel + 1}; it has {self.n_channels}."
            )
        bounds = [part.indices(size)[:2] for part, size in zip(crop, self.frame_shape, strict=True)]
        exact = tuple(slice(start, max(start, stop)) for start, stop in bounds)
        expected = tuple(part.stop - part.start for part in exact)
        if 0 in expected:
            return np.empty(expected, self.dtype)
        try:
            block = np.asarray(self._read(t, channel, (exact[0], exact[1], exact[2])))
        except CellTrainError:
            raise
        except Exception as error:  # libraries raise all sorts of things at damaged files
            raise CellTrainError(
                f"Time point {t} can't be read from {self._place(t, channel)}: "
                f"{_reason(error)}. Is the file damaged or incomplete?"
            ) from error
        if block.shape != expected:
            raise CellTrainError(
                f"Time point {t} in {self._place(t, channel)} has the shape {block.shape} where "
                f"{expected} was expected: all frames of a movie must have one size."
            )
        return block.astype(self.dtype, copy=False)

    def stamp(self, t: int, channel: int) -> str | None:
        """Return a text that changes when the stored frame does; None: only its pixels can tell.

        Made of the files' names, sizes and dates, so that asking costs no reading.
        """
        if self.location is None:  # only a name: a file of that name is another thing
            return None
        parts = [type(self).__name__]
        for place in self._files_of(t, channel):
            try:
                state = os.stat(place)
            except OSError:
                return None
            if not S_ISREG(state.st_mode):
                return None
            parts += os.path.abspath(place), str(state.st_size), str(state.st_mtime_ns)
        return "|".join(parts)

    def _files_of(self, t: int, channel: int) -> Sequence[str]:
        """Return the files in which a frame is stored."""
        return [self._place(t, channel)]

    @abstractmethod
    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        """Return a part of a frame; everything is checked, and every slice has a start and stop."""

    def _place(self, t: int, channel: int) -> str:
        """Return where a frame is stored, for messages."""
        return self.name if self.location is None else str(self.location)

    def _extent(self) -> str:
        if not len(self.time_points):
            return "it has none"
        return f"it has {self.time_points[0]} to {self.time_points[-1]}"


@contextmanager
def understood(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a damaged header makes a library raise into a sentence about the file."""
    try:
        yield
    except CellTrainError:
        raise
    except Exception as error:
        raise CellTrainError(f"{path} can't be read as {kind}: {_reason(error)}.") from error


def has_time_point(time_points: Sequence[int], t: int) -> bool:
    """Tell whether a time point is among ascending ones, in logarithmic time."""
    if isinstance(time_points, range):
        return t in time_points
    place = bisect_left(time_points, t)
    return place < len(time_points) and time_points[place] == t


def chosen(series: str | int | None, n: int, path: Path) -> int:
    """Return the 0-based index of an image in a file of several, counted from 1 by people.

    Raises
    ------
    CellTrainError
        When there is no such image.
    """
    if series is None or series == "":
        return 0
    try:
        index = int(series) - 1
    except ValueError:
        index = -1
    if not 0 <= index < n:
        raise CellTrainError(f"{path} has no image number '{series}'; it has {n}, counted from 1.")
    return index


def _reason(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".")
