"""TrackMate's XML, and MaMuT's, which is the same in other coordinates."""

from __future__ import annotations

import contextlib
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import ZYX, Experiment, Finding
from napari_celltrain.formats.attaching import found_images, local_path, stated_images
from napari_celltrain.formats.bdv import read_world
from napari_celltrain.formats.cleaning import clean_annotations
from napari_celltrain.formats.documents import number_or_none, sentences
from napari_celltrain.formats.losses import Keeps
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.physical import in_pixels
from napari_celltrain.formats.xml_reading import root_name, stream_elements
from napari_celltrain.images.units import seconds_per_unit, um_per_unit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import FrameSource

_NAN = float("nan")
# what becomes the position, the time or the link is no column of its own
_USED = {
    "ID",
    "name",
    "FRAME",
    "VISIBILITY",
    "POSITION_X",
    "POSITION_Y",
    "POSITION_Z",
    "POSITION_T",
    "QUALITY",
    "RADIUS",
    "ROI_N_POINTS",
}


@dataclass
class _Content:
    """What the file says, in columns as it is streamed."""

    version: str = ""
    spatial_unit: str = ""
    time_unit: str = ""
    has_spots: bool = False
    frame: array[float] = field(default_factory=lambda: array("d"))
    xyz: array[float] = field(default_factory=lambda: array("d"))
    ids: array[int] = field(default_factory=lambda: array("q"))
    visible: array[int] = field(default_factory=lambda: array("b"))
    quality: array[float] = field(default_factory=lambda: array("d"))
    radius: array[float] = field(default_factory=lambda: array("d"))
    names: list[str] = field(default_factory=list)
    more: dict[str, array[float]] = field(default_factory=dict)
    edges: array[int] = field(default_factory=lambda: array("q"))
    costs: array[float] = field(default_factory=lambda: array("d"))
    edge_tracks: array[int] = field(default_factory=lambda: array("q"))
    kept_tracks: set[int] | None = None
    image: dict[str, str] = field(default_factory=dict)


class TrackMateFormat:
    """Reads versions 3 to 8 whatever their element order; writes version 7."""

    name = "TrackMate XML"
    suffixes = (".xml",)
    keeps = Keeps(
        columns=("score", "label", "radius_um", "radius_px"),
        link_columns=("link_cost",),
        needs_radius=True,
    )

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        return path.suffix.lower() in self.suffixes and root_name(path) in ("TrackMate", "TrakMate")

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "TrackMate XML"):
            root = root_name(path)
            if root == "TrakMate":
                raise CellTrainError(
                    f"{path} was written by TrackMate before its first release (root TrakMate). "
                    "Open it in a later TrackMate and save it again."
                )
            if root not in ("TrackMate", ""):  # without a root the parser says what is wrong
                raise CellTrainError(f"{path} is no TrackMate file: its root is {root!r}.")
            return [_experiment(_stream(path), path, chosen)]

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write spots, edges and calibration."""
        from napari_celltrain.formats.trackmate_writing import write_trackmate

        write_trackmate(path, experiment)


def _stream(path: Path) -> _Content:
    content = _Content()
    current = {"frame": _NAN, "track": -1}

    def spot(values: dict[str, str]) -> None:
        content.ids.append(int(values["ID"]))
        frame = values.get("FRAME")
        content.frame.append(current["frame"] if frame is None else float(frame))
        z = values.get("POSITION_Z", "0")
        content.xyz.extend((float(values["POSITION_X"]), float(values["POSITION_Y"]), float(z)))
        content.visible.append(values.get("VISIBILITY", "1").split(".")[0] != "0")
        quality = float(values.get("QUALITY", "nan"))
        content.quality.append(_NAN if quality == -1 else quality)  # -1: made by hand
        content.radius.append(float(values.get("RADIUS", "nan")))
        content.names.append(values.get("name", ""))
        _more(content.more, values, len(content.ids))

    def edge(values: dict[str, str]) -> None:
        ends = int(values["SPOT_SOURCE_ID"]), int(values["SPOT_TARGET_ID"])
        content.edges.extend(ends)
        content.costs.append(float(values.get("LINK_COST", "nan")))
        content.edge_tracks.append(int(current["track"]))

    def start(name: str, values: dict[str, str]) -> None:
        if name == "Spot":
            spot(values)
        elif name == "Edge":
            edge(values)
        elif name == "SpotsInFrame":
            current["frame"] = float(values.get("frame", "nan"))
        elif name == "Track":
            current["track"] = int(float(values.get("TRACK_ID", "-1")))
        elif name == "AllSpots":
            content.has_spots = True
        elif name == "FilteredTracks":
            content.kept_tracks = content.kept_tracks or set()
        elif name == "TrackID" and content.kept_tracks is not None:
            content.kept_tracks.add(int(float(values["TRACK_ID"])))
        elif name == "Model":
            content.spatial_unit = values.get("spatialunits", "")
            content.time_unit = values.get("timeunits", "")
        elif name == "ImageData":
            content.image = dict(values)
        elif name == "TrackMate":
            content.version = values.get("version", "")

    with open(path, "rb") as handle:
        stream_elements(handle, start)
    if not content.has_spots:
        raise CellTrainError(f"{path} has no AllSpots element, so no spots.")
    return content


def _more(columns: dict[str, array[float]], values: dict[str, str], n: int) -> None:
    """Add a spot's further features that are numbers to their columns."""
    for name, text in values.items():
        if name in _USED:
            continue
        column = columns.get(name)
        if column is None:
            column = columns[name] = array("d")
        if len(column) < n - 1:
            column.extend([_NAN] * (n - 1 - len(column)))
        try:
            column.append(float(text))
        except ValueError:
            column.append(_NAN)


