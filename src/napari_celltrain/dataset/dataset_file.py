"""The ``dataset.toml``: a person's list of experiments, read strictly and written back.

Unknown keys are mistakes, not remarks: a misspelled ``role`` would otherwise train on what was
meant to be held out.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_celltrain.dataset.members import Dataset, Member, Role
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Completeness, Experiment, Finding, Region
from napari_celltrain.files import content_of
from napari_celltrain.formats.cleaning import LAST_TIME_POINT
from napari_celltrain.formats.documents import parsed_toml
from napari_celltrain.formats.elsewhere import check_computer, elsewhere

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.experiment import FrameSource

SUFFIX = ".toml"
_LARGEST_FILE = 10_000_000
_PARTS = {
    "voxel_size_um": "three numbers: z, y, x (where the images have one plane, any z)",
    "time_points": "two numbers: the first and the last time point",
    "polygon": "corners of two numbers: y, x",
}
"""What the numbers of a list are that has to have so many of them."""

Positive = Annotated[float, Field(gt=0, lt=1e6)]
Channel = Annotated[int, Field(ge=1, le=10_000)]
TimePoint = Annotated[int, Field(ge=-LAST_TIME_POINT, le=LAST_TIME_POINT)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class _RegionEntry(_Strict):
    polygon: list[tuple[float, float]] = Field(min_length=3)
    time_points: tuple[TimePoint, TimePoint] | None = None


class _Entry(_Strict):
    """One ``[[experiment]]`` as a person types it."""

    name: str | None = None
    images: str | None = None
    series: Annotated[int, Field(ge=1)] | None = None
    annotations: str | None = Field(None, min_length=1)
    marks: str | None = None
    entry: Annotated[int, Field(ge=1)] | None = None
    time_points: tuple[TimePoint, TimePoint] | None = None
    time_offset: TimePoint = 0
    channel: Channel | None = None
    channels: list[Channel] | None = Field(None, min_length=1)
    voxel_size_um: tuple[Positive, Positive, Positive] | None = None
    annotated: Completeness | None = None
    regions: list[_RegionEntry] | None = Field(None, min_length=1)
    role: Role | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> _Entry:
        if self.channel is not None and self.channels is not None:
            raise ValueError("give either 'channel' or 'channels', not both")
        for times in (self.time_points, *(region.time_points for region in self.regions or ())):
            if times is not None and times[0] > times[1]:
                raise ValueError(f"'time_points' runs backwards, from {times[0]} to {times[1]}")
        if self.annotated == "region" and not self.regions:
            raise ValueError("annotated = \"region\" needs 'regions', the polygons")
        if self.regions and self.annotated not in (None, "region"):
            raise ValueError(f"'regions' does not go with annotated = \"{self.annotated}\"")
        return self


class _File(_Strict):
    experiment: list[_Entry] = Field(min_length=1)


def read_dataset_file(
    path: Path, *, require_images: bool = True, require_annotations: bool = True
) -> Dataset:
    """Read a ``dataset.toml``.

    Parameters
    ----------
    path
        The file; paths in it are relative to its folder.
    require_images
        False turns images that can't be opened into a finding.
    require_annotations
        False accepts entries without the key ``annotations``; prediction does without them.

    Raises
    ------
    CellTrainError
        Naming the file, the experiment and the key that is wrong.
    """
    path = Path(path)
    entries = _entries(path)
    for number, entry in enumerate(entries, 1):
        if require_annotations and entry.annotations is None:
            raise CellTrainError(
                f"{_where(path, number, entry.name)}: the key 'annotations' is missing."
            )
    members: list[Member] = []
    for number, entry in enumerate(entries, 1):
        try:
            members += _members(entry, path.resolve().parent, require_images)
        except CellTrainError as error:
            raise CellTrainError(f"{_where(path, number, entry.name)}: {error}") from error
    named = [text for one in entries for text in (one.images, one.annotations, one.marks) if text]
    outside = elsewhere([_place_of(text, path.resolve().parent) for text in named], path)
    if outside is not None and members:
        first = members[0].experiment
        told = first.with_(findings=(*first.findings, outside))
        members[0] = replace(members[0], experiment=told)
    return Dataset(tuple(members), path.absolute())


def _entries(path: Path) -> list[_Entry]:
    try:
        values = parsed_toml(content_of(path, _LARGEST_FILE))
    except OSError as error:
        raise CellTrainError(f"The data set file {path} can't be read: {error.strerror}.") from None
    except ValueError as error:  # of the format or the encoding
        raise CellTrainError(f"The data set file {path} is not valid TOML: {error}.") from None
    if "experiment" not in values and not (set(values) - {"experiment"}):
        raise CellTrainError(
            f"The data set file {path} lists no experiment; it needs at least one [[experiment]]."
        )
    try:
        return _File.model_validate(values).experiment
    except ValidationError as error:
        raise CellTrainError(_sentence(error, path, values)) from None


def _members(entry: _Entry, folder: Path, require_images: bool) -> list[Member]:
    from napari_celltrain.formats.registry import read_experiments

    images_text = None if entry.images is None else str(_place_of(entry.images, folder))
    images: FrameSource | None = None
    problem: list[Finding] = []
    if images_text is not None:
        from napari_celltrain.images import open_images

        try:
            images = open_images(images_text, series=entry.series)
        except CellTrainError as error:
            if require_images:
                raise
            problem.append(Finding("error", "images-missing", str(error)))
    if entry.annotations is None:
        if images_text is None:
            raise CellTrainError("it names neither 'images' nor 'annotations'.")
        name = Path(images_text).stem if images is None else images.name
        alone = _changed(Experiment(name, images=images), entry, tuple(problem))
        if images is not None:
            _check_channels(alone.channels, images)
        return [Member(alone, role=entry.role, images=images_text)]
    annotations = _place_of(entry.annotations, folder)
    options: dict[str, Any] = {"voxel_size_um": entry.voxel_size_um}
    if images_text is not None:
        options["find_images"] = False
    if images is not None:
        options["images"] = images
    experiments = list(enumerate(read_experiments(annotations, **options), 1))
    several = len(experiments) > 1
    if entry.entry is not None:
        if entry.entry > len(experiments):
            raise CellTrainError(
                f"{annotations} holds {len(experiments)} experiments; there is no entry "
                f"{entry.entry}."
            )
        experiments = [experiments[entry.entry - 1]]
    elif several and (entry.images is not None or entry.name is not None):
        raise CellTrainError(
            f"{annotations} holds {len(experiments)} experiments; say which one with entry = 1 to "
            f"{len(experiments)}, or leave out 'name' and 'images' to take them all."
        )
    members = []
    for number, experiment in experiments:
        changed = _changed(experiment, entry, tuple(problem))
        marks = None if entry.marks is None else _place_of(entry.marks, folder)
        if marks is not None:
            changed = _with_marks(changed, marks)
        if require_images:
            _check_images(changed, annotations)
        members.append(
            Member(
                changed,
                role=entry.role,
                annotations=annotations,
                entry=number if several else None,
                images=images_text,
                time_offset=entry.time_offset,
                marks=marks,
            )
        )
    return members


def _place_of(text: str, folder: Path) -> Path:
    """Return a path that the file names; the same place always in the same spelling."""
    check_computer(text, folder)
    try:
        return (folder / text.replace("\\", "/")).resolve()
    except (OSError, ValueError):
        raise CellTrainError(f"{_shown(text)} can't be the name of a file.") from None


def _changed(experiment: Experiment, entry: _Entry, problem: tuple[Finding, ...]) -> Experiment:
    """Return the experiment as the entry has it; what the entry leaves open stays as read."""
    changes: dict[str, Any] = {"findings": (*experiment.findings, *problem)}
    if entry.name is not None:
        changes["name"] = entry.name
    if entry.time_offset:
        changes["annotations"] = _moved(experiment.annotations, entry.time_offset)
    if entry.time_points is not None:
        changes["time_range"] = entry.time_points
    stated = entry.channels or ([] if entry.channel is None else [entry.channel])
    if stated:
        changes["channels"] = tuple(channel - 1 for channel in stated)
        changes["channels_stated"] = True
    if entry.voxel_size_um is not None:
        changes["voxel_size_um"] = entry.voxel_size_um
    if entry.regions:
        changes["completeness"] = "region"
        changes["regions"] = tuple(
            Region(tuple(region.polygon), *(region.time_points or (None, None)))
            for region in entry.regions
        )
    elif entry.annotated is not None:
        changes["completeness"] = entry.annotated
    return experiment.with_(**changes)


def _with_marks(experiment: Experiment, path: Path) -> Experiment:
    """Add the marks that are no cells: a table with a column ``status`` of -1 (no cell) and 0."""
    from napari_celltrain.formats.registry import read_experiments

    marks = read_experiments(path, find_images=False)[0].annotations
    assert marks.status is not None  # set in __post_init__
    status = marks.features.get("status", marks.status)
    if not np.isin(status, (-1, 0, 1)).all():
        raise CellTrainError(f"{path} needs a column 'status' of -1 (no cell), 0 (unknown) or 1.")
    cells = experiment.annotations
    assert cells.status is not None  # set in __post_init__
    together = Annotations(
        np.concatenate([cells.t, marks.t]),
        np.concatenate([cells.positions, marks.positions]),
        cells.links,
        np.concatenate([cells.status, status.astype(np.int8)]),
        link_features=cells.link_features,
    )
    return experiment.with_(annotations=together)


def _moved(annotations: Annotations, offset: int) -> Annotations:
    return replace(annotations, t=annotations.t + offset)


def _check_images(experiment: Experiment, annotations: Path) -> None:
    if experiment.images is None:
        missing = [f.message for f in experiment.findings if f.code == "images-missing"]
        raise CellTrainError(
            missing[0]
            if missing
            else f'nothing says where the images of {annotations} are; add images = "...".'
        )
    _check_channels(experiment.channels, experiment.images)


def _check_channels(channels: Sequence[int], images: FrameSource) -> None:
    if max(channels) >= images.n_channels:
        has = "one channel" if images.n_channels == 1 else f"{images.n_channels} channels"
        raise CellTrainError(
            f"channel {max(channels) + 1} is asked for, but the images have {has}."
        )


def _where(path: Path, number: int, name: object) -> str:
    called = f" ('{name}')" if isinstance(name, str) else ""
    return f"{path}, experiment {number}{called}"


def _sentence(error: ValidationError, path: Path, values: dict[str, Any]) -> str:
    # a key that is unknown explains one that is missing
    first = min(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
    place = list(first["loc"])
    where = str(path)
    known: list[str] = list(_File.model_fields)
    if len(place) >= 2 and place[0] == "experiment" and isinstance(place[1], int):
        entry = values["experiment"][place[1]]
        where = _where(path, place[1] + 1, entry.get("name") if isinstance(entry, dict) else None)
        known = list(_RegionEntry.model_fields if "regions" in place else _Entry.model_fields)
        place = place[2:]
    listed = next((part for part in reversed(place) if part in _PARTS), None)
    too_few = first["type"] == "missing" and isinstance(place[-1], int)
    if too_few:
        place.pop()  # a number that is not there is no key
    key = ".".join(str(part) for part in place)
    if listed is not None and (too_few or first["type"] == "too_long"):
        return f"{where}: '{key}' is {_shown(first['input'])}, but it takes {_PARTS[listed]}."
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}."
        return f"{where}: there is no key '{key}'; {hint}"
    if first["type"] == "missing":
        return f"{where}: the key '{key}' is missing."
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "it should be")
    if not key:
        return f"{where}: {message}."
    return f"{where}: '{key}' is {_shown(first['input'])}, but {message}."


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
