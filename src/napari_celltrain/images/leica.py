"""Leica ``.lif`` files, through the library ``liffile``."""

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


class LeicaMovie(Movie):
    """One image of a ``.lif`` file; time counts from 0.

    Parameters
    ----------
    path
        The file.
    series
        The image: its number, counted from 1, or its name.

    Raises
    ------
    CellTrainError
        When the library is missing, or the file can't be read.
    """

    def __init__(self, path: Path, *, series: str | int | None = None) -> None:
        self._path = path
        library = self._library()
        with understood(path, "a LIF file"), library.LifFile(path) as file:
            names = [image.name for image in file.images]
            self._index = (
                names.index(series) if series in names else chosen(series, len(names), path)
            )
            image = file.images[self._index]
            self._layout = layout("".join(image.dims), image.shape, where=str(path))
            dtype = np.dtype(image.dtype)
            steps = {name.lower(): _step(values) for name, values in image.coords.items()}
        in_um = [None if (step := steps.get(axis)) is None else step * 1e6 for axis in "zyx"]
        super().__init__(
            Header(
                name=f"{path.name}: {names[self._index]}",
                time_points=range(self._layout.size("t")),
                n_channels=self._layout.n_channels,
                frame_shape=self._layout.frame_shape,
                dtype=dtype,
                voxel_size_um=voxel_size(*in_um, n_planes=self._layout.frame_shape[0]),
                frame_interval_s=steps.get("t"),
            ),
            path,
        )
        self.series = self._index + 1

    def _library(self) -> Any:
        return extra_library("liffile", self._path)

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        letters = self._layout.letters
        planes = []
        with self._library().LifFile(self._path) as file:
            image = file.images[self._index]
            names = dict(zip(letters, image.dims, strict=True))
            for z in range(crop[0].start, crop[0].stop):
                place = {"t": t, "c": channel, "z": z}
                at = {names[letter]: place[letter] for letter in "tcz" if letter in names}
                plane = np.asarray(image.frame(**at))
                kept = "".join(letter for letter in letters if letter in "yxs")
                inner = layout(kept, plane.shape, where=str(self._path))
                one_plane = (slice(0, 1), crop[1], crop[2])
                planes.append(inner.arrange(plane[inner.cut(0, 0, one_plane)], one_plane))
        return np.concatenate(planes)


def _step(values: Any) -> float | None:
    """Return the distance between the first two coordinates (metres, seconds)."""
    values = np.asarray(values)
    if len(values) < 2 or values.dtype.kind not in "fiu":
        return None
    return positive(abs(float(values[1]) - float(values[0])))