def _experiment(content: _Content, path: Path, options: ReadOptions) -> Experiment:
    findings: list[Finding] = []
    n = len(content.ids)
    t = np.array(content.frame, np.float64)
    xyz = np.array(content.xyz, np.float64).reshape(n, 3)
    links, track_ids = _links(content, findings)
    radius = np.array(content.radius, np.float64)
    features: dict[str, NDArray[Any]] = {
        "id": np.array(content.ids, np.int64),
        "label": np.array(content.names, object),
        "track_id": track_ids,
        "score": np.array(content.quality, np.float64),
    }
    for name, values in content.more.items():
        values.extend([_NAN] * (n - len(values)))
        features[name] = np.array(values, np.float64)
    features = {
        name: column
        for name, column in features.items()
        if name == "id"
        or (column.dtype.kind == "f" and not np.isnan(column).all())
        or (column.dtype == object and any(column))
    }
    images = _images(content, path, options, findings)
    positions, voxel_size, radius_um = _positions(content, t, xyz, path, images, options, findings)
    if not np.isnan(radius).all():
        if radius_um is None:
            features["radius_px"] = radius
        else:
            features["radius_um"] = radius * radius_um
    link_features = {"link_cost": np.array(content.costs, np.float64)}
    if np.isnan(link_features["link_cost"]).all():
        link_features = {}
    else:
        link_features["link_cost"] = link_features["link_cost"][_known_edges(content)]
    annotations = clean_annotations(
        t, positions, links, features=features, link_features=link_features, findings=findings
    )
    keep = _kept(content, track_ids, options, findings)
    if not keep.all() and len(annotations) == n:
        annotations = annotations.select(keep)
    elif not keep.all():  # some had no coordinates and are gone already
        ids = np.array(content.ids, np.int64)[keep]
        annotations = annotations.select(np.isin(annotations.features["id"], ids))
    interval = number_or_none(content.image.get("timeinterval"))
    unit = seconds_per_unit(content.time_unit)
    return Experiment(
        name=path.stem,
        annotations=annotations,
        images=images,
        voxel_size_um=options.voxel_size_um or voxel_size,
        frame_interval_s=None if interval is None or unit is None else interval * unit,
        source=path,
        findings=tuple(findings),
    )


def _known_edges(content: _Content) -> NDArray[np.bool_]:
    ids = np.array(content.ids, np.int64)
    pairs = np.array(content.edges, np.int64).reshape(-1, 2)
    return np.asarray(np.isin(pairs, ids).all(axis=1))


