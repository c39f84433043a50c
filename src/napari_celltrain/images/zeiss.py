"""Zeiss ``.czi`` files, through the library ``pylibCZIrw``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.apart import run_apart
from napari_celltrain.images.axes import GREY_WEIGHTS
from napari_celltrain.images.extras import extra_library
from napari_celltrain.images.movie import (
    ALWAYS_DECODED,
    MOST_COMPRESSED,
    Crop,
    Header,
    Movie,
    chosen,
    understood,
)
from napari_celltrain.images.tiff_metadata import positive, voxel_size

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

MOST_CHANNELS = 1000
_TRY = """
import sys
from pylibCZIrw import czi
try:
    with czi.open_czi(sys.argv[1]):
        pass
except Exception as error:
    sys.exit("it can't be read as a CZI file: " + str(error))
"""
"""The library crashes at some damaged headers, so they are opened in another process first."""
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
        library = self._library()
        if path.is_file():
            run_apart(path, "-c", _TRY, str(path))
        with understood(path, "a CZI file"), library.open_czi(str(path)) as file:
            box = file.total_bounding_box
            scenes = file.scenes_bounding_rectangle
            numbers = sorted(scenes)
            index = chosen(series, max(1, len(numbers)), path)
            self._scene = numbers[index] if numbers else None
            area = scenes[self._scene] if numbers else file.total_bounding_rectangle
            self._area = (area.x, area.y, area.w, area.h)
            self._first = {axis: box[axis][0] for axis in "TZC" if axis in box}
            sizes = {axis: box[axis][1] for axis in "TZC" if axis in box}
            if not 0 < sizes.get("C", 1) <= MOST_CHANNELS:
                raise CellTrainError(f"{path} claims {sizes['C']} channels; it is damaged.")
            types = set(file.pixel_types.values())
            metadata = file.raw_metadata
        dtypes = [np.dtype(DTYPES.get(kind, "float32")) for kind in types]
        depth = sizes.get("Z", 1)
        shape = (depth, area.h, area.w)
        claimed = math.prod(max(0, size) for size in shape) * np.result_type(*dtypes).itemsize
        if claimed > max(ALWAYS_DECODED, MOST_COMPRESSED * path.stat().st_size):
            raise CellTrainError(f"{path} claims more pixels than it can hold; it is damaged.")
        voxel, interval = _scale(metadata)
        super().__init__(
            Header(
                name=path.name,
                time_points=range(sizes.get("T", 1)),
                n_channels=sizes.get("C", 1),
                frame_shape=shape,
                dtype=np.result_type(*dtypes),
                voxel_size_um=voxel_size(*voxel, n_planes=depth),
                frame_interval_s=interval,
            ),
            path,
        )
        self.series = index + 1

    def _library(self) -> Any:
        return extra_library("pylibCZIrw.czi", self._path)

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        left, top, _, _ = self._area
        rows, columns = crop[1], crop[2]
        area = (
            left + columns.start,
            top + rows.start,
            columns.stop - columns.start,
            rows.stop - rows.start,
        )
        planes = []
        with self._library().open_czi(str(self._path)) as file:
            for z in range(crop[0].start, crop[0].stop):
                place = {"T": t, "Z": z, "C": channel}
                plane = {axis: first + place[axis] for axis, first in self._first.items()}
                planes.append(_grey(file.read(roi=area, plane=plane, scene=self._scene)))
        return np.stack(planes)


def _grey(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return one value for each pixel of (y, x, 1) grey or (y, x, 3) blue, green, red."""
    if pixels.shape[2] == 1:
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
