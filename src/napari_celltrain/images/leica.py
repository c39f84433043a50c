"""Leica ``.lif`` files, through the library ``liffile``, in a process of its own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.apart import read_apart
from napari_celltrain.images.axes import layout
from napari_celltrain.images.extras import extra_library
from napari_celltrain.images.movie import Crop, Header, Movie, chosen, understood
from napari_celltrain.images.tiff_metadata import positive, voxel_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROGRAM = Path(__file__).with_name("leica_apart.py")


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
        extra_library("liffile", path)
        if not path.is_file():
            raise CellTrainError(f"There is no image file {path}.")
        with understood(path, "a LIF file"):
            images, _ = read_apart(PROGRAM, str(path), None, [], n_bytes=path.stat().st_size / 100)
        names = [image["name"] for image in images]
        if series is None:
            # what is there besides movies (maps of mosaics, snapshots) may be of any kind
            self._index = next((at for at, one in enumerate(images) if "error" not in one), 0)
        else:
            is_name = series in names
            self._index = names.index(series) if is_name else chosen(series, len(names), path)
        if not images:
            raise CellTrainError(f"{path} holds no image.")
        image = images[self._index]
        if "error" in image:
            raise CellTrainError(
                f"{path}: the image '{image['name']}' is damaged: {image['error']}."
            )
        self._dims = image["dims"]
        self._layout = layout("".join(self._dims), image["shape"], where=str(path))
        steps = {axis: positive(step) for axis, step in image["steps"].items()}
        in_um = [None if (step := steps.get(axis)) is None else step * 1e6 for axis in "zyx"]
        super().__init__(
            Header(
                name=f"{path.name}: {image['name']}",
                time_points=range(self._layout.size("t")),
                n_channels=self._layout.n_channels,
                frame_shape=self._layout.frame_shape,
                dtype=np.dtype(image["dtype"]),
                voxel_size_um=voxel_size(*in_um, n_planes=self._layout.frame_shape[0]),
                frame_interval_s=steps.get("t"),
                is_colour=self._layout.is_colour,
            ),
            path,
        )
        self.series = self._index + 1

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        letters = self._layout.letters
        names = dict(zip(letters, self._dims, strict=True))
        frames = []
        for z in range(crop[0].start, crop[0].stop):
            place = {"t": t, "c": channel, "z": z}
            frames.append({names[one]: place[one] for one in "tcz" if one in names})
        n_bytes = len(frames) * math.prod(self.frame_shape[1:]) * self.dtype.itemsize
        _, arrays = read_apart(PROGRAM, str(self._path), self._index, frames, n_bytes=n_bytes)
        kept = "".join(letter for letter in letters if letter in "yxs")
        one_plane = (slice(0, 1), crop[1], crop[2])
        planes = []
        for plane in arrays["pixels"]:
            inner = layout(kept, plane.shape, where=str(self._path))
            planes.append(inner.arrange(plane[inner.cut(0, 0, one_plane)], one_plane))
        return np.concatenate(planes)
