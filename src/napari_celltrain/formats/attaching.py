"""Finding and opening the movie that belongs to a tracking file."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, cast

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding, FrameSource
from napari_celltrain.formats.elsewhere import check_computer, elsewhere

if TYPE_CHECKING:
    from napari_celltrain.formats.options import ReadOptions

_DEEPEST = 8
"""Of a path that is not there, so many of its last names are looked for elsewhere."""


def stated_images(options: ReadOptions) -> FrameSource | None:
    """Return the movie that the person named; None when they named none.

    Raises
    ------
    CellTrainError
        When it can't be opened: the person asked for this one.
    """
    if options.images is None:
        return None
    if isinstance(options.images, (str, Path)):
        from napari_celltrain.images import open_images

        return cast(FrameSource, open_images(options.images, pattern=options.images_pattern))
    return options.images


def found_images(
    location: str | Path,
    pattern: str | None,
    findings: list[Finding],
    *,
    series: str | None = None,
    named_in: Path | None = None,
) -> FrameSource | None:
    """Return the movie that a file names; None, with a finding, when it can't be opened.

    With `named_in`, the naming file, a movie outside that file's folder is told too.
    """
    from napari_celltrain.images import open_images

    try:
        found = cast(FrameSource, open_images(location, pattern=pattern, series=series))
        outside = elsewhere([Path(location)], named_in) if named_in is not None else None
        findings += [] if outside is None else [outside]
        return found
    except CellTrainError as error:
        message = f"The images can't be opened: {error}"
        if str(location) not in message:
            message = f"The images in {location} can't be opened: {error}"
        findings.append(Finding("warning", "images-missing", message))
        return None


def found_path(text: str, folder: Path, findings: list[Finding]) -> Path:
    """Return the path that a list names; of a list that was moved, what lies near it instead.

    A whole path is that of the computer where the list was written. When nothing is there, what
    ends alike and lies in the list's own folder is taken, with a finding.

    Raises
    ------
    CellTrainError
        When it is on a computer that is not asked.
    """
    refused = None
    try:
        place = local_path(text, folder)
    except CellTrainError as error:
        refused = error
    windows = PureWindowsPath(text)
    if refused is None and (not windows.root or _is_there(place)):
        return place
    parts = windows.parts[1:][-_DEEPEST:]
    for start in range(len(parts)):
        near = folder.joinpath(*parts[start:])
        if ".." not in parts and _is_there(near):
            message = f"There is no {text} on this computer; {near}, beside the list, is taken."
            findings.append(Finding("warning", "moved", message))
            return near
    if refused is not None:
        raise refused
    return place


def _is_there(place: Path) -> bool:
    try:
        return place.exists()
    except OSError:  # a name that is longer than names can be
        return False


def local_path(text: str, folder: Path) -> Path:
    """Return the path that a file names, relative to the file's folder.

    Backslashes are taken as separators: such files are written on Windows and read anywhere.

    Raises
    ------
    CellTrainError
        When it is on a computer that is not asked.
    """
    check_computer(text, folder)
    windows = PureWindowsPath(text)
    if windows.drive:  # stays as it is on Windows; elsewhere it can't exist, and says so later
        return Path(text)
    return folder / windows.as_posix()
