"""How large the cells are that a run learns from, each experiment for itself.

Where they are not alike, the images of each experiment are scaled so that its cells are as wide as
all others: nuclei of 6 um and of 18 um then look the same to the network, as they do to a person.
The price is that whoever looks for cells has to know how wide they are, or to find it out
(`prediction.cell_size`); as in Stringer et al., "Cellpose", Nature Methods 18:100 (2021).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_celltrain.experiment import Status
from napari_celltrain.statistics import estimate_diameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_celltrain.dataset import Split
    from napari_celltrain.experiment import ZYX, Experiment
    from napari_celltrain.statistics.diameter import Diameter

UNLIKE = 1.25
"""Cells whose diameters differ by more than this factor are told apart."""


def measured_diameters(experiments: Sequence[Experiment], split: Split) -> dict[int, Diameter]:
    """Measure the cell diameter of each experiment, where that is possible.

    In the frames that are trained on, if there are any; in um where the voxel size is known, else
    in pixels.
    """
    trained = {member for member, _ in split.train}
    found = {
        m: estimate_diameter(_only(one, split, m) if m in trained else one)
        for m, one in enumerate(experiments)
        if one.images is not None
    }
    return {m: estimate for m, estimate in found.items() if estimate is not None}


def cell_sizes(
    n_experiments: int, diameters: Mapping[int, Diameter], unit: str, usual: float
) -> tuple[float, ...]:
    """Return how wide the cells of each experiment are.

    Parameters
    ----------
    n_experiments
        Of the run.
    diameters
        As measured.
    unit
        ``um`` or ``px``.
    usual
        As wide are those that were not measured; and all of them, when they are about as wide.
    """
    # of images without a voxel size it was chosen so that their cells are as wide as others
    own = {m: one.diameter for m, one in diameters.items() if (one.unit == "px") == (unit == "px")}
    widths = (*own.values(), usual)
    if max(widths) <= UNLIKE * min(widths):
        own = {}
    return tuple(own.get(member, usual) for member in range(n_experiments))


def usual_spacing(
    experiments: Sequence[Experiment], split: Split, sizes: Sequence[ZYX], diameter: float
) -> float:
    """Return the distance of close neighbours where they are closest.

    Of the experiment where that is least, and within what is possible for cells so wide.

    Parameters
    ----------
    experiments, split
        Of the run.
    sizes
        Voxel size of each experiment's images, all scaled so that cells are `diameter` wide.
    diameter
        Of the cells.
    """
    found = []
    for member in {member for member, _ in split.train}:
        own = replace(split, train=tuple(one for one in split.train if one[0] == member))
        spacing = close_spacing(experiments, own, sizes)
        if spacing is not None:
            found.append(spacing)
    return float(np.clip(min(found, default=2 * diameter), 0.25 * diameter, 4 * diameter))


def close_spacing(
    experiments: Sequence[Experiment], split: Split, sizes: Sequence[ZYX]
) -> float | None:
    """Distance to the nearest neighbour that 10 % of the cells fall below; None without pairs."""
    distances = []
    for member, t in split.train:
        annotations = experiments[member].annotations
        here = annotations.at(t)
        here = here[annotations.statuses_at(t) == Status.CELL]
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


def how_measured(diameters: Mapping[int, Diameter]) -> str:
    """Say where the widths of cells come from."""
    in_images = any(one.source == "image" for one in diameters.values())
    return "measured at the annotated cells" if in_images else "from the spacing of the cells"
