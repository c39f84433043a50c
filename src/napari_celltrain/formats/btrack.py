"""btrack's HDF5 files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Experiment, Finding
from napari_celltrain.formats.attaching import stated_images
from napari_celltrain.formats.cleaning import clean_annotations
from napari_celltrain.formats.documents import sentences
from napari_celltrain.formats.hdf5 import Content, looks_like_hdf5, open_hdf5, read_groups
from napari_celltrain.formats.options import ReadOptions

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class BtrackFormat:
    """Reads the objects and tracks of every object type."""

    name = "btrack HDF5"
    suffixes = (".h5", ".hdf5", ".hdf")

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        if path.suffix.lower() not in self.suffixes or not looks_like_hdf5(path):
            return False
        try:
            with open_hdf5(path) as file:
                return "objects" in file and bool(_types(file))
        except Exception:  # whatever it is, it is not ours
            return False

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "a btrack file"):
            file = read_groups(path, "objects", "tracks")
            types = [
                name for name in file.names_in("objects") if f"objects/{name}/coords" in file.arrays
            ]
            if not types:
                raise CellTrainError(f"{path} has no objects as btrack writes them.")
            return [_experiment(file, name, path, chosen, alone=len(types) == 1) for name in types]


def _types(file: Any) -> list[str]:
    return [name for name in sorted(file["objects"]) if "coords" in file["objects"][name]]


def _experiment(
    file: Content, name: str, path: Path, options: ReadOptions, *, alone: bool
) -> Experiment:
    findings: list[Finding] = []
    coords = file.array(f"objects/{name}/coords")
    if coords.ndim != 2 or coords.shape[1] < 4:
        raise CellTrainError(f"objects/{name}/coords has not the columns t, x, y, z.")
    links = np.empty((0, 2), np.int64)
    features = _properties(file, f"objects/{name}/properties", len(coords))
    tracks = f"tracks/{name}"
    if f"{tracks}/tracks" in file.arrays and f"{tracks}/map" in file.arrays:
        references = file.array(f"{tracks}/tracks").astype(np.int64).reshape(-1)
        ranges = file.array(f"{tracks}/map").astype(np.int64).reshape(-1, 2)
        rows = file.arrays.get(f"{tracks}/LBEPR", np.empty((0, 6))).astype(np.int64)
        links, track_ids = _links(references, ranges, rows, len(coords), findings)
        features["track_id"] = track_ids
    annotations = clean_annotations(
        coords[:, 0], coords[:, [3, 2, 1]], links, features=features, findings=findings
    )
    return Experiment(
        path.stem if alone else f"{path.stem} {name}",
        annotations,
        stated_images(options),
        voxel_size_um=options.voxel_size_um,
        source=path,
        findings=tuple(findings),
    )


def _properties(file: Content, group: str, n: int) -> dict[str, NDArray[Any]]:
    """Return the properties that are one number for each object."""
    arrays = {name: file.arrays.get(f"{group}/{name}") for name in file.names_in(group)}
    return {
        name: array
        for name, array in arrays.items()
        if array is not None and array.shape == (n,) and array.dtype.kind in "biuf"
    }


def _links(
    references: NDArray[np.int64],
    ranges: NDArray[np.int64],
    rows: NDArray[np.int64],
    n: int,
    findings: list[Finding],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return links, and each object's track; negative references are guesses, not objects."""
    track_ids = np.full(n, np.nan)
    links: list[tuple[int, int]] = []
    ends: dict[int, tuple[int, int]] = {}
    dummies = 0
    for number, (begin, end) in enumerate(ranges.tolist()):
        if not 0 <= begin <= end <= len(references):
            raise CellTrainError("Its tracks name references that are not there.")
        members = references[begin:end]
        dummies += int((members < 0).sum())
        real = members[members >= 0]
        if not len(real):
            continue
        if real.max() >= n:
            raise CellTrainError("Its tracks name objects that are not there.")
        label = int(rows[number, 0]) if number < len(rows) else number
        track_ids[real] = label
        ends[label] = int(real[0]), int(real[-1])
        links += list(zip(real[:-1].tolist(), real[1:].tolist(), strict=True))
    for row in rows.tolist():
        label, parent = row[0], row[3] if len(row) > 3 else 0
        if parent not in (0, label) and label in ends and parent in ends:
            links.append((ends[parent][1], ends[label][0]))
    if dummies:
        findings.append(
            Finding(
                "info",
                "guessed-positions",
                f"{dummies} positions were only guessed by btrack "
                "to bridge gaps; they are left out, and the links go over the gap.",
            )
        )
    return np.array(links, np.int64).reshape(-1, 2), track_ids
