"""Between links and tracks: a track is a chain of positions without a division or merge inside."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

_APART_PX = 0.05
_TOUCHED_PX = 0.25
_MOST_IN_BETWEEN = 10**5


@dataclass(frozen=True, eq=False)
class Track:
    """A chain of positions.

    Parameters
    ----------
    points
        Indices of the positions, in time order.
    links
        Indices of the links along the chain, one fewer than points.
    parent_links
        Indices of the links that lead to the first point (a division's other half, a merge).
    has_children
        Whether links leave the last point.
    """

    points: NDArray[np.int64]
    links: NDArray[np.int64]
    parent_links: NDArray[np.int64]
    has_children: bool


def tracks_of(annotations: Annotations) -> list[Track]:
    """Cut the links into tracks, ordered by their first point's time, then number."""
    n, links = len(annotations), annotations.links
    out_degree = np.bincount(links[:, 0], minlength=n)
    in_degree = np.bincount(links[:, 1], minlength=n)
    along = (out_degree[links[:, 0]] == 1) & (in_degree[links[:, 1]] == 1)
    next_link = np.full(n, -1, np.int64)
    next_link[links[along, 0]] = np.flatnonzero(along)
    starts = np.ones(n, bool)
    starts[links[along, 1]] = False
    to_starts = np.flatnonzero(~along)
    to_starts = to_starts[np.argsort(links[to_starts, 1], kind="stable")]
    ends_at = links[to_starts, 1]
    first_points = np.flatnonzero(starts)
    first_points = first_points[np.argsort(annotations.t[first_points], kind="stable")]
    low = np.searchsorted(ends_at, first_points, "left")
    high = np.searchsorted(ends_at, first_points, "right")
    link_after, target = next_link.tolist(), links[:, 1].tolist()
    tracks = []
    for first, left, right in zip(first_points.tolist(), low, high, strict=True):
        points, chain = [first], []
        link = link_after[first]
        while link >= 0:
            chain.append(link)
            points.append(target[link])
            link = link_after[points[-1]]
        tracks.append(
            Track(
                np.array(points, np.int64),
                np.array(chain, np.int64),
                to_starts[left:right],
                bool(out_degree[points[-1]]),
            )
        )
    return tracks


def track_numbers(annotations: Annotations, tracks: list[Track]) -> NDArray[np.int64]:
    """Return, for each position, the number of its track in the list, shape (N,)."""
    numbers = np.full(len(annotations), -1, np.int64)
    for number, track in enumerate(tracks):
        numbers[track.points] = number
    return numbers


def links_of_labels(t: NDArray[np.int64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Link positions that carry the same label, each to the next in time; shape (L, 2)."""
    order = np.lexsort((t, labels))
    same = (labels[order][1:] == labels[order][:-1]) & (t[order][1:] > t[order][:-1])
    return np.column_stack([order[:-1][same], order[1:][same]]).astype(np.int64)


def in_between(annotations: Annotations) -> Annotations:
    """Return the annotations with positions on every link that skips time points.

    The new positions lie evenly on the straight line and carry ``interpolated`` = True; links
    keep their columns. Unchanged when no link skips any.

    Raises
    ------
    CellTrainError
        When far too many would be needed.
    """
    t, links = annotations.t, annotations.links
    missing = t[links[:, 1]] - t[links[:, 0]] - 1
    skipping = np.flatnonzero(missing > 0)
    if not len(skipping):
        return annotations
    n = len(annotations)
    n_missing = missing.sum(dtype=np.float64)  # more than whole numbers can count, in damaged files
    if n_missing > max(_MOST_IN_BETWEEN, 10 * n):
        raise CellTrainError(
            f"The links skip {n_missing:.0f} time points in all, which is too many to fill."
        )
    new_t, new_positions, new_links, of_link = [], [], [], []
    for link in skipping.tolist():
        source, target = links[link]
        k = int(missing[link])
        share = (np.arange(1, k + 1) / (k + 1))[:, None]
        chain = [int(source), *range(n, n + k), int(target)]
        n += k
        new_t.append(t[source] + np.arange(1, k + 1))
        start, end = annotations.positions[source], annotations.positions[target]
        new_positions.append(start + share * (end - start))
        new_links += list(pairwise(chain))
        of_link += [link] * (k + 1)
    stays = np.flatnonzero(missing == 0)
    added = n - len(annotations)
    features = {}
    for name, values in annotations.features.items():
        if values.dtype == object:
            blank = np.full(added, "" if any(isinstance(v, str) for v in values) else None, object)
        elif values.dtype.kind == "f":
            blank = np.full(added, np.nan)
        else:
            values = values.astype(object)
            blank = np.full(added, None, object)
        features[name] = np.concatenate([values, blank])
    before = annotations.features.get("interpolated", np.zeros(len(annotations), bool))
    features["interpolated"] = np.concatenate([_truth(before), np.ones(added, bool)])
    order = np.concatenate([stays, np.array(of_link, np.int64)])
    all_t = np.concatenate([t, *new_t])
    all_positions = _apart(all_t, np.concatenate([annotations.positions, *new_positions]), len(t))
    assert annotations.status is not None  # set when made
    return Annotations(
        all_t,
        all_positions,
        np.concatenate([links[stays], np.array(new_links, np.int64)]),
        np.concatenate([annotations.status, np.ones(added, np.int8)]),
        features,
        {name: values[order] for name, values in annotations.link_features.items()},
    )


def _truth(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a column of yes and no that may have been written as a text or a number."""
    return np.array([str(value) in ("True", "1", "1.0") for value in values.tolist()], bool)


def _apart(
    t: NDArray[np.int64], positions: NDArray[np.float64], first_new: int
) -> NDArray[np.float64]:
    """Move new positions that fall onto others aside a little: formats may take both for one."""
    taken = {(time, *place) for time, place in zip(t.tolist(), _grid(positions), strict=True)}
    if len(taken) == len(t):
        return positions
    moved = positions.copy()
    taken = {
        (time, *place)
        for time, place in zip(t[:first_new].tolist(), _grid(positions[:first_new]), strict=True)
    }
    for index in range(first_new, len(t)):
        while (place := (int(t[index]), *_grid(moved[index : index + 1])[0])) in taken:
            moved[index, 2] += 2 * _APART_PX
        taken.add(place)
    return moved


def _grid(positions: NDArray[np.float64]) -> list[list[float]]:
    rounded: list[list[float]] = np.round(positions / _APART_PX).tolist()
    return rounded


def without_in_between(annotations: Annotations, findings: list[Finding]) -> Annotations:
    """Take positions out again that `in_between` put in and that nobody has touched since.

    That is: marked ``interpolated``, with one link in and one out, and still on the straight line
    between their neighbours.
    """
    marked = annotations.features.get("interpolated")
    if marked is None:
        return annotations
    flags = _truth(marked)
    links, n = annotations.links, len(annotations)
    out_degree = np.bincount(links[:, 0], minlength=n)
    in_degree = np.bincount(links[:, 1], minlength=n)
    candidate = flags & (out_degree == 1) & (in_degree == 1)
    next_link = np.full(n, -1, np.int64)
    next_link[links[:, 0]] = np.arange(len(links))  # right where a position has one link out
    removed = np.zeros(n, bool)
    joined, of_link, gone = [], [], np.zeros(len(links), bool)
    for link in np.flatnonzero(candidate[links[:, 1]] & ~candidate[links[:, 0]]).tolist():
        chain, points = [link], []
        while candidate[links[chain[-1], 1]]:
            points.append(int(links[chain[-1], 1]))
            chain.append(int(next_link[points[-1]]))
        source, target = int(links[link, 0]), int(links[chain[-1], 1])
        t0, t1 = annotations.t[source], annotations.t[target]
        share = ((annotations.t[points] - t0) / (t1 - t0))[:, None]
        start, end = annotations.positions[source], annotations.positions[target]
        off = annotations.positions[points] - start - share * (end - start)
        if np.abs(off).max() > _TOUCHED_PX:
            continue
        removed[points] = True
        gone[chain] = True
        joined.append((source, target))
        of_link.append(link)
    if not joined:
        return annotations
    kept_features = dict(annotations.features)
    if not (flags & ~removed).any():
        del kept_features["interpolated"]
    order = np.concatenate([np.flatnonzero(~gone), np.array(of_link, np.int64)])
    whole = Annotations(
        annotations.t,
        annotations.positions,
        np.concatenate([links[~gone], np.array(joined, np.int64)]),
        annotations.status,
        kept_features,
        {name: values[order] for name, values in annotations.link_features.items()},
    )
    count = int(removed.sum())
    findings.append(
        Finding(
            "info",
            "interpolated",
            f"{count} positions had only been put in to bridge gaps; they are taken out again.",
        )
    )
    return whole.select(~removed)
