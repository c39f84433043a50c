"""A data set in one folder: only the frames that training needs, and paths that travel."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.dataset.members import Dataset, Member, annotated_time_points
from napari_celltrain.dataset.writing import write_dataset
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import replacing

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_celltrain.experiment import Experiment

PATTERN = "t{time:04}.tif"


def pack_dataset(
    dataset: Dataset,
    folder: Path,
    window: tuple[int, int] = (0, 0),
    *,
    progress: Callable[[], None] = lambda: None,
) -> Path:
    """Copy a data set into a folder that can be carried elsewhere.

    Parameters
    ----------
    dataset
        With images.
    folder
        Made when missing.
    window
        The neighbouring time points that the network sees; their images are copied too.
    progress
        Called after each frame.

    Returns
    -------
    Path
        Of the ``dataset.toml``, whose paths are all within the folder. Channels that are not used
        are left out, so the others are numbered anew.

    Raises
    ------
    CellTrainError
        When a frame can't be read, or the folder can't be written.
    """
    members = []
    for number, member in enumerate(dataset.members, 1):
        images = folder / "images" / f"{number}"
        _copy_frames(member.experiment, images, window, progress)
        size = member.experiment.known_voxel_size_um
        experiment = member.experiment.with_(
            images=None,
            channels=tuple(range(len(member.experiment.channels))),
            voxel_size_um=size,
        )
        members.append(Member(experiment, role=member.role, images=str(images / PATTERN)))
    write_dataset(folder / "dataset.toml", Dataset(tuple(members)))
    return folder / "dataset.toml"


def frames_to_pack(experiment: Experiment, window: tuple[int, int] = (0, 0)) -> list[int]:
    """Return the time points whose images training needs, ascending."""
    if experiment.images is None:
        return []
    wanted = {
        t + d for t in annotated_time_points(experiment) for d in range(window[0], window[1] + 1)
    }
    return [t for t in experiment.images.time_points if t in wanted]


def _copy_frames(
    experiment: Experiment, folder: Path, window: tuple[int, int], progress: Callable[[], None]
) -> None:
    import tifffile

    source = experiment.images
    if source is None:
        raise CellTrainError(f"The images of '{experiment.name}' are missing.")
    if folder.exists():
        shutil.rmtree(folder)
    for t in frames_to_pack(experiment, window):
        channels = [source.read_frame(t, channel) for channel in experiment.channels]
        pixels = np.stack(channels, axis=1)  # (z, c, y, x)
        with replacing(folder / PATTERN.format(time=t)) as path:
            tifffile.imwrite(
                path,
                pixels,
                photometric="minisblack",
                compression="zlib",
                predictor=np.issubdtype(pixels.dtype, np.integer),
                metadata={"axes": "ZCYX"},
                ome=False,
            )
        progress()
