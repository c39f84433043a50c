"""One TIFF file that holds a whole movie: plain, ImageJ, BigTIFF, OME-TIFF, LSM."""

from __future__ import annotations

import io
import logging
import math
import os
import re
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.axes import layout
from napari_celltrain.images.movie import (
    WHOLE,
    Crop,
    Header,
    Movie,
    check_beside,
    chosen,
    understood,
)
from napari_celltrain.images.tiff_chain import fault_of_chain
from napari_celltrain.images.tiff_decoding import decoded
from napari_celltrain.images.tiff_metadata import scale_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.images.tiff_decoding import Page

# What is wrong with a file is told as a sentence of ours; without this, Python prints the
# library's notes among them.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

AT_ONCE_BYTES = 2**25
"""A file of which all is needed is read at once if it is no larger."""


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
        with header_of(path) as tiff:
            index, several = chosen(series, len(tiff.series), path), len(tiff.series) > 1
            image = tiff.series[index]
            self._layout = layout(axes or image.axes, image.shape, where=str(path))
            self._offset, self._stored_dtype = mapping(tiff, image)
            self._planes = _PlacedPlanes(image) if self._offset is None else None
            for named in self._planes.paths if self._planes is not None else ():
                check_beside(named, path)
            voxel, interval = scale_of(tiff, index, self._layout.size("z"))
        super().__init__(
            Header(
                name=path.name,
                time_points=range(self._layout.size("t")),
                n_channels=self._layout.n_channels,
                frame_shape=self._layout.frame_shape,
                dtype=self._stored_dtype,
                voxel_size_um=voxel,
                frame_interval_s=interval,
                is_colour=self._layout.is_colour,
            ),
            path,
        )
        self.series = index + 1 if several else None

    def _files_of(self, t: int, channel: int) -> Sequence[str]:
        if self._planes is None:
            return [str(self._path)]
        cut = self._layout.cut(t, channel, WHOLE)
        numbers, _ = plane_numbers(self._planes.page_size, self._layout.shape, cut)
        return self._planes.files_of(np.atleast_1d(numbers).ravel()) or [str(self._path)]

    def _place(self, t: int, channel: int) -> str:
        """Return the file or, of many, the first ones."""
        names = self._files_of(t, channel)
        return ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        cut = self._layout.cut(t, channel, crop)
        if self._offset is not None:
            block = map_part(self._path, self._offset, self._stored_dtype, self._layout.shape, cut)
        else:
            assert self._planes is not None
            planes = self._planes
            block = cut_from_planes(planes.pages, planes.page_size, self._layout.shape, cut)
        return self._layout.arrange(block, crop)


class _PlacedPlanes:
    """Where the planes of a compressed image lie, so that each is found without the others.

    A TIFF file is a chain of planes, and walking along it takes seconds where there are
    100 000; that is done once, and a frame's planes are gone to directly.
    """

    def __init__(self, image: tifffile.TiffPageSeries) -> None:
        self.page_size = int(image.keyframe.size)
        self._paths: list[str] = []  # the planes of an OME-TIFF may be spread over files
        self._files = np.zeros(len(image.pages), np.int32)
        self._offsets = np.full(len(image.pages), -1, np.int64)
        for number in range(len(image.pages)):
            try:
                page = image.pages[number]
            except IndexError:  # a truncated file: what is there can still be read
                break
            if page is not None:
                path = str(page.parent.filehandle.path)
                if not self._paths or path != self._paths[-1]:
                    self._paths.append(path)
                self._files[number] = len(self._paths) - 1
                self._offsets[number] = page.offset

    @property
    def paths(self) -> Sequence[str]:
        """All files that planes lie in."""
        return self._paths

    def files_of(self, numbers: NDArray[np.int_]) -> list[str]:
        """Return the files that planes lie in; of planes that are missing none is known."""
        known = numbers[numbers < len(self._offsets)]
        known = known[self._offsets[known] >= 0]
        return [self._paths[int(file)] for file in np.unique(self._files[known])]

    def pages(self, numbers: Iterable[int]) -> Iterator[tifffile.TiffPage]:
        """Yield the pages that planes are stored in.

        Raises
        ------
        ValueError
            When a plane is missing.
        """
        with ExitStack() as stack:
            at, tiff = -1, None
            for number in numbers:
                if number >= len(self._offsets) or self._offsets[number] < 0:
                    raise ValueError(f"plane {number + 1} is missing")
                if tiff is None or self._files[number] != at:
                    at = int(self._files[number])
                    tiff = stack.enter_context(tifffile.TiffFile(self._paths[at]))
                tiff.filehandle.seek(int(self._offsets[number]))
                yield tifffile.TiffPage(tiff, number)


class _Content(io.BytesIO):
    """A file that was read; it goes by its name still: others may lie beside it."""

    def __init__(self, path: Path, content: bytes) -> None:
        super().__init__(content)
        self.name = os.path.realpath(path)


