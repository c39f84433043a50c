"""One TIFF file that holds a whole movie: plain, ImageJ, BigTIFF, OME-TIFF, LSM."""

from __future__ import annotations

import math
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.axes import Layout, layout
from napari_celltrain.images.movie import Crop, Header, Movie, chosen
from napari_celltrain.images.tiff_metadata import scale_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


class TiffMovie(Movie):
    """A movie in one TIFF file; its time points count from 0.

    Pixels that lie uncompressed in one piece are memory-mapped, so a crop costs what it holds.
    Otherwise the planes of the crop are decoded.

    Parameters
    ----------
    path
        The file.
    series
        Which image of the file, counted from 1; default: the first.
    axes
        What the axes are, e.g. "tzyx", when the file does not say or says it wrongly.

    Raises
    ------
    CellTrainError
        When the file is no TIFF, or can't be understood.
    """

    def __init__(
        self, path: Path, *, series: str | int | None = None, axes: str | None = None
    ) -> None:
        self._path = path
        with opened(path) as tiff:
            self._series_index = chosen(series, len(tiff.series), path)
            image = tiff.series[self._series_index]
            self._layout = layout(axes or image.axes, image.shape, where=str(path))
            self._offset, self._stored_dtype = mapping(tiff, image)
            voxel, interval = scale_of(tiff, self._series_index, self._layout.size("z"))
        self._planes_open = _OpenPlanes(path, self._series_index)
        super().__init__(
            Header(
                name=path.name,
                time_points=range(self._layout.size("t")),
                n_channels=self._layout.n_channels,
                frame_shape=self._layout.frame_shape,
                dtype=self._stored_dtype,
                voxel_size_um=voxel,
                frame_interval_s=interval,
            )
        )

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        cut = self._layout.cut(t, channel, crop)
        if self._offset is not None:
            block = map_part(self._path, self._offset, self._stored_dtype, self._layout.shape, cut)
        else:
            block = self._planes_open.read(self._layout, cut)
        return self._layout.arrange(block, crop)

    def _place(self, t: int, channel: int) -> str:
        return str(self._path)


class _OpenPlanes:
    """Decodes the planes of one image, and keeps the file open between planes.

    Finding a plane means walking through the file's list of planes, so doing that anew for every
    frame would make a movie quadratic. The file is opened again in another process.
    """

    def __init__(self, path: Path, series: int) -> None:
        self._path = path
        self._series = series
        self._lock = threading.Lock()
        self._tiff: tifffile.TiffFile | None = None
        self._process = 0

    def __getstate__(self) -> dict[str, Any]:
        return {"_path": self._path, "_series": self._series}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["_path"], state["_series"])  # type: ignore[misc]

    def read(self, arrangement: Layout, cut: tuple[int | slice, ...]) -> NDArray[Any]:
        """Return a part of the stored array, as indexing it would."""
        with self._lock:
            if self._tiff is None or self._process != os.getpid():
                self._tiff = tifffile.TiffFile(self._path)
                self._process = os.getpid()
                weakref.finalize(self, self._tiff.close)
            return read_planes(self._tiff.series[self._series], arrangement.shape, cut)


def opened(path: Path) -> tifffile.TiffFile:
    """Open a TIFF file and read its header.

    Raises
    ------
    CellTrainError
        When it is missing, empty, or no TIFF.
    """
    tiff = None
    try:
        tiff = tifffile.TiffFile(path)
        if not tiff.series or not len(tiff.series[0].shape):
            raise tifffile.TiffFileError("it holds no image")
        return tiff
    except FileNotFoundError:
        raise CellTrainError(f"There is no image file {path}.") from None
    except Exception as error:  # a damaged header can make the library raise anything
        if tiff is not None:
            tiff.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CellTrainError(f"{path} can't be read as a TIFF image: {reason}.") from error


def mapping(
    tiff: tifffile.TiffFile, image: tifffile.TiffPageSeries
) -> tuple[int | None, np.dtype[Any]]:
    """Return where the pixels begin if they lie in one piece, else None; and their stored type."""
    dtype = np.dtype(image.dtype)
    keyframe = image.keyframe
    if image.dataoffset is None or not keyframe.is_memmappable:
        return None, dtype
    return int(image.dataoffset), dtype.newbyteorder(tiff.byteorder)


def map_part(
    path: Path,
    offset: int,
    dtype: np.dtype[Any],
    shape: Sequence[int],
    cut: tuple[int | slice, ...],
) -> NDArray[Any]:
    """Copy a part of an array that lies uncompressed in a file.

    Only the part of the file that is needed is mapped, so the frames before the break of a
    truncated file can still be read.
    """
    first, outer = _outer_indices(cut)
    inner_shape = tuple(shape[first:])
    items = math.prod(inner_shape)
    skipped = int(np.ravel_multi_index(outer, tuple(shape[:first]))) if first else 0
    begin = offset + skipped * items * dtype.itemsize
    inner = cut[first:]
    if all(part == slice(0, n) for part, n in zip(inner, inner_shape, strict=True)):
        values = np.fromfile(path, dtype, items, offset=begin)  # half the memory of a mapped copy
        return values.reshape(inner_shape)
    return np.array(np.memmap(path, dtype, "r", offset=begin, shape=inner_shape)[inner])


def _outer_indices(cut: tuple[int | slice, ...]) -> tuple[int, tuple[int, ...]]:
    """Return how many leading axes are indexed by a number, and those numbers."""
    outer: list[int] = []
    for part in cut:
        if isinstance(part, slice):
            break
        outer.append(part)
    return len(outer), tuple(outer)


def read_planes(
    image: tifffile.TiffPageSeries, shape: Sequence[int], cut: tuple[int | slice, ...]
) -> NDArray[Any]:
    """Decode the pages that a part of a series needs, and cut the part out.

    Raises
    ------
    ValueError
        When a page is missing.
    """
    page_size = image.keyframe.size
    lead = next(k for k in range(len(shape) + 1) if math.prod(shape[k:]) <= page_size)
    numbers = np.arange(math.prod(shape[:lead])).reshape(tuple(shape[:lead]))[cut[:lead]]
    inner_shape, inner_cut = tuple(shape[lead:]), cut[lead:]
    planes = []
    for number in np.atleast_1d(numbers).ravel():
        page = image.pages[int(number)] if int(number) < len(image.pages) else None
        if page is None or 0 in page.databytecounts or not page.databytecounts:
            raise ValueError(f"plane {int(number) + 1} is missing")
        planes.append(page.asarray(maxworkers=1).reshape(inner_shape)[inner_cut])
    stack = np.stack(planes)
    return stack.reshape(np.shape(numbers) + stack.shape[1:])
