"""The spots of Imaris files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import ZYX, Experiment, Finding
from napari_celltrain.formats.attaching import found_images, stated_images
from napari_celltrain.formats.cleaning import clean_annotations
from napari_celltrain.formats.documents import sentences
from napari_celltrain.formats.hdf5 import Content, looks_like_hdf5, open_hdf5, read_groups
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.images.units import um_per_unit

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SCENES = ("Scene8/Content", "Scene/Content")
_POINTS = re.compile(r"Points\d+$")


class ImarisFormat:
    """Reads every spots object of a file; a file without spots is an image, and declined."""

    name = "Imaris spots"
    suffixes = (".ims",)

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        if path.suffix.lower() not in self.suffixes or not looks_like_hdf5(path):
            return False
        try:
            with open_hdf5(path) as file:
                return bool(_objects(file))
        except Exception:  # whatever it is, it is not ours
            return False

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "an Imaris file"):
            file = read_groups(path, "DataSetInfo/Image", *_SCENES)
            objects = _objects_read(file)
            if not objects:
                raise CellTrainError(f"{path} has no spots.")
            findings: list[Finding] = []
            images = stated_images(chosen)
            if images is None and chosen.find_images:
                images = found_images(path, None, findings)
            lowest, size, um = _space(file)
            voxel_size: ZYX = (size[0] * um, size[1] * um, size[2] * um)
            experiments = []
            for place in objects:
                own = list(findings)
                content = _spots(file, place, own)
                positions = (content["xyz"] - lowest) / np.array(size)[::-1]
                if chosen.half_voxel_shift:
                    positions -= 0.5
                annotations = clean_annotations(
                    content["t"],
                    positions[:, ::-1],
                    content["links"],
                    features={"radius_um": content["radius"] * um},
                    findings=own,
                )
                name = file.attributes[place].get("Name") or place.rsplit("/", 1)[-1]
                experiments.append(
                    Experiment(
                        path.stem if len(objects) == 1 else f"{path.stem} {name}",
                        annotations,
                        images,
                        voxel_size_um=chosen.voxel_size_um or voxel_size,
                        source=path,
                        findings=tuple(own),
                    )
                )
            return experiments


def _objects(file: Any) -> list[str]:
    """Return the groups that hold spots, in either layout."""
    places = []
    for scene in _SCENES:
        if scene in file:
            places += [
                f"{scene}/{name}"
                for name in sorted(file[scene])
                if _POINTS.match(name)
                and ("Spot" in file[scene][name] or "CoordsXYZR" in file[scene][name])
            ]
        if places:
            break
    return places


def _objects_read(file: Content) -> list[str]:
    """Return the same of what has been read."""
    for scene in _SCENES:
        places = [f"{scene}/{name}" for name in file.names_in(scene) if _POINTS.match(name)]
        places = [
            place
            for place in places
            if f"{place}/Spot" in file.arrays or f"{place}/CoordsXYZR" in file.arrays
        ]
        if places:
            return places
    return []


def _space(file: Content) -> tuple[NDArray[np.float64], ZYX, float]:
    """Return the lowest corner (x, y, z) and the voxel size (z, y, x) in the file's unit.

    And how many um that unit is.
    """
    try:
        attributes = file.attributes["DataSetInfo/Image"]
        low = np.array([float(attributes[f"ExtMin{axis}"]) for axis in range(3)])
        high = np.array([float(attributes[f"ExtMax{axis}"]) for axis in range(3)])
        size = np.array([float(attributes[name]) for name in "XYZ"])
        um = um_per_unit(attributes.get("Unit", "um")) or 1.0
        x, y, z = ((high - low) / size).tolist()
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise CellTrainError("It does not state the extents of its image.") from error
    if not (0 < x < 1e9 and 0 < y < 1e9 and 0 < z < 1e9):
        raise CellTrainError("The extents of its image make no sense.")
    return low, (z, y, x), um


def _spots(file: Content, place: str, findings: list[Finding]) -> dict[str, Any]:
    if f"{place}/Spot" in file.arrays:
        spots = file.array(f"{place}/Spot")
        xyz = np.column_stack([spots[f"Position{axis}"] for axis in "XYZ"]).astype(np.float64)
        t = _times(file.array(f"{place}/SpotTimeOffset"), len(spots))
        ids = np.asarray(spots["ID"], np.int64)
        pairs = np.empty((0, 2), np.int64)
        if f"{place}/TrackEdge0" in file.arrays:
            edges = file.array(f"{place}/TrackEdge0")
            pairs = np.column_stack([edges["ID_ObjectA"], edges["ID_ObjectB"]]).astype(np.int64)
        known = np.isin(pairs, ids).all(axis=1)
        if not known.all():
            findings.append(
                Finding(
                    "warning",
                    "unknown-spot",
                    f"{int((~known).sum())} edges of {place} name a "
                    "spot that is not there; they are left out.",
                )
            )
        order = np.argsort(ids, kind="stable")
        links = order[np.searchsorted(ids, pairs[known], sorter=order)].reshape(-1, 2)
        return {"xyz": xyz, "t": t, "links": links, "radius": np.asarray(spots["Radius"], float)}
    coordinates = file.array(f"{place}/CoordsXYZR").astype(np.float64).reshape(-1, 4)
    t = file.array(f"{place}/Time").reshape(-1)
    links = np.empty((0, 2), np.int64)
    if f"{place}/Edges" in file.arrays:
        links = file.array(f"{place}/Edges").astype(np.int64).reshape(-1, 2)
    return {"xyz": coordinates[:, :3], "t": t, "links": links, "radius": coordinates[:, 3]}


def _times(offsets: NDArray[Any], n: int) -> NDArray[np.int64]:
    """Return each spot's frame from the rows (frame, first spot, one past the last spot)."""
    t = np.full(n, -1, np.int64)
    for row in offsets:
        begin, end = int(row["IndexBegin"]), int(row["IndexEnd"])
        if not 0 <= begin <= end <= n:
            raise CellTrainError("Its table of frames names spots that are not there.")
        t[begin:end] = int(row["ID"])
    if (t < 0).any():
        raise CellTrainError("Its table of frames does not cover all spots.")
    return t
