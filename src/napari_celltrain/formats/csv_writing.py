"""Writing tables: for anybody, for napari's points layers, and for Mastodon's importer."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.files import replacing
from napari_celltrain.formats.cleaning import plain
from napari_celltrain.formats.csv_table import CsvFormat
from napari_celltrain.formats.losses import Keeps
from napari_celltrain.formats.tracks import track_numbers, tracks_of
from napari_celltrain.formats.written import cells_of, drawn_radius_px

if TYPE_CHECKING:
    from pathlib import Path

    from napari_celltrain.experiment import Annotations, Experiment

_OWN = {"t", "z", "y", "x", "id", "score", "track_id", "parent_id", "parent_track_id", "status"}


def write_table(path: Path, experiment: Experiment) -> None:
    """Write ``t,z,y,x`` in pixels with score, tracks, parents and all other columns.

    ``id`` and ``parent_id`` hold the links; ``status`` is there when some positions are no cells
    (1 cell, 0 undecided, -1 no cell).
    """
    annotations = experiment.annotations
    columns = _places(annotations)
    if "score" in annotations.features:
        columns["score"] = _texts(annotations.features["score"])
    if len(annotations.links):
        columns |= _lineage(annotations)
    elif "track_id" in annotations.features:
        columns["track_id"] = _texts(annotations.features["track_id"])
    if not annotations.is_cell.all():
        columns["status"] = [str(int(one)) for one in np.asarray(annotations.status)]
    for name, values in annotations.features.items():
        if name not in _OWN:
            columns[_safe_name(name, columns)] = _texts(values)
    _write(path, columns, "\t" if path.suffix.lower() == ".tsv" else ",")


class NapariCsvFormat(CsvFormat):
    """Writes what napari itself opens as a points layer; links have no place in it."""

    name = "napari points CSV"
    suffixes = (".csv",)
    keeps = Keeps(links=False, columns=("score",), voxel_size=False, frame_interval=False)

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write one row for each cell."""
        annotations = cells_of(experiment)
        columns = {"index": [f"{row}.0" for row in range(len(annotations))]}
        places = _places(annotations)
        columns |= {f"axis-{at}": places[name] for at, name in enumerate("tzyx")}
        for name in ("score", "track_id"):
            if name in annotations.features:
                columns[name] = _texts(annotations.features[name])
        _write(path, columns)


class MastodonCsvFormat(CsvFormat):
    """Writes what Mastodon's CSV importer takes, in micrometres where the voxel size is known."""

    name = "Mastodon CSV"
    suffixes = (".csv",)
    keeps = Keeps(
        merges=False,
        columns=("score", "label", "radius_um", "radius_px"),
        voxel_size=False,
        frame_interval=False,
        needs_radius=True,
        in_micrometres=True,
    )

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write one row for each cell."""
        annotations = cells_of(experiment)
        voxel = np.array(experiment.known_voxel_size_um or (1.0, 1.0, 1.0))
        places = (annotations.positions * voxel).tolist()
        radius = drawn_radius_px(experiment, annotations) * voxel[2]
        lineage = _lineage(annotations)
        labels = annotations.features.get("label")
        columns = {
            "id": lineage["id"],
            "label": lineage["id"] if labels is None else _texts(labels),
            "timepoint": [str(t) for t in annotations.t.tolist()],
            "x": [repr(x) for _, _, x in places],
            "y": [repr(y) for _, y, _ in places],
            "z": [repr(z) for z, _, _ in places],
            "radius": [repr(r) for r in radius.tolist()],
            "parent_id": lineage["parent_id"],
        }
        if "score" in annotations.features:
            columns["quality"] = _texts(annotations.features["score"])
        _write(path, columns)


def _places(annotations: Annotations) -> dict[str, list[str]]:
    z, y, x = (annotations.positions[:, at].tolist() for at in range(3))
    return {
        "t": [str(t) for t in annotations.t.tolist()],
        "z": [repr(value) for value in z],
        "y": [repr(value) for value in y],
        "x": [repr(value) for value in x],
    }


def _lineage(annotations: Annotations) -> dict[str, list[str]]:
    """Return ids from 1, the track, and the parent's id, -1 for none."""
    n, links = len(annotations), annotations.links
    parents = np.full(n, -1, np.int64)
    parents[links[::-1, 1]] = links[::-1, 0] + 1
    numbers = track_numbers(annotations, tracks_of(annotations)) + 1
    return {
        "track_id": [str(one) for one in numbers.tolist()],
        "id": [str(one) for one in range(1, n + 1)],
        "parent_id": [str(one) for one in parents.tolist()],
    }


def _texts(values: Any) -> list[str]:
    written = []
    for value in values:
        value = plain(value)
        written.append(
            "" if value is None else repr(value) if isinstance(value, float) else str(value)
        )
    return written


def _safe_name(name: str, taken: dict[str, list[str]]) -> str:
    """Return a header that no reader takes for a coordinate, and that is not there yet."""
    plain_name = " ".join(name.split()) or "column"
    while plain_name in taken:
        plain_name += "_"
    return plain_name


def _write(path: Path, columns: dict[str, list[str]], delimiter: str = ",") -> None:
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
