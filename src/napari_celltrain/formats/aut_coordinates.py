"""OrganoidTracker knows positions by their coordinates alone: finding out which are the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Finding
from napari_celltrain.formats.cleaning import clean_annotations, column, whole_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE_PX = 0.01
"""Positions of one time point that are nearer than this in every axis are one position."""


@dataclass
class Mentions:
    """Every place of a file that mentions a position: the list, the tracks, the mothers.

    Parameters
    ----------
    t, xyz
        Time points and (x, y, z) coordinates of the mentions, as blocks: first the listed ones,
        then those in tracks, then mothers.
    features
        Metadata of the first mentions of each block so far, by name; missing entries are None.
    links, link_features
        Pairs of mention numbers, and their metadata.
    n_positions
        How many of the mentions make a position; the rest (mothers) only point to one.
    """

    t: list[NDArray[Any]] = field(default_factory=list)
    xyz: list[NDArray[np.float64]] = field(default_factory=list)
    n: int = 0
    features: dict[str, list[Any]] = field(default_factory=dict)
    links: list[NDArray[np.int64]] = field(default_factory=list)
    n_links: int = 0
    link_features: dict[str, list[Any]] = field(default_factory=dict)
    n_positions: int | None = None

    def add(self, t: NDArray[Any], xyz: NDArray[np.float64]) -> int:
        """Add mentions; return the number of the first."""
        first = self.n
        self.t.append(t)
        self.xyz.append(xyz)
        self.n += len(t)
        return first

    def add_features(self, first: int, values: dict[str, list[Any]], length: int) -> None:
        """Add metadata of the mentions from `first` on; lists may be too short or too long."""
        put_features(self.features, first, values, length)

    def add_links(self, pairs: NDArray[np.int64], values: dict[str, list[Any]]) -> None:
        """Add links between mentions, with their metadata."""
        put_features(self.link_features, self.n_links, values, len(pairs))
        self.links.append(pairs)
        self.n_links += len(pairs)


def put_features(
    columns: dict[str, list[Any]], first: int, values: dict[str, list[Any]], length: int
) -> None:
    """Put values for `length` entries from `first` on into columns that grow as needed."""
    for name, entries in values.items():
        kept = columns.setdefault(name, [])
        kept.extend([None] * (first - len(kept)))
        new = list(entries[:length])
        kept[first : first + len(new)] = new


def coordinates(rows: Any, place: str, findings: list[Finding]) -> NDArray[np.float64]:
    """Return (x, y, z) coordinates, shape (N, 3); two numbers are taken as z = 0.

    Raises
    ------
    CellTrainError
        Naming the place, when an entry is no list of two or three numbers.
    """
    if not isinstance(rows, list):
        raise CellTrainError(f"{place} is no list of coordinates.")
    if not rows:
        return np.empty((0, 3))
    try:
        array = np.array(rows, np.float64)
        if array.shape == (len(rows), 3):
            return array
    except (ValueError, TypeError, OverflowError):
        pass
    array = np.zeros((len(rows), 3))
    flat = 0
    for index, row in enumerate(rows):
        try:
            numbers = [float(value) for value in row]
        except (TypeError, ValueError, OverflowError):
            numbers = []
        if len(numbers) not in (2, 3):
            raise CellTrainError(f"{place}[{index}] is not three numbers x, y, z.")
        flat += len(numbers) == 2
        array[index, : len(numbers)] = numbers
    if flat:
        message = f"{flat} coordinates in {place} have two numbers; their z is taken as 0."
        findings.append(Finding("info", "no-z", message))
    return array


def same_positions(t: NDArray[np.int64], xyz: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return, for each mention, the number of the first mention of the same position.

    Parameters
    ----------
    t, xyz
        Shapes (N,) and (N, 3).

    Returns
    -------
    ndarray
        Shape (N,).
    """
    from scipy.spatial import cKDTree  # takes long to import, and only reading needs it

    n = len(t)
    if not n:
        return np.empty(0, np.int64)
    rows = np.column_stack([t.astype(np.float64), xyz]) + 0.0  # turns -0.0 into 0.0
    _, first, inverse = np.unique(_mixed(rows), return_index=True, return_inverse=True)
    representative = first[inverse]
    if not np.array_equal(rows[representative], rows, equal_nan=True):  # two rows, one hash
        _, first, inverse = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        representative = first[inverse.reshape(-1)]
    distinct = _maybe_near(rows, np.sort(first))
    if not len(distinct):
        return representative
    tree = cKDTree(rows[distinct], balanced_tree=False, compact_nodes=False)
    near = distinct[tree.query_pairs(TOLERANCE_PX, p=np.inf, output_type="ndarray")]
    if not len(near):
        return representative
    onto = np.arange(n)
    low, high = near.min(axis=1), near.max(axis=1)
    np.minimum.at(onto, high, low)
    while not np.array_equal(onto[onto], onto):  # a chain of near ones ends at its first
        onto = onto[onto]
    return onto[representative]


