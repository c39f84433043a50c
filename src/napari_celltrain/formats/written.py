"""What every writer needs to know of an experiment, and what writing it would lose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.experiment import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, Experiment, FrameSource

USUAL_RADIUS_PX = 5.0
"""The radius of cells of which nobody knows one, for formats that must have one."""


def cells_of(experiment: Experiment) -> Annotations:
    """Return the positions that are cells; other programs know no others."""
    return experiment.annotations.select(experiment.annotations.is_cell)


def radius_px(experiment: Experiment, annotations: Annotations) -> NDArray[np.float64] | None:
    """Return each position's radius in pixels along x, NaN for unknown; None if none is known."""
    stated = annotations.features.get("radius_px")
    if stated is not None and stated.dtype.kind in "iuf":
        return np.asarray(stated, np.float64)
    stated, voxel = annotations.features.get("radius_um"), experiment.known_voxel_size_um
    if stated is None or voxel is None or stated.dtype.kind not in "iuf":
        return None
    return np.asarray(stated, np.float64) / voxel[2]


def known_of(source: FrameSource, name: str) -> Any:
    """Return what a movie says of where it comes from; None when it does not say it."""
    return getattr(source, name, getattr(source, f"_{name}", None))


def location_of(source: FrameSource | None) -> Path | None:
    """Return the file or folder that a movie is read from; None for one in memory."""
    if source is None:
        return None
    names = ("location", "folder", "path")
    found = next((place for name in names if (place := known_of(source, name)) is not None), None)
    return None if found is None else Path(str(found))


def frame_interval_s(experiment: Experiment) -> float | None:
    """Return the seconds between time points, from the experiment or its images."""
    if experiment.frame_interval_s is not None or experiment.images is None:
        return experiment.frame_interval_s
    return experiment.images.frame_interval_s


def losses(experiment: Experiment, format_name: str) -> list[Finding]:
    """Say what a format can't hold of an experiment.

    Parameters
    ----------
    experiment
        What would be written.
    format_name
        The name of the format.
    """
    found: list[tuple[str, str]] = []
    annotations = experiment.annotations
    others = len(annotations) - int(annotations.is_cell.sum())
    if others and format_name != "CSV table":
        found.append(("not-cells", f"{others} positions that are no cells are left out"))
    links = cells_of(experiment).links
    if len(links) and format_name == "napari points CSV":
        found.append(("no-links", f"The {len(links)} links are left out"))
    merges = int((np.bincount(links[:, 1]) > 1).sum()) if len(links) else 0
    if merges and format_name in ("CSV table", "Mastodon CSV", "Cell Tracking Challenge"):
        found.append(("merges", f"{merges} merges keep only one of their links"))
    if format_name == "Cell Tracking Challenge":
        found.append(("rounded", "Positions are rounded to whole pixels, and columns left out"))
        if experiment.images is not None:
            outside = int((~inside(experiment)).sum())
            if outside:
                found.append(("outside-image", f"{outside} positions outside the image are left "
                              "out"))
    if experiment.known_voxel_size_um is None and format_name in (
        "Mastodon CSV", "GEFF for Mastodon"
    ):
        found.append(("unknown-voxel-size", "Nobody states the voxel size, so positions are "
                      "written in pixels where micrometres are expected"))
    return [Finding("warning", code, f"{format_name}: {text}.", experiment.name)
            for code, text in found]


def inside(experiment: Experiment) -> NDArray[np.bool_]:
    """Tell which cells round to a pixel of the image (of any image, if there is none)."""
    positions = np.round(cells_of(experiment).positions)
    low = (positions >= 0).all(axis=1)
    if experiment.images is None:
        return np.asarray(low)
    return np.asarray(low & (positions < np.array(experiment.images.frame_shape)).all(axis=1))


def numbers_only(columns: Any, besides: set[str]) -> dict[str, NDArray[Any]]:
    """Return the columns of numbers or truth values, without those named."""
    return {
        name: np.asarray(values)
        for name, values in columns.items()
        if name not in besides and np.asarray(values).dtype.kind in "biuf"
    }
