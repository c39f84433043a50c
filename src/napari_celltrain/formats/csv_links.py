"""Links from the columns of a table: parents by row, by track, or by object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Finding
from napari_celltrain.formats.tracks import links_of_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.formats.csv_presets import Parents


def links_of_columns(
    t: NDArray[np.int64],
    columns: dict[str, NDArray[np.float64]],
    parents: Parents,
    findings: list[Finding],
) -> NDArray[np.int64]:
    """Return the links that a table states, shape (L, 2), the parent first.

    Three customs are known: a parent's id in each row; a parent's track in the rows of a track
    (whose rows follow each other); and track numbers only, which hold no divisions.

    Parameters
    ----------
    t
        Time points, shape (N,).
    columns
        Any of id, track_id, parent_id, parent_track_id, each of shape (N,), NaN for none.
    parents
        What parent_id refers to.
    findings
        Where to write what does not fit together.
    """
    ids, parent_ids = columns.get("id"), columns.get("parent_id")
    track_ids = columns.get("track_id")
    if parent_ids is not None and parents == "object" and ids is not None:
        widest = np.nan_to_num(np.maximum(np.abs(ids), np.abs(parent_ids))).max(initial=0) + 1
        keys, parent_keys = t * widest + ids, (t - 1) * widest + parent_ids
        return _by_key(keys, parent_keys, parent_ids > 0, findings)
    if parent_ids is not None and ids is not None and parents == "id":
        return _by_key(ids, parent_ids, np.isfinite(parent_ids), findings)
    if track_ids is None:
        return np.empty((0, 2), np.int64)
    rows = _unbranched(t, track_ids, findings)
    along = rows[links_of_labels(t[rows], _whole(track_ids[rows]))]
    parent_tracks = columns.get("parent_track_id", parent_ids)
    if parent_tracks is None:
        return along
    return np.concatenate([along, _by_track(t, track_ids, parent_tracks, findings)])


def _unbranched(
    t: NDArray[np.int64], track_ids: NDArray[np.float64], findings: list[Finding]
) -> NDArray[np.int64]:
    """Return the rows of tracks with one position for each time point.

    In the tables of some programs a track is a whole lineage; which of two daughters follows
    which is not in the table then.
    """
    rows = np.flatnonzero(np.isfinite(track_ids))
    keys = np.column_stack([track_ids[rows], t[rows]])
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    branched = np.unique(track_ids[rows][first[counts > 1]])
    if len(branched):
        findings.append(
            Finding(
                "warning",
                "branched-tracks",
                f"Tracks with several positions at one time point: {len(branched)}. They divide, "
                "and the table does not say how; their positions are taken without links.",
            )
        )
    return rows[~np.isin(track_ids[rows], branched)]


def _whole(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return numbers that are equal exactly where the given ones are."""
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)


def _by_key(
    keys: NDArray[np.float64],
    parent_keys: NDArray[np.float64],
    has_parent: NDArray[np.bool_],
    findings: list[Finding],
) -> NDArray[np.int64]:
    rows = np.flatnonzero(np.isfinite(keys))
    order = rows[np.argsort(keys[rows], kind="stable")]
    sorted_keys = keys[order]
    if (sorted_keys[1:] == sorted_keys[:-1]).any():
        findings.append(
            Finding(
                "warning",
                "repeated-id",
                "Some ids occur in several rows; a parent is taken to be the last of them.",
            )
        )
    children = np.flatnonzero(has_parent)
    wanted = parent_keys[children]
    at = np.searchsorted(sorted_keys, wanted, "right") - 1
    found = (at >= 0) & (sorted_keys[at] == wanted) if len(order) else np.zeros(len(at), bool)
    lost = int((~found & (wanted > 0)).sum())  # 0 and -1 are ways to say: none
    if lost:
        findings.append(
            Finding(
                "warning",
                "unknown-mother",
                f"{lost} rows name a parent that is not in the table; they have none.",
            )
        )
    links = np.column_stack([order[at[found]], children[found]]).astype(np.int64)
    return np.asarray(links[links[:, 0] != links[:, 1]])


def _by_track(
    t: NDArray[np.int64],
    track_ids: NDArray[np.float64],
    parent_tracks: NDArray[np.float64],
    findings: list[Finding],
) -> NDArray[np.int64]:
    first: dict[float, int] = {}
    rows_of: dict[float, list[int]] = {}
    parent_of: dict[float, float] = {}
    for row in np.argsort(t, kind="stable").tolist():
        track = float(track_ids[row])
        if track != track:
            continue
        first.setdefault(track, row)
        rows_of.setdefault(track, []).append(row)
        parent = float(parent_tracks[row])
        if parent == parent and parent >= 0 and parent != track:
            parent_of.setdefault(track, parent)
    links, lost = [], 0
    for track, parent in parent_of.items():
        earlier = [row for row in rows_of.get(parent, ()) if t[row] < t[first[track]]]
        if earlier:
            links.append((earlier[-1], first[track]))
        elif parent != 0 or parent in rows_of:
            lost += 1
    if lost:
        findings.append(
            Finding(
                "warning",
                "unknown-mother",
                f"{lost} tracks name a parent track that is not "
                "there before them; they start without a mother.",
            )
        )
    return np.array(links, np.int64).reshape(-1, 2)
