"""OrganoidTracker's `.aut` files (versions 2 and 1), and its version-less `.json` exports."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import ZYX, Annotations, Experiment, Finding, Status
from napari_celltrain.formats.attaching import stated_images
from napari_celltrain.formats.aut_carried import NAME, carried_of
from napari_celltrain.formats.aut_v1 import (
    annotations_of_graph,
    annotations_of_positions,
    annotations_of_v1,
)
from napari_celltrain.formats.aut_v2 import annotations_of_v2, time_point
from napari_celltrain.formats.aut_writing import aut_text
from napari_celltrain.formats.documents import (
    beginning,
    load_json,
    number_or_none,
    sentences,
    without_collecting,
)
from napari_celltrain.formats.losses import Keeps
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.tracks import without_in_between
from napari_celltrain.known import DYING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_OWN_JSON = re.compile(
    rb'\s*\{\s*"-?\d+"\s*:\s*\[\s*(\[|\])'  # {"1": [[
    rb'|(?=.*"version"\s*:\s*"v\d)(?=.*"(positions|links|tracks)")'
    rb'|(?=.*"family_scores")|(?=.*"directed")(?=.*"_time_point_number")',
    re.DOTALL,
)


class AutFormat:
    """Reads and writes what OrganoidTracker reads and writes."""

    name = NAME
    suffixes = (".aut", ".json")
    keeps = Keeps(
        gaps=False, link_columns="all", frame_interval="with size", offsets=True, carried=NAME
    )

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        suffix = path.suffix.lower()
        if suffix not in self.suffixes:
            return False
        start = beginning(path)
        if suffix == ".aut":
            return start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
        return _OWN_JSON.match(start) is not None

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "an OrganoidTracker file"), without_collecting():
            return [_experiment(load_json(path), path, chosen)]

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write version 2; see `aut_text` for what is kept."""
        from napari_celltrain.files import write_text

        write_text(path, aut_text(experiment))


def _experiment(content: Any, path: Path, options: ReadOptions) -> Experiment:
    if not isinstance(content, dict):
        raise CellTrainError(f"{path} is no OrganoidTracker file: it holds no JSON object.")
    findings: list[Finding] = []
    version = content.get("version")
    if version == "v2":
        annotations = annotations_of_v2(content, findings)
    elif version == "v1" or (version is None and "family_scores" in content):
        annotations = annotations_of_v1(content, findings)
    elif version is not None:
        raise CellTrainError(
            f"{path} is an OrganoidTracker file of version {str(version)[:20]!r}; versions v1 and "
            "v2 can be read. Export it from OrganoidTracker in one of these."
        )
    elif "directed" in content:
        annotations = annotations_of_graph(content, findings)
    elif content and all(re.fullmatch(r"-?\d{1,10}", str(key)) for key in content):
        annotations = annotations_of_positions(content, findings)
    else:
        raise CellTrainError(
            f"{path} is no OrganoidTracker file: it states no version, and is no plain list of "
            "positions either. Other JSON files can't be read; export the tracks as CSV or GEFF."
        )

    offsets = _image_offsets(content.get("image_offsets"))
    if offsets:
        annotations = moved(annotations, offsets, -1)
    annotations = without_in_between(annotations, findings)
    annotations = _endings(annotations, options, findings)
    if content.get("image_filters"):
        findings.append(
            Finding(
                "info",
                "image-filters",
                f"{path.name} has image filters; they are not applied, so that training and "
                "prediction see the same pixels.",
            )
        )
    voxel_size, interval = _resolution(content.get("image_resolution"), annotations, findings)
    name = content.get("name")
    name = name if isinstance(name, str) and name.strip() else path.stem
    return Experiment(
        name=name,
        annotations=annotations,
        images=stated_images(options),
        voxel_size_um=options.voxel_size_um or voxel_size,
        frame_interval_s=interval,
        image_offsets=offsets,
        carried=carried_of(content),
        source=path,
        findings=tuple(findings),
    )


def moved(annotations: Annotations, offsets: Mapping[int, ZYX], sign: int) -> Annotations:
    """Return the annotations with each time point's image offset added (1) or taken away (-1)."""
    numbers = np.array(list(offsets), np.int64)
    values = np.array(list(offsets.values()), np.float64).reshape(-1, 3)
    order = np.argsort(numbers)
    at = np.clip(np.searchsorted(numbers, annotations.t, sorter=order), 0, len(numbers) - 1)
    index = order[at]
    has_offset = numbers[index] == annotations.t
    shift = np.where(has_offset[:, None], values[index], 0.0)
    return Annotations(
        annotations.t,
        annotations.positions + sign * shift,
        annotations.links,
        annotations.status,
        annotations.features,
        annotations.link_features,
    )


def _image_offsets(entries: Any) -> dict[int, ZYX]:
    if not entries:
        return {}
    if not isinstance(entries, list):
        raise CellTrainError('"image_offsets" is no list.')
    offsets: dict[int, ZYX] = {}
    for index, entry in enumerate(entries):
        place = f"image_offsets[{index}]"
        if not isinstance(entry, dict):
            raise CellTrainError(f"{place} is no JSON object.")
        t = time_point(entry.get("_time_point_number"), place)
        try:
            z, y, x = (float(entry.get(axis) or 0) for axis in "zyx")
        except (TypeError, ValueError, OverflowError) as error:
            raise CellTrainError(f"{place} is not three numbers x, y, z.") from error
        if not all(abs(value) < 1e9 for value in (z, y, x)):  # nor NaN
            raise CellTrainError(f"{place} is no usable offset.")
        if z or y or x:
            offsets[t] = (z, y, x)
    return offsets


def _resolution(
    stated: Any, annotations: Annotations, findings: list[Finding]
) -> tuple[ZYX | None, float | None]:
    """Return voxel size in um and frame interval in s; 0 in the file means unknown."""
    if not isinstance(stated, dict):
        return None, None
    z, y, x, minutes = (number_or_none(stated.get(key)) for key in ("z_um", "y_um", "x_um", "t_m"))
    interval = None if minutes is None else minutes * 60
    if y is None or x is None:
        return None, interval
    if z is None:
        if len(np.unique(annotations.positions[:, 0])) > 1:
            return None, interval
        z = x
        findings.append(
            Finding(
                "info",
                "no-z-size",
                "The file states no plane distance; all positions are "
                "in one plane, so the pixel size is taken for it.",
            )
        )
    return (z, y, x), interval


def _endings(
    annotations: Annotations, options: ReadOptions, findings: list[Finding]
) -> Annotations:
    ending = annotations.features.get("ending")
    if ending is None:
        return annotations
    gone = np.isin([str(value).lower() for value in ending], DYING)
    if not gone.any():
        return annotations
    n = int(gone.sum())
    if not options.leave_out_endings:
        findings.append(
            Finding(
                "info",
                "dead-or-shed",
                f"{n} positions are marked as dead or shed; they count as cells.",
                points=tuple(np.flatnonzero(gone).tolist()),
            )
        )
        return annotations
    status = np.array(annotations.status)
    status[gone] = Status.UNKNOWN
    return Annotations(
        annotations.t,
        annotations.positions,
        annotations.links,
        status,
        annotations.features,
        annotations.link_features,
    )
