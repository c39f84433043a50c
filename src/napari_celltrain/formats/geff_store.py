"""GEFF, the graph exchange file format: tracks in a Zarr group."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import ZYX, Experiment, Finding
from napari_celltrain.formats.attaching import found_images, stated_images
from napari_celltrain.formats.cleaning import clean_annotations
from napari_celltrain.formats.documents import beginning, number_or_none, sentences
from napari_celltrain.formats.elsewhere import check_computer
from napari_celltrain.formats.geff_arrays import Arrays
from napari_celltrain.formats.geff_axes import AxisOfStore, axes_of, frames_of_times
from napari_celltrain.formats.losses import Keeps
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.physical import in_pixels
from napari_celltrain.formats.tracks import without_in_between

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import FrameSource

_TRACK_NAMES = ("tracklet_id", "track_id")


class GeffFormat:
    """Reads GEFF 1.x in Zarr 2 and 3; writes it in pixels (Zarr 2)."""

    name = "GEFF"
    suffixes = (".geff", ".zarr")
    keeps = Keeps(gaps=False, columns="numbers", link_columns="numbers")

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`; an image Zarr with a group ``tracks`` counts too."""
        try:
            return path.is_dir() and _store_of(path) is not None
        except OSError:
            return False

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "a GEFF store"):
            store = _store_of(path)
            if store is None:
                raise CellTrainError(f"{path} is no GEFF store.")
            return [_experiment(store, path, chosen)]

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write positions in pixels."""
        from napari_celltrain.formats.geff_writing import write_geff

        write_geff(path, experiment)


def _attributes(folder: Path) -> dict[str, Any] | None:
    """Return a Zarr group's attributes; None when it is none."""
    for name in (".zattrs", "zarr.json"):
        raw = beginning(folder / name, 2**24)
        if not raw:
            continue
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError):
            return None
        if name == "zarr.json" and isinstance(content, dict):
            content = content.get("attributes")
        return content if isinstance(content, dict) else None
    return None


def _store_of(path: Path) -> Path | None:
    """Return the folder of the GEFF group that a path means."""
    for folder in (path, path / "tracks"):
        attributes = _attributes(folder)
        if attributes is None:
            continue
        if "geff" in attributes or "geff_version" in attributes:  # the latter before 1.0
            return folder
    return None


def _experiment(store: Path, path: Path, options: ReadOptions) -> Experiment:
    findings: list[Finding] = []
    about = (_attributes(store) or {}).get("geff")
    version = str(about.get("geff_version", "")) if isinstance(about, dict) else ""
    if not isinstance(about, dict) or not re.match(r"[1-9]\d*\.", version):
        raise CellTrainError(
            f"{path} is a GEFF store from before version 1.0"
            f"{f' ({version[:20]})' if version else ''}. Write it again with a present version of "
            "the program it came from."
        )
    arrays = Arrays(store)
    ids = arrays.read("nodes/ids").reshape(-1)
    edges = arrays.read("edges/ids").reshape(-1, 2) if "edges" in arrays.group else ids[:0]
    columns = _properties(arrays, "nodes", len(ids), findings)
    axes = axes_of(about.get("axes"), list(columns), findings)
    t, interval = frames_of_times(axes.time, columns, findings)
    images = _images(store, path, about, options, findings)
    positions, voxel_size = _positions(axes.space, columns, len(ids), images, options, findings)
    extra = about.get("extra")
    if interval is None and isinstance(extra, dict) and isinstance(extra.get("celltrain"), dict):
        interval = number_or_none(extra["celltrain"].get("frame_interval_s"))
    used = {axes.time.name, *(axis.name for axis in axes.space if axis is not None)}
    features = {name: values for name, values in columns.items() if name not in used}
    _rename(features, about, axes.in_micrometres, voxel_size)
    links, known = _links(ids, edges, findings)
    link_columns = _properties(arrays, "edges", len(known), findings)
    annotations = clean_annotations(
        t,
        positions,
        links,
        features=features | {"id": ids},
        link_features={name: values[known] for name, values in link_columns.items()},
        findings=findings,
    )
    return Experiment(
        path.stem,
        without_in_between(annotations, findings),
        images,
        voxel_size_um=voxel_size,
        frame_interval_s=interval,
        source=path,
        findings=tuple(findings),
    )


def _properties(
    arrays: Arrays, kind: str, n: int, findings: list[Finding]
) -> dict[str, NDArray[Any]]:
    """Return the properties that are one value for each node or edge; NaN where missing."""
    columns: dict[str, NDArray[Any]] = {}
    group = arrays.group
    if f"{kind}/props" not in group:
        return columns
    for name in sorted(group[f"{kind}/props"].keys()):
        place = f"{kind}/props/{name}"
        if f"{place}/values" not in group or f"{place}/data" in group:
            continue
        if arrays.shape(f"{place}/values") != (n,):
            findings.append(
                Finding(
                    "info",
                    "geff-property",
                    f"The property {name} is not one value for each position; it is not read.",
                )
            )
            continue
        values = arrays.read(f"{place}/values")
        if values.dtype.kind not in "biuf":
            values = np.array([str(value) for value in values.tolist()], object)
        if f"{place}/missing" in group:
            missing = arrays.read(f"{place}/missing").astype(bool)
            if missing.shape == values.shape and missing.any():
                blank = "" if values.dtype == object else np.nan
                values = values.astype(object if values.dtype == object else np.float64)
                values[missing] = blank
        columns[name] = values
    return columns


