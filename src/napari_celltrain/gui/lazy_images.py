"""A movie as an array that napari can slice without reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from napari_celltrain.experiment import FrameSource

CHUNK_BYTES = 64 * 2**20
"""A frame larger than this is read in slabs of planes, so that looking at a plane stays quick."""


def lazy_array(source: FrameSource, channel: int) -> da.Array:
    """Return a (t, z, y, x) dask array of one channel; nothing is read yet.

    Index 0 is the movie's first time point, and there is one index for each number up to the last
    one: where the movie has a gap, or a frame can't be read, the frame is empty (zeros), and an
    unreadable one is said in a notification.
    """
    times = source.time_points
    first, last = times[0], times[-1]
    planes, height, width = source.frame_shape
    plane_bytes = height * width * source.dtype.itemsize
    slab = max(1, min(planes, CHUNK_BYTES // max(plane_bytes, 1)))
    z_chunks = tuple(min(slab, planes - start) for start in range(0, planes, slab))
    return da.map_blocks(  # type: ignore[no-any-return, no-untyped-call, unused-ignore]
        _Block(source, channel, frozenset(times), first, slab),
        dtype=source.dtype,
        chunks=((1,) * (last - first + 1), z_chunks, (height,), (width,)),
        meta=np.empty((0, 0, 0, 0), source.dtype),
    )


class _Block:
    """Reads one block; a class, since dask must not look into the source to name the task."""

    def __init__(
        self, source: FrameSource, channel: int, times: frozenset[int], first: int, slab: int
    ) -> None:
        self._source = source
        self._channel = channel
        self._times = times
        self._first = first
        self._slab = slab

    def __dask_tokenize__(self) -> object:
        return (type(self).__name__, id(self._source), self._channel)

    def __call__(self, block_info: dict[Any, Any]) -> np.ndarray[Any, Any]:
        (t_start, _), (z_start, z_stop), (_, height), (_, width) = block_info[None][
            "array-location"
        ]
        t = self._first + t_start
        empty = np.zeros((1, z_stop - z_start, height, width), self._source.dtype)
        if t not in self._times:
            return empty
        try:
            if self._slab >= self._source.frame_shape[0]:
                return self._source.read_frame(t, self._channel)[None]
            crop = (slice(z_start, z_stop), slice(0, height), slice(0, width))
            return self._source.read_crop(t, self._channel, crop)[None]
        except CellTrainError as error:
            _warn(str(error))
            return empty


def display_range(source: FrameSource, channel: int) -> tuple[float, float] | None:
    """Return dark and bright ends for showing a channel, from the first frame's middle plane.

    napari would take the whole range of the type for 8-bit images, and all of a hot pixel for the
    others. None when the plane can't be read or is constant.
    """
    planes, height, width = source.frame_shape
    middle = planes // 2
    crop = (slice(middle, middle + 1), slice(0, height), slice(0, width))
    try:
        plane = source.read_crop(source.time_points[0], channel, crop)
    except CellTrainError:
        return None
    step = max(1, int((plane.size / 1e6) ** 0.5))
    values = plane[:, ::step, ::step]
    values = values[np.isfinite(values)]
    if not values.size:
        return None
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.7)))
    return (low, high) if high > low else None


def _warn(sentence: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(sentence)
