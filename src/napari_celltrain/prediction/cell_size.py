"""How wide the cells of a movie are, found out by looking for cells of several sizes.

A detector that learnt from cells of unlike size knows them by their looks alone, and one that
learnt without a voxel size can't know the magnification of the next movie. Both look at one frame
first, at several scales: the right one is where the cells that are found are as wide in the image
as those that were looked for.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.detector.design import WIDEST_CELL
from napari_celltrain.detector.detections import Job
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment, Finding
from napari_celltrain.images import ArraySource
from napari_celltrain.prediction.frames import middle_of
from napari_celltrain.statistics.diameter import estimate_diameter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.detections import Detections
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import ZYX
    from napari_celltrain.prediction.frames import Box, Part

    Find = Callable[[Job], Detections]

RATIO = 1.4
"""From one size that is looked for to the next; augmentation makes a network bear that."""
BEYOND = 1.4
"""Cells may be so much smaller or larger than those of the training."""
FARTHEST = 4.0
"""The same where not even the magnification is known."""
FEWEST = 5
"""Cells, or nothing is said of their size."""
PIECE_VOXELS = 2_000_000
"""Working voxels of the middle of a frame that are looked at, at each size."""
ALIKE = 1.2
"""Cells that are less than so many times as wide as usual are taken as usual."""


def size_of_cells(
    detector: Detector,
    looks: Iterable[Part],
    voxel_size: ZYX,
    name: str,
    gamma: float,
    find: Find,
) -> tuple[float, list[Finding]]:
    """Find out how wide the cells of a movie are, for a detector that has to be told.

    Parameters
    ----------
    detector
        That is to look for them.
    looks
        What the detector sees of the middle (`middle_for_sizes`) of some time points.
    voxel_size
        (z, y, x) in the detector's unit.
    name
        Of the movie.
    gamma
        As in `Detector.detect`.
    find
        Has the detector look for cells.

    Returns
    -------
    The diameter in the detector's unit, and what was found out in words.
    """
    design = detector.design
    measured = (cell_diameter_in(detector, look, voxel_size, gamma, find) for look in looks)
    widths = [width for width in measured if width is not None]
    unit = "um" if design.unit == "um" else "pixels"
    if not widths:
        if design.sizes is None:
            return design.diameter, []
        return design.diameter, [
            Finding(
                "warning",
                "cell-diameter",
                f"How wide the cells of {name} are could not be found out: "
                f"{design.diameter:.3g} {unit} is assumed. Give the cell diameter if that is not "
                "right.",
                name,
            )
        ]
    found = float(np.median(widths))
    if design.sizes is None and 1 / ALIKE < found / design.diameter < ALIKE:
        return design.diameter, []
    usual = (
        f"; the detector learnt from cells {design.diameter:.3g} {unit} wide"
        if design.sizes is None
        else ""
    )
    return found, [
        Finding(
            "info",
            "cell-diameter",
            f"The cells of {name} look {found:.3g} {unit} wide{usual}: images are scaled for "
            "that. Give the cell diameter if it is not right.",
            name,
        )
    ]


def needs_size(detector: Detector) -> bool:
    """Tell whether a detector has to be told how wide the cells of a movie are."""
    return detector.design.sizes is not None or detector.design.unit == "px"


def check_cell_diameter(detector: Detector, voxel_size: ZYX, diameter: float) -> None:
    """Refuse a diameter that no cell can have.

    Raises
    ------
    CellTrainError
        Saying how many pixels that would be.
    """
    in_px = diameter / min(voxel_size[1:])
    if not 1 <= in_px <= WIDEST_CELL:  # NaN neither
        unit = "um" if detector.design.unit == "um" else "pixels"
        raise CellTrainError(
            f"A cell diameter of {diameter:g} {unit} is not possible: that would be {in_px:.3g} "
            "pixels of this movie."
        )


def cell_diameter_in(
    detector: Detector, look: Part, voxel_size: ZYX, gamma: float, find: Find
) -> float | None:
    """Find out how wide the cells of one time point are.

    Where cells are looked for that are too large, those that are found turn out to be smaller, and
    the other way round: the size is sought at which they turn out to be as looked for. Noise may
    look like tiny cells too, so the largest such size counts.

    Parameters
    ----------
    detector
        That is to look for them.
    look, gamma, find
        As in `size_of_cells`.
    voxel_size
        (z, y, x) in the detector's unit.

    Returns
    -------
    The diameter in the detector's unit; None when too few were found at any size.
    """
    above: tuple[float, float] | None = None
    """The size looked for before, and by how much what was found was smaller (logarithms)."""
    for size in reversed(_sizes(detector, voxel_size)):
        measured = _measured_at(detector, look, voxel_size, size, gamma, find)
        if measured is None:
            continue
        here, larger = math.log(size), math.log(measured / size)
        if larger >= 0:
            if above is None:
                return measured if larger < math.log(RATIO) else None
            coarse, smaller = above
            return math.exp(here + (coarse - here) * larger / (larger - smaller))
        above = here, larger
    return None


def middle_for_sizes(detector: Detector, voxel_size: ZYX, shape: tuple[int, int, int]) -> Box:
    """Return what of a (z, y, x) frame has to be read to find out how wide its cells are."""
    sizes = _sizes(detector, voxel_size)
    boxes = [_middle_at(detector.design, voxel_size, size, shape) for size in sizes]
    z, y, x = (
        slice(min(one.start for one in parts), max(one.stop for one in parts))
        for parts in zip(*boxes, strict=True)
    )
    return z, y, x


def _middle_at(design: Design, voxel_size: ZYX, size: float, shape: tuple[int, int, int]) -> Box:
    """Return the middle of a frame in which cells of a size are looked for."""
    steps = design.steps(design.relative(voxel_size, size), shape[0])
    return middle_of(shape, steps, PIECE_VOXELS)


def _measured_at(
    detector: Detector, look: Part, voxel_size: ZYX, size: float, gamma: float, find: Find
) -> float | None:
    """Look for cells of a size, and measure those that are found; None when they are too few."""
    design = detector.design
    piece = look.cut(_middle_at(design, voxel_size, size, look.whole))
    found = find(Job(piece, voxel_size, size, gamma))
    found = found.above(detector.threshold)
    if len(found) < FEWEST:
        return None
    own = -design.time_window[0] * design.n_channels
    experiment = Experiment(
        "",
        Annotations(np.zeros(len(found), np.int64), found.positions),
        ArraySource(piece[own], "zyx", name=""),
        voxel_size_um=voxel_size,
    )
    estimate = estimate_diameter(experiment)
    return None if estimate is None or estimate.source != "image" else estimate.diameter


def _sizes(detector: Detector, voxel_size: ZYX) -> list[float]:
    """Return the diameters to look for, in the detector's unit."""
    design = detector.design
    if design.sizes is None:
        around = math.floor(math.log(FARTHEST) / math.log(RATIO))
        sizes = [design.diameter * RATIO**step for step in range(-around, around + 1)]
    else:
        low, high = design.sizes[0] / BEYOND, design.sizes[1] * BEYOND
        n = math.ceil(math.log(high / low) / math.log(RATIO)) + 1
        sizes = [float(size) for size in np.geomspace(low, high, n)]
    finest = min(voxel_size[1:])
    possible = [size for size in sizes if 3 <= size / finest <= WIDEST_CELL]
    return possible or sizes[:1]
