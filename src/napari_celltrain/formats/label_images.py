"""Cells given as label images: one image for each time point, one number for each cell."""

from __future__ import annotations

import os
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Experiment, Finding
from napari_celltrain.formats.attaching import stated_images
from napari_celltrain.formats.cleaning import clean_annotations
from napari_celltrain.formats.documents import sentences
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.tracks import links_of_labels

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, FrameSource

_MOST_COMPRESSED = 1032
"""How many bytes of image a byte of file can hold at most in deflate, the usual compression."""
_ALWAYS_READ = 2**28
"""Images up to this many bytes are read however well they are compressed."""

_LOOKED_AT = 500
"""How many names of a folder are looked at to tell whether it is one of label images."""

_LABEL_NAME = re.compile(
    r"^(.*(?:man_track|man_seg|mask|label|seg).*?)(\d+)\.tiff?$", re.IGNORECASE
)
_SLICE_NAME = re.compile(r"^man_seg_?\d+_\d+\.tiff?$", re.IGNORECASE)
"""In the challenge's segmentations of 3D movies: one plane of one time point."""


def centroids(labels: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the labels of an image, ascending, and the mean (z, y, x) pixel of each.

    Goes through the image plane by plane, so that it needs little memory besides the image.

    Parameters
    ----------
    labels
        Whole numbers, shape (z, y, x); 0 and below is background.
    """
    numbers, sums = [np.empty(0, np.int64)], [np.empty((0, 4))]
    width = labels.shape[2]
    for z, plane in enumerate(labels):
        flat = np.ravel(plane)
        places = np.flatnonzero(flat > 0)
        if not len(places):
            continue
        in_plane, of_place = _numbered(flat[places].astype(np.int64))
        counts = np.bincount(of_place)
        y, x = np.divmod(places, width)
        numbers.append(in_plane)
        sums.append(
            np.column_stack(
                [counts, counts * z, np.bincount(of_place, y), np.bincount(of_place, x)]
            )
        )
    every, of_row = np.unique(np.concatenate(numbers), return_inverse=True)
    totals = np.zeros((len(every), 4))
    np.add.at(totals, of_row, np.concatenate(sums))
    return every, totals[:, 1:] / totals[:, :1]


def _numbered(values: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct values, ascending, and which of them each is; as `np.unique` does.

    Without sorting, where the values are not much larger than there are of them.
    """
    highest = int(values.max())
    if highest > 2**16 + 4 * len(values):
        distinct, number = np.unique(values, return_inverse=True)
        return distinct, number
    there = np.zeros(highest + 1, bool)
    there[values] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[values]


def annotations_from_labels(
    frames: Iterable[tuple[int, NDArray[Any]]],
    *,
    link_labels: bool = False,
    findings: list[Finding] | None = None,
) -> Annotations:
    """Return a position for each label of each time point.

    Parameters
    ----------
    frames
        Time points with their (z, y, x) label images; only one is held at a time.
    link_labels
        Whether the same label at a later time is the same cell.
    findings
        Where to write what was noticed.

    Returns
    -------
    Annotations
        With the feature ``label``.
    """
    t, positions, labels = [np.empty(0, np.int64)], [np.empty((0, 3))], [np.empty(0, np.int64)]
    findings = [] if findings is None else findings
    for time_point, image in frames:
        numbers, centres = centroids(image)
        if len(numbers) == 1 and len(t) == 1 and _in_pieces(image):
            findings.append(
                Finding(
                    "warning",
                    "one-label",
                    "The first label image has one label in several "
                    "pieces. If it is a mask of all cells, give each its own label first.",
                    time_point=int(time_point),
                )
            )
        t.append(np.full(len(numbers), time_point))
        positions.append(centres)
        labels.append(numbers)
    all_t, all_labels = np.concatenate(t), np.concatenate(labels)
    links = links_of_labels(all_t, all_labels) if link_labels else np.empty((0, 2), np.int64)
    return clean_annotations(
        all_t,
        np.concatenate(positions),
        links,
        features={"label": all_labels},
        findings=findings,
    )


def _in_pieces(image: NDArray[Any]) -> bool:
    from scipy.ndimage import label  # takes long to import

    return bool(label(image > 0, np.ones((3, 3, 3)))[1] > 1)


def annotations_from_movie(
    source: FrameSource, *, link_labels: bool = False, findings: list[Finding] | None = None
) -> Annotations:
    """Return a position for each label of each frame of a movie, read frame by frame.

    What stands behind a layer of labels is a movie too: `napari_celltrain.images.ArraySource`.

    Parameters
    ----------
    source
        A movie of label images; positions are in its pixels, at its time points.
    link_labels, findings
        As for `annotations_from_labels`.

    Raises
    ------
    CellTrainError
        When its pixels are no whole numbers, or a frame can't be read.
    """
    if source.dtype.kind not in "iu":
        raise CellTrainError(
            f"{source.name} is no label image: its pixels are {source.dtype}, not whole numbers."
        )
    frames = ((t, source.read_frame(t)) for t in source.time_points)
    return annotations_from_labels(frames, link_labels=link_labels, findings=findings)


def read_label_image(path: Path) -> NDArray[Any]:
    """Return a label image as (z, y, x) whole numbers.

    Raises
    ------
    CellTrainError
        When it can't be read, or is no label image.
    """
    from napari_celltrain.images.tiff import opened

    with sentences(path, "a label image"), opened(path) as tiff:
        series = tiff.series[0]
        size = int(np.prod(series.shape, dtype=object)) * series.dtype.itemsize
        file_size = path.stat().st_size
        stored = max((max(page.databytecounts, default=0) for page in series if page), default=0)
        if size > max(_MOST_COMPRESSED * file_size, _ALWAYS_READ) or stored > file_size:
            raise CellTrainError(f"{path} claims more pixels than it can hold; it is damaged.")
        if series.dtype.kind not in "iu":
            raise CellTrainError(f"{path} is no label image: its pixels are {series.dtype}.")
        labels = np.asarray(series.asarray())
    while labels.ndim > 3 and 1 in labels.shape:
        labels = labels.squeeze(labels.shape.index(1))
    if labels.ndim > 3 or labels.ndim < 2:
        raise CellTrainError(f"{path} is no 2D or 3D label image: its shape is {series.shape}.")
    return labels.reshape((1,) * (3 - labels.ndim) + labels.shape)


def numbered_label_files(folder: Path) -> dict[int, Path]:
    """Return the label images of a folder by the number in their names."""
    found: dict[str, dict[int, Path]] = {}
    for file in sorted(folder.iterdir()):
        match = _LABEL_NAME.match(file.name)
        if match and len(match[2]) <= 15:
            found.setdefault(match[1], {})[int(match[2])] = file
    return max(found.values(), key=len) if found else {}


class LabelImagesFormat:
    """Reads a folder of numbered label images that has no track file."""

    name = "Label images"
    suffixes = ()

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`; looks at some of the names only."""
        try:
            if path.suffix or not path.is_dir():
                return False
            with os.scandir(path) as entries:
                return any(_LABEL_NAME.match(one.name) for one in islice(entries, _LOOKED_AT))
        except (OSError, ValueError):
            return False

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`; a single file or Zarr is read as a movie of label images."""
        chosen = ReadOptions(**options)
        findings: list[Finding] = []
        with sentences(path, "label images"):
            annotations = _read(path, chosen, findings)
        if not chosen.link_labels and len(annotations):
            findings.append(
                Finding(
                    "info",
                    "labels-unlinked",
                    "Without a track file, equal labels are not taken as the same cell.",
                )
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


def _read(path: Path, options: ReadOptions, findings: list[Finding]) -> Annotations:
    from napari_celltrain.images.opening import is_zarr, open_images

    if not path.is_dir() or is_zarr(path):
        return annotations_from_movie(
            open_images(path), link_labels=options.link_labels, findings=findings
        )
    files = numbered_label_files(path)
    if not files:
        raise CellTrainError(f"{path} has no numbered label images (mask000.tif, ...).")
    if all(_SLICE_NAME.match(file.name) for file in files.values()):
        raise CellTrainError(
            f"{path} has single planes of cells only ({next(iter(files.values())).name}); where "
            "their centres are can't be told from them."
        )
    frames = ((number, read_label_image(file)) for number, file in sorted(files.items()))
    return annotations_from_labels(frames, link_labels=options.link_labels, findings=findings)
