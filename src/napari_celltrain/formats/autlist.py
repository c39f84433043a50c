"""OrganoidTracker's `.autlist`: a list of experiments, each with its images."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Experiment, Finding
from napari_celltrain.formats.attaching import (
    found_images,
    found_path,
    local_path,
    stated_images,
)
from napari_celltrain.formats.aut import AutFormat
from napari_celltrain.formats.cleaning import LAST_TIME_POINT
from napari_celltrain.formats.documents import beginning, load_json, sentences
from napari_celltrain.formats.elsewhere import elsewhere
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.written import OPEN_END

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_celltrain.experiment import FrameSource

_DEEPEST_NESTING = 8
_ReadBefore = dict[tuple[str, str], list[Experiment]]


class AutlistFormat:
    """Reads every entry of a list, and writes a list with one entry beside an `.aut`."""

    name = "OrganoidTracker list"
    suffixes = (".autlist",)
    keeps = replace(AutFormat.keeps, image=True, time_range=True)

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        start = beginning(path).lstrip(b"\xef\xbb\xbf \t\r\n")
        return path.suffix.lower() == ".autlist" and start.startswith(b"[")

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        with sentences(path, "a list of experiments"):
            entries = load_json(path)
            if not isinstance(entries, list):
                raise CellTrainError(f"{path} is no list of experiments.")
            first: dict[str, int] = {}
            repeated: list[int] = []
            read_before: _ReadBefore = {}
            experiments: list[Experiment] = []
            for number, entry in enumerate(entries, 1):
                if first.setdefault(_key(entry), number) < number:
                    repeated.append(number)
                    continue
                place = f"entry {number} of {path.name}"
                experiments += _entry(entry, place, path, chosen, read_before)
            experiments = _with_repeated(experiments, repeated)
            outside = elsewhere(_places(entries, path), path)
            if outside is not None and experiments:
                told = (*experiments[0].findings, outside)
                experiments[0] = experiments[0].with_(findings=told)
            return experiments

    def write(self, path: Path, experiment: Experiment) -> None:
        """Write the list, and the annotations as an `.aut` of the same name beside it."""
        self.write_all(path, [experiment])

    def write_all(self, path: Path, experiments: Sequence[Experiment]) -> None:
        """Write the list, and each one's annotations as an `.aut` in a folder beside it."""
        from napari_celltrain.formats.autlist_writing import write_autlist

        write_autlist(path, experiments)

    def annotation_places(self, path: Path, experiments: Sequence[Experiment]) -> list[Path]:
        """Return the `.aut` that each experiment's annotations are written to."""
        from napari_celltrain.formats.autlist_writing import annotation_places

        return annotation_places(path, experiments)


def _places(entries: Any, path: Path, depth: int = 0) -> Iterator[Path]:
    """Yield what a list names and what is there: entries hold images that hold images."""
    for entry in entries.values() if isinstance(entries, dict) else entries:
        if isinstance(entry, (dict, list)) and depth <= 2 * _DEEPEST_NESTING:
            yield from _places(entry, path, depth + 1)
    if isinstance(entries, dict):
        container, pattern = entries.get("images_container"), entries.get("images_pattern")
        # a pattern may hold folders too
        whole = f"{container}/{pattern}" if isinstance(pattern, str) else container
        for texts in ((entries.get("experiment_file"),), (whole, container)):
            for text in texts:
                place = _place_that_is_there(text, path.parent)
                if place is not None:
                    yield place
                    break


def _place_that_is_there(text: Any, folder: Path) -> Path | None:
    """Return what a list names, if it is there; of a pattern the folder that it begins in."""
    if not isinstance(text, str):
        return None
    with contextlib.suppress(CellTrainError, OSError):  # told with its entry
        place = local_path(text, folder)
        *_, outermost = (None, *(one for one in (place, *place.parents) if "{" in one.name))
        if place.exists() or (outermost is not None and outermost.parent.is_dir()):
            return place
    return None