def _links(
    content: _Content, findings: list[Finding]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return links as pairs of spot numbers, and each spot's track, NaN for none."""
    ids = np.array(content.ids, np.int64)
    order = np.argsort(ids, kind="stable")
    if len(np.unique(ids)) < len(ids):
        raise CellTrainError("Two spots have the same ID, so the links mean nothing.")
    known = _known_edges(content)
    pairs = np.array(content.edges, np.int64).reshape(-1, 2)[known]
    if not known.all():
        findings.append(
            Finding(
                "warning",
                "unknown-spot",
                f"{int((~known).sum())} links name a spot that is "
                "not in the file; they are left out.",
            )
        )
    links = order[np.searchsorted(ids, pairs, sorter=order)]
    track_ids = np.full(len(ids), np.nan)
    tracks = np.array(content.edge_tracks, np.float64)[known]
    track_ids[links[:, 0]] = tracks
    track_ids[links[:, 1]] = tracks
    return links.astype(np.int64).reshape(-1, 2), track_ids


def _kept(
    content: _Content,
    track_ids: NDArray[np.float64],
    options: ReadOptions,
    findings: list[Finding],
) -> NDArray[np.bool_]:
    """Return which spots are taken."""
    visible = np.array(content.visible, bool)
    keep = np.ones(len(visible), bool)
    if not options.hidden_spots and not visible.all():
        keep &= visible
        findings.append(
            Finding(
                "info",
                "hidden-spots",
                f"{int((~visible).sum())} of {len(visible)} spots were "
                "filtered out in TrackMate and are left out.",
            )
        )
    if content.kept_tracks is None:
        return keep
    rejected = np.isfinite(track_ids) & ~np.isin(track_ids, list(content.kept_tracks))
    if rejected.any():
        taken = "left out" if options.only_kept_tracks else "taken all the same"
        findings.append(
            Finding(
                "info",
                "rejected-tracks",
                f"{int(rejected.sum())} spots are in tracks that "
                f"TrackMate's track filters rejected; they are {taken}.",
            )
        )
    return keep & ~rejected if options.only_kept_tracks else keep


def _positions(
    content: _Content,
    t: NDArray[np.float64],
    xyz: NDArray[np.float64],
    path: Path,
    images: FrameSource | None,
    options: ReadOptions,
    findings: list[Finding],
) -> tuple[NDArray[np.float64], ZYX | None, float | None]:
    """Return (z, y, x) pixels, the voxel size, and the micrometres of the file's unit."""
    um = um_per_unit(content.spatial_unit)
    if _image_name(content).lower().endswith(".xml"):
        return _from_world(content, t, xyz, path, images, options, findings)
    sizes = [
        number_or_none(content.image.get(key))
        for key in ("voxeldepth", "pixelheight", "pixelwidth")
    ]
    z, y, x = sizes
    if um is None:  # pixels, or a word nobody knows: then the calibration tells nothing
        if content.spatial_unit.strip().lower() not in ("pixel", "pixels", "px", ""):
            findings.append(
                Finding(
                    "warning",
                    "unknown-unit",
                    f"The unit of length is {content.spatial_unit[:30]!r}, which is unknown.",
                )
            )
            if z and y and x:
                return xyz[:, ::-1] / np.array([z, y, x]), None, None
        calibrated = z and y and x and (z, y, x) != (1.0, 1.0, 1.0)
        return xyz[:, ::-1], (z, y, x) if calibrated else None, None  # type: ignore[return-value]
    stated: ZYX | None = None
    if y and x:
        stated = ((z or x) * um, y * um, x * um)
    positions, voxel_size = in_pixels(
        xyz[:, ::-1] * um, "um", options, images, findings, stated=stated
    )
    return positions, voxel_size, um


def _from_world(
    content: _Content,
    t: NDArray[np.float64],
    xyz: NDArray[np.float64],
    path: Path,
    images: FrameSource | None,
    options: ReadOptions,
    findings: list[Finding],
) -> tuple[NDArray[np.float64], ZYX | None, float | None]:
    """MaMuT: positions in BigDataViewer's world."""
    um = um_per_unit(content.spatial_unit)
    for candidate in _image_candidates(content, path):
        if candidate.is_file():
            world = read_world(candidate)
            steps = np.nan_to_num(t).astype(np.int64)
            return world.to_pixels(steps, xyz), world.voxel_size_um, um
    findings.append(
        Finding(
            "warning",
            "no-world",
            f"The image description {_image_name(content)} is not "
            "there; without its maps the voxel size alone turns the positions into pixels.",
        )
    )
    positions, voxel_size = in_pixels(xyz[:, ::-1] * (um or 1), "um", options, images, findings)
    return positions, voxel_size, um


def _image_name(content: _Content) -> str:
    name = content.image.get("filename", "")
    return "" if name == "None" else name


def _image_candidates(content: _Content, path: Path) -> list[Path]:
    """Return where the image may be: where the file says, or beside the file."""
    name = _image_name(content)
    if not name:
        return []
    folder = content.image.get("folder", "")
    places = []
    if folder:
        with contextlib.suppress(CellTrainError):  # on a computer that is not asked
            places = [local_path(folder, path.parent) / name]
    return [*places, path.parent / Path(name.replace("\\", "/")).name]


def _images(
    content: _Content, path: Path, options: ReadOptions, findings: list[Finding]
) -> FrameSource | None:
    stated = stated_images(options)
    if stated is not None or not options.find_images:
        return stated
    candidates = _image_candidates(content, path)
    if not candidates:
        return None
    there = next((candidate for candidate in candidates if candidate.exists()), candidates[0])
    return found_images(there, None, findings, named_in=path)
