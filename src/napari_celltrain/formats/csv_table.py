"""Tables of cell positions in text files, whatever program wrote them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Experiment, Finding, Status
from napari_celltrain.formats.attaching import stated_images
from napari_celltrain.formats.cleaning import clean_annotations, whole_numbers
from napari_celltrain.formats.csv_branches import (
    branch_columns,
    branches_beside,
    links_of_branches,
    tracks_beside,
)
from napari_celltrain.formats.csv_edges import (
    edge_columns,
    edges_beside,
    links_of_edges,
    spots_beside,
    spots_in_edges,
)
from napari_celltrain.formats.csv_links import links_of_columns
from napari_celltrain.formats.csv_presets import Mapped, map_columns
from napari_celltrain.formats.csv_text import Table, decoded, parse_table, read_table, values_of
from napari_celltrain.formats.documents import beginning, sentences, without_collecting
from napari_celltrain.formats.losses import Keeps
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.physical import in_pixels

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

_HOW_TO_SAY = "--column {0}=NAME on the command line, columns={{'{0}': 'NAME'}} in Python"


class CsvFormat:
    """Reads tables by the names of their columns; writes ``t,z,y,x`` with what else is known."""

    name = "CSV table"
    suffixes: tuple[str, ...] = (".csv", ".tsv", ".txt")
    keeps = Keeps(not_cells=True, merges=False, voxel_size=False, frame_interval=False)

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`; a table needs a time, an x and a y."""
        return self.preset_of(path) is not None

    def preset_of(self, path: Path) -> str | None:
        """Return whose table it is, judged by its header; None when it holds no tracking data."""
        if path.suffix.lower() not in self.suffixes:
            return None
        start = beginning(path, 16384)
        if b"\0" in start and not start.startswith((b"\xff\xfe", b"\xfe\xff")):
            return None
        try:
            table = parse_table(decoded(start))
            mapped = None if table is None else map_columns(table.header)
            if mapped is None and table is not None and _belongs_to_another(table, path):
                return "links"
        except Exception:  # whatever it is, it is not ours
            return None
        return mapped.preset.name if mapped is not None and "t" in mapped.index else None

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "a table of positions"), without_collecting():
            table = read_table(path)
            tracks = _tracks_of_branches(table, path)
            if tracks is not None:
                path, table = tracks, read_table(tracks)
            edges = edges_beside(path)
            mapped = map_columns(table.header, chosen.columns)
            spots = _spots_of_links(table, path) if mapped is None else None
            if spots is not None:
                table, edges = spots, path
                mapped = map_columns(table.header, chosen.columns)
            if mapped is None:
                raise CellTrainError(_without_place(table.header, path, chosen.columns))
            return [_experiment(table, mapped, path, edges, chosen)]

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write positions in pixels with all columns."""
        from napari_celltrain.formats.csv_writing import write_table

        write_table(path, experiment)


def _without_place(header: list[str], path: Path, stated: Mapping[str, str] | None) -> str:
    """Say which of x and y has no column."""
    any_column = header[0]
    missing = [
        axis
        for axis, other in (("x", "y"), ("y", "x"))
        if map_columns(header, {**(stated or {}), other: any_column}) is None
    ]
    return (
        f"{path} has no column{'' if len(missing) == 1 else 's'} for {' and '.join(missing)}; its "
        f"columns are {', '.join(header[:12])}. Say which is which "
        f"({_HOW_TO_SAY.format(missing[0])})."
    )


def _spots_of_links(table: Table, path: Path) -> Table | None:
    """Return the spots that belong to a table of links: in it, or in a file beside it."""
    if edge_columns(table.header) is None:
        return None
    beside = spots_beside(path)
    return spots_in_edges(table) if beside is None else read_table(beside)


def _belongs_to_another(table: Table, path: Path) -> bool:
    """Tell whether it is a table of links, splits or merges, and the positions are there."""
    if _tracks_of_branches(table, path) is not None:
        return True
    return _spots_of_links(table, path) is not None


def _tracks_of_branches(table: Table, path: Path) -> Path | None:
    """Return the file of the tracks that a table of splits or merges belongs to."""
    return None if branch_columns(table.header) is None else tracks_beside(path)


def _experiment(
    table: Table, mapped: Mapped, path: Path, edges: Path | None, options: ReadOptions
) -> Experiment:
    findings: list[Finding] = []
    table = _without_more_headers(table, mapped)
    numbers = {key: table.numbers(at) for key, at in mapped.index.items()}
    t = numbers.get("t", np.zeros(len(table)))
    if "t" not in numbers:
        findings.append(
            Finding(
                "info",
                "no-time",
                f"{path.name} has no column for the time: all positions are taken at time point 0. "
                "If one of its columns is the time, say which ({_HOW_TO_SAY.format('t')}).",
            )
        )
    if "z" in numbers and not any(table.columns[mapped.index["z"]]):
        del numbers["z"]  # a flat image's, of which nobody wrote anything down
    usable = _usable(t, numbers, table.first_line, path, findings)
    numbers = {key: column[usable] for key, column in numbers.items()}
    frames = whole_numbers(t[usable], "time point") - mapped.preset.first_time
    z = numbers.get("z", np.zeros(len(frames)))
    positions = np.column_stack([z, numbers["y"], numbers["x"]])
    images = stated_images(options)
    positions, voxel_size = in_pixels(positions, mapped.unit, options, images, findings)
    if edges is not None and "id" in numbers:
        links = links_of_edges(edges, numbers["id"], findings)
    else:
        links = links_of_columns(frames, numbers, mapped.preset.parents, findings)
        branches = branches_beside(path) if "track_id" in numbers else []
        if branches:
            more = links_of_branches(branches, frames, numbers["track_id"], findings)
            links = np.unique(np.concatenate([links, more]), axis=0)
    annotations = clean_annotations(
        frames,
        positions,
        links,
        status=_status(numbers),
        features=_features(table, mapped, usable, linked=len(links) > 0),
        findings=findings,
    )
    return Experiment(
        path.stem,
        annotations,
        images,
        voxel_size_um=voxel_size,
        source=path,
        findings=tuple(findings),
    )


def _usable(
    t: NDArray[np.float64],
    numbers: dict[str, NDArray[np.float64]],
    first_line: int,
    path: Path,
    findings: list[Finding],
) -> NDArray[np.bool_]:
    """Tell which rows have a time and a place; the others are told."""
    axes = [axis for axis in ("x", "y", "z") if axis in numbers]
    usable = np.isfinite(np.column_stack([t, *(numbers[axis] for axis in axes)])).all(axis=1)
    needed = f"time, {', '.join(axes[:-1])} and {axes[-1]}"
    bad = np.flatnonzero(~usable)
    if len(bad) == len(t):
        raise CellTrainError(f"{path} has no row with numbers for {needed}.")
    if len(bad):
        rows, have, are = ("row", "has", "is") if len(bad) == 1 else ("rows", "have", "are")
        findings.append(
            Finding(
                "warning",
                "no-number",
                f"{len(bad)} {rows} of {path.name} {have} no usable {needed} and {are} left out, "
                f"the first near line {first_line + int(bad[0])}.",
            )
        )
    return np.asarray(usable)


def _status(numbers: dict[str, NDArray[np.float64]]) -> NDArray[np.int8] | None:
    """Return what a column called status says, if it says what ours do."""
    stated = numbers.get("status")
    if stated is None or not np.isin(stated, [one.value for one in Status]).all():
        return None
    return stated.astype(np.int8)


def _without_more_headers(table: Table, mapped: Mapped) -> Table:
    """Drop the further header lines that some programs write (long names, units)."""
    more = 0
    x = table.numbers(mapped.index["x"])[:4]
    while more < len(x) and not np.isfinite(x[more]):
        more += 1
    return table.without_rows(more) if 0 < more < 4 else table


def _features(
    table: Table, mapped: Mapped, usable: NDArray[np.bool_], *, linked: bool
) -> dict[str, NDArray[Any]]:
    """Return all columns that are no place or time, the known ones under their usual names.

    What became links is no column any more.
    """
    meaning = {at: key for key, at in mapped.index.items()}
    features: dict[str, NDArray[Any]] = {}
    for at, written in enumerate(table.header):
        key = meaning.get(at, written)
        if key in ("t", "z", "y", "x", "status") and at in meaning:
            continue
        if linked and key in ("parent_id", "parent_track_id") and at in meaning:
            continue
        if not written or (at not in meaning and key == "index"):
            continue
        if key == "radius" and at in meaning:
            key = "radius_um" if mapped.unit == "um" else "radius_px"
        values = values_of(table.columns[at], table.decimal_comma)[usable]
        if values.dtype.kind == "f" and np.isnan(values).all():
            continue
        if values.dtype == object and not any(values):
            continue
        features[key if key not in features else f"{key} {at}"] = values
    return features
