"""Tables of splits and merges, as LapTrack gives them beside its table of tracks.

Each row names two tracks: the first goes over into the second. A track with two followers divides,
one with two predecessors is a merge.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Finding
from napari_celltrain.formats.csv_presets import normal_name
from napari_celltrain.formats.csv_text import read_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_COLUMNS = ("parent_track_id", "child_track_id")
_TRACKS = re.compile(r"track(s?)(?!.*track)", re.IGNORECASE)
_BRANCHES = re.compile(r"(?:split|merge)(s?)(?!.*(?:split|merge))", re.IGNORECASE)


def branch_columns(header: list[str]) -> tuple[int, int] | None:
    """Return the columns of the two tracks; None when it is no table of splits or merges."""
    names = [normal_name(name) for name in header]
    if "x" in names or not all(name in names for name in _COLUMNS):
        return None
    return names.index(_COLUMNS[0]), names.index(_COLUMNS[1])


def tracks_beside(path: Path) -> Path | None:
    """Return the table of tracks that belongs to one of splits: a_splits.csv, a_tracks.csv."""
    return next(iter(_named_like(path, _BRANCHES, ("track",))), None)


def branches_beside(path: Path) -> list[Path]:
    """Return the tables of splits and merges that belong to a table of tracks."""
    return _named_like(path, _TRACKS, ("split", "merge"))


def _named_like(path: Path, own: re.Pattern[str], words: tuple[str, ...]) -> list[Path]:
    found = []
    match = own.search(path.stem)
    if match is None:
        return []
    for word in words:
        for ending in dict.fromkeys((match[1], "s", "")):
            name = word + ending
            name = name.title() if match[0].istitle() else name
            stem = path.stem[: match.start()] + name + path.stem[match.end() :]
            candidate = path.with_name(stem + path.suffix)
            if candidate.is_file():
                found.append(candidate)
                break
    return found


def links_of_branches(
    paths: list[Path],
    t: NDArray[np.int64],
    track_ids: NDArray[np.float64],
    findings: list[Finding],
) -> NDArray[np.int64]:
    """Return links from the last position of a track to the first of the one that follows it.

    Parameters
    ----------
    paths
        Tables; those of other columns are left out.
    t, track_ids
        Time points and track numbers of the positions, shape (N,).
    findings
        Where to write of tracks that are not there, or not before the other one.
    """
    order = np.lexsort((t, track_ids))
    order = order[np.isfinite(track_ids[order])]
    tracks, starts = np.unique(track_ids[order], return_index=True)
    first, last = order[starts], order[np.append(starts[1:], len(order)) - 1]
    pairs = [np.empty((0, 2), np.int64)]
    for path in paths:
        table = read_table(path)
        columns = branch_columns(table.header)
        if columns is None:
            continue
        named = np.column_stack([table.numbers(at) for at in columns])
        named = named[np.isfinite(named).all(axis=1)]
        known = np.isin(named, tracks).all(axis=1)
        at = np.searchsorted(tracks, named[known])
        links = np.column_stack([last[at[:, 0]], first[at[:, 1]]]).astype(np.int64)
        forward = t[links[:, 0]] < t[links[:, 1]]
        lost = int((~known).sum() + (~forward).sum())
        if lost:
            findings.append(
                Finding(
                    "warning",
                    "unknown-track",
                    f"{lost} rows of {path.name} name a track that is not in the table of tracks, "
                    "or not before the other one; they are left out.",
                )
            )
        pairs.append(links[forward])
    return np.unique(np.concatenate(pairs), axis=0)