def _maybe_near(rows: NDArray[np.float64], distinct: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return those of the rows that may be near another one: a cheap, generous choice.

    Near rows either share a box of one pixel, or both lie at a box's side.
    """
    distinct = distinct[np.isfinite(rows[distinct]).all(axis=1)]
    # people's coordinates are often whole or half pixels: these are not at the sides
    shifted = rows[distinct, 1:] + 0.37
    boxes = np.floor(shifted)
    to_side = shifted - boxes
    at_side = (np.minimum(to_side, 1 - to_side) <= TOLERANCE_PX).any(axis=1)
    _, inverse, counts = np.unique(
        _mixed(np.column_stack([rows[distinct, 0], boxes])), return_inverse=True, return_counts=True
    )
    return np.asarray(distinct[at_side | (counts[inverse] > 1)])


def to_annotations(
    mentions: Mentions, findings: list[Finding], n_listed: int | None = None
) -> Annotations:
    """Return positions and links; positions in (x, y, z) order are turned to (z, y, x).

    Parameters
    ----------
    mentions
        What the file mentions.
    findings
        Where to write what was noticed.
    n_listed
        How many of the mentions are the file's list of positions; the differences are noted.
    """
    t = whole_numbers(np.concatenate([np.empty(0), *mentions.t]), "time point")
    xyz = np.concatenate([np.empty((0, 3)), *mentions.xyz])
    representative = same_positions(t, xyz)
    n_positions = mentions.n if mentions.n_positions is None else mentions.n_positions
    is_kept = np.zeros(mentions.n, bool)
    is_kept[representative[:n_positions]] = True
    kept = np.flatnonzero(is_kept)
    if n_listed is not None:
        _count_differences(representative[:n_listed], len(kept), findings)
    number = np.full(mentions.n, -1, np.int64)
    number[kept] = np.arange(len(kept))
    links = np.concatenate([np.empty((0, 2), np.int64), *mentions.links])
    pairs = number[representative[links]]
    known = (pairs >= 0).all(axis=1)
    if not known.all():
        first = int(t[links[np.flatnonzero(~known)[0]]].max())
        findings.append(
            Finding(
                "warning",
                "unknown-mother",
                f"{int((~known).sum())} tracks name a mother position that does not exist, the "
                f"first at time point {first}; they start without a mother.",
                time_point=first,
            )
        )
    features: dict[str, NDArray[Any]] = {}
    of_mention = number[representative].tolist()
    for name, values in mentions.features.items():
        chosen: list[Any] = [None] * len(kept)
        for value, position in zip(values, of_mention, strict=False):
            if value is not None and position >= 0 and chosen[position] is None:
                chosen[position] = value  # any mention of a position may describe it
        if any(value is not None for value in chosen):
            features[name] = column(chosen)
    link_features: dict[str, NDArray[Any]] = {}
    for name, values in mentions.link_features.items():
        padded = values + [None] * (len(links) - len(values))
        of_links = [padded[index] for index in np.flatnonzero(known).tolist()]
        if any(value is not None for value in of_links):
            link_features[name] = column(of_links)
    return clean_annotations(
        t[kept],
        xyz[kept][:, ::-1],
        pairs[known],
        features=features,
        link_features=link_features,
        findings=findings,
    )


def _count_differences(
    listed: NDArray[np.int64], n_positions: int, findings: list[Finding]
) -> None:
    """Say how many positions are only in tracks, and how many were listed twice."""
    once = np.zeros(listed.max(initial=-1) + 1, bool)
    once[listed] = True
    n_once = int(once.sum())
    if n_once < len(listed):
        findings.append(
            Finding(
                "warning",
                "duplicates",
                f"{len(listed) - n_once} positions are listed twice (closer than 0.01 px); "
                "they are taken once.",
            )
        )
    if n_positions > n_once:
        findings.append(
            Finding(
                "info",
                "only-in-tracks",
                f"{n_positions - n_once} positions occur only in tracks; they are taken too.",
            )
        )


def _mixed(rows: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return one 64-bit number for each row, practically never the same for two rows."""
    bits = np.ascontiguousarray(rows).view(np.uint64)
    mixed = np.zeros(len(rows), np.uint64)
    for axis in range(bits.shape[1]):
        mixed ^= bits[:, axis]
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    return mixed
