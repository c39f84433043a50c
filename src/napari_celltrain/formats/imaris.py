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
from napari_celltrain.formats.hdf5 import dataset, looks_like_hdf5, open_hdf5
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.physical import um_per_unit

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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
        with sentences(path, "an Imaris file"), open_hdf5(path) as file:
            objects = _objects(file)
            if not objects:
                raise CellTrainError(f"{path} has no spots.")
            findings: list[Finding] = []
            images = stated_images(chosen)
            if images is None and chosen.find_images and "DataSet" in file:
                images = found_images(path, None, findings)
            lowest, voxel_size = _space(file)
            experiments = []
            for place in objects:
                own = list(findings)
                content = _spots(file[place], place, path.stat().st_size, own)
                positions = (content["xyz"] - lowest) / np.array(voxel_size)[::-1]
                if chosen.half_voxel_shift:
                    positions -= 0.5
                annotations = clean_annotations(
                    content["t"], positions[:, ::-1], content["links"],
                    features={"radius_um": content["radius"]}, findings=own,
                )
                name = _text(file[place].attrs.get("Name")) or place.rsplit("/", 1)[-1]
                experiments.append(
                    Experiment(
                        path.stem if len(objects) == 1 else f"{path.stem} {name}",
                        annotations, images,
                        voxel_size_um=chosen.voxel_size_um or voxel_size, source=path,
                        findings=tuple(own),
                    )
                )
            return experiments


def _objects(file: Any) -> list[str]:
    """Return the groups that hold spots, in either layout."""
    places = []
    for scene in ("Scene8/Content", "Scene/Content"):
        if scene in file:
            places += [
                f"{scene}/{name}" for name in sorted(file[scene])
                if _POINTS.match(name)
                and ("Spot" in file[scene][name] or "CoordsXYZR" in file[scene][name])
            ]
        if places:
            break
    return places


def _space(file: Any) -> tuple[NDArray[np.float64], ZYX]:
    """Return the lowest corner (x, y, z) and the voxel size (z, y, x), in um."""
    try:
        attributes = file["DataSetInfo/Image"].attrs
        low = np.array([float(_text(attributes[f"ExtMin{axis}"])) for axis in range(3)])
        high = np.array([float(_text(attributes[f"ExtMax{axis}"])) for axis in range(3)])
        size = np.array([float(_text(attributes[name])) for name in "XYZ"])
        um = um_per_unit(_text(attributes.get("Unit", "um"))) or 1.0
        x, y, z = ((high - low) / size).tolist()
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise CellTrainError("It does not state the extents of its image.") from error
    if not (0 < x < 1e9 and 0 < y < 1e9 and 0 < z < 1e9):
        raise CellTrainError("The extents of its image make no sense.")
    if um != 1.0:
        raise CellTrainError("Its unit of length is not um; that is not supported.")
    return low, (z, y, x)


def _spots(group: Any, place: str, file_size: int, findings: list[Finding]) -> dict[str, Any]:
    if "Spot" in group:
        spots = dataset(group, "Spot", file_size)
        xyz = np.column_stack([spots[f"Position{axis}"] for axis in "XYZ"]).astype(np.float64)
        t = _times(dataset(group, "SpotTimeOffset", file_size), len(spots))
        ids = np.asarray(spots["ID"], np.int64)
        pairs = np.empty((0, 2), np.int64)
        if "TrackEdge0" in group:
            edges = dataset(group, "TrackEdge0", file_size)
            pairs = np.column_stack([edges["ID_ObjectA"], edges["ID_ObjectB"]]).astype(np.int64)
        known = np.isin(pairs, ids).all(axis=1)
        if not known.all():
            findings.append(
                Finding("warning", "unknown-spot", f"{int((~known).sum())} edges of {place} name a "
                        "spot that is not there; they are left out.")
            )
        order = np.argsort(ids, kind="stable")
        links = order[np.searchsorted(ids, pairs[known], sorter=order)].reshape(-1, 2)
        return {"xyz": xyz, "t": t, "links": links, "radius": np.asarray(spots["Radius"], float)}
    coordinates = dataset(group, "CoordsXYZR", file_size).astype(np.float64).reshape(-1, 4)
    t = dataset(group, "Time", file_size).reshape(-1)
    links = np.empty((0, 2), np.int64)
    if "Edges" in group:
        links = dataset(group, "Edges", file_size).astype(np.int64).reshape(-1, 2)
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


def _text(value: Any) -> str:
    """Return an attribute that is stored as an array of single characters."""
    if isinstance(value, np.ndarray):
        return b"".join(bytes(one) for one in value.reshape(-1)).decode("latin-1").strip()
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
