"""Places outside its own folder that a file names.

Lists name movies, which may be anywhere, and a list may come from a stranger. So what is read from
outside its folder is told, and no other computer is asked: on Windows, asking one already hands it
the name of whoever asks, and a hash of the password.
"""

from __future__ import annotations

import os
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable

CODE = "elsewhere"
_NAMED = 3
"""Of many folders, so many are named."""


def check_computer(text: str, folder: Path) -> None:
    r"""Refuse a path of another computer than the one that the naming file lies on.

    Parameters
    ----------
    text
        As the file names it, such as ``\\server\share\movie.tif``.
    folder
        That of the file.

    Raises
    ------
    CellTrainError
        On Windows only: elsewhere such a text is the name of a file.
    """
    named = host_of(text)
    if os.name == "nt" and named and named != host_of(str(folder)):
        raise CellTrainError(
            f"{text} is on another computer ({named}), which is not asked because a file says so. "
            "Choose the images yourself, give that place a drive letter, or open the list from "
            "there."
        )


def host_of(text: str) -> str:
    """Return the computer of a Windows path, in small letters; nothing for one with a letter."""
    drive = PureWindowsPath(text).drive.lower()
    for prefix in ("\\\\?\\unc\\", "\\\\.\\unc\\"):
        drive = drive.replace(prefix, "\\\\")
    if not drive.startswith("\\\\"):
        return ""
    host = drive[2:].split("\\")[0]
    return "" if host == "?" else host


def elsewhere(places: Iterable[Path], file: Path) -> Finding | None:
    """Return a finding that names the folders outside the file's own; None if there are none."""
    home = Path(os.path.realpath(file)).parent
    folders = dict.fromkeys(
        place.parent
        for place in (Path(os.path.abspath(place)) for place in places)
        if not Path(os.path.realpath(place)).is_relative_to(home)
    )
    if not folders:
        return None
    named = ", ".join(str(folder) for folder in list(folders)[:_NAMED])
    more = f" and {len(folders) - _NAMED} more" if len(folders) > _NAMED else ""
    return Finding(
        "info", CODE, f"{file.name} leads to files outside its own folder: in {named}{more}."
    )
