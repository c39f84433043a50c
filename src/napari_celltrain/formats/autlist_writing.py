"""Writing OrganoidTracker's lists of experiments."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING, Any

from napari_celltrain.files import write_text
from napari_celltrain.formats.aut_writing import aut_text
from napari_celltrain.formats.written import location_of, short_name, time_range_of
from napari_celltrain.images.combine import AppendedChannels, AppendedTime, SummedChannels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from napari_celltrain.experiment import Experiment, FrameSource


def write_autlist(path: Path, experiments: Sequence[Experiment]) -> None:
    """Write a list, and each experiment's annotations as an `.aut` in a folder beside it.

    A single experiment's `.aut` lies directly beside the list. Images are named where the source
    says where it is (its ``location`` and ``pattern``); paths are relative where that is possible.
    """
    entries = []
    places = annotation_places(path, experiments)
    for annotated, experiment in zip(places, experiments, strict=True):
        write_text(annotated, aut_text(experiment))
        entry: dict[str, Any] = {"experiment_file": _relative(annotated, path.parent)}
        if experiment.images is not None:
            entry.update(images_entry(experiment.images, path.parent))
        for key, end in zip(("min", "max"), time_range_of(experiment), strict=True):
            if end is not None:
                entry[f"{key}_time_point"] = end
        entries.append(entry)
    write_text(path, json.dumps(entries, indent=4, sort_keys=True, ensure_ascii=False))


def annotation_places(path: Path, experiments: Sequence[Experiment]) -> list[Path]:
    """Return where each experiment's annotations go when their list is written to `path`."""
    if len(experiments) == 1:
        return [path.with_suffix(".aut")]
    names = [
        short_name(re.sub(r"[^\w .()-]", "_", experiment.name)[:80]).strip(" .") or "experiment"
        for experiment in experiments
    ]
    folder = path.parent / f"{path.stem} files"
    return [folder / f"{number}. {name}.aut" for number, name in enumerate(names, 1)]


def images_entry(source: FrameSource, folder: Path) -> dict[str, Any]:
    """Return the images keys of an entry; none for images that lie in no file.

    Parameters
    ----------
    source
        The movie, which may be made of others.
    folder
        Of the list; places are relative to it.
    """
    if isinstance(source, SummedChannels):
        original = images_entry(source.source, folder)
        summing = [[channel + 1 for channel in group] for group in source.groups]
        return {"images_original": original, "images_channel_summing": summing} if original else {}
    if isinstance(source, AppendedChannels | AppendedTime):
        entries = [images_entry(one, folder) for one in source.sources]
        key = "time" if isinstance(source, AppendedTime) else "channel"
        return {f"images_{key}_appending": entries} if all(entries) else {}
    location = location_of(source)
    if location is None:
        return {}
    pattern, series = getattr(source, "pattern", None), getattr(source, "series", None)
    return {
        "images_container": _relative(location, folder),
        "images_pattern": str(pattern if pattern is not None else series or ""),
    }


def _relative(path: Any, folder: Path) -> str:
    try:
        return os.path.relpath(path, folder).replace(os.sep, "/")
    except ValueError:  # another drive
        return str(path)
