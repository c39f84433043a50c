"""Writing GEFF: in pixels for most programs, and as Mastodon understands it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import replacing
from napari_celltrain.formats.geff_store import GeffFormat
from napari_celltrain.formats.tracks import in_between, track_numbers, tracks_of
from napari_celltrain.formats.written import (
    cells_of,
    frame_interval_s,
    numbers_only,
    radius_px,
    refuse_other_folders,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, Experiment

_OWN_COLUMNS = {
    "t",
    "z",
    "y",
    "x",
    "id",
    "radius",
    "radius_px",
    "radius_um",
    "tracklet_id",
    "track_id",
    "interpolated",
}


def write_geff(path: Path, experiment: Experiment, *, for_mastodon: bool = False) -> None:
    """Write cells and links.

    The default is in pixels of the image, axes t, z, y, x, with the voxel size as scale. What
    Mastodon reads is in micrometres, axes t, x, y, z (it goes by their order). A link that skips
    time points gets positions in between, because some programs fail at such links.

    Raises
    ------
    CellTrainError
        When the place can't be written, or other things are there.
    """
    from geff.core_io import write_arrays
    from zarr.storage import MemoryStore

    refuse_other_folders(path, r"nodes|edges|\.zgroup|\.zattrs|\.zmetadata|zarr\.json")
    annotations = in_between(cells_of(experiment))
    n = len(annotations)
    voxel = experiment.known_voxel_size_um
    physical = for_mastodon and voxel is not None
    scale = np.array(voxel) if physical and voxel is not None else np.ones(3)
    places = annotations.positions * scale
    columns: dict[str, NDArray[Any]] = {"t": _small_where_possible(annotations.t)}
    columns |= {axis: places[:, at] for at, axis in enumerate("zyx")}
    columns["tracklet_id"] = track_numbers(annotations, tracks_of(annotations)).astype(np.int32)
    radius = radius_px(experiment, annotations)
    if radius is not None:
        columns["radius"] = radius * scale[2]
    if "interpolated" in annotations.features:
        columns["interpolated"] = annotations.features["interpolated"].astype(bool)
    else:  # one in micrometres is as good as any other column while nobody knows the voxel size
        columns |= numbers_only(
            {name: values for name, values in annotations.features.items() if name == "radius_um"},
            set(),
        )
    columns |= numbers_only(annotations.features, _OWN_COLUMNS)
    edges = annotations.links.astype(np.uint32).reshape(-1, 2)
    # zarr writes files in threads, which go on when one of them has failed: so into memory first
    files: dict[str, Any] = {}
    try:
        write_arrays(
            MemoryStore(files),
            np.arange(n, dtype=np.uint32),
            _properties(columns),
            edges,
            _properties(numbers_only(annotations.link_features, set())),
            _metadata(experiment, annotations, columns, for_mastodon, physical),
            zarr_format=2,
        )
    except (ValueError, TypeError) as error:
        raise CellTrainError(f"{path} can't be written as GEFF: {error}.") from error
    with replacing(path) as temporary:
        for name, content in files.items():
            place = temporary / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.to_bytes())


class GeffForMastodonFormat(GeffFormat):
    """Writes the flavour of GEFF that Mastodon reads; reads as GEFF does."""

    name = "GEFF for Mastodon"
    keeps = replace(GeffFormat.keeps, voxel_size=False, in_micrometres=True)

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write positions in micrometres, x before y before z."""
        write_geff(path, experiment, for_mastodon=True)


def _small_where_possible(t: NDArray[np.int64]) -> NDArray[Any]:
    """Return time points as most programs have them; a date and time as a number needs more."""
    largest = np.iinfo(np.int32).max
    return t if np.abs(t).max(initial=0) > largest else t.astype(np.int32)


def _properties(columns: dict[str, NDArray[Any]]) -> dict[str, Any]:
    return {name: {"values": values, "missing": None} for name, values in columns.items()}


def _metadata(
    experiment: Experiment,
    annotations: Annotations,
    columns: dict[str, NDArray[Any]],
    for_mastodon: bool,
    physical: bool,
) -> Any:
    from geff_spec import Axis, DisplayHint, GeffMetadata, PropMetadata

    voxel = experiment.known_voxel_size_um
    axes = []
    for name in "txyz" if for_mastodon else "tzyx":
        values = columns[name]
        ends = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
        about: dict[str, Any] = {"name": name, "min": ends[0], "max": ends[1]}
        if name == "t":
            about |= {"type": "time", "unit": "frame"}
        else:
            about |= {"type": "space", "unit": "micrometer" if physical else "pixel"}
            if voxel is not None and not physical:
                about |= {"scale": voxel["zyx".index(name)], "scaled_unit": "micrometer"}
        axes.append(Axis(**about))
    interval = frame_interval_s(experiment)
    # no scale on t: programs that apply all scales would move the frames
    extra = {} if interval is None else {"celltrain": {"frame_interval_s": interval}}
    edge_columns = numbers_only(annotations.link_features, set())
    return GeffMetadata(
        directed=True,
        axes=axes,
        node_props_metadata={
            name: PropMetadata(identifier=name, dtype=str(values.dtype))
            for name, values in columns.items()
        },
        edge_props_metadata={
            name: PropMetadata(identifier=name, dtype=str(values.dtype))
            for name, values in edge_columns.items()
        },
        sphere="radius" if "radius" in columns and not np.isnan(columns["radius"]).any() else None,
        track_node_props={"tracklet": "tracklet_id"},
        display_hints=DisplayHint(
            display_horizontal="x", display_vertical="y", display_depth="z", display_time="t"
        ),
        extra=extra,
    )
