"""From micrometres to pixels, and what to do when nobody knows the voxel size."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX, FrameSource
    from napari_celltrain.formats.options import ReadOptions

_UM_PER_UNIT = {
    "um": 1.0, "micron": 1.0, "micrometer": 1.0, "micrometre": 1.0, "nm": 1e-3, "nanometer": 1e-3,
    "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "m": 1e6, "meter": 1e6, "inch": 25400.0,
}


def um_per_unit(unit: str) -> float | None:
    """Return how many micrometres a unit is, in any spelling; None for pixels or unknown ones."""
    plain = unit.strip().lower().replace("µ", "u").replace("μ", "u").replace("\\u00b5", "u")
    plain = re.sub(r"(metre|meter)s?$", "meter", plain)
    if plain == "umeter":
        plain = "um"
    return _UM_PER_UNIT.get(plain, _UM_PER_UNIT.get(plain.removesuffix("s")))


_SECONDS_PER_UNIT = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3,
    "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0, "hour": 3600.0, "day": 86400.0,
}


def seconds_per_unit(unit: str) -> float | None:
    """Return how many seconds a unit is, in any spelling; None for frames or unknown ones."""
    plain = unit.strip().lower().rstrip(".")
    return _SECONDS_PER_UNIT.get(plain, _SECONDS_PER_UNIT.get(plain.removesuffix("s")))


def in_pixels(
    positions: NDArray[np.float64],
    unit: str,
    options: ReadOptions,
    images: FrameSource | None,
    findings: list[Finding],
    stated: ZYX | None = None,
) -> tuple[NDArray[np.float64], ZYX | None]:
    """Return positions in pixels, and the voxel size to go with them.

    Parameters
    ----------
    positions
        (z, y, x), shape (N, 3).
    unit
        ``px``, ``um``, or ``unknown`` (taken as pixels).
    options, images, stated
        Where a voxel size may come from: the person, the images, the file.
    findings
        Gets a sentence when the positions have to stay in micrometres.
    """
    voxel_size = options.voxel_size_um or stated
    if unit != "um":
        return positions, voxel_size
    # the file's own size made the micrometres from pixels, so it is what turns them back
    known = stated or voxel_size or (images.voxel_size_um if images is not None else None)
    if known is None:
        findings.append(
            Finding("warning", "unknown-voxel-size", "The positions are in micrometres and nobody "
                    "states the voxel size; they are taken as pixels. State the voxel size, or "
                    "the images, to put them right.")
        )
        return positions, None
    return positions / np.asarray(known, np.float64), voxel_size or known
