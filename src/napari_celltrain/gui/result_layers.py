"""Layers that hold results: detections with their scores, and errors beside an annotation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.gui.comparison import FALSE, FOUND, MISSED
from napari_celltrain.gui.layers import METADATA, hollow, placement

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Points

    from napari_celltrain.experiment import ZYX
    from napari_celltrain.gui.candidates import Candidates
    from napari_celltrain.gui.comparison import Comparison

OUTCOME_COLOURS = {FOUND: "#56b4e9", MISSED: "#f0e442", FALSE: "#d55e00"}
OUTCOME_SYMBOLS = {FOUND: "disc", MISSED: "square", FALSE: "cross"}
"""Shape as well as colour."""


def add_detections(
    viewer: ViewerModel, name: str, voxel_size_um: ZYX | None, size: float, note: dict[str, Any]
) -> Points:
    """Add an empty layer for detections.

    Parameters
    ----------
    viewer
        napari's viewer.
    name
        Of the layer.
    voxel_size_um
        Of the image.
    size
        Cell diameter in pixels.
    note
        For the layer's metadata.
    """
    return viewer.add_points(
        np.empty((0, 4)),
        ndim=4,
        name=name,
        size=size,
        features={"score": np.empty(0)},
        metadata={METADATA: {**note, "role": "detections"}},
        **hollow("#56b4e9"),
        **placement(voxel_size_um),
    )


def show_candidates(layer: Points, candidates: Candidates, threshold: float) -> None:
    """Put candidates into their layer; those below the threshold are there, but not shown."""
    size = float(np.atleast_1d(layer.current_size)[0])
    with layer.events.blocker_all():
        layer.data = np.column_stack([candidates.t, candidates.positions])
    layer.features = {"score": candidates.scores}
    layer.size = size
    layer.shown = candidates.reaching(threshold)
    layer.border_color = score_colours(candidates.scores)
    layer.events.data(value=layer.data)


def score_colours(scores: np.ndarray) -> np.ndarray:
    """Return colours from red (unsure) over orange to bright yellow (sure), shape (N, 4)."""
    share = np.clip(scores, 0, 1)
    return np.column_stack([np.ones_like(share), 0.25 + 0.7 * share, 0.1 + 0.2 * share, share**0])


def add_errors(
    viewer: ViewerModel, name: str, comparison: Comparison, voxel_size_um: ZYX | None, size: float
) -> Points:
    """Add a layer of found, missed and false cells, in different colours and shapes."""
    layer = viewer.add_points(
        np.column_stack([comparison.t, comparison.positions]),
        ndim=4,
        name=name,
        size=size,
        features={"outcome": comparison.outcome},
        symbol=[OUTCOME_SYMBOLS[one] for one in comparison.outcome.tolist()] or "disc",
        metadata={METADATA: {"role": "errors"}},
        **{**hollow("#ffffff"), "border_width": 0.2},
        **placement(voxel_size_um),
    )
    if len(comparison.outcome):
        layer.border_color = [OUTCOME_COLOURS[one] for one in comparison.outcome.tolist()]
    return layer
