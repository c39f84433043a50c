"""Voxel size and frame interval, from the metadata that different programs put into a TIFF."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.units import seconds_per_unit, um_per_unit

if TYPE_CHECKING:
    import tifffile

    from napari_celltrain.experiment import ZYX


def scale_of(
    tiff: tifffile.TiffFile, series_index: int, n_planes: int
) -> tuple[ZYX | None, float | None]:
    """Return (voxel size in um, frame interval in s), each None where the file does not say.

    The resolution tags of an ordinary TIFF are left alone: they speak of printing.
    """
    voxel: tuple[float | None, float | None, float | None]
    if tiff.is_ome and tiff.ome_metadata:
        voxel, interval = _ome(tiff.ome_metadata, series_index)
    elif tiff.is_imagej and tiff.imagej_metadata:
        voxel, interval = _imagej(tiff.imagej_metadata, tiff.pages.first.tags)
    elif tiff.is_lsm and tiff.lsm_metadata:
        voxel, interval = _lsm(tiff.lsm_metadata)
    else:
        return None, None
    return voxel_size(*voxel, n_planes=n_planes), positive(interval)


def voxel_size(z: float | None, y: float | None, x: float | None, *, n_planes: int) -> ZYX | None:
    """Put a voxel size together: all of it or nothing; the height of a single plane is 1 um."""
    y, x = positive(y), positive(x)
    z = positive(z) or (1.0 if n_planes == 1 else None)
    return None if z is None or y is None or x is None else (z, y, x)


def positive(value: Any) -> float | None:
    """Return a positive finite number, or None for anything else."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _imagej(metadata: dict[str, Any], tags: tifffile.TiffTags) -> tuple[Any, float | None]:
    interval = positive(metadata.get("finterval"))
    if interval is not None:
        interval *= seconds_per_unit(str(metadata.get("tunit", "sec"))) or 1.0
    unit = um_per_unit(str(metadata.get("unit", "")))
    if unit is None:
        return (None, None, None), interval
    x = _per_pixel(tags.valueof("XResolution"), unit)
    y = _per_pixel(tags.valueof("YResolution"), unit)
    # ImageJ leaves the spacing out when it is 1.
    spacing = metadata.get("spacing", 1.0)
    z = positive(abs(spacing) if isinstance(spacing, (int, float)) else None)
    z = None if z is None else z * unit
    return (z, y, x), interval


def _per_pixel(resolution: Any, unit: float) -> float | None:
    """Turn pixels for a unit, as a fraction, into micrometres for a pixel."""
    try:
        pixels, units = resolution
        return unit * float(units) / float(pixels)
    except (TypeError, ValueError, ZeroDivisionError):
        return None


def _lsm(metadata: dict[str, Any]) -> tuple[Any, float | None]:
    z, y, x = (positive(metadata.get(f"VoxelSize{axis}")) for axis in "ZYX")
    interval = metadata.get("TimeIntervall", metadata.get("TimeInterval"))  # the library's spelling
    return tuple(None if v is None else v * 1e6 for v in (z, y, x)), interval


def _ome(text: str, series_index: int) -> tuple[Any, float | None]:
    from napari_celltrain.formats.xml_reading import tree_of_text

    unknown = (None, None, None)
    try:
        root = tree_of_text(text)
    except CellTrainError:  # the pixels can be read without it
        return unknown, None
    images = root.findall("{*}Image")
    if not images:
        return unknown, None
    pixels = images[min(series_index, len(images) - 1)].find("{*}Pixels")
    if pixels is None:
        return unknown, None

    def size(axis: str) -> float | None:
        value = positive(pixels.get(f"PhysicalSize{axis}"))
        unit = um_per_unit(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        return None if value is None or unit is None else value * unit

    interval = positive(pixels.get("TimeIncrement"))
    unit = seconds_per_unit(pixels.get("TimeIncrementUnit", "s"))
    seconds = None if interval is None or unit is None else interval * unit
    return (size("Z"), size("Y"), size("X")), seconds
