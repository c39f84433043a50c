"""Places that are no tracking data: what they are instead, and what a person can do."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.documents import beginning
from napari_celltrain.formats.pickles import PickledTracks

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from napari_celltrain.formats.registry import TrackingFormat

LOOKED_AT = 200
NAMED = 3
"""Files of a folder that is no tracking data itself: so many are looked at, and so many named."""
_IMAGES = (".tif", ".tiff", ".czi", ".nd2", ".lif", ".lsm")
_PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")
"""Images that can't be opened as a movie either."""
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods")
_NOT_TO_READ = ("Pickled tracks", "GEFF for Mastodon", "napari points CSV", "Mastodon CSV")
_BEGINNINGS = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image", ()),
    (b"\xff\xd8\xff", "a JPEG image", ()),
    (b"GIF8", "a GIF image", ()),
    (b"II*\0", "a TIFF image", ()),
    (b"MM\0*", "a TIFF image", ()),
    (b"%PDF-", "a PDF document", ()),
    (b"\xd0\xcf\x11\xe0", "an Excel or Word document", ()),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", (".ims", ".h5", ".hdf5", ".hdf")),
    (b"PK\x03\x04", "a zip archive", (".zip", ".mastodon")),
    (b"\x1f\x8b", "a gzip archive", (".trk", ".trks")),
    (b"<?xml", "an XML file", (".xml", ".mamut")),
)
"""How files of other kinds begin, what they are, and the suffixes with which they are expected."""


def refuse_strangers(
    path: Path, suffixes: Collection[str], is_tracking_data: Callable[[Path], bool]
) -> None:
    """Refuse what is certainly something else.

    Parameters
    ----------
    path
        A file or folder that no format recognises.
    suffixes
        Those of tracking data.
    is_tracking_data
        Tells it of what lies in a folder.

    Raises
    ------
    CellTrainError
        Saying what it is, and what to do.
    """
    if path.is_dir():
        _refuse_folder(path, is_tracking_data)
        return
    if not path.is_file():
        return
    suffix = path.suffix.lower()
    if suffix in PickledTracks.suffixes:
        return  # whatever is in them
    if not path.stat().st_size:
        raise CellTrainError(
            f"{path} is empty (0 bytes): it was not written or not copied to its end. Export or "
            "copy it again."
        )
    if suffix in _SHEETS:
        raise CellTrainError(
            f"{path} is a spreadsheet. Save the sheet with the positions as CSV, and open that."
        )
    if suffix in _PICTURES:
        raise CellTrainError(f"{path} is an image without tracking data. {_picture_advice(suffix)}")
    if suffix in _IMAGES:
        raise CellTrainError(
            f"{path} is an image without tracking data. Open the file with the tracks, and name "
            "this file as its images."
        )
    start = beginning(path, 16)
    for magic, what, usual in _BEGINNINGS:
        if start.startswith(magic) and suffix in suffixes and suffix not in usual:
            raise CellTrainError(
                f"{path} is {what} by its content, and no tracking data as {suffix!r} says. Give "
                "it its right name, or open the file that was meant."
            )
    if suffix == ".toml":
        raise CellTrainError(
            f"{path} is no tracking data. If it is a data set, open one of the annotation files "
            "that it names."
        )


def _refuse_folder(path: Path, is_tracking_data: Callable[[Path], bool]) -> None:
    within = _tracking_files_in(path, is_tracking_data)
    if within:
        raise CellTrainError(
            f"{path} is a folder, and no tracking data by itself. Open what is in it: "
            f"{' or '.join(within)}."
        )
    suffixes: set[str] = set()
    for inside in path.iterdir():
        suffixes.add(inside.suffix.lower())
        if suffixes & {".tif", ".tiff"}:
            raise CellTrainError(
                f"{path} is a folder of images without tracking data. Open the file with the "
                "tracks, and name this folder as its images."
            )
    if not suffixes:
        raise CellTrainError(f"The folder {path} is empty.")
    pictures = sorted(suffixes & set(_PICTURES))
    if pictures:
        raise CellTrainError(
            f"{path} is a folder of images without tracking data. {_picture_advice(pictures[0])}"
        )


def _picture_advice(suffix: str) -> str:
    return (
        "Open the file with the tracks. As the images of tracks, those with the suffix "
        f"{suffix!r} can't be opened either: save them as TIFF."
    )


def _tracking_files_in(folder: Path, is_tracking_data: Callable[[Path], bool]) -> list[str]:
    """Return the names of the first tracking files and folders in a folder."""
    looked_at = itertools.islice(folder.iterdir(), LOOKED_AT)
    found = (
        path.name
        for path in sorted(looked_at)
        if not path.name.startswith(".") and is_tracking_data(path)
    )
    return list(itertools.islice(found, NAMED))


def nothing_known(path: Path, formats: Sequence[TrackingFormat]) -> str:
    """Return the sentence about a place of which nothing is known, with what could be opened."""
    names = ", ".join(
        name for name in dict.fromkeys(one.name for one in formats) if name not in _NOT_TO_READ
    )
    return f"{path} is no tracking data of a kind known here ({names})."