def _key(content: Any) -> str:
    return json.dumps(content, sort_keys=True)


def _with_repeated(experiments: list[Experiment], repeated: list[int]) -> list[Experiment]:
    """Say of entries that stand in the list twice that they are taken once."""
    if not experiments or not repeated:
        return experiments
    numbers = ", ".join(map(str, repeated[:5])) + (", ..." if len(repeated) > 5 else "")
    repetition = Finding(
        "warning",
        "repeated-entry",
        f"Entries of the list that say the same as one before are taken once: {numbers}.",
    )
    last = experiments[-1]
    return [*experiments[:-1], last.with_(findings=(*last.findings, repetition))]


def _entry(
    entry: Any, place: str, path: Path, options: ReadOptions, read_before: _ReadBefore
) -> list[Experiment]:
    if not isinstance(entry, dict):
        raise CellTrainError(f"{place} is no JSON object.")
    named = entry.get("experiment_file")
    has_images = any(str(key).startswith("images_") for key in entry)
    if named is None and not has_images:
        raise CellTrainError(f"{place} names neither an experiment_file nor images.")
    time_range = _time_range(entry, place)
    findings: list[Finding] = []
    images = stated_images(options)
    if images is None and has_images and options.find_images:
        images = images_of_entry(entry, place, path.parent, findings)
    if named is None:
        name = Path(str(entry.get("images_container", path.stem)).replace("\\", "/")).stem
        return [
            Experiment(
                name,
                images=images,
                time_range=_closed(time_range, images),
                source=path,
                voxel_size_um=options.voxel_size_um,
                findings=tuple(findings),
            )
        ]
    if not isinstance(named, str):
        raise CellTrainError(f"{place}: experiment_file is no path.")
    annotated = found_path(named, path.parent, findings)
    if annotated.suffix.lower() == ".autlist":
        raise CellTrainError(f"{place} names another list ({named}); name its entries instead.")
    if not annotated.exists():
        raise CellTrainError(
            f"{place}: there is no file {annotated}. Correct the path in the list."
        )
    experiments = []
    for one in _annotated(annotated, images, _images_key(entry), options, read_before):
        its_images = one.images if images is None else images
        experiments.append(
            one.with_(
                images=its_images,
                time_range=_closed(time_range, its_images) or one.time_range,
                findings=(*one.findings, *findings),
            )
        )
    return experiments


def _images_key(entry: dict[str, Any]) -> str:
    return _key({key: value for key, value in entry.items() if key.startswith("images_")})


def _annotated(
    path: Path,
    images: FrameSource | None,
    images_key: str,
    options: ReadOptions,
    read_before: _ReadBefore,
) -> list[Experiment]:
    """Read an entry's own tracking file, once for all entries that name it.

    Formats in micrometres need its images' voxel size, so they are read for each movie.
    """
    from napari_celltrain.formats.registry import format_to_read

    found = format_to_read(path)
    in_pixels = isinstance(found, AutFormat)
    key = (os.path.realpath(path), "" if in_pixels else images_key)
    if key not in read_before:
        own = options if images is None or in_pixels else replace(options, images=images)
        keywords = {name: getattr(own, name) for name in own.__dataclass_fields__}
        read_before[key] = found.read(path, **keywords)
    return read_before[key]


