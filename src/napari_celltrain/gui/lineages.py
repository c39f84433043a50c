"""Links between positions as the tracks and the graph that napari's Tracks layer wants."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations


def track_ids(annotations: Annotations) -> NDArray[np.int64]:
    """Number the tracks from 0, shape (N,).

    A track is a run of links without a division or a merge; a position without links is one too.
    """
    n, links = len(annotations), annotations.links
    ways_out = np.bincount(links[:, 0], minlength=n)
    ways_in = np.bincount(links[:, 1], minlength=n)
    within = (ways_out[links[:, 0]] == 1) & (ways_in[links[:, 1]] == 1)
    earlier, later = links[within].T
    graph = coo_array((np.ones(len(earlier), bool), (earlier, later)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def napari_tracks(
    annotations: Annotations,
) -> tuple[NDArray[np.float64], dict[int, list[int]]]:
    """Return rows (track, t, z, y, x) sorted by track and time, and {track: its parent tracks}.

    Positions without any link are left out: they are no tracks, and the points layer shows them.
    """
    tracks, links = track_ids(annotations), annotations.links
    linked = np.zeros(len(annotations), bool)
    linked[links.ravel()] = True
    rows = np.column_stack([tracks, annotations.t, annotations.positions])[linked]
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0]))]
    graph: dict[int, list[int]] = {}
    for parent, child in np.unique(tracks[links], axis=0).tolist():
        if parent != child:
            graph.setdefault(child, []).append(parent)
    return rows, graph
