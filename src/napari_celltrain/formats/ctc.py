"""Folders of the Cell Tracking Challenge: label images with a table of tracks."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Experiment, Finding
from napari_celltrain.formats.attaching import found_images, stated_images
from napari_celltrain.formats.cleaning import LAST_TIME_POINT, clean_annotations
from napari_celltrain.formats.documents import sentences
from napari_celltrain.formats.label_images import annotations_from_labels, read_label_image
from napari_celltrain.formats.losses import Keeps
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.tracks import links_of_labels

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, Completeness

SPARSE_SETS = ("Fluo-N3DL-DRO", "Fluo-N3DL-TRIC", "Fluo-N3DL-TRIF")
"""Data sets of the challenge in which only some of the cells are annotated."""

_TABLES = {"man_track.txt": r"man_track(\d+)\.tiff?$", "res_track.txt": r"mask(\d+)\.tiff?$"}


@dataclass(frozen=True)
class _Row:
    begin: int
    end: int
    parent: int


class CtcFormat:
    """Reads ground truth (GT) and results (RES); a folder may be named at any of its levels."""

    name = "Cell Tracking Challenge"
    suffixes = ()
    keeps = Keeps(merges=False, columns=(), voxel_size=False, frame_interval=False, exact=False)

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        try:
            return bool(_tables(path))
        except OSError:
            return False

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "a Cell Tracking Challenge folder"):
            tables = _tables(path)
            if not tables:
                raise CellTrainError(f"{path} has no man_track.txt or res_track.txt.")
            return [_experiment(table, path, chosen) for table in tables]

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write markers and their table as a results folder."""
        from napari_celltrain.formats.ctc_writing import write_ctc

        write_ctc(path, experiment)


def _tables(path: Path) -> list[Path]:
    """Return the track tables that a path means: itself, in it, or of each of its sequences."""
    if path.name in _TABLES:
        return [path] if path.is_file() else []
    if not path.is_dir():
        return []
    for inside in ("man_track.txt", "TRA/man_track.txt", "res_track.txt"):
        if (path / inside).is_file():
            return [path / inside]
    with os.scandir(path) as entries:  # the folder of a movie may have 100 000
        names = sorted(one.name for one in entries if one.name.endswith(("_GT", "_RES")))
    truths = [path / name / "TRA" / "man_track.txt" for name in names if name.endswith("_GT")]
    truths = [table for table in truths if table.is_file()]
    results = [path / name / "res_track.txt" for name in names if name.endswith("_RES")]
    return truths or [table for table in results if table.is_file()]


def _experiment(table: Path, asked: Path, options: ReadOptions) -> Experiment:
    findings: list[Finding] = []
    rows = read_track_table(table)
    pattern = re.compile(_TABLES[table.name], re.IGNORECASE)
    files = {}
    for file in sorted(table.parent.iterdir()):
        match = pattern.match(file.name)
        if match and len(match[1]) <= 15:
            files[int(match[1])] = file
    if not files:
        raise CellTrainError(
            f"{table.parent} has a {table.name}, but no label images such as "
            f"{'man_track000.tif' if table.name.startswith('man') else 'mask000.tif'}."
        )
    annotations = annotations_from_labels(
        ((t, read_label_image(file)) for t, file in sorted(files.items())), findings=findings
    )
    annotations = _linked(annotations, rows, files, findings)
    sequence = table.parent.parent if table.parent.name == "TRA" else table.parent
    images = stated_images(options)
    number = re.match(r"(.+)_(GT|RES|ST)$", sequence.name)
    if images is None and number and options.find_images:
        movie = sequence.parent / number[1]
        if movie.is_dir():
            images = found_images(movie, None, findings)
    data_set = sequence.parent.name
    completeness: Completeness = "time-points"
    if any(known in data_set for known in SPARSE_SETS):
        completeness = "sparse"
        findings.append(
            Finding(
                "info",
                "sparse",
                f"{data_set} annotates only some of the cells; the rest counts as unknown.",
            )
        )
    return Experiment(
        name=f"{data_set} {sequence.name}" if data_set else sequence.name,
        annotations=annotations,
        images=images,
        voxel_size_um=options.voxel_size_um,
        completeness=completeness,
        source=asked,
        findings=tuple(findings),
    )


def read_track_table(table: Path) -> dict[int, _Row]:
    """Return the rows `label begin end parent` of a track table, by label.

    Raises
    ------
    CellTrainError
        Naming the line that is no such row.
    """
    rows: dict[int, _Row] = {}
    for number, line in enumerate(table.read_text("utf-8", errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, begin, end, parent = (int(float(word)) for word in line.split())
        except (ValueError, OverflowError) as error:
            raise CellTrainError(
                f"{table}, line {number}: not four numbers (label, begin, end, parent)."
            ) from error
        if max(abs(label), abs(begin), abs(end), abs(parent)) > LAST_TIME_POINT:
            raise CellTrainError(f"{table}, line {number}: a number is far too large.")
        rows[label] = _Row(begin, end, parent)
    return rows


def _linked(
    annotations: Annotations,
    rows: dict[int, _Row],
    files: dict[int, Path],
    findings: list[Finding],
) -> Annotations:
    t, labels = annotations.t, annotations.features["label"]
    links = [links_of_labels(t, labels)]
    first, last = _ends(t, labels)
    orphans = 0
    for label, row in rows.items():
        if row.parent <= 0 or label not in first:
            continue
        parent = last.get(row.parent)
        if parent is None or t[parent] >= t[first[label]]:
            orphans += 1
            continue
        links.append(np.array([[parent, first[label]]], np.int64))
    _compare(first, last, t, rows, files, orphans, findings)
    return clean_annotations(
        t,
        annotations.positions,
        np.concatenate(links),
        features={"label": labels, "track_id": labels},
        findings=findings,
    )


def _ends(t: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[dict[int, int], dict[int, int]]:
    """Return the index of the first and of the last position of each label."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for index in np.argsort(t, kind="stable").tolist():
        label = int(labels[index])
        first.setdefault(label, index)
        last[label] = index
    return first, last


def _compare(
    first: dict[int, int],
    last: dict[int, int],
    t: NDArray[np.int64],
    rows: dict[int, _Row],
    files: dict[int, Path],
    orphans: int,
    findings: list[Finding],
) -> None:
    """Say where the table and the label images disagree."""
    unlisted = sorted(set(first) - set(rows))
    absent = sorted(
        label
        for label, row in rows.items()
        if label not in first and any(row.begin <= number <= row.end for number in files)
    )
    moved = [
        label
        for label, row in rows.items()
        if label in first
        and (t[first[label]] != row.begin or t[last[label]] != row.end)
        and row.begin in files
        and row.end in files
    ]
    for code, labels, sentence in (
        ("label-not-in-table", unlisted, "are in the images, but not in the track table"),
        ("label-not-in-images", absent, "are in the track table, but not in the images"),
        ("label-other-times", moved, "begin or end at other times than the track table says"),
    ):
        if labels:
            shown = ", ".join(map(str, labels[:5]))
            shown += f", ... ({len(labels)} in all)" if len(labels) > 5 else ""
            findings.append(Finding("warning", code, f"Labels that {sentence}: {shown}."))
    if orphans:
        findings.append(
            Finding(
                "warning",
                "unknown-mother",
                f"{orphans} tracks name a parent that is not in "
                "the images before them; they start without a mother.",
            )
        )
