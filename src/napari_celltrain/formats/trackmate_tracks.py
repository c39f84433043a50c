"""The XML of TrackMate's *Export tracks to XML file*: positions along tracks and nothing else."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Experiment, Finding
from napari_celltrain.formats.attaching import stated_images
from napari_celltrain.formats.cleaning import clean_annotations, whole_numbers
from napari_celltrain.formats.csv_links import links_of_columns
from napari_celltrain.formats.documents import sentences
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.physical import in_pixels
from napari_celltrain.formats.xml_reading import root_name, stream_elements
from napari_celltrain.images.units import seconds_per_unit, um_per_unit

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_ROOT = "Tracks"
_PIXELS = ("pixel", "pixels", "px")


class TrackMateTracksFormat:
    """Reads particles and their detections; a particle that divides is a whole lineage there."""

    name = "TrackMate tracks XML"
    suffixes = (".xml",)

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        return path.suffix.lower() in self.suffixes and root_name(path) == _ROOT

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "TrackMate's tracks"):
            if root_name(path) != _ROOT:
                raise CellTrainError(f"{path} holds no tracks of TrackMate.")
            return [_experiment(path, chosen)]


def _experiment(path: Path, options: ReadOptions) -> Experiment:
    about, rows = _stream(path)
    findings: list[Finding] = []
    unit = about.get("spaceUnits", "").strip()
    um = um_per_unit(unit)
    if um is None and unit.lower() not in _PIXELS:
        message = f"The unit of length is {unit[:30]!r}, which is unknown; it is taken as pixels."
        findings.append(Finding("warning", "unknown-unit", message))
    images = stated_images(options)
    t = whole_numbers(rows[:, 1], "time point")
    positions, voxel_size = in_pixels(
        rows[:, :1:-1] * (um or 1.0), "px" if um is None else "um", options, images, findings
    )
    links = links_of_columns(t, {"track_id": rows[:, 0]}, "id", findings)
    annotations = clean_annotations(
        t, positions, links, features={"track_id": rows[:, 0].astype(np.int64)}, findings=findings
    )
    second = seconds_per_unit(about.get("timeUnits", ""))
    interval = float(about.get("frameInterval", "nan"))
    return Experiment(
        path.stem,
        annotations,
        images,
        voxel_size_um=voxel_size,
        frame_interval_s=interval * second if second and interval > 0 else None,
        source=path,
        findings=tuple(findings),
    )


def _stream(path: Path) -> tuple[dict[str, str], NDArray[np.float64]]:
    """Return what the root says, and (particle, t, x, y, z) for each detection."""
    about: dict[str, str] = {}
    rows = array("d")
    particle = -1

    def start(name: str, values: dict[str, str]) -> None:
        nonlocal particle
        if name == _ROOT:
            about.update(values)
        elif name == "particle":
            particle += 1
        elif name == "detection":
            rows.append(particle)
            rows.extend(float(values[key]) for key in "txy")
            rows.append(float(values.get("z", "0")))

    with open(path, "rb") as handle:
        stream_elements(handle, start)
    return about, np.array(rows).reshape(-1, 5)
