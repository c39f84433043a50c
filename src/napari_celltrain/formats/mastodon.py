"""Mastodon projects: spots and links in BigDataViewer's world, ELEPHANT's tags among them."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import ZYX, Experiment, Finding, Status
from napari_celltrain.formats.archives import check_content, open_zip, read_member
from napari_celltrain.formats.attaching import found_images, local_path, stated_images
from napari_celltrain.formats.bdv import read_world
from napari_celltrain.formats.cleaning import clean_annotations
from napari_celltrain.formats.documents import beginning, sentences
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.physical import in_pixels
from napari_celltrain.images.units import um_per_unit

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import FrameSource

DETECTION_TAGS = {
    "tp": Status.CELL,
    "fn": Status.CELL,
    "tb": Status.CELL,
    "fp": Status.NOT_A_CELL,
    "tn": Status.NOT_A_CELL,
    "fb": Status.NOT_A_CELL,
    "unlabeled": Status.UNKNOWN,
}
"""What ELEPHANT's tag set "Detection" says: true and false, positive, negative and border."""

_BYTES_PER_SPOT = 3 * 8 + 4 + 7 * 8


class MastodonFormat:
    """Reads `.mastodon` projects; for the way back write Mastodon's CSV or GEFF."""

    name = "Mastodon"
    suffixes = (".mastodon",)

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        return path.suffix.lower() in self.suffixes and beginning(path, 4).startswith(b"PK")

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "a Mastodon project"):
            return [_experiment(path, chosen)]


def _experiment(path: Path, options: ReadOptions) -> Experiment:
    from micromastodonreader import MicroMastodonReader

    findings: list[Finding] = []
    _check_sizes(path)
    reader = MicroMastodonReader(str(path))
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        about = reader.read_metadata()
        spots, links = reader.read_tables()
    findings += [Finding("info", "mastodon", str(one.message)) for one in noted]
    t = spots[:, 3].astype(np.int64)
    positions, voxel_size, images = _positions(path, t, spots, about, options, findings)
    # bsrs is the squared radius of the sphere around the spot
    features: dict[str, NDArray[Any]] = {}
    um = um_per_unit(about.get("space unit") or "")
    if um is not None:
        features["radius_um"] = np.sqrt(np.maximum(spots[:, 10], 0)).astype(np.float64) * um
    status = _tags(path, reader, len(spots), features, findings)
    annotations = clean_annotations(
        t,
        positions,
        np.asarray(links, np.int64).reshape(-1, 2),
        status=status,
        features=features,
        findings=findings,
    )
    return Experiment(
        path.stem,
        annotations,
        images,
        voxel_size_um=voxel_size,
        source=path,
        completeness="time-points",
        findings=tuple(findings),
    )


def _check_sizes(path: Path) -> None:
    """Refuse what would unpack to, or claims, more than can be there."""
    with open_zip(path) as archive:
        check_content(archive, "model.raw")
        project = read_member(archive, "project.xml")
        if b"<!DOCTYPE" in project or b"<!ENTITY" in project or b"\0" in project:
            raise CellTrainError(f"{path}: its project.xml is not as Mastodon writes it.")
        if "tags.raw" in archive.namelist():
            check_content(archive, "tags.raw")
        size = archive.getinfo("model.raw").file_size
        with archive.open("model.raw") as model:
            head = model.read(16)
    if head[:4] != b"\xac\xed\x00\x05":
        raise CellTrainError(f"{path}: its model.raw is not as Mastodon writes it.")
    at = 9 if head[4:5] == b"\x7a" else 6
    claimed = int.from_bytes(head[at : at + 4], "big", signed=True)
    if not 0 <= claimed <= size // _BYTES_PER_SPOT:
        raise CellTrainError(f"{path} claims {claimed} spots, which it can't hold.")


def _positions(
    path: Path,
    t: NDArray[np.int64],
    spots: NDArray[np.float32],
    about: dict[str, Any],
    options: ReadOptions,
    findings: list[Finding],
) -> tuple[NDArray[np.float64], ZYX | None, FrameSource | None]:
    world = spots[:, :3].astype(np.float64)
    named = about.get("spim_data_file_path")
    described = None
    if named:
        described = path.parent / PureWindowsPath(str(named)).name
        with contextlib.suppress(CellTrainError):  # on a computer that is not asked
            stated = local_path(str(named), path.parent)
            described = stated if stated.is_file() else described
    images = stated_images(options)
    if described is not None and described.is_file():
        if images is None and options.find_images:
            images = found_images(described, None, findings, named_in=path)
        view = read_world(described)
        voxel_size = options.voxel_size_um or view.voxel_size_um
        return view.to_pixels(t, world), voxel_size, images
    findings.append(
        Finding(
            "warning",
            "no-world",
            f"The image description {named} is not there; without its "
            "maps the voxel size alone turns the positions into pixels.",
        )
    )
    um = um_per_unit(about.get("space unit") or "")
    unit = "px" if um is None else "um"
    positions, known = in_pixels(world[:, ::-1] * (um or 1), unit, options, images, findings)
    return positions, known, images


def _tags(
    path: Path, reader: Any, n: int, features: dict[str, NDArray[Any]], findings: list[Finding]
) -> NDArray[np.int8] | None:
    """Return what ELEPHANT's tags say of each spot; other tag sets become features."""
    try:
        sets, of_spots, _ = reader.read_tags()
    except Exception as error:  # tags are an extra: a project without them is whole
        if "tags.raw" in str(error):
            return None
        findings.append(Finding("warning", "no-tags", f"The tags of {path.name} can't be read."))
        return None
    status: NDArray[np.int8] | None = None
    for name in sets:
        column = np.full(n, "", object)
        for spot, label in of_spots.get(name, {}).items():
            if 0 <= spot < n:
                column[spot] = label
        if not any(column):
            continue
        features[f"tag {name}"] = column
        if name == "Detection":
            status = np.array([DETECTION_TAGS.get(label, Status.CELL) for label in column], np.int8)
            counts = {one.name: int((status == one).sum()) for one in Status}
            findings.append(
                Finding(
                    "info",
                    "elephant-tags",
                    f"ELEPHANT's tags: {counts['CELL']} cells, "
                    f"{counts['NOT_A_CELL']} that are none, {counts['UNKNOWN']} undecided.",
                )
            )
    return status
