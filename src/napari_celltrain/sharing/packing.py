"""Packing a detector into one ``.celltrain`` file, and unpacking it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from napari_celltrain.detector.package import (
    CARD,
    MOST_BYTES,
    SCREENSHOT,
    SUFFIX,
    is_package,
    member_names,
    read_member,
    write_package,
)
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import replacing
from napari_celltrain.sharing.card import About, model_card
from napari_celltrain.sharing.pictures import read_png


def pack_detector(
    folder: str | Path,
    file: str | Path,
    about: About | None = None,
    *,
    screenshot: str | Path | None = None,
) -> Path:
    """Write a detector, its model card and perhaps a picture into one file.

    Parameters
    ----------
    folder
        A detector or run folder, or another ``.celltrain`` file. It is checked first.
    file
        Its name ends in ``.celltrain``. A file there is replaced.
    about
        For the model card.
    screenshot
        A PNG file.

    Raises
    ------
    CellTrainError
        When there is no sound detector, or the file can't be written.
    """
    from napari_celltrain.detector.detector import Detector

    file = Path(file)
    if file.suffix.lower() != SUFFIX:
        raise CellTrainError(f"{file.name}: a packed detector's name ends in {SUFFIX}.")
    picture = None if screenshot is None else read_png(Path(screenshot), MOST_BYTES[SCREENSHOT])
    detector = Detector.from_folder(folder, device="cpu")
    card = model_card(
        detector.info, about or About(), screenshot=SCREENSHOT if picture is not None else ""
    )
    with tempfile.TemporaryDirectory(prefix="celltrain-") as place:
        # a training may be replacing the one in the folder: what was loaded belongs together
        detector.save(place)
        members = {one.name: one.read_bytes() for one in sorted(Path(place).iterdir())}
    members[CARD] = card.encode("utf-8")
    if picture is not None:
        members[SCREENSHOT] = picture
    with replacing(file) as temporary:
        write_package(temporary, members)
    return file


def unpack_detector(file: str | Path, folder: str | Path) -> Path:
    """Write a packed detector as a folder, after checking all of it.

    Parameters
    ----------
    file
        A ``.celltrain`` file.
    folder
        New or empty.

    Raises
    ------
    CellTrainError
        When it is no sound packed detector, or the folder is in use.
    """
    from napari_celltrain.detector.detector import Detector

    file, folder = Path(file), Path(folder)
    if not is_package(file):
        raise CellTrainError(f"{file} is no packed detector: there is no such {SUFFIX} file.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CellTrainError(f"{folder} exists and is not an empty folder; choose another place.")
    detector = Detector.from_folder(file, device="cpu")
    extras = {
        name: read_member(file, name) for name in member_names(file) if name in (CARD, SCREENSHOT)
    }
    with replacing(folder) as temporary:
        temporary.mkdir()
        detector.save(temporary)
        for name, content in extras.items():
            (temporary / name).write_bytes(content)
    return folder


def card_of(place: str | Path) -> str:
    """Return the model card of a ``.celltrain`` file, or one made from a detector or run folder.

    Raises
    ------
    CellTrainError
        When there is no detector, or it is damaged.
    """
    from napari_celltrain.detector.folder import find_detector, read_info

    found = find_detector(Path(place))
    if is_package(found) and CARD in member_names(found):
        return read_member(found, CARD).decode("utf-8", errors="replace")
    return model_card(read_info(found), About())
