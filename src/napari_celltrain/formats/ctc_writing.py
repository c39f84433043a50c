"""Writing results as the Cell Tracking Challenge wants them: label images and a table."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import replacing
from napari_celltrain.formats.tracks import tracks_of
from napari_celltrain.formats.written import (
    cells_of,
    drawn_radius_px,
    inside,
    refuse_other_folders,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, Experiment

_LARGEST_FRAME = 2**32
_MOST_FRAMES = 10**6


def write_ctc(path: Path, experiment: Experiment) -> None:
    """Write a folder with ``maskTTT.tif`` for each time point and ``res_track.txt``.

    Each cell becomes a small ellipsoid around its pixel, symmetric and touching no other, so that
    its centroid is that pixel. Cells outside the image are left out. Of a merge one link is kept;
    a link that skips time points becomes a new label with the old one as its parent.

    Raises
    ------
    CellTrainError
        When the time points are negative, the place can't be written, or other things are there.
    """
    import tifffile

    refuse_other_folders(path, r"mask\d+\.tiff?|res_track\.txt")
    kept = inside(experiment)
    annotations = cells_of(experiment).select(kept)
    frames, shape = _extent(experiment, annotations)
    labels, rows = _labels(annotations)
    radius = np.clip(drawn_radius_px(experiment, annotations), 1, None)
    voxel = experiment.known_voxel_size_um
    flatness = 1.0 if voxel is None else voxel[1] / voxel[0]
    digits = max(3, len(str(max(frames, default=0))))
    dtype = np.uint16 if labels.max(initial=0) < 2**16 else np.uint32
    order = np.argsort(annotations.t, kind="stable")
    t_sorted = annotations.t[order]
    with replacing(path) as folder:
        folder.mkdir()
        for t in frames:
            low, high = np.searchsorted(t_sorted, [t, t + 1])
            of_frame = order[low:high]
            image = draw_markers(
                annotations.positions[of_frame],
                labels[of_frame],
                radius[of_frame],
                flatness,
                shape,
                np.dtype(dtype),
            )
            tifffile.imwrite(
                folder / f"mask{t:0{digits}}.tif",
                image if shape[0] > 1 else image[0],
                compression="zlib",
                photometric="minisblack",
            )
        table = "".join(f"{label} {begin} {end} {parent}\n" for label, begin, end, parent in rows)
        (folder / "res_track.txt").write_text(table, "utf-8", newline="\n")


def draw_markers(
    positions: NDArray[np.float64],
    labels: NDArray[np.int64],
    radius: NDArray[np.float64],
    flatness: float,
    shape: tuple[int, int, int],
    dtype: np.dtype[np.generic],
) -> NDArray[np.generic]:
    """Return a label image with one symmetric marker for each position.

    Parameters
    ----------
    positions
        (z, y, x) pixels, shape (N, 3), all inside the image.
    labels
        Shape (N,), above 0.
    radius
        Wished radius in pixels along y and x, shape (N,); smaller where cells are near.
    flatness
        Pixels along z for one along y.
    shape, dtype
        Of the image.
    """
    image = np.zeros(shape, dtype)
    centres = _distinct(np.round(positions).astype(np.int64), shape)
    semi = np.column_stack([np.maximum(radius * flatness, 0.5), radius, radius])
    semi = semi * _room(centres, semi)[:, None]
    border = np.minimum(centres, np.array(shape) - 1 - centres) + 0.49
    semi = np.minimum(semi, border)
    for centre, label, axes in zip(centres, labels.tolist(), semi, strict=True):
        reach = np.floor(axes).astype(int)
        steps = np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij")
        distance = sum((step / axis) ** 2 for step, axis in zip(steps, axes, strict=True))
        box = tuple(slice(c - n, c + n + 1) for c, n in zip(centre, reach, strict=True))
        image[box][np.asarray(distance) <= 1] = label
        image[tuple(centre)] = label
    return image


def _room(centres: NDArray[np.int64], semi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how much of its size each marker can have without meeting another, shape (N,)."""
    from scipy.spatial import cKDTree

    if len(centres) < 2:
        return np.ones(len(centres))
    largest = semi.max(axis=0)
    scaled = centres / largest
    nearest = cKDTree(scaled).query(scaled, k=2)[0][:, 1]
    return np.asarray(np.minimum(1.0, 0.499 * nearest))


def _distinct(centres: NDArray[np.int64], shape: tuple[int, int, int]) -> NDArray[np.int64]:
    """Move cells that share a pixel to the nearest free ones: no label may vanish."""
    taken = {tuple(centre) for centre in centres.tolist()}
    if len(taken) == len(centres):
        return centres
    seen: set[tuple[int, ...]] = set()
    moved = centres.copy()
    for index, centre in enumerate(centres.tolist()):
        place = tuple(centre)
        if place in seen:
            place = _nearest_free(place, taken, shape)
            moved[index] = place
            taken.add(place)
        seen.add(place)
    return moved


def _nearest_free(
    place: tuple[int, ...], taken: set[tuple[int, ...]], shape: tuple[int, int, int]
) -> tuple[int, ...]:
    for reach in range(1, max(shape)):
        steps = product(range(-reach, reach + 1), repeat=3)
        for step in sorted(steps, key=lambda step: sum(value * value for value in step)):
            other = tuple(p + s for p, s in zip(place, step, strict=True))
            if other not in taken and all(0 <= o < n for o, n in zip(other, shape, strict=True)):
                return other
    raise CellTrainError("There are more cells at one time point than pixels in the image.")


def _extent(
    experiment: Experiment, annotations: Annotations
) -> tuple[list[int], tuple[int, int, int]]:
    """Return the time points and the frame shape to write."""
    t = annotations.t
    if t.min(initial=0) < 0:
        raise CellTrainError(
            "The challenge's files are numbered from 0, and there are cells at time point "
            f"{int(t.min())}."
        )
    images = experiment.images
    if images is not None:
        return sorted({*images.time_points, *t.tolist()}), images.frame_shape
    highest = np.round(annotations.positions.max(axis=0, initial=0)).astype(int)
    margin = np.array([0 if highest[0] == 0 else 1, 1, 1])
    depth, height, width = (highest + margin + 1).tolist()
    last = int(t.max(initial=0))
    if depth * height * width > _LARGEST_FRAME or last > _MOST_FRAMES:
        raise CellTrainError(
            f"The cells reach to pixel {highest.tolist()} (z, y, x) and time point {last}, which "
            "makes no sensible label images. State the images they belong to."
        )
    return list(range(last + 1)), (depth, height, width)


def _labels(
    annotations: Annotations,
) -> tuple[NDArray[np.int64], list[tuple[int, int, int, int]]]:
    """Return each position's label, and the rows of the table; tracks are cut at gaps."""
    t = annotations.t
    labels = np.zeros(len(t), np.int64)
    pieces: list[tuple[NDArray[np.int64], int]] = []  # points, and the point before
    for track in tracks_of(annotations):
        cuts = np.flatnonzero(np.diff(t[track.points]) > 1) + 1
        parent = int(annotations.links[track.parent_links[0], 0]) if len(track.parent_links) else -1
        for points in np.split(track.points, cuts):
            pieces.append((points, parent))
            parent = int(points[-1])
    for label, (points, _) in enumerate(pieces, 1):
        labels[points] = label
    rows = [
        (label, int(t[points[0]]), int(t[points[-1]]), int(labels[parent]) if parent >= 0 else 0)
        for label, (points, parent) in enumerate(pieces, 1)
    ]
    return labels, rows
