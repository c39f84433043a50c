"""Many TIFF files that make one movie: the numbers in their names say which frame each one is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.axes import Layout, layout
from napari_celltrain.images.movie import Crop, Header, Movie
from napari_celltrain.images.pattern import Pattern, Place
from napari_celltrain.images.tiff import (
    cut_from_planes,
    header_of,
    map_part,
    mapping,
    opened,
    pages_of,
)
from napari_celltrain.images.tiff_metadata import scale_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX


MOST_TRIED = 20
"""Files that can't be read before it is taken that none can."""


class TiffSeries(Movie):
    """A folder of TIFF files, each a time point, or a channel or plane of one.

    The number in the name is the time point, and gaps stay gaps. Channel numbers may start at 0
    or 1: the lowest is the first channel. A file may hold several channels itself. A 2D page is
    one plane; pages without a meaning are planes.

    Parameters
    ----------
    folder
        Where the pattern starts.
    pattern
        A file name pattern.

    Raises
    ------
    CellTrainError
        When no file fits the pattern, or none of the first ones can be understood.
    """

    def __init__(self, folder: Path, pattern: Pattern) -> None:
        self._folder = folder
        self._pattern = pattern
        self._files = pattern.files(folder)
        if not self._files:
            raise CellTrainError(
                f"No file in {folder} fits the pattern '{pattern.text}'; {_what_is_there(folder)}."
            )
        self._channels = _numbers_of(place.channel for place in self._files)
        self._planes = _numbers_of(place.z for place in self._files)
        times = [
            time for time in _numbers_of(place.time for place in self._files) if time is not None
        ]
        place, head = _typical_head(self._files, len(self._planes))
        arrangement, self._mapped = head.arrangement, head.mapped
        n_planes, height, width = arrangement.frame_shape
        if len(self._planes) > 1 and n_planes > 1:
            raise CellTrainError(
                f"{self._files[place]} holds {n_planes} planes, though the pattern "
                f"'{pattern.text}' says that every plane is a file of its own."
            )
        self._channels_in_file = arrangement.n_channels
        super().__init__(
            Header(
                name=_name(folder),
                time_points=_compact(times) if times else range(1),
                n_channels=len(self._channels) * self._channels_in_file,
                frame_shape=(n_planes * len(self._planes), height, width),
                dtype=head.dtype,
                voxel_size_um=head.voxel_size_um,
                frame_interval_s=head.frame_interval_s,
                is_colour=arrangement.is_colour,
            ),
            folder,
        )
        self.pattern = pattern.text

    def stamp(self, t: int, channel: int) -> str | None:
        """Return a text that changes when any of the frame's files does."""
        if len(self._planes) == 1:
            return super().stamp(t, channel)
        digest = hashlib.sha256()
        for z in self._planes:
            path = self._files.get(self._numbers(t, channel, z))
            if path is None:
                continue  # a plane that is missing; the name of each of the others is looked at
            try:
                state = path.stat()
            except OSError:
                return None
            line = f"{path.absolute()}|{state.st_size}|{state.st_mtime_ns}\n"
            digest.update(line.encode("utf-8", "surrogatepass"))  # names of any bytes
        return f"{type(self).__name__}|{digest.hexdigest()}"

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        channel_in_file = channel % self._channels_in_file
        if len(self._planes) == 1:
            return self._read_file(self._file(t, channel, self._planes[0]), channel_in_file, crop)
        one_plane = (slice(0, 1), *crop[1:])
        planes = [
            self._read_file(self._file(t, channel, z), channel_in_file, one_plane)
            for z in self._planes[crop[0]]
        ]
        return np.concatenate(planes)

    def _read_file(self, path: Path, channel: int, crop: Crop) -> NDArray[Any]:
        whole = not self._mapped and crop == tuple(slice(0, n) for n in self.frame_shape)
        with opened(path, at_once=whole) as tiff:
            image = tiff.series[0]
            arrangement = frame_layout(image.axes, image.shape, path)
            expected = (self.frame_shape[0] // len(self._planes), *self.frame_shape[1:])
            if arrangement.frame_shape != expected:
                raise CellTrainError(
                    f"{path} has the size {arrangement.frame_shape} (z, y, x), and others of the "
                    f"movie {expected}: all frames of a movie must have one size."
                )
            if arrangement.n_channels != self._channels_in_file:
                raise CellTrainError(
                    f"{path} has {arrangement.n_channels} channels, and others of the "
                    f"movie {self._channels_in_file}."
                )
            cut = arrangement.cut(0, channel, crop)
            offset, dtype = mapping(tiff, image)
            if offset is not None:
                block = map_part(path, offset, dtype, arrangement.shape, cut)
            else:
                page_size = int(image.keyframe.size)
                block = cut_from_planes(pages_of(image), page_size, arrangement.shape, cut)
        if block.dtype != self.dtype and not np.can_cast(block.dtype, self.dtype):
            raise CellTrainError(
                f"{path} has pixels of the type {block.dtype}, and others of the movie "
                f"{self.dtype}."
            )
        return arrangement.arrange(block, crop)

    def _file(self, t: int, channel: int, z: int | None) -> Path:
        place = self._numbers(t, channel, z)
        path = self._files.get(place)
        if path is None:
            raise CellTrainError(
                f"Time point {t} is incomplete: the file "
                f"{self._folder / self._pattern.name_of(place)} is missing."
            )
        return path

    def _numbers(self, t: int, channel: int, z: int | None) -> Place:
        time = t if self._pattern.has("time") else None
        return Place(time, self._channels[channel // self._channels_in_file], z)

    def _place(self, t: int, channel: int) -> str:
        path = self._files.get(self._numbers(t, channel, self._planes[0]))
        return str(path or self._folder)


@dataclass(frozen=True)
class _Head:
    """What the header of a file says."""

    arrangement: Layout
    dtype: np.dtype[Any]
    mapped: bool
    voxel_size_um: ZYX | None
    frame_interval_s: float | None

    @property
    def size(self) -> tuple[object, int]:
        """What all files of a movie have in common."""
        return self.arrangement.frame_shape, self.arrangement.n_channels


def _head_of(path: Path, planes: int) -> _Head:
    """Read the header of a file of a movie whose names tell so many planes apart."""
    with header_of(path) as tiff:
        image = tiff.series[0]
        arrangement = frame_layout(image.axes, image.shape, path)
        mapped = mapping(tiff, image)[0] is not None
        voxel, interval = scale_of(tiff, 0, max(arrangement.frame_shape[0], planes))
        return _Head(arrangement, np.dtype(image.dtype), mapped, voxel, interval)


def _typical_head(files: dict[Place, Path], planes: int) -> tuple[Place, _Head]:
    """Return a header that stands for all files, and whose it is.

    The first file may be damaged or a stray one, as any other may: then that is told when its time
    point is read. Two that agree have it, of three that do not the first.

    Raises
    ------
    CellTrainError
        About the first file, when none can be read.
    """
    found: list[tuple[Place, _Head]] = []
    first_error = None
    # other time points come first: what is wrong with one may be so in all of its files
    for tried, place in enumerate(sorted(files, key=_across_time), 1):
        try:
            head = _head_of(files[place], planes)
        except CellTrainError as error:
            first_error = first_error or error
            if tried >= MOST_TRIED:
                break
            continue
        for earlier in found:
            if earlier[1].size == head.size:
                return earlier
        found.append((place, head))
        if len(found) == 3:
            break
    if not found and first_error is not None:
        raise first_error
    return found[0]


def frame_layout(axes: str, shape: tuple[int, ...], path: Path) -> Layout:
    """Find the meaning of the axes of a file that is one time point.

    A stack saved as if its planes were time points (as ImageJ often has it) is a stack all the
    same.

    Raises
    ------
    CellTrainError
        When the file holds several time points.
    """
    letters = axes.lower()
    n_times = shape[letters.index("t")] if "t" in letters else 1
    if "t" in letters:
        n_planes = shape[letters.index("z")] if "z" in letters else 1
        if n_times > 1 and n_planes > 1:
            raise CellTrainError(
                f"{path} holds {n_times} time points, though the file names say that every time "
                "point is a file of its own. Open the file by itself."
            )
        letters = letters.replace("z", "i").replace("t", "z") if n_times > 1 else letters
    return layout(letters, shape, where=str(path), unnamed="zc")


def _across_time(place: Place) -> tuple[int, int, int]:
    return (place.channel or 0, place.z or 0, place.time or 0)


def _numbers_of(values: Iterable[int | None]) -> list[int | None]:
    """Return the numbers that occur, ascending; [None] where the pattern has no such field."""
    numbers: list[int | None] = [*sorted({value for value in values if value is not None})]
    return numbers or [None]


def _compact(times: list[int]) -> range | tuple[int, ...]:
    contiguous = range(times[0], times[-1] + 1)
    return contiguous if len(contiguous) == len(times) else tuple(times)


def _name(folder: Path) -> str:
    resolved = folder.resolve()
    generic = resolved.name.isdigit() or resolved.name.lower() in ("images", "img", "tif", "raw")
    return f"{resolved.parent.name}/{resolved.name}" if generic else resolved.name


def _what_is_there(folder: Path) -> str:
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return "there is no such folder"
    shown = ", ".join(names[:3])
    return f"it holds {shown}{', ...' if len(names) > 3 else ''}" if names else "it is empty"
