"""Writing a data set as a ``dataset.toml`` that `read_dataset_file` reads back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tomli_w

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import content_of, write_text
from napari_celltrain.formats.autlist_writing import images_entry
from napari_celltrain.formats.documents import parsed_toml
from napari_celltrain.formats.written import OPEN_END, short_name, time_range_of

if TYPE_CHECKING:
    from napari_celltrain.dataset.members import Dataset, Member
    from napari_celltrain.experiment import Annotations, Experiment, FrameSource, Region

_LARGEST_FILE = 10_000_000


def write_dataset(path: Path, dataset: Dataset) -> None:
    """Write a ``dataset.toml``, with relative paths where there is a way.

    Annotations that are in no file yet are written beside it as ``.aut``; if their movie is made
    of others (channels added up or side by side, movies one after the other), as an ``.autlist``,
    which says how. A file of theirs that the ``dataset.toml`` there named before is replaced with
    it; beside any other file they get another name.

    Raises
    ------
    CellTrainError
        When the images of an experiment are in no file, or in one that says other axes than they
        were opened with, or the place can't be written.
    """
    path = Path(path).absolute()
    names = _Names(path, dataset)
    entries = [_entry_for(member, path, names) for member in dataset.members]
    write_text(path, tomli_w.dumps({"experiment": entries}))


def _entry_for(member: Member, path: Path, names: _Names) -> dict[str, Any]:
    """Return one ``[[experiment]]``; writes the annotations when they are in no file."""
    experiment = member.experiment
    entry: dict[str, Any] = {"name": experiment.name}
    images = member.images
    suffix = ".aut"
    if member.annotations is None:
        own = None if images else _location(experiment.images, path.parent)
        if own is not None:
            entry["images"] = own
            _check_opens_alike(experiment, path.parent / own)
        elif images is None and experiment.images is not None:
            suffix = ".autlist"
            if not images_entry(experiment.images, path.parent):
                raise CellTrainError(
                    f"The images of '{experiment.name}' are in memory only; save them as TIFF "
                    "first, and open that file."
                )
    if images is not None:
        entry["images"] = _relative(str(images), path.parent)
    if member.annotations is not None:
        entry["annotations"] = _relative(str(member.annotations), path.parent)
        if member.marks is not None:
            entry["marks"] = _relative(str(member.marks), path.parent)
        if member.entry is not None:
            entry["entry"] = member.entry
        if member.time_offset:
            entry["time_offset"] = member.time_offset
    else:
        from napari_celltrain.formats.registry import write_experiment

        if "images" in entry and getattr(experiment.images, "series", None) is not None:
            entry["series"] = int(getattr(experiment.images, "series", 1))
        base = names.new_one(experiment.name)
        write_experiment(path.parent / f"{base}{suffix}", experiment)
        entry["annotations"] = f"{base}{suffix}"
        if not experiment.annotations.is_cell.all():  # the format knows cells only
            write_text(path.parent / f"{base} marks.csv", _marks_text(experiment.annotations))
            entry["marks"] = f"{base} marks.csv"
    if experiment.time_range is not None:
        first, last = time_range_of(experiment)
        entry["time_points"] = [
            -OPEN_END if first is None else first,
            OPEN_END if last is None else last,
        ]
    if len(experiment.channels) == 1:
        entry["channel"] = experiment.channels[0] + 1
    else:
        entry["channels"] = [channel + 1 for channel in experiment.channels]
    if experiment.voxel_size_um is not None:
        entry["voxel_size_um"] = [float(size) for size in experiment.voxel_size_um]
    entry["annotated"] = experiment.completeness
    if experiment.regions:
        entry["regions"] = [_region(region) for region in experiment.regions]
    if member.role is not None:
        entry["role"] = member.role
    return entry


def _location(images: FrameSource | None, folder: Path) -> str | None:
    """Return what `open_images` takes to open a movie again, where the movie knows it."""
    location, pattern = getattr(images, "location", None), getattr(images, "pattern", None)
    if location is None:
        return None
    place = _relative(str(location), folder)
    if pattern is None:
        return place
    # a brace in the name of a folder is no number; a path is a pattern from its first brace on
    parts = place.split("/")
    first = next((at for at, part in enumerate(parts) if "{" in part), len(parts))
    doubled = [part.replace("{", "{{").replace("}", "}}") for part in parts[first:]]
    return Path("/".join([*parts[:first], *doubled]), str(pattern)).as_posix()


def _check_opens_alike(experiment: Experiment, place: Path) -> None:
    """Refuse images whose axes somebody stated: a data set has no word for them.

    Only the sizes are compared; whether the file is there is told by whoever reads it.
    """
    from napari_celltrain.images import open_images

    images = experiment.images
    assert images is not None  # it has a location
    try:
        again = open_images(place, series=getattr(images, "series", None))
    except CellTrainError:
        return
    stated, found = (
        (len(one.time_points), one.n_channels, *one.frame_shape) for one in (images, again)
    )
    if stated != found:
        raise CellTrainError(
            f"The images of '{experiment.name}' were opened with other axes than {place} says, "
            "which a data set can't note. Save them as OME-TIFF, which says its axes, and open "
            "that file."
        )


def _marks_text(annotations: Annotations) -> str:
    assert annotations.status is not None  # set in __post_init__
    lines = ["t,z,y,x,status"]
    for index in np.flatnonzero(~annotations.is_cell):
        z, y, x = annotations.positions[index].tolist()
        lines.append(f"{annotations.t[index]},{z!r},{y!r},{x!r},{annotations.status[index]}")
    return "\n".join(lines) + "\n"


def _region(region: Region) -> dict[str, Any]:
    entry: dict[str, Any] = {"polygon": [[float(y), float(x)] for y, x in region.vertices]}
    if region.first is not None or region.last is not None:
        first = -OPEN_END if region.first is None else region.first
        last = OPEN_END if region.last is None else region.last
        entry["time_points"] = [first, last]
    return entry


def _relative(place: str, folder: Path) -> str:
    """Return a path relative to a folder; as it is when there is no way (another drive)."""
    try:
        return Path(os.path.relpath(Path(place).resolve(), folder.resolve())).as_posix()
    except ValueError:
        return place


_ENDINGS = (".aut", ".autlist", " marks.csv")
"""What is added to a name for the files of one experiment."""


class _Names:
    """Names for the files beside a ``dataset.toml`` that take nothing's place.

    Parameters
    ----------
    path
        The ``dataset.toml``, which may be there already.
    dataset
        What is about to be written; its own files are read again later.
    """

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self._folder = path.parent
        self._own = _named_before(path)
        self._kept = {
            os.path.realpath(file)
            for member in dataset.members
            for file in (member.annotations, member.marks)
            if file is not None
        }
        self._taken: set[str] = set()

    def new_one(self, name: str) -> str:
        """Return a file name for an experiment, without an ending; a new one each time."""
        plain = "".join(c if c.isalnum() or c in "-_ " else "_" for c in name)
        base = short_name(plain.strip()) or "experiment"
        candidate, number = base, 2
        while not self._is_free(candidate, name):
            candidate, number = f"{base} {number}", number + 1
        self._taken.add(candidate.lower())
        return candidate

    def _is_free(self, candidate: str, name: str) -> bool:
        if candidate.lower() in self._taken:
            return False
        own = self._own.get(name, set())
        there = [
            file
            for file in (f"{candidate}{ending}" for ending in _ENDINGS)
            if os.path.lexists(self._folder / file)
        ]
        return all(
            file in own and os.path.realpath(self._folder / file) not in self._kept
            for file in there
        )


def _named_before(path: Path) -> dict[str, set[str]]:
    """Return which files beside it a ``dataset.toml`` names, for the name of each experiment."""
    try:
        entries = parsed_toml(content_of(path, _LARGEST_FILE)).get("experiment", [])
    except (OSError, ValueError):  # none is there, or it says nothing
        return {}
    named: dict[str, set[str]] = {}
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            files = {str(entry.get(key)) for key in ("annotations", "marks")}
            # what a list names lies beside it under its own name
            files |= {f"{file.removesuffix('.autlist')}.aut" for file in files}
            named.setdefault(str(entry.get("name")), set()).update(files)
    return named