def images_of_entry(
    entry: dict[str, Any], place: str, folder: Path, findings: list[Finding], depth: int = 0
) -> FrameSource | None:
    """Return the images of an entry in any of the four forms; None, with a finding, if missing.

    Raises
    ------
    CellTrainError
        When the entry itself makes no sense.
    """
    from napari_celltrain.images import combine

    if depth > _DEEPEST_NESTING:
        raise CellTrainError(f"{place}: images within images within images; the list is damaged.")
    if "images_channel_summing" in entry:
        original = entry.get("images_original")
        if not isinstance(original, dict):
            raise CellTrainError(f"{place}: images_channel_summing without images_original.")
        groups = _groups(entry["images_channel_summing"], place)
        source = images_of_entry(original, place, folder, findings, depth + 1)
        if source is None:
            return None
        highest = max(channel for group in groups for channel in group) + 1
        if highest > source.n_channels:
            raise CellTrainError(
                f"{place}: sums channel {highest}, but the images have {source.n_channels}."
            )
        return combine.SummedChannels(source, groups)
    for key, combined in (
        ("images_channel_appending", combine.AppendedChannels),
        ("images_time_appending", combine.AppendedTime),
    ):
        if key not in entry:
            continue
        parts = entry[key]
        if not isinstance(parts, list) or not parts or not all(isinstance(p, dict) for p in parts):
            raise CellTrainError(f"{place}: {key} is no list of images.")
        sources = [images_of_entry(part, place, folder, findings, depth + 1) for part in parts]
        present = [source for source in sources if source is not None]
        return None if len(present) < len(sources) else combined(present)
    container, pattern = entry.get("images_container"), entry.get("images_pattern")
    if not isinstance(container, str) or not container:
        raise CellTrainError(f"{place} has images without an images_container.")
    if pattern is not None and not isinstance(pattern, str):
        raise CellTrainError(f"{place}: images_pattern is no text.")
    try:
        there = found_path(container, folder, findings)
    except CellTrainError as error:
        findings.append(
            Finding("warning", "images-missing", f"The images can't be opened: {error}")
        )
        return None
    return _opened(there, pattern, findings)


def _opened(path: Path, pattern: str | None, findings: list[Finding]) -> FrameSource | None:
    from napari_celltrain.images.opening import is_zarr

    if pattern is not None and ("{" in pattern or (path.is_dir() and not is_zarr(path))):
        return found_images(path, pattern, findings)
    # In a file of several images the pattern is the number of one, from 1. Where there is only one
    # it may be anything; for Zarr OrganoidTracker writes 0.
    by_name = path.suffix.lower() in (".lif", ".czi", ".nd2")
    series = pattern if by_name or (pattern or "0").strip("0").isdigit() else None
    return found_images(path, None, findings, series=series or None)


def _groups(stated: Any, place: str) -> list[list[int]]:
    """Return the channels to sum, counted from 0."""
    groups: list[list[int]] = []
    try:
        for group in stated:
            channels = [int(channel) - 1 for channel in group]
            if not channels or min(channels) < 0:
                raise ValueError
            groups.append(channels)
    except (TypeError, ValueError, OverflowError):
        groups = []
    if not groups:
        raise CellTrainError(
            f"{place}: images_channel_summing has to be lists of channel numbers from 1."
        )
    return groups


def _time_range(entry: dict[str, Any], place: str) -> tuple[int | None, int | None]:
    """Return the first and last time point to use, None where an end is open."""
    numbers: list[int | None] = []
    for key in ("min_time_point", "max_time_point"):
        value = entry.get(key)
        whole = isinstance(value, int) and not isinstance(value, bool)
        if value is not None and (not whole or abs(value) > LAST_TIME_POINT):
            raise CellTrainError(f"{place}: {key} is no time point.")
        numbers.append(value)
    first, last = numbers
    if first is not None and last is not None and first > last:
        raise CellTrainError(f"{place}: min_time_point {first} lies after max_time_point {last}.")
    return first, last


def _closed(
    time_range: tuple[int | None, int | None], images: FrameSource | None
) -> tuple[int, int] | None:
    """Return a range whose open end is that of the images, where they are known."""
    first, last = time_range
    times = () if images is None else images.time_points
    start, end = (times[0], times[-1]) if len(times) else (-OPEN_END, OPEN_END)
    if first is None:
        return None if last is None else (min(start, last), last)
    return first, max(end, first) if last is None else last
