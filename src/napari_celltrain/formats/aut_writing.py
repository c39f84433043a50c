"""Writing OrganoidTracker files, version 2."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.formats.aut_carried import put_back
from napari_celltrain.formats.aut_v2 import LINEAGE_PREFIX
from napari_celltrain.formats.cleaning import plain
from napari_celltrain.formats.tracks import in_between, tracks_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, Experiment


def aut_text(experiment: Experiment) -> str:
    """Return the content of a version 2 file.

    Kept are the cells, links (a link that skips time points gets positions in between, for the
    format knows no gaps, marked ``interpolated``), columns, voxel size, frame interval and image
    offsets, and what was carried along from such a file. Not kept are positions that are no
    cells, and regions.
    """
    from napari_celltrain.formats.aut import moved

    annotations = in_between(experiment.annotations.select(experiment.annotations.is_cell))
    if experiment.image_offsets:
        annotations = moved(annotations, experiment.image_offsets, 1)
    xyz = annotations.positions[:, ::-1]
    content: dict[str, Any] = {
        "version": "v2",
        "name": experiment.name,
        "name_is_automatic": False,
        "positions": _positions(annotations, xyz),
        "tracks": _tracks(annotations, xyz),
    }
    voxel = experiment.known_voxel_size_um
    if voxel is not None:
        z, y, x = voxel
        interval = experiment.frame_interval_s
        if interval is None and experiment.images is not None:
            interval = experiment.images.frame_interval_s
        content["image_resolution"] = {
            "x_um": x,
            "y_um": y,
            "z_um": z,
            "t_m": (interval or 0) / 60,
        }
    content["image_offsets"] = [
        {"x": x, "y": y, "z": z, "_time_point_number": int(t)}
        for t, (z, y, x) in sorted(experiment.image_offsets.items())
    ]
    put_back(content, experiment.carried, annotations.t, xyz)
    return json.dumps(content, ensure_ascii=False, allow_nan=False)


def _positions(annotations: Annotations, xyz: NDArray[np.float64]) -> list[dict[str, Any]]:
    order = np.argsort(annotations.t, kind="stable")
    numbers, starts = np.unique(annotations.t[order], return_index=True)
    columns = {
        name: [plain(value) for value in values]
        for name, values in annotations.features.items()
        if not name.startswith(LINEAGE_PREFIX)
    }
    blocks = []
    stops = [*starts[1:], len(order)][: len(starts)]
    for t, start, stop in zip(numbers.tolist(), starts, stops, strict=True):
        index = order[start:stop]
        block: dict[str, Any] = {"time_point": t, "coords_xyz_px": xyz[index].tolist()}
        chosen = {name: [values[one] for one in index] for name, values in columns.items()}
        meta = {
            name: values
            for name, values in chosen.items()
            if any(value is not None for value in values)
        }
        if meta:
            block["position_meta"] = meta
        blocks.append(block)
    return blocks


def _tracks(annotations: Annotations, xyz: NDArray[np.float64]) -> list[dict[str, Any]]:
    link_columns = {
        name: [plain(value) for value in values]
        for name, values in annotations.link_features.items()
    }
    lineage = {
        name[len(LINEAGE_PREFIX) :]: values
        for name, values in annotations.features.items()
        if name.startswith(LINEAGE_PREFIX)
    }
    written = []
    for track in tracks_of(annotations):
        if len(track.points) == 1 and not len(track.parent_links) and not track.has_children:
            continue  # a cell without links is no track
        entry: dict[str, Any] = {
            "time_point_start": int(annotations.t[track.points[0]]),
            "coords_xyz_px": xyz[track.points].tolist(),
        }
        _put(entry, "link_meta", link_columns, track.links)
        if len(track.parent_links):
            mothers = annotations.links[track.parent_links, 0]
            entry["coords_xyz_px_before"] = xyz[mothers].tolist()
            _put(entry, "link_meta_before", link_columns, track.parent_links)
        else:
            values = {name: plain(column[track.points[0]]) for name, column in lineage.items()}
            values = {name: value for name, value in values.items() if value is not None}
            if values:
                entry["lineage_meta"] = values
        written.append(entry)
    return written


def _put(
    entry: dict[str, Any], key: str, columns: dict[str, list[Any]], links: NDArray[np.int64]
) -> None:
    values = {name: [column[link] for link in links] for name, column in columns.items()}
    values = {name: one for name, one in values.items() if any(v is not None for v in one)}
    if values:
        entry[key] = values
