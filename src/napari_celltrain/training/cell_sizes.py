"""How large the cells are that a run learns from, each experiment for itself."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_celltrain.detector.design import Cells
from napari_celltrain.statistics import estimate_diameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_celltrain.dataset import Split
    from napari_celltrain.experiment import ZYX, Experiment
    from napari_celltrain.statistics.diameter import Diameter

UNLIKE = 1.25
"""Cells whose diameters differ by more than this factor are told apart."""


def measured_diameters(
    experiments: Sequence[Experiment], split: Split, members: Sequence[int]
) -> dict[int, Diameter]:
    """Measure the cell diameter in the training frames of each experiment, where that is possible.

    In um where the voxel size is known, else in pixels.
    """
    found = {m: estimate_diameter(_only(experiments[m], split, m)) for m in members}
    return {m: estimate for m, estimate in found.items() if estimate is not None}


def cell_sizes(
    experiments: Sequence[Experiment],
    split: Split,
    sizes: Sequence[ZYX],
    diameters: Mapping[int, Diameter],
    unit: str,
    usual: Cells,
) -> list[Cells]:
    """Return how large the cells of each experiment are.

    Parameters
    ----------
    experiments, split
        Of the run.
    sizes
        Voxel size of each experiment's images, in `unit`.
    diameters
        As measured.
    unit
        ``um`` or ``px``.
    usual
        Cells that are about as wide as these count as alike.
    """
    cells = [usual] * len(experiments)
    for member, estimate in diameters.items():
        # of images without a voxel size it was chosen so that their cells are as wide as others
        if (estimate.unit == "px") != (unit == "px"):
            continue
        diameter = estimate.diameter
        if max(diameter, usual.diameter) > UNLIKE * min(diameter, usual.diameter):
            own = replace(split, train=tuple(one for one in split.train if one[0] == member))
            cells[member] = Cells(diameter, usual_spacing(experiments, own, sizes, diameter))
    return cells


def usual_spacing(
    experiments: Sequence[Experiment], split: Split, sizes: Sequence[ZYX], diameter: float
) -> float:
    """Return the distance of close neighbours, within what is possible for cells so wide."""
    spacing = close_spacing(experiments, split, sizes)
    if spacing is None:
        spacing = 2 * diameter
    return float(np.clip(spacing, 0.25 * diameter, 4 * diameter))


def close_spacing(
    experiments: Sequence[Experiment], split: Split, sizes: Sequence[ZYX]
) -> float | None:
    """Distance to the nearest neighbour that 10 % of the cells fall below; None without pairs."""
    distances = []
    for member, t in split.train:
        annotations = experiments[member].annotations
        here = annotations.at(t)
        here = here[annotations.is_cell[here]]
        if len(here) > 1:
            points = annotations.positions[here] * np.array(sizes[member])
            distances.append(cKDTree(points).query(points, k=2)[0][:, 1])
    if not distances:
        return None
    together = np.concatenate(distances)
    together = together[np.isfinite(together) & (together > 0)]
    return float(np.percentile(together, 10)) if len(together) else None


def _only(experiment: Experiment, split: Split, member: int) -> Experiment:
    """Leave only the annotations that are trained on: held-out frames decide nothing."""
    times = [t for m, t in split.train if m == member]
    annotations = experiment.annotations
    return replace(experiment, annotations=annotations.select(np.isin(annotations.t, times)))
