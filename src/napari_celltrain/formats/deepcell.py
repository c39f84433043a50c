"""DeepCell's `.trk` and `.trks`: label images and a lineage in a tar archive."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Experiment, Finding
from napari_celltrain.formats.attaching import stated_images
from napari_celltrain.formats.cleaning import clean_annotations
from napari_celltrain.formats.documents import beginning, sentences
from napari_celltrain.formats.label_images import annotations_from_labels
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.tar_reading import read_tar
from napari_celltrain.formats.tracks import links_of_labels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, FrameSource


_TEXTS = frozenset(["lineage.json", "lineages.json"])


class DeepCellFormat:
    """Reads the labels, the lineage and the movie; nothing in it is unpickled."""

    name = "DeepCell"
    suffixes = (".trk", ".trks")

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        return path.suffix.lower() in self.suffixes and _looks_like_tar(path)

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "a DeepCell file"):
            members = _members(path)
            batched = "lineages.json" in members
            text = members.get("lineages.json", members.get("lineage.json"))
            if text is None or "tracked.npy" not in members:
                raise CellTrainError(f"{path} has no tracked.npy with a lineage.json.")
            lineages = json.loads(text)
            labels = _array(members["tracked.npy"])
            raw = _array(members["raw.npy"]) if "raw.npy" in members else None
            if not batched:
                labels, lineages = labels[None], [lineages]
                raw = None if raw is None else raw[None]
            if labels.ndim != 5 or not isinstance(lineages, list) or len(lineages) != len(labels):
                raise CellTrainError(f"{path}: labels and lineages do not belong together.")
            return [
                _experiment(
                    path,
                    number,
                    len(labels),
                    labels[number],
                    lineages[number],
                    None if raw is None else raw[number],
                    chosen,
                )
                for number in range(len(labels))
            ]


def _looks_like_tar(path: Path) -> bool:
    """Tell by the first bytes whether it may be a tar archive, packed or not."""
    start = beginning(path, 512)
    return start[257:262] == b"ustar" or start.startswith((b"\x1f\x8b", b"BZh", b"\xfd7zXZ"))


def _members(path: Path) -> dict[str, bytes]:
    """Return the members that are read, by name; nothing is unpacked to the disk."""
    if not _looks_like_tar(path):
        raise CellTrainError(f"{path} is no tar archive.")
    return read_tar(path, {"tracked.npy", "raw.npy", *_TEXTS}, _TEXTS)


def _array(raw: bytes) -> NDArray[Any]:
    """Return a stored array; the claimed size has to be there, and objects are refused."""
    buffer = io.BytesIO(raw)
    version = np.lib.format.read_magic(buffer)
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    try:
        shape, _, dtype = read_header(buffer)
    except ValueError:  # whose text advises to trust the file
        raise CellTrainError("an array in it does not begin as arrays do.") from None
    if dtype.hasobject:
        raise CellTrainError("its arrays hold Python objects, which are not unpickled.")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > len(raw):
        raise CellTrainError("an array in it claims more than is there.")
    buffer.seek(0)
    return np.asarray(np.load(buffer, allow_pickle=False))


def _experiment(
    path: Path,
    number: int,
    total: int,
    labels: NDArray[Any],
    lineage: Any,
    raw: NDArray[Any] | None,
    options: ReadOptions,
) -> Experiment:
    findings: list[Finding] = []
    if labels.dtype.kind == "f":
        labels = labels.astype(np.int64)
    annotations = annotations_from_labels(
        ((t, labels[t, None, :, :, 0]) for t in range(len(labels))), findings=findings
    )
    annotations = _linked(annotations, lineage, findings)
    images: FrameSource | None = stated_images(options)
    if images is None and raw is not None and raw.ndim == 4 and options.find_images:
        from napari_celltrain.images import ArraySource

        images = ArraySource(np.moveaxis(raw, -1, 1), axes="tcyx", name=path.stem)
    return Experiment(
        path.stem if total == 1 else f"{path.stem} {number + 1}",
        annotations,
        images,
        voxel_size_um=options.voxel_size_um,
        source=path,
        findings=tuple(findings),
    )


def _linked(annotations: Annotations, lineage: Any, findings: list[Finding]) -> Annotations:
    """Link equal labels, and the last position of a mother to the first of its daughters."""
    if not isinstance(lineage, dict):
        raise CellTrainError("its lineage is no JSON object.")
    t, labels = annotations.t, annotations.features["label"]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for index in np.argsort(t, kind="stable").tolist():
        first.setdefault(int(labels[index]), index)
        last[int(labels[index])] = index
    pairs = []
    for key, entry in lineage.items():
        daughters = entry.get("daughters") if isinstance(entry, dict) else None
        for daughter in daughters or []:
            mother, child = last.get(int(key)), first.get(int(daughter))
            if mother is not None and child is not None and t[mother] < t[child]:
                pairs.append((mother, child))
    links = np.concatenate([links_of_labels(t, labels), np.array(pairs, np.int64).reshape(-1, 2)])
    return clean_annotations(
        t,
        annotations.positions,
        links,
        features={"label": labels, "track_id": labels},
        findings=findings,
    )
