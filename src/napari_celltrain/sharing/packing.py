"""Packing a detector into one ``.celltrain`` file, and unpacking it."""

from __future__ import annotations

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
from napari_celltrain.files import replacing, temporary_folder
from napari_celltrain.sharing.card import About, model_card
from napari_celltrain.sharing.pictures import read_png
from napari_celltrain.sharing.screenshot import Screenshot


def check_name(file: Path) -> None:
    """Refuse a name that is none of a packed detector.

    Raises
    ------
    CellTrainError
        Saying how it has to end.
    """
    if file.suffix.lower() != SUFFIX:
        raise CellTrainError(f"{file.name}: a packed detector's name ends in {SUFFIX}.")


def pack_detector(
    folder: str | Path,
    file: str | Path,
    about: About | None = None,
    *,
    screenshot: Screenshot | str | Path | None = None,
) -> Path:
    """Write a detector, its model card and perhaps a picture into one file.

    Parameters
    ----------
    folder
        A detector or run folder, or another ``.celltrain`` file. It is checked first.
    file
        Its name ends in ``.celltrain``. A file there is replaced.
    about
        For the model card. None: nothing is said; a ``.celltrain`` file keeps its card.
    screenshot
        A PNG file, or what `held_out_screenshot` returned. None: none; a ``.celltrain`` file keeps
        its own.

    Raises
    ------
    CellTrainError
        When there is no sound detector, or the file can't be written.
    """
    from napari_celltrain.detector.detector import Detector

    file = Path(file)
    check_name(file)
    picture, caption = _picture(Path(folder), screenshot)
    detector = Detector.from_folder(folder, device="cpu")
    if about is None and screenshot is None:
        card = card_of(folder)
    else:
        card = model_card(
            detector.info,
            about or About(),
            screenshot=SCREENSHOT if picture is not None else "",
            caption=caption,
        )
    with temporary_folder() as place:
        # a training may be replacing the one in the folder: what was loaded belongs together
        detector.save(place)
        members = {one.name: one.read_bytes() for one in sorted(place.iterdir())}
    members[CARD] = card.encode("utf-8")
    if picture is not None:
        members[SCREENSHOT] = picture
    with replacing(file) as temporary:
        write_package(temporary, members)
    return file


def _picture(source: Path, screenshot: Screenshot | str | Path | None) -> tuple[bytes | None, str]:
    """Return a picture for the card, or None, and what is to be seen in it."""
    if isinstance(screenshot, Screenshot):
        return screenshot.content, screenshot.caption
    if screenshot is not None:
        return read_png(Path(screenshot), MOST_BYTES[SCREENSHOT]), ""
    if is_package(source) and SCREENSHOT in member_names(source):
        return read_member(source, SCREENSHOT), ""
    return None, ""


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
