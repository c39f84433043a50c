"""Which column of a table is which, for the programs that write tables of cells."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Mapping

Unit = Literal["px", "um", "unknown"]
Parents = Literal["id", "track", "object"]

_UNIT = re.compile(r"^(.*?)[\s_]*[\[\(]?(um|µm|μm|microns?|micrometers?|px|pixels?)[\]\)]?$")


@dataclass(frozen=True)
class Preset:
    """How one program names its columns.

    Parameters
    ----------
    name
        The program's.
    columns
        Names (in lower case, other characters than letters and digits as ``_``) by what they are:
        t, z, y, x, id, track_id, parent_id, parent_track_id, score, radius, ...
    needed
        Names that must all be there.
    unit
        Of the positions.
    first_time
        The number of the first time point.
    parents
        What ``parent_id`` refers to: the column id, a track, or an object of the time before.
    """

    name: str
    columns: Mapping[str, tuple[str, ...]]
    needed: tuple[str, ...]
    unit: Unit = "px"
    first_time: int = 0
    parents: Parents = "id"


_TIME = ("t", "time", "frame", "timepoint", "time_point", "frame_index", "frame_i", "frames")
_SCORE = ("score", "quality", "probability", "prob", "confidence", "detection_quality")

GENERIC: Mapping[str, tuple[str, ...]] = {
    "t": _TIME,
    "z": ("z", "z_px", "plane", "slice"),
    "y": ("y", "y_px", "row"),
    "x": ("x", "x_px", "column", "col"),
    "id": ("id", "node_id", "cell_id", "spot_id"),
    "track_id": ("track_id", "trackid", "track", "particle", "tracklet_id"),
    "parent_id": ("parent_id", "parent", "parentid"),
    "parent_track_id": ("parent_track_id", "parenttrackid", "parent_track"),
    "score": _SCORE,
    "radius": ("radius", "r"),
    "status": ("status",),
}


def _preset(name: str, needed: str, unit: Unit = "px", **changes: str) -> Preset:
    """Make a preset from names separated by blanks; those not named are the generic ones."""
    first_time = int(changes.pop("first_time", "0"))
    parents = changes.pop("parents", "id")
    columns = dict(GENERIC) | {key: tuple(value.split()) for key, value in changes.items()}
    return Preset(name, columns, tuple(needed.split()), unit, first_time, parents)  # type: ignore[arg-type]


PRESETS: tuple[Preset, ...] = (
    _preset(
        "TrackMate spots",
        "position_x position_y frame",
        "um",
        t="frame",
        z="position_z",
        y="position_y",
        x="position_x",
        id="id",
        track_id="track_id",
        score="quality",
        radius="radius",
    ),
    _preset(
        "Imaris Position",
        "position_x position_y time",
        "um",
        t="time",
        z="position_z",
        y="position_y",
        x="position_x",
        id="id",
        track_id="trackid track_id",
        first_time="1",
    ),
    _preset(
        "Mastodon table",
        "spot_frame spot_position_x spot_position_y",
        "um",
        t="spot_frame",
        z="spot_position_z",
        y="spot_position_y",
        x="spot_position_x",
        id="id",
        track_id="spot_track_id",
        score="detection_quality",
        radius="spot_radius",
    ),
    _preset(
        "Cell-ACDC",
        "frame_i cell_id x_centroid y_centroid",
        t="frame_i",
        z="z_centroid",
        y="y_centroid",
        x="x_centroid",
        id="",
        track_id="cell_id",
        parent_id="",
        parent_track_id="parent_id_tree",
    ),
    _preset(
        "CellProfiler",
        "imagenumber objectnumber location_center_x location_center_y",
        t="metadata_t metadata_time metadata_timepoint metadata_frame imagenumber",
        z="location_center_z",
        y="location_center_y",
        x="location_center_x",
        id="objectnumber",
        track_id="trackobjects_label",
        parent_id="trackobjects_parentobjectnumber",
        parents="object",
    ),
    _preset(
        "CellProfiler",
        "imagenumber objectnumber areashape_center_x areashape_center_y",
        t="metadata_t metadata_time metadata_timepoint metadata_frame imagenumber",
        z="areashape_center_z",
        y="areashape_center_y",
        x="areashape_center_x",
        id="objectnumber",
        track_id="trackobjects_label",
        parent_id="trackobjects_parentobjectnumber",
        parents="object",
    ),
    _preset(
        "ImageJ Manual Tracking",
        "track_n slice_n x y",
        t="slice_n",
        track_id="track_n",
        id="",
        first_time="1",
    ),
    _preset(
        "ilastik",
        "frame object_center_0 object_center_1",
        t="frame",
        z="object_center_2",
        y="object_center_1",
        x="object_center_0",
        id="labelimageid",
        track_id="trackid",
        parent_track_id="parenttrackid",
    ),
    _preset("Ultrack", "t y x track_id parent_track_id", parents="id"),
    _preset("motile", "id parent_id time y x", "unknown", t="time"),
    _preset("LapTrack", "frame y x track_id tree_id", t="frame", id="index"),
    _preset("Mastodon", "timepoint x y radius", "um", t="timepoint"),
    _preset("Mastodon", "timepoint x y parent_id", "um", t="timepoint"),
    _preset("Mastodon", "frame x y z radius parent_id", "um", t="frame"),
    _preset("trackpy", "frame x y particle", t="frame", track_id="particle"),
    _preset("btrack", "t x y z label", id=""),
)
"""The pickier ones first; what fits none is read by the generic names."""

PLAIN = Preset("table", GENERIC, ())
WRITTEN_FIRST = ("t", "z", "y", "x")
"""How the tables that are written here begin."""


@dataclass(frozen=True)
class Mapped:
    """Which column is which in one table.

    Parameters
    ----------
    preset
        The program that names its columns so.
    index
        Column numbers by what they are.
    unit
        Of the positions, the header's own word before the preset's.
    """

    preset: Preset
    index: dict[str, int] = field(default_factory=dict)
    unit: Unit = "px"


def normal_name(name: str) -> str:
    """Return a header name in lower case with ``_`` for all but letters and digits."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower().replace("µ", "u").replace("μ", "u")).strip("_")


