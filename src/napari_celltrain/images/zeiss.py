"""Zeiss ``.czi`` files, through the library ``pylibCZIrw``, in a process of its own."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.apart import read_apart
from napari_celltrain.images.axes import GREY_WEIGHTS
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

MOST_CHANNELS = 1000
BYTES_OF_ENTRY = 128
"""What the file's own list of planes takes for each at least."""
PROGRAM = Path(__file__).with_name("zeiss_apart.py")
DTYPES = {"Gray8": "uint8", "Bgr24": "uint8", "Gray16": "uint16", "Bgr48": "uint16"}


class ZeissMovie(Movie):
    """One scene of a ``.czi`` file; time counts from 0, and colour becomes grey.

    Raises
    ------
    CellTrainError
        When the library is missing, or the file can't be read.
    """

    def __init__(self, path: Path, *, series: str | int | None = None) -> None:
        self._path = path
        extra_library("pylibCZIrw.czi", path)
        if not path.is_file():
            raise CellTrainError(f"There is no image file {path}.")
        with understood(path, "a CZI file"):
            n_bytes = path.stat().st_size / 100
            header, _ = read_apart(PROGRAM, str(path), None, n_bytes=n_bytes)
        scenes, box = header["scenes"], header["box"]
        index = chosen(series, max(1, len(scenes)), path)
        self._scene, *area = scenes[index] if scenes else (None, *header["whole"])
        self._corner, (width, height) = area[:2], area[2:]
        self._first = {axis: first for axis, (first, _) in box.items()}
        sizes = {axis: size for axis, (_, size) in box.items()}
        if not 0 < sizes.get("C", 1) <= MOST_CHANNELS:
            raise CellTrainError(f"{path} claims {sizes['C']} channels; it is damaged.")
        dtypes = [np.dtype(DTYPES.get(kind, "float32")) for kind in header["types"]]
        depth = sizes.get("Z", 1)
        shape = (depth, height, width)
        claimed = math.prod(max(0, size) for size in shape) * np.result_type(*dtypes).itemsize
        size = path.stat().st_size
        too_many = depth * BYTES_OF_ENTRY > size
        if too_many or claimed > most_of(claimed, size):
            raise CellTrainError(f"{path} claims more pixels than it can hold; it is damaged.")
        voxel, interval = _scale(header["metadata"])
        super().__init__(
            Header(
                name=path.name,
                time_points=range(sizes.get("T", 1)),
                n_channels=sizes.get("C", 1),
                frame_shape=shape,
                dtype=np.result_type(*dtypes),
                voxel_size_um=voxel_size(*voxel, n_planes=depth),
                frame_interval_s=interval,
                is_colour=any(kind.startswith("Bgr") for kind in header["types"]),
            ),
            path,
        )
        self.series = index + 1

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        left, top = self._corner
        rows, columns = crop[1], crop[2]
        size = (columns.stop - columns.start, rows.stop - rows.start)
        places = [
            {
                axis: first + {"T": t, "Z": z, "C": channel}[axis]
                for axis, first in self._first.items()
            }
            for z in range(crop[0].start, crop[0].stop)
        ]
        planes = {
            "area": (left + columns.start, top + rows.start, *size),
            "scene": self._scene,
            "places": places,
        }
        n_bytes = len(places) * math.prod(size) * 4
        _, arrays = read_apart(PROGRAM, str(self._path), planes, n_bytes=n_bytes)
        return _grey(arrays["pixels"])


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return one value for each pixel of (z, y, x, 1) grey or (z, y, x, 3) blue, green, red."""
    if pixels.shape[3] == 1:
        return pixels[..., 0]
    grey = pixels[..., 2::-1].astype(np.float32) @ np.asarray(GREY_WEIGHTS, np.float32)
    return np.asarray(grey.round().astype(pixels.dtype))


def _scale(metadata: str) -> tuple[list[float | None], float | None]:
    """Return the (z, y, x) voxel size in um and the frame interval in s, from the XML."""
    from napari_celltrain.formats.xml_reading import tree_of_text

    try:
        root = tree_of_text(metadata)
    except CellTrainError:
        return [None, None, None], None
    sizes: list[float | None] = []
    for axis in "ZYX":
        metres = positive(root.findtext(f".//Scaling/Items/Distance[@Id='{axis}']/Value"))
        sizes.append(None if metres is None else metres * 1e6)
    return sizes, positive(root.findtext(".//Dimensions/T/Positions/Interval/Increment"))
