"""cellfinder's XML, and that of ImageJ's Cell Counter, whose form it borrows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Experiment, Finding, Status
from napari_celltrain.formats.attaching import stated_images
from napari_celltrain.formats.cleaning import clean_annotations
from napari_celltrain.formats.documents import sentences
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.xml_reading import root_name, stream_elements

if TYPE_CHECKING:
    from pathlib import Path

_ROOT = "CellCounter_Marker_File"
_CELL_TYPE = 2
_OWN_IMAGE_NAME = "placeholder.tif"


class CellfinderFormat:
    """Reads markers; there is no time in them.

    cellfinder writes type 2 for cells and 1 for what was looked at and is none, and counts planes
    from 0; the Cell Counter has types of the person's own, and counts planes from 1.
    """

    name = "cellfinder XML"
    suffixes = (".xml",)

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        return path.suffix.lower() in self.suffixes and root_name(path) == _ROOT

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        findings: list[Finding] = []
        with sentences(path, "cellfinder XML"):
            if root_name(path) != _ROOT:
                raise CellTrainError(f"{path} is no cellfinder file.")
            types, xyz, image_name = _stream(path)
            positions = np.array(xyz, np.float64).reshape(-1, 3)[:, ::-1]
            kinds = np.array(types, np.int64)
            own = image_name == _OWN_IMAGE_NAME or set(types) <= {1, _CELL_TYPE}
            status = np.ones(len(kinds), np.int8)
            if own:
                status[kinds != _CELL_TYPE] = Status.NOT_A_CELL
                if (kinds != _CELL_TYPE).any():
                    findings.append(
                        Finding(
                            "info",
                            "rejected-candidates",
                            f"{int((kinds != _CELL_TYPE).sum())}"
                            " markers are candidates that were found to be no cells.",
                        )
                    )
            else:
                positions = positions - [1, 0, 0]
                findings.append(
                    Finding(
                        "info",
                        "cell-counter",
                        "The markers are of ImageJ's Cell Counter: all "
                        "types are taken as cells, and planes are counted from 1.",
                    )
                )
            annotations = clean_annotations(
                np.zeros(len(kinds)),
                positions,
                status=status,
                features={"type": kinds},
                findings=findings,
            )
        return [
            Experiment(
                path.stem,
                annotations,
                stated_images(chosen),
                voxel_size_um=chosen.voxel_size_um,
                source=path,
                findings=tuple(findings),
            )
        ]


def _stream(path: Path) -> tuple[list[int], list[float], str]:
    types: list[int] = []
    xyz: list[float] = []
    marker: dict[str, float] = {}
    state = {"type": 0}
    words: list[str] = []
    image_name = ""

    def start(name: str, _: dict[str, str]) -> None:
        words.clear()
        if name == "Marker":
            marker.clear()

    def end(name: str) -> None:
        nonlocal image_name
        text = "".join(words).strip()
        words.clear()
        if name == "Type":
            state["type"] = int(text)
        elif name in ("MarkerX", "MarkerY", "MarkerZ"):
            marker[name[-1]] = float(text)
        elif name == "Marker":
            types.append(state["type"])
            xyz.extend([marker["X"], marker["Y"], marker.get("Z", 0.0)])
        elif name == "Image_Filename":
            image_name = text

    with open(path, "rb") as handle:
        stream_elements(handle, start, end, words.append)
    return types, xyz, image_name