def opened(path: Path, *, at_once: bool = False) -> tifffile.TiffFile:
    """Open a TIFF file and read its header.

    Parameters
    ----------
    path
        Of the file.
    at_once
        Read all of it at once, where it is small: for whoever needs all of it. The header of a
        stack is read in hundreds of pieces else.

    Raises
    ------
    CellTrainError
        When it is missing, empty, or no TIFF.
    """
    tiff = None
    try:
        if not path.is_file() and path.exists():
            raise tifffile.TiffFileError("it is no ordinary file")  # a pipe would never end
        content = None
        with open(path, "rb") as file:
            if at_once and os.fstat(file.fileno()).st_size <= AT_ONCE_BYTES:
                content = _Content(path, file.read())
            fault = fault_of_chain(file if content is None else content)
        if content is not None:
            content.seek(0)
        if fault == "circle":
            raise tifffile.TiffFileError("its list of planes runs in a circle")
        tiff = tifffile.TiffFile(path if content is None else content)
        if re.search(r"<!(DOCTYPE|ENTITY)", str(tiff.pages.first.description)):
            raise tifffile.TiffFileError("its XML declares entities, which are not accepted")
        if not tiff.series or not len(tiff.series[0].shape):
            raise tifffile.TiffFileError("it holds no image")
        if fault == "end" and tiff.series[0].kind in ("generic", "uniform"):
            # what it held is written nowhere (any more), so nobody could say what is missing
            raise tifffile.TiffFileError(
                "it is cut off, as by a copy that was not finished: its list of planes leads "
                "beyond its end"
            )
        return tiff
    except FileNotFoundError:
        raise CellTrainError(f"There is no image file {path}.") from None
    except Exception as error:  # a damaged header can make the library raise anything
        if tiff is not None:
            tiff.close()
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise CellTrainError(f"{path} can't be read as a TIFF image: {reason}.") from error


@contextmanager
def header_of(path: Path) -> Iterator[tifffile.TiffFile]:
    """Open a TIFF file to look at its header; whatever goes wrong is a sentence about the file."""
    with opened(path) as tiff, understood(path, "a TIFF image"):
        yield tiff


def names_time(path: Path) -> bool:
    """Tell whether a file says itself that an axis of its image is the time."""
    with header_of(path) as tiff:
        return "T" in tiff.series[0].axes


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


def plane_numbers(
    page_size: int, shape: Sequence[int], cut: tuple[int | slice, ...]
) -> tuple[NDArray[np.int_], int]:
    """Return the numbers of the planes that a part of a stored array lies in.

    And how many leading axes number the planes.
    """
    lead = next(k for k in range(len(shape) + 1) if math.prod(shape[k:]) <= page_size)
    numbers = np.arange(math.prod(shape[:lead])).reshape(tuple(shape[:lead]))[cut[:lead]]
    return np.asarray(numbers), lead


def cut_from_planes(
    pages: Callable[[Iterable[int]], Iterable[Page]],
    page_size: int,
    shape: Sequence[int],
    cut: tuple[int | slice, ...],
) -> NDArray[Any]:
    """Cut a part out of a stored array that lies in planes; `pages` finds those it needs."""
    numbers, lead = plane_numbers(page_size, shape, cut)
    inner_shape, inner_cut = tuple(shape[lead:]), cut[lead:]
    wanted = np.atleast_1d(numbers).ravel().tolist()
    whole = all(part == slice(0, n) for part, n in zip(inner_cut, inner_shape, strict=True))
    stack: NDArray[Any] | None = None
    for place, page in enumerate(pages(wanted)):
        room = stack[place] if whole and stack is not None else None
        part = decoded(page, wanted[place], room)
        if part is room:
            continue
        part = part.reshape(inner_shape)[inner_cut]
        if stack is None:
            # what was just decoded is all there is, or shows how much room they all need
            alone = whole and len(wanted) == 1
            stack = part[None] if alone else np.empty((len(wanted), *part.shape), part.dtype)
        if part.dtype != stack.dtype:
            raise ValueError(f"plane {wanted[place] + 1} has pixels of another type")
        stack[place] = part  # one plane at a time: all of them would take the memory twice
    if stack is None:
        raise ValueError("no plane was asked for")
    return stack.reshape(np.shape(numbers) + stack.shape[1:])


def pages_of(image: tifffile.TiffPageSeries) -> Callable[[Iterable[int]], Iterable[Page]]:
    """Return what finds the pages of an image in an open file."""

    def pages(numbers: Iterable[int]) -> Iterator[Page]:
        for number in numbers:
            page = image.pages[number] if number < len(image.pages) else None
            if page is None:
                raise ValueError(f"plane {number + 1} is missing")
            yield page

    return pages