def map_columns(header: list[str], stated: Mapping[str, str] | None = None) -> Mapped | None:
    """Find out which column is which; None when there is no x and y.

    Parameters
    ----------
    header
        Names as written.
    stated
        What a person said; wins.

    Raises
    ------
    CellTrainError
        When the person named a column that isn't there, or a meaning that nobody knows.
    """
    names, units = _without_units(header)
    written_here = tuple(header[:4]) == WRITTEN_FIRST  # what follows may have any name
    points = None if written_here or stated else _napari_points(header)
    if points is not None:
        return Mapped(Preset("napari points", GENERIC, ()), points, "px")
    preset = next((one for one in PRESETS if all(name in names for name in one.needed)), PLAIN)
    if written_here:
        preset = PLAIN
    index = {}
    for meaning, accepted in preset.columns.items():
        # CellProfiler adds the tracking distance to the names
        for name in accepted:
            hits = [
                at
                for at, own in enumerate(names)
                if own == name
                or (
                    preset.name == "CellProfiler"
                    and meaning != "t"
                    and re.fullmatch(rf"{name}_\d+", own)
                )
            ]
            if hits:
                index[meaning] = hits[0]
                break
    for meaning, written in (stated or {}).items():
        if meaning not in GENERIC:
            raise CellTrainError(
                f"{meaning!r} is nothing that a column can be; known are {', '.join(GENERIC)}."
            )
        if written not in header:
            raise CellTrainError(
                f"There is no column {written!r}; the columns are {', '.join(header[:12])}."
            )
        index[meaning] = header.index(written)
    if "x" not in index or "y" not in index:
        return None
    return Mapped(preset, index, units[index["x"]] or preset.unit)


def _without_units(header: list[str]) -> tuple[list[str], list[Unit | None]]:
    """Return the normal names without units such as ``[um]``, and the units."""
    names: list[str] = []
    units: list[Unit | None] = []
    for written in header:
        match = _UNIT.match(written.strip().lower())
        has_unit = match is not None and match[1] and normal_name(match[1])
        names.append(normal_name(match[1] if match and has_unit else written))
        units.append(("px" if match[2].startswith("p") else "um") if match and has_unit else None)
    return names, units


def _napari_points(header: list[str]) -> dict[str, int] | None:
    """Return the columns of napari's own points table, whose axes have numbers for names."""
    axes = {name: at for at, name in enumerate(header) if re.fullmatch(r"axis-\d", name)}
    wanted = {2: "yx", 3: "tyx", 4: "tzyx", 5: "tczyx"}.get(len(axes))
    if wanted is None or sorted(axes) != [f"axis-{number}" for number in range(len(wanted))]:
        return None
    columns = {axis: axes[f"axis-{at}"] for at, axis in enumerate(wanted) if axis != "c"}
    for name in ("score", "track_id"):
        if name in header:
            columns[name] = header.index(name)
    return columns
