"""What OrganoidTracker files hold that nothing here uses, and that goes back into them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.formats.aut_coordinates import TOLERANCE_PX

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

NAME = "OrganoidTracker"
"""Under which `Experiment.carried` holds it."""

_KEYS = (
    "image_timings", "image_channel_descriptions", "image_filters", "beacons", "data_axes",
    "data_axes_meta", "warning_limits", "color", "other_data", "connections",
)  # fmt: skip


def carried_of(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what is carried along; what could not be written again is not."""
    kept = {key: content[key] for key in _KEYS if content.get(key) and _is_writable(content[key])}
    return {NAME: kept} if kept else {}


def put_back(
    content: dict[str, Any],
    carried: Mapping[str, Mapping[str, Any]],
    t: NDArray[np.int64],
    xyz: NDArray[np.float64],
) -> None:
    """Put what was carried along into a file's content.

    Connections lie between positions; those of which an end is gone are left out.

    Parameters
    ----------
    content
        What is written, to be filled in.
    carried
        As in `Experiment`.
    t, xyz
        The written positions, shapes (N,) and (N, 3).
    """
    for key, value in carried.get(NAME, {}).items():
        if key == "connections":
            value = _between(value, t, xyz)
        if value and key not in content:
            content[key] = value


def _is_writable(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _between(connections: Any, t: NDArray[np.int64], xyz: NDArray[np.float64]) -> dict[str, Any]:
    """Return the connections between positions that are there, by time point."""
    from scipy.spatial import cKDTree  # takes long to import

    kept: dict[str, Any] = {}
    for time_point, block in connections.items() if isinstance(connections, dict) else ():
        block = _as_now(block)
        there = xyz[t == _number(time_point)]
        try:
            ends = [
                np.array(block[key], np.float64).reshape(-1, 3)
                for key in ("from_xyz_px", "to_xyz_px")
            ]
            columns = {name: list(values) for name, values in block.get("metadata", {}).items()}
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            continue
        if not len(there) or len(ends[0]) != len(ends[1]):
            continue
        tree = cKDTree(there)
        near = np.asarray(np.isfinite(ends).all(axis=(0, 2)))
        for end in ends:
            near[near] = tree.query(end[near], p=np.inf)[0] <= TOLERANCE_PX
        index = np.flatnonzero(near)
        if not len(index):
            continue
        chosen: dict[str, Any] = {
            "from_xyz_px": ends[0][index].tolist(),
            "to_xyz_px": ends[1][index].tolist(),
        }
        metadata = {
            name: [values[one] for one in index]
            for name, values in columns.items()
            if len(values) == len(ends[0])
        }
        kept[str(time_point)] = chosen | ({"metadata": metadata} if metadata else {})
    return kept


def _as_now(block: Any) -> Any:
    """Return connections of before version 2, pairs of ``{x, y, z}``, as they are written now."""
    if not isinstance(block, list):
        return block
    pairs = [pair for pair in block if isinstance(pair, list) and len(pair) == 2]
    ends = [[_xyz(pair[at]) for pair in pairs] for at in range(2)]
    return {"from_xyz_px": ends[0], "to_xyz_px": ends[1]}


def _xyz(place: Any) -> list[Any]:
    nowhere = {"x": float("nan"), "y": float("nan"), "z": float("nan")}
    place = nowhere | place if isinstance(place, dict) else nowhere
    return [place["x"], place["y"], place["z"]]


def _number(time_point: Any) -> float:
    try:
        return float(time_point)
    except (TypeError, ValueError, OverflowError):
        return float("nan")
