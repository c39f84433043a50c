"""Nikon ``.nd2`` files, through the library ``nd2``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.images.axes import layout
from napari_celltrain.images.extras import extra_library
from napari_celltrain.images.movie import Crop, Header, Movie, chosen, understood
from napari_celltrain.images.tiff_metadata import positive, voxel_size

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class NikonMovie(Movie):
    """One field of view of an ``.nd2`` file; time counts from 0.

    Raises
    ------
    CellTrainError
        When the library is missing, or the file can't be read.
    """

    def __init__(self, path: Path, *, series: str | int | None = None) -> None:
        self._path = path
        library = self._library()
        with understood(path, "an ND2 file"), library.ND2File(path) as file:
            sizes = dict(file.sizes)
            self._position = chosen(series, sizes.pop("P", 1), path)
            self._frames = _frames(file.loop_indices, self._position)
            size = file.voxel_size()
            dtype = np.dtype(file.dtype)
            interval = _interval(file.experiment)
        arrangement = layout("".join(sizes), tuple(sizes.values()), where=str(path))
        # One stored frame holds a plane of all channels.
        plane = {name: n for name, n in sizes.items() if name.lower() in "cyxs"}
        self._plane = layout("".join(plane), tuple(plane.values()), where=str(path))
        depth = arrangement.frame_shape[0]
        super().__init__(
            Header(
                name=path.name,
                time_points=range(arrangement.size("t")),
                n_channels=arrangement.n_channels,
                frame_shape=arrangement.frame_shape,
                dtype=dtype,
                voxel_size_um=voxel_size(size.z, size.y, size.x, n_planes=depth),
                frame_interval_s=interval,
            ),
            path,
        )
        self.series = self._position + 1

    def _library(self) -> Any:
        return extra_library("nd2", self._path)

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        one_plane = (slice(0, 1), crop[1], crop[2])
        planes = []
        with self._library().ND2File(self._path) as file:
            for z in range(crop[0].start, crop[0].stop):
                frame = file.read_frame(self._frames[t, z]).reshape(self._plane.shape)
                block = frame[self._plane.cut(0, channel, one_plane)]
                planes.append(self._plane.arrange(block, one_plane))
        return np.concatenate(planes)


def _frames(loop_indices: Any, position: int) -> dict[tuple[int, int], int]:
    """Return the number of the stored frame for (time, plane)."""
    return {
        (indices.get("T", 0), indices.get("Z", 0)): number
        for number, indices in enumerate(loop_indices)
        if indices.get("P", 0) == position and indices.get("C", 0) == 0
    }


def _interval(loops: Any) -> float | None:
    for loop in loops:
        period = positive(getattr(getattr(loop, "parameters", None), "periodMs", None))
        if period is not None:
            return period / 1000
    return None
