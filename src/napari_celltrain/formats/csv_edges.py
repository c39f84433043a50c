"""Tables of links, as TrackMate and LapTrack write them beside their tables of spots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding
from napari_celltrain.formats.csv_presets import normal_name
from napari_celltrain.formats.csv_text import Table, read_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SOURCES = ("spot_source_id", "source_id", "source")
_TARGETS = ("spot_target_id", "target_id", "target")


def edge_columns(header: list[str]) -> tuple[int, int] | None:
    """Return the columns of a link's two ends; None when it is no table of links."""
    names = [normal_name(name) for name in header]
    source = next((names.index(name) for name in _SOURCES if name in names), None)
    target = next((names.index(name) for name in _TARGETS if name in names), None)
    return None if source is None or target is None else (source, target)


def spots_beside(path: Path) -> Path | None:
    """Return the table of spots that belongs to a table of links: a_edges.csv, a_spots.csv."""
    return _beside(path, ("edges", "edge", "links"), ("spots", "spot"))


def edges_beside(path: Path) -> Path | None:
    """Return the table of links that belongs to a table of spots."""
    return _beside(path, ("spots", "spot"), ("edges", "edge", "links"))


def _beside(path: Path, own: tuple[str, ...], other: tuple[str, ...]) -> Path | None:
    for ending in own:
        if path.stem.lower().endswith(ending):
            for name in other:
                candidate = path.with_name(path.stem[: -len(ending)] + name + path.suffix)
                if candidate.is_file():
                    return candidate
    return None


def links_of_edges(
    path: Path, ids: NDArray[np.float64], findings: list[Finding]
) -> NDArray[np.int64]:
    """Return the links in a table, as pairs of row numbers of the spots with these ids."""
    table = read_table(path)
    columns = edge_columns(table.header)
    if columns is None:
        raise CellTrainError(f"{path} has no columns for the two ends of a link.")
    pairs = np.column_stack([table.numbers(at) for at in columns])
    pairs = pairs[np.isfinite(pairs).all(axis=1)]
    known = np.isin(pairs, ids).all(axis=1)
    if not known.all():
        findings.append(
            Finding(
                "warning",
                "unknown-spot",
                f"{int((~known).sum())} links of {path.name} name a "
                "spot that is not in the table of spots; they are left out.",
            )
        )
    order = np.argsort(ids, kind="stable")
    return order[np.searchsorted(ids, pairs[known], sorter=order)].reshape(-1, 2).astype(np.int64)


def spots_in_edges(table: Table) -> Table | None:
    """Turn a table of links that states both ends' places into a table of spots.

    Each link gives two spots, named by their id; of those with one id the first is taken.
    """
    columns = edge_columns(table.header)
    names = [normal_name(name) for name in table.header]
    wanted = ("frame", "position_x", "position_y", "position_z")
    ends = []
    for at, end in zip(columns or (), ("source", "target"), strict=False):
        places = [
            names.index(f"{end}_{name}") if f"{end}_{name}" in names else None for name in wanted
        ]
        if None in places[:3]:
            return None
        ends.append([at, *places])
    if len(ends) != 2:
        return None
    with_z = ends[0][4] is not None and ends[1][4] is not None
    rows: dict[str, list[str]] = {}
    for end_columns in ends:
        chosen = [at for at in end_columns if at is not None]
        for row in zip(*(table.columns[at] for at in chosen), strict=True):
            rows.setdefault(row[0], list(row))
    header = ["id", *wanted[: 4 if with_z else 3]]
    flat = [list(column) for column in zip(*rows.values(), strict=True)]
    return Table(header, flat, table.first_line, table.decimal_comma)
