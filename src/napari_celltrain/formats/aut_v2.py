"""The positions and tracks of OrganoidTracker files, version 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.aut_coordinates import Mentions, coordinates, to_annotations
from napari_celltrain.formats.cleaning import LAST_TIME_POINT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, Finding

LINEAGE_PREFIX = "lineage:"
"""What the names of columns begin with that say something of a whole lineage."""


def annotations_of_v2(content: dict[str, Any], findings: list[Finding]) -> Annotations:
    """Return the annotations in the keys ``positions`` and ``tracks``.

    Positions that only occur in tracks count as well.

    Raises
    ------
    CellTrainError
        Naming the place that is not as it has to be.
    """
    mentions = Mentions()
    for index, block in enumerate(_list_of_objects(content, "positions")):
        place = f"positions[{index}]"
        xyz = coordinates(block.get("coords_xyz_px", []), f"{place}.coords_xyz_px", findings)
        t = time_point(block.get("time_point"), f"{place}.time_point")
        first = mentions.add(np.full(len(xyz), t), xyz)
        mentions.add_features(first, _metadata(block, "position_meta", place), len(xyz))
    n_listed = mentions.n
    mothers: list[tuple[int, int, list[NDArray[np.float64]], dict[str, list[Any]]]] = []
    _add_tracks(content, mentions, mothers, findings)
    mentions.n_positions = mentions.n
    for child, t, blocks, values in mothers:
        xyz = np.concatenate(blocks)
        first = mentions.add(np.full(len(xyz), t), xyz)
        pairs = np.column_stack([np.arange(first, mentions.n), np.full(len(xyz), child)])
        mentions.add_links(pairs, values)
    return to_annotations(mentions, findings, n_listed)


def _add_tracks(
    content: dict[str, Any],
    mentions: Mentions,
    mothers: list[tuple[int, int, list[NDArray[np.float64]], dict[str, list[Any]]]],
    findings: list[Finding],
) -> None:
    for index, track in enumerate(_list_of_objects(content, "tracks")):
        place = f"tracks[{index}]"
        xyz = coordinates(track.get("coords_xyz_px", []), f"{place}.coords_xyz_px", findings)
        if not len(xyz):
            continue
        start = time_point(track.get("time_point_start"), f"{place}.time_point_start")
        first = mentions.add(np.arange(start, start + len(xyz)), xyz)
        along = np.arange(first, mentions.n)
        mentions.add_links(
            np.column_stack([along[:-1], along[1:]]), _metadata(track, "link_meta", place)
        )
        lineage = track.get("lineage_meta")
        if isinstance(lineage, dict):
            values = {LINEAGE_PREFIX + str(key): [value] for key, value in lineage.items()}
            mentions.add_features(first, values, 1)
        before = track.get("coords_xyz_px_before")
        if before:
            xyz_before = coordinates(before, f"{place}.coords_xyz_px_before", findings)
            values = _metadata(track, "link_meta_before", place)
            mothers.append((first, start - 1, [xyz_before], values))


def time_point(value: Any, place: str) -> int:
    """Return a time point number, stated as a number or as a text.

    Raises
    ------
    CellTrainError
        Naming the place, when it is no whole number.
    """
    if not isinstance(value, bool):
        try:
            number = float(value)
            if number == int(number) and abs(number) <= LAST_TIME_POINT:
                return int(number)
        except (TypeError, ValueError, OverflowError):
            pass
    raise CellTrainError(f"{place} is no time point: {str(value)[:40]!r}.")


def _list_of_objects(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    entries = content.get(key, [])
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise CellTrainError(f'"{key}" is no list.')
    for index, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise CellTrainError(f"{key}[{index}] is no JSON object.")
    return entries


def _metadata(block: dict[str, Any], key: str, place: str) -> dict[str, list[Any]]:
    values = block.get(key)
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(one, list) for one in values.values()):
        raise CellTrainError(f"{place}.{key} is not a list for each name.")
    return {str(name): entries for name, entries in values.items()}
