"""From any tracking format to any that can be written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.registry import (
    format_named,
    format_written_to,
    read_experiments,
    write_experiment,
)
from napari_celltrain.formats.written import losses

if TYPE_CHECKING:
    from napari_celltrain.experiment import ZYX, Finding, FrameSource


def convert(
    source: str | Path,
    destination: str | Path,
    images: str | Path | FrameSource | None = None,
    voxel_size_um: ZYX | None = None,
    *,
    format_name: str | None = None,
) -> list[Finding]:
    """Read tracking data and write it in another format.

    Parameters
    ----------
    source
        A file or folder of any known kind.
    destination
        Where to write; its suffix picks the format, unless `format_name` does. When the source
        holds several experiments, each gets its number before the suffix, except in a list.
    images
        The movie, for voxel size and frame shape.
    voxel_size_um
        (z, y, x); wins over what the files say.
    format_name
        The format to write.

    Returns
    -------
    list of Finding
        What reading noticed, and what the written format can't hold.

    Raises
    ------
    CellTrainError
        When the source can't be read or the destination can't be written.
    """
    destination = Path(destination)
    chosen = format_written_to(destination) if format_name is None else format_named(format_name)
    # a missing movie does not matter unless it was named
    experiments = read_experiments(source, images=images, voxel_size_um=voxel_size_um)
    if not experiments:
        raise CellTrainError(f"{source} holds no experiment.")
    if chosen.name == "OrganoidTracker list":
        from napari_celltrain.formats.autlist_writing import write_autlist

        write_autlist(destination, experiments)
        return [finding for one in experiments
                for finding in (*one.findings, *losses(one, "OrganoidTracker"))]
    found: list[Finding] = []
    for number, experiment in enumerate(experiments, 1):
        place = destination
        if len(experiments) > 1:
            place = destination.with_name(f"{destination.stem} {number}{destination.suffix}")
        write_experiment(place, experiment, chosen.name)
        found += [*experiment.findings, *losses(experiment, chosen.name)]
    return found
