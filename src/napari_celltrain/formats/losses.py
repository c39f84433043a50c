"""What a format has room for, and so what writing an experiment in it would lose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_celltrain.experiment import Finding
from napari_celltrain.formats.written import (
    USUAL_RADIUS_PX,
    cells_of,
    frame_interval_s,
    inside,
    location_of,
    radius_px,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_celltrain.experiment import Annotations, Experiment

Columns = Literal["all", "numbers"] | tuple[str, ...]

# numbered anew by whoever writes, from the links
_RENUMBERED = {"id", "track_id", "interpolated"}
_RADIUS = ("radius_um", "radius_px")


@dataclass(frozen=True)
class Keeps:
    """What comes back when a written file is read again.

    Parameters
    ----------
    not_cells
        Positions that are no cells, or undecided.
    links, merges, gaps
        Links; two links to one position; links that skip time points, without positions in between.
    columns, link_columns
        Which columns of the positions and links: all, those of numbers, or those named.
    voxel_size, frame_interval
        What is known of the image; the interval perhaps only where the size is known too.
    exact
        Positions to the last digit, and those outside the image; else whole pixels inside it.
    needs_radius
        Whether every cell has to have a radius, so that one is made up where nobody knows it.
    in_micrometres
        Whether readers expect micrometres.
    image, time_range, offsets
        Where the images are; the time points to use; the image offsets.
    carried
        The format whose `Experiment.carried` goes back into it.
    """

    not_cells: bool = False
    links: bool = True
    merges: bool = True
    gaps: bool = True
    columns: Columns = "all"
    link_columns: Columns = ()
    voxel_size: bool = True
    frame_interval: bool | Literal["with size"] = True
    exact: bool = True
    needs_radius: bool = False
    in_micrometres: bool = False
    image: bool = False
    time_range: bool = False
    offsets: bool = False
    carried: str = ""


def losses(experiment: Experiment, keeps: Keeps) -> list[Finding]:
    """Say what a format can't hold of an experiment.

    Parameters
    ----------
    experiment
        What would be written.
    keeps
        What the format has room for; a format's own is its attribute ``keeps``.

    Returns
    -------
    list of Finding
        Warnings for what is gone, infos for what is only put in another way.
    """
    cells = experiment.annotations if keeps.not_cells else cells_of(experiment)
    found = [
        *_of_positions(experiment, cells, keeps),
        *_of_links(cells, keeps),
        *_of_columns(cells, keeps),
        *_of_the_image(experiment, keeps),
    ]
    return [
        Finding(severity, code, f"{text}.", experiment.name)  # type: ignore[arg-type]
        for severity, code, text in found
    ]


Found = list[tuple[str, str, str]]


def _of_positions(experiment: Experiment, cells: Annotations, keeps: Keeps) -> Found:
    found: Found = []
    others = len(experiment.annotations) - len(cells)
    if others:
        found.append(
            (
                "warning",
                "not-cells",
                f"{_n(others, 'position')} that {_are(others)} no "
                f"{'cell' if others == 1 else 'cells'} {_are(others)} left out",
            )
        )
    if not keeps.exact:
        if (cells.positions != np.round(cells.positions)).any():
            found.append(("warning", "rounded", "Positions are rounded to whole pixels"))
        outside = int((~inside(experiment)).sum())
        if outside:
            found.append(
                (
                    "warning",
                    "outside-image",
                    f"{_n(outside, 'position')} outside the image {_are(outside)} left out",
                )
            )
    radius = radius_px(experiment, cells)
    unknown = len(cells) if radius is None else int((~np.isfinite(radius)).sum())
    if keeps.needs_radius and unknown:
        found.append(
            (
                "info",
                "made-up-radius",
                f"{_n(unknown, 'cell')} without a known radius "
                f"{'gets' if unknown == 1 else 'get'} one of {USUAL_RADIUS_PX:g} pixels",
            )
        )
    return found


def _of_links(cells: Annotations, keeps: Keeps) -> Found:
    links = cells.links
    if not len(links):
        return []
    if not keeps.links:
        return [("warning", "no-links", f"{_n(len(links), 'link')} {_are(len(links))} left out")]
    found: Found = []
    merges = int((np.bincount(links[:, 1]) > 1).sum())
    if merges and not keeps.merges:
        found.append(
            (
                "warning",
                "merges",
                f"{_n(merges, 'merge')} {'keeps' if merges == 1 else 'keep'} only one link",
            )
        )
    skipping = int((cells.t[links[:, 1]] - cells.t[links[:, 0]] > 1).sum())
    if skipping and not keeps.gaps:
        found.append(
            (
                "info",
                "gaps",
                f"{_n(skipping, 'link')} that "
                f"{'skips' if skipping == 1 else 'skip'} time points "
                f"{'gets' if skipping == 1 else 'get'} positions in between, marked as "
                "interpolated",
            )
        )
    return found


def _of_columns(cells: Annotations, keeps: Keeps) -> Found:
    found: Found = []
    for code, of, columns, kept in (
        ("columns", "positions", cells.features, keeps.columns),
        ("link-columns", "links", cells.link_features, keeps.link_columns),
    ):
        left_out = _left_out(columns, kept)
        if left_out:
            shown = ", ".join(left_out[:6])
            shown += f" and {len(left_out) - 6} more" if len(left_out) > 6 else ""
            found.append(
                (
                    "warning",
                    code,
                    f"{_n(len(left_out), 'column')} of the {of} "
                    f"{_are(len(left_out))} left out: {shown}",
                )
            )
    return found


def _left_out(columns: Mapping[str, Any], kept: Columns) -> list[str]:
    if kept == "all":
        return []
    names = [name for name in columns if name not in _RENUMBERED]
    if kept == "numbers":
        return [name for name in names if np.asarray(columns[name]).dtype.kind not in "biuf"]
    return [name for name in names if name not in kept]


def _of_the_image(experiment: Experiment, keeps: Keeps) -> Found:
    found: Found = []
    voxel_size = experiment.known_voxel_size_um
    if keeps.in_micrometres and voxel_size is None:
        found.append(
            (
                "warning",
                "unknown-voxel-size",
                "Nobody states the voxel size, so positions "
                "are written in pixels where micrometres are expected",
            )
        )
    found += _of_the_scale(experiment, keeps)
    if experiment.images is not None and keeps.image and location_of(experiment.images) is None:
        found.append(("warning", "image", "The images lie in no file, so they are not named"))
    if experiment.time_range is not None and not keeps.time_range:
        first, last = experiment.time_range
        found.append(
            (
                "warning",
                "time-range",
                f"That only the time points {first} to {last} are "
                "to be used is not noted; all positions are written",
            )
        )
    if experiment.image_offsets and not keeps.offsets:
        found.append(
            (
                "info",
                "offsets",
                "The image offsets are not noted; positions are pixels of the image",
            )
        )
    for name, carried in experiment.carried.items():
        if name != keeps.carried:
            found.append(
                ("info", "carried", f"What only {name} knows is left out: {', '.join(carried)}")
            )
    if experiment.regions or experiment.completeness != "time-points":
        found.append(("warning", "completeness", "Where the annotation is complete is not noted"))
    return found


def _of_the_scale(experiment: Experiment, keeps: Keeps) -> Found:
    has_size = experiment.known_voxel_size_um is not None
    has_interval = frame_interval_s(experiment) is not None
    keeps_interval = keeps.frame_interval is True or (
        keeps.frame_interval == "with size" and has_size
    )
    loses_size, loses_interval = (
        has_size and not keeps.voxel_size,
        (has_interval and not keeps_interval),
    )
    if loses_size and loses_interval:
        text = "The voxel size and the frame interval have no place in it"
    elif loses_size:
        text = "The voxel size has no place in it"
    elif loses_interval:
        text = "The frame interval has no place in it" + (
            "" if has_size else " without a voxel size"
        )
    else:
        return []
    return [("info", "scale", text)]


def _n(n: int, singular: str) -> str:
    return f"{n} {singular}" if n == 1 else f"{n} {singular}s"


def _are(n: int) -> str:
    return "is" if n == 1 else "are"
