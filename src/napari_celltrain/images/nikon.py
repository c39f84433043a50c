"""Nikon ``.nd2`` files, through the library ``nd2``, in a process of its own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.apart import read_apart
from napari_celltrain.images.axes import layout
from napari_celltrain.images.extras import extra_library
from napari_celltrain.images.movie import (
    Crop,
    Header,
    Movie,
    chosen,
    understood,
)
from napari_celltrain.images.tiff_metadata import positive, voxel_size
from napari_celltrain.images.unpacking import most_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROGRAM = Path(__file__).with_name("nikon_apart.py")


class NikonMovie(Movie):
    """One field of view of an ``.nd2`` file; time counts from 0.

    Raises
    ------
    CellTrainError
        When the library is missing, or the file can't be read.
    """

    def __init__(self, path: Path, *, series: str | int | None = None) -> None:
        self._path = path
        extra_library("nd2", path)
        if not path.is_file():
            raise CellTrainError(f"There is no image file {path}.")
        file_size = path.stat().st_size
        with understood(path, "an ND2 file"):
            header, arrays = read_apart(PROGRAM, str(path), None, n_bytes=file_size / 100)
        sizes = dict(header["sizes"])
        self._position = chosen(series, sizes.pop("P", 1), path)
        self._frames = {
            (t, z): number
            for number, (position, t, z, channel) in enumerate(arrays["indices"].tolist())
            if position == self._position and channel == 0
        }
        arrangement = layout("".join(sizes), tuple(sizes.values()), where=str(path))
        # One stored frame holds a plane of all channels.
        plane = {name: n for name, n in sizes.items() if name.lower() in "cyxs"}
        self._plane = layout("".join(plane), tuple(plane.values()), where=str(path))
        dtype = np.dtype(header["dtype"])
        claimed = math.prod(plane.values()) * dtype.itemsize
        if claimed > most_of(claimed, file_size):
            raise CellTrainError(f"{path} claims more pixels than it can hold; it is damaged.")
        voxel = [positive(size) for size in header["voxel"]] or [None] * 3
        periods = [seconds for one in header["periods_ms"] if (seconds := positive(one))]
        super().__init__(
            Header(
                name=path.name,
                time_points=range(arrangement.size("t")),
                n_channels=arrangement.n_channels,
                frame_shape=arrangement.frame_shape,
                dtype=dtype,
                voxel_size_um=voxel_size(*voxel, n_planes=arrangement.frame_shape[0]),
                frame_interval_s=periods[0] / 1000 if periods else None,
                is_colour=arrangement.is_colour,
            ),
            path,
        )
        self.series = self._position + 1

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        one_plane = (slice(0, 1), crop[1], crop[2])
        numbers = [self._frames[t, z] for z in range(crop[0].start, crop[0].stop)]
        n_bytes = len(numbers) * math.prod(self._plane.shape) * self.dtype.itemsize
        _, arrays = read_apart(PROGRAM, str(self._path), numbers, n_bytes=n_bytes)
        planes = []
        for frame in arrays["pixels"]:
            block = frame.reshape(self._plane.shape)[self._plane.cut(0, channel, one_plane)]
            planes.append(self._plane.arrange(block, one_plane))
        return np.concatenate(planes)
