"""Imaris' own files."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.hdf5 import Hdf5Movie, opened
from napari_celltrain.images.movie import Header
from napari_celltrain.images.tiff_metadata import positive, voxel_size
from napari_celltrain.images.units import um_per_unit

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_celltrain.experiment import ZYX


class ImarisMovie(Hdf5Movie):
    """An Imaris file, at full resolution; its padding is cut off, and time counts from 0.

    Parameters
    ----------
    path
        The ``.ims``.

    Raises
    ------
    CellTrainError
        When it is no Imaris 5.5 (HDF5) file.
    """

    def __init__(self, path: Path) -> None:
        with opened(path) as file:
            level = file.get("DataSet/ResolutionLevel 0")
            image = file.get("DataSetInfo/Image")
            if not isinstance(level, h5py.Group) or not isinstance(image, h5py.Group):
                raise CellTrainError(f"{path} is an HDF5 file, but not one of Imaris.")
            n_times = _consecutive(level, "TimePoint {}")
            first = level.get("TimePoint 0")
            n_channels = _consecutive(first, "Channel {}")
            if not n_times or not n_channels:
                raise CellTrainError(f"{path} holds no image.")
            data = first["Channel 0/Data"]
            sizes = [_text(image, axis) for axis in "ZYX"]
            shape = tuple(
                min(int(size), stored) if size.isdigit() and int(size) else stored
                for size, stored in zip(sizes, data.shape, strict=True)
            )
            voxel = _imaris_voxel(image, shape)
            interval = _imaris_interval(file.get("DataSetInfo/TimeInfo"))
            dtype, chunks = data.dtype, data.chunks
        super().__init__(
            path,
            Header(
                name=path.name,
                time_points=range(n_times),
                n_channels=n_channels,
                frame_shape=(shape[0], shape[1], shape[2]),
                dtype=dtype,
                voxel_size_um=voxel,
                frame_interval_s=interval,
                chunk_shape=chunks,
            ),
        )

    def _data_name(self, t: int, channel: int) -> str:
        return f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {channel}/Data"


def _consecutive(group: Any, name: str) -> int:
    number = 0
    while isinstance(group, h5py.Group) and name.format(number) in group:
        number += 1
    return number


def _text(group: Any, name: str) -> str:
    """Return an Imaris attribute: an array of single characters."""
    value = group.attrs.get(name, b"")
    if isinstance(value, np.ndarray):
        value = b"".join(np.atleast_1d(value).astype("S1").tolist())
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _imaris_voxel(image: Any, shape: Sequence[int]) -> ZYX | None:
    unit = um_per_unit(_text(image, "Unit") or "um")
    if unit is None:
        return None
    sizes: list[float | None] = []
    for axis, length in zip((2, 1, 0), shape, strict=True):
        low, high = _float(_text(image, f"ExtMin{axis}")), _float(_text(image, f"ExtMax{axis}"))
        sizes.append(None if low is None or high is None else (high - low) / length * unit)
    return voxel_size(*sizes, n_planes=shape[0])


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _imaris_interval(info: Any) -> float | None:
    """Return the seconds between the first two time points."""
    if not isinstance(info, h5py.Group):
        return None
    try:
        first, second = (
            datetime.fromisoformat(_text(info, f"TimePoint{number}").strip()) for number in (1, 2)
        )
    except ValueError:
        return None
    return positive((second - first).total_seconds())
