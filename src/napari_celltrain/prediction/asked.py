"""From what a person names to the movies that are searched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.dataset import load_dataset
from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.registry import format_of
from napari_celltrain.images import open_images
from napari_celltrain.prediction.output import can_be_written

if TYPE_CHECKING:
    from napari_celltrain.experiment import Experiment, FrameSource

LISTS = (".toml", ".autlist")
"""Suffixes of files that list experiments; what is found goes into a folder."""
_IN_FOLDERS = ("dataset.toml", "man_track.txt", "res_track.txt", "TRA/man_track.txt")
"""A folder with one of these is more than a folder of images."""


@dataclass(frozen=True, eq=False)
class Asked:
    """What is to be searched.

    Parameters
    ----------
    movies
        In the order in which they are listed.
    into_folder
        Whether the results are several files in a folder; else there is one movie, and one file.
    files
        What else than images was read: lists, and annotation.
    """

    movies: tuple[FrameSource | Experiment, ...]
    into_folder: bool = False
    files: tuple[Path, ...] = ()


def is_list(place: str | Path) -> bool:
    """Tell whether a name is that of a list of experiments."""
    return Path(place).suffix.lower() in LISTS


def open_asked(place: str, out: Path) -> Asked:
    """Open the movies at a place; only headers are read of them.

    Images are what they are, whatever lies beside them. What is no images may be a data set or a
    tracking file that says where its images are.

    Parameters
    ----------
    place
        What `open_images` takes, or what `load_dataset` takes.
    out
        Where the results go. A list that is named itself has them in a folder; what else holds a
        single experiment has them in a file, if this has a suffix.

    Raises
    ------
    CellTrainError
        When nothing is there, nobody can read it, images are missing, or there are several
        experiments for one file.
    """
    if not is_list(place) and not _names_experiments(Path(place)):
        try:
            return Asked((open_images(place),))
        except CellTrainError as error:
            if not _is_tracking(Path(place)):
                hint = _hint(place)
                if not hint:
                    raise
                raise CellTrainError(f"{error} {hint}") from None
    dataset = load_dataset(place, require_annotations=False)
    several = len(dataset) > 1
    if several and not is_list(place) and can_be_written(out):
        raise CellTrainError(
            f"{place} holds {len(dataset)} experiments, which don't go into one file ({out.name}). "
            "Name a folder (--out)."
        )
    into_folder = is_list(place) or several or not out.suffix
    return Asked(dataset.experiments, into_folder, dataset.files)


def _hint(place: str) -> str:
    """Say what is written instead of a wildcard, where there is one."""
    name = place.replace("\\", "/").rpartition("/")[2]
    if not set("*?") & set(name):
        return ""
    pattern = "img_t{time:03}.tif"
    if name.count("*") == 1 and "?" not in name and "{" not in name:
        pattern = name.replace("*", "{time:03}")
    return f'Instead of a wildcard name the folder, or a pattern such as "{pattern}".'


def _names_experiments(place: Path) -> bool:
    try:
        return any((place / name).is_file() for name in _IN_FOLDERS)
    except (OSError, ValueError):  # a name that no file can have
        return False


def _is_tracking(place: Path) -> bool:
    """Tell whether a place that holds no movie is a tracking file or folder.

    A folder of label images knows no movie; what is wrong with its images says more.
    """
    try:
        found = format_of(place)
    except (OSError, ValueError):
        return False
    return found is not None and found.name != "Label images"