def _links(
    ids: NDArray[Any], edges: NDArray[Any], findings: list[Finding]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the links as pairs of node numbers, and which of the edges they are."""
    if len(np.unique(ids)) < len(ids):
        raise CellTrainError("Two nodes have the same id, so the edges mean nothing.")
    edges = edges.reshape(-1, 2)
    known = np.asarray(np.isin(edges, ids).all(axis=1), bool)
    if not known.all():
        findings.append(
            Finding(
                "warning",
                "unknown-spot",
                f"{int((~known).sum())} edges name a node that is "
                "not in the store; they are left out.",
            )
        )
    order = np.argsort(ids, kind="stable")
    links = order[np.searchsorted(ids, edges[known], sorter=order)]
    return links.astype(np.int64).reshape(-1, 2), known


def _positions(
    space: tuple[AxisOfStore | None, AxisOfStore, AxisOfStore],
    columns: dict[str, NDArray[Any]],
    n: int,
    images: FrameSource | None,
    options: ReadOptions,
    findings: list[Finding],
) -> tuple[NDArray[np.float64], ZYX | None]:
    """Return (z, y, x) pixels, and the voxel size to go with them."""
    values = np.zeros((n, 3))
    for at, axis in enumerate(space):
        if axis is not None:
            values[:, at] = axis.values(columns)
    z, y, x = space
    if y.um is not None or x.um is not None:  # physical
        factors = [1.0 if axis is None else axis.um or 1.0 for axis in space]
        return in_pixels(values * factors, "um", options, images, findings)
    unknown = [one for one in (z, y, x) if one is not None and one.has_unknown_unit]
    if unknown:
        named = " and ".join(dict.fromkeys(repr(one.unit[:40]) for one in unknown))
        findings.append(
            Finding(
                "warning",
                "unknown-unit",
                f"The store states positions in {named}, which is no known unit of length; they "
                "are taken as pixels.",
            )
        )
    scales = [None if axis is None else axis.scale_um for axis in space]
    if z is None and scales[2]:
        scales[0] = scales[2]
    stated: ZYX | None = None
    if scales[0] and scales[1] and scales[2]:
        stated = (scales[0], scales[1], scales[2])
    if stated is not None and images is not None and images.voxel_size_um is not None:
        if not np.allclose(stated, images.voxel_size_um, rtol=0.01):
            findings.append(
                Finding(
                    "warning",
                    "voxel-size-differs",
                    f"The store states a voxel size of "
                    f"{stated} um, its images {images.voxel_size_um}; the images' is taken.",
                )
            )
        stated = images.voxel_size_um
    elif stated is not None and stated[0] < stated[2]:
        findings.append(
            Finding(
                "warning",
                "voxel-size-swapped",
                f"The store states planes nearer to each "
                f"other ({stated[0]:g} um) than pixels ({stated[2]:g} um). Some programs swap "
                "the two: state the voxel size if that is wrong.",
            )
        )
    return in_pixels(values, "px", options, images, findings, stated=stated)


def _rename(
    features: dict[str, NDArray[Any]],
    about: dict[str, Any],
    in_micrometres: bool,
    voxel_size: ZYX | None,
) -> None:
    """Give the known properties their usual names."""
    sphere = about.get("sphere")
    radius = sphere if isinstance(sphere, str) else "radius"
    if radius in features:
        values = features.pop(radius)
        if in_micrometres:
            features["radius_um"] = values
        elif voxel_size is not None and values.dtype.kind in "iuf":
            features["radius_um"] = values * voxel_size[2]
        else:
            features["radius_px"] = values
    for name in _TRACK_NAMES:
        if name in features and "track_id" not in features:
            features["track_id"] = features.pop(name)


def _images(
    store: Path, path: Path, about: dict[str, Any], options: ReadOptions, findings: list[Finding]
) -> FrameSource | None:
    stated = stated_images(options)
    if stated is not None or not options.find_images:
        return stated
    if store != path:  # the tracks lie in the image's own Zarr
        return found_images(path, None, findings)
    related = about.get("related_objects")
    for entry in related if isinstance(related, list) else []:
        if isinstance(entry, dict) and entry.get("type") == "image":
            named = str(entry.get("path", ""))
            try:
                check_computer(named, store)
            except CellTrainError as error:
                message = f"The images can't be opened: {error}"
                findings.append(Finding("warning", "images-missing", message))
                return None
            return found_images(store / named, None, findings, named_in=path)
    return None
