"""What the axes of a GEFF store mean: which is which, in what unit, from where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding
from napari_celltrain.formats.documents import number_or_none
from napari_celltrain.images.units import seconds_per_unit, um_per_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TIME_NAMES = ("t", "time", "frame", "timepoint", "time_point")
_PIXELS = ("", "px", "pixel", "pixels", "voxel", "voxels", "dimensionless", "arbitrary unit")
_FRAME_NAMES = ("FRAME", "frame", "timepoint", "time_point")


@dataclass(frozen=True)
class AxisOfStore:
    """One axis.

    Parameters
    ----------
    name
        Of the property that holds the values.
    unit
        As stated, "" for none.
    scale
        Factor from the values to `scaled_unit`, if stated.
    scaled_unit
        As stated.
    offset
        What to add after scaling, in `scaled_unit`.
    """

    name: str
    unit: str = ""
    scale: float | None = None
    scaled_unit: str = ""
    offset: float = 0.0

    @property
    def um(self) -> float | None:
        """Micrometres of a unit; None for pixels."""
        return um_per_unit(self.unit)

    @property
    def has_unknown_unit(self) -> bool:
        """Whether it states a unit that is neither pixels nor a known length."""
        return self.um is None and self.unit.strip().lower() not in _PIXELS

    @property
    def scale_um(self) -> float | None:
        """The pixel size that an axis in pixels states."""
        um = um_per_unit(self.scaled_unit)
        return None if self.scale is None or um is None else self.scale * um

    def values(self, columns: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
        """Return the values; those in physical units with scale and offset applied."""
        values = np.asarray(columns[self.name], np.float64)
        if self.um is None:
            return values
        return values * (self.scale or 1.0) + self.offset


@dataclass(frozen=True)
class Axes:
    """The time axis, and z (None in 2D), y and x."""

    time: AxisOfStore
    space: tuple[AxisOfStore | None, AxisOfStore, AxisOfStore]

    @property
    def in_micrometres(self) -> bool:
        """Whether positions are physical."""
        return self.space[2].um is not None


def axes_of(stated: Any, properties: list[str], findings: list[Finding]) -> Axes:
    """Find out which property is which axis: by type and name, then by order.

    Raises
    ------
    CellTrainError
        When there is no time, or are not two or three axes in space.
    """
    entries = [one for one in stated if isinstance(one, dict)] if isinstance(stated, list) else []
    axes = [_axis(entry) for entry in entries]
    kinds = [str(entry.get("type") or "") for entry in entries]
    if not axes:
        axes = [AxisOfStore(name) for name in properties if name.lower() in ("t", "z", "y", "x")]
        kinds = [""] * len(axes)
    missing = [axis.name for axis in axes if axis.name not in properties]
    if missing:
        raise CellTrainError(f"The axis {missing[0]!r} has no values.")
    times = [
        axis
        for axis, kind in zip(axes, kinds, strict=True)
        if kind == "time" or (not kind and axis.name.lower() in _TIME_NAMES)
    ]
    space = [
        axis
        for axis, kind in zip(axes, kinds, strict=True)
        if axis not in times and kind in ("space", "")
    ]
    if not times:
        raise CellTrainError("It has no time axis.")
    if len(space) not in (2, 3):
        raise CellTrainError(f"It has {len(space)} axes in space; two or three are needed.")
    by_letter = {_letter(axis.name): axis for axis in space}
    if {"y", "x"} <= set(by_letter) and len(by_letter) == len(space):
        return Axes(times[0], (by_letter.get("z"), by_letter["y"], by_letter["x"]))
    findings.append(
        Finding(
            "warning",
            "axis-names",
            "The axes in space are called "
            f"{', '.join(axis.name for axis in space)}; they are taken as "
            f"{'z, y, x' if len(space) == 3 else 'y, x'}.",
        )
    )
    return Axes(times[0], (space[0] if len(space) == 3 else None, space[-2], space[-1]))


def frames_of_times(
    time: AxisOfStore, columns: dict[str, NDArray[Any]], findings: list[Finding]
) -> tuple[NDArray[np.float64], float | None]:
    """Return the frame numbers, and the seconds between them if the store says.

    A time in seconds is not a frame number: then a property with the frame is used, else the
    shortest step between two times is one frame.
    """
    values = np.asarray(columns[time.name], np.float64)
    seconds = seconds_per_unit(time.unit)
    if seconds is None:
        per_scaled = seconds_per_unit(time.scaled_unit)
        known = time.scale is not None and per_scaled is not None
        return values, time.scale * per_scaled if known else None  # type: ignore[operator]
    finite = np.unique(values[np.isfinite(values)])
    for name in _FRAME_NAMES:
        frames = columns.get(name)
        if name != time.name and frames is not None and frames.dtype.kind in "iuf":
            spread = np.ptp(finite) if len(finite) else 0
            steps = np.ptp(frames) if len(frames) else 0
            return np.asarray(frames, np.float64), spread / steps * seconds if steps else None
    if len(finite) < 2:
        return np.zeros(len(values)), None
    step = float(np.diff(finite).min())
    frames = np.round(values / step)
    findings.append(
        Finding(
            "warning",
            "time-in-seconds",
            f"The times are in {time.unit}; the shortest step, {step:g}, is taken as one frame.",
        )
    )
    return frames, step * seconds


def _axis(entry: dict[str, Any]) -> AxisOfStore:
    offset = entry.get("offset")
    try:
        shift = float(offset or 0)
    except (TypeError, ValueError):
        shift = 0.0
    return AxisOfStore(
        str(entry.get("name", "")),
        str(entry.get("unit") or ""),
        number_or_none(entry.get("scale")),
        str(entry.get("scaled_unit") or ""),
        shift,
    )


def _letter(name: str) -> str:
    lower = name.lower()
    if lower in ("z", "y", "x"):
        return lower
    if lower.endswith(("_x", "_y", "_z")):
        return lower[-1]
    return name
