"""Counting what is annotated."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_celltrain.experiment import Status
from napari_celltrain.statistics.spacing import nearest_distances, time_points_with_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, Experiment


@dataclass(frozen=True)
class Counts:
    """What is annotated in one experiment, within the time range to use.

    A track is a longest unbranched chain of linked cells: it ends where a cell divides, merges,
    or is not linked on. A cell without any link is no track.
    """

    name: str
    time_points: int
    """Time points of the movie; 0 when there are no images."""
    annotated_time_points: int
    """Time points with at least one annotated cell."""
    positions: int
    """Annotated cells."""
    tracks: int
    divisions: int
    merges: int = 0
    unknown: int = 0
    """Marks that say: nobody decided."""
    not_cells: int = 0
    """Marks that say: no cell."""
    positions_per_time_point: dict[int, int] = field(default_factory=dict)
    """Cells in each annotated time point, ascending."""
    median_spacing: float | None = None
    """Median distance to the nearest neighbour; None when no frame has two cells."""
    unit: Literal["um", "px"] = "px"
    """Unit of the spacing: um where the voxel size is known."""
    median_spacing_px: float | None = None
    """The spacing in pixels of the plane."""


@dataclass(frozen=True)
class Totals:
    """The same over several experiments."""

    experiments: int
    time_points: int
    annotated_time_points: int
    positions: int
    tracks: int
    divisions: int
    merges: int = 0
    unknown: int = 0
    not_cells: int = 0


SUMMED = (
    "time_points", "annotated_time_points", "positions", "tracks", "divisions", "merges",
    "unknown", "not_cells",
)  # fmt: skip


def count(experiment: Experiment, *, spacing: bool = True) -> Counts:
    """Count what is annotated in an experiment; reads no pixels.

    Parameters
    ----------
    experiment
        With or without images.
    spacing
        False leaves the spacing out: it takes by far the longest, and a window that counts at
        every change can have it later.
    """
    annotations = experiment.usable_annotations()
    status = annotations.status
    assert status is not None  # set when annotations are made
    is_cell = annotations.is_cell
    times, numbers = time_points_with_numbers(annotations.t[is_cell])
    tracks, divisions, merges = _lineages(annotations)
    distances = nearest_distances(experiment) if spacing else np.empty(0)
    median = float(np.median(distances)) if len(distances) else None
    voxel = experiment.known_voxel_size_um
    pixel = 1.0 if voxel is None else math.sqrt(voxel[1] * voxel[2])
    return Counts(
        name=experiment.name,
        time_points=len(experiment.image_time_points()),
        annotated_time_points=len(times),
        positions=int(is_cell.sum()),
        tracks=tracks,
        divisions=divisions,
        merges=merges,
        unknown=int(np.count_nonzero(status == Status.UNKNOWN)),
        not_cells=int(np.count_nonzero(status == Status.NOT_A_CELL)),
        positions_per_time_point=dict(zip(times.tolist(), numbers.tolist(), strict=True)),
        median_spacing=median,
        unit="px" if voxel is None else "um",
        median_spacing_px=None if median is None else median / pixel,
    )


def total(counts: Sequence[Counts]) -> Totals:
    """Add up what several experiments have."""
    sums = {name: sum(getattr(one, name) for one in counts) for name in SUMMED}
    return Totals(experiments=len(counts), **sums)


def _lineages(annotations: Annotations) -> tuple[int, int, int]:
    """Return the numbers of tracks, divisions and merges among the cells."""
    links = annotations.links[annotations.is_cell[annotations.links].all(axis=1)]
    if not len(links):
        return 0, 0, 0
    links = _distinct(links, len(annotations))
    later = np.bincount(links[:, 0], minlength=len(annotations))
    earlier = np.bincount(links[:, 1], minlength=len(annotations))
    # Every link that is the only one at both its ends joins two cells into one track.
    joining = (later[links[:, 0]] == 1) & (earlier[links[:, 1]] == 1)
    linked = np.count_nonzero(later + earlier)
    return (
        int(linked - np.count_nonzero(joining)),
        int(np.count_nonzero(later > 1)),
        int(np.count_nonzero(earlier > 1)),
    )


def _distinct(links: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Leave out links that are there twice."""
    keys = np.sort(links[:, 0] * n + links[:, 1])  # np.unique hashes, which is slower here
    keys = keys[np.append(True, keys[1:] != keys[:-1])]
    return np.stack([keys // n, keys % n], axis=1)
