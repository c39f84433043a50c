"""AceTree and StarryNite: a zip of one text file for each time point, with an XML beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import ZYX, Experiment, Finding
from napari_celltrain.formats.archives import open_zip, read_member
from napari_celltrain.formats.attaching import local_path, stated_images
from napari_celltrain.formats.cleaning import clean_annotations
from napari_celltrain.formats.documents import beginning, number_or_none, sentences
from napari_celltrain.formats.options import ReadOptions
from napari_celltrain.formats.xml_reading import read_tree, root_name

if TYPE_CHECKING:
    import zipfile
    from pathlib import Path

    from napari_celltrain.experiment import FrameSource

_MEMBER = re.compile(r"(?:.*/)?t(\d{1,9})-nuclei$")
_NONE = (-1, 0)
_NOBODY = ("nill", "")


class AceTreeFormat:
    """Reads the zip, or the XML that names it."""

    name = "AceTree"
    suffixes = (".zip", ".xml")

    def recognises(self, path: Path) -> bool:
        """See `TrackingFormat.recognises`."""
        suffix = path.suffix.lower()
        if suffix == ".xml":
            return root_name(path) == "embryo"
        if suffix != ".zip" or not beginning(path, 4).startswith(b"PK"):
            return False
        try:
            with open_zip(path) as archive:
                return any(_MEMBER.match(name) for name in archive.namelist())
        except Exception:  # whatever it is, it is not ours
            return False

    def read(self, path: Path, **options: Any) -> list[Experiment]:
        """See `TrackingFormat.read`."""
        chosen = ReadOptions(**options)
        findings: list[Finding] = []
        voxel_size: ZYX | None = None
        archive_path = path
        if path.suffix.lower() == ".xml":
            with sentences(path, "an AceTree description"):
                archive_path, voxel_size = _description(path)
                if not archive_path.is_file():
                    raise CellTrainError(f"{path} names {archive_path}, which is not there.")
        else:
            voxel_size = _description_beside(path)
        with sentences(archive_path, "an AceTree archive"), open_zip(archive_path) as archive:
            experiment = _experiment(archive, archive_path, chosen, voxel_size, findings)
        return [experiment.with_(source=path, findings=tuple(findings))]


def _description(path: Path) -> tuple[Path, ZYX | None]:
    """Return the archive that the XML names, and the voxel size that it states."""
    with open(path, "rb") as handle:
        root = read_tree(handle)
    nuclei, resolution = root.find("nuclei"), root.find("resolution")
    if nuclei is None or not nuclei.get("file"):
        raise CellTrainError(f"{path} names no nuclei file.")
    voxel_size: ZYX | None = None
    if resolution is not None:
        xy = number_or_none(resolution.get("xyRes"))
        z = number_or_none(resolution.get("zRes"))
        voxel_size = (z, xy, xy) if z and xy else None
    return local_path(str(nuclei.get("file")), path.parent), voxel_size


def _description_beside(archive: Path) -> ZYX | None:
    """Return the voxel size from an XML of the same name, if there is one."""
    beside = archive.with_suffix(".xml")
    if root_name(beside) != "embryo":
        return None
    try:
        with sentences(beside, "an AceTree description"):
            return _description(beside)[1]
    except CellTrainError:  # the archive can be read without it
        return None


def _experiment(
    archive: zipfile.ZipFile,
    path: Path,
    options: ReadOptions,
    voxel_size: ZYX | None,
    findings: list[Finding],
) -> Experiment:
    members = {int(match[1]): name for name in archive.namelist() if (match := _MEMBER.match(name))}
    if not members:
        held = ", ".join(archive.namelist()[:3]) or "nothing"
        raise CellTrainError(
            f"{path} is no archive of AceTree: it has no files such as nuclei/t001-nuclei, but "
            f"{held}. Unpack it, and open the file with the tracks in it."
        )
    images = stated_images(options)
    first = _first_number(images, members)
    t: list[int] = []
    positions: list[tuple[float, float, float]] = []
    sizes: list[float] = []
    names: list[str] = []
    links: list[tuple[int, int]] = []
    rows_before: dict[int, int] = {}
    rows_at = -1
    for number, member in sorted(members.items()):
        rows: dict[int, int] = {}
        lines = read_member(archive, member).decode("latin-1").split("\n")
        for line_number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            place = f"{member}, line {line_number}"
            index, status, mother, x, y, z, size, name = _row(line, place)
            if status <= 0:  # deleted by the person or the program
                continue
            rows[index] = len(t)
            if mother not in _NONE and rows_at == number - 1 and mother in rows_before:
                links.append((rows_before[mother], len(t)))
            t.append(number - first)
            positions.append((z - options.first_plane, y, x))
            sizes.append(size)
            names.append(name)
        rows_before, rows_at = rows, number
    findings.append(
        Finding(
            "info",
            "whole-pixels",
            "AceTree stores whole pixels in x and y; positions are up to half a pixel off.",
        )
    )
    radius = np.array(sizes) / 2
    features: dict[str, Any] = {"label": np.array(names, object)}
    if voxel_size is None:
        features["radius_px"] = radius
    else:
        features["radius_um"] = radius * voxel_size[2]
    annotations = clean_annotations(
        t,
        positions or np.empty((0, 3)),
        np.array(links, np.int64).reshape(-1, 2),
        features=features,
        findings=findings,
    )
    return Experiment(
        path.stem, annotations, images, voxel_size_um=options.voxel_size_um or voxel_size
    )


def _first_number(images: FrameSource | None, members: dict[int, str]) -> int:
    """Return the number in a file name that is time point 0; images may count from 1 themselves."""
    if images is not None and 0 not in images.time_points and min(members) in images.time_points:
        return 0
    return 1


def _row(line: str, place: str) -> tuple[int, int, int, float, float, float, float, str]:
    """Return index, status, mother, x, y, z, size and name of a line, in either order of columns.

    In the old order the name is where the new one has the second successor, a number, and 0 is
    the status of a nucleus too.
    """
    cells = [cell.strip() for cell in line.split(",")]
    try:
        if "," not in line:  # the old order was written with blanks too
            cells = line.split()
        if _is_number(cells[4]):
            index, status, mother = cells[0], int(cells[1]), cells[2]
            places, name = cells[5:9], cells[9] if len(cells) > 9 else ""
        else:
            index, status, mother = cells[0], int(cells[7]) + 1, cells[12]
            places, name = [*cells[1:4], cells[5]], cells[4]
        x, y, z, size = map(float, places)
        before = -1 if mother in _NOBODY else int(mother)
        return int(index), status, before, x, y, z, size, name
    except (ValueError, IndexError) as error:
        raise CellTrainError(
            f"{place}: not as AceTree writes it (index, status, predecessor, two successors, x, "
            "y, z, size, name, ...)."
        ) from error


def _is_number(cell: str) -> bool:
    """Tell whether a cell names another row, or says that there is none."""
    return cell in _NOBODY or cell.lstrip("-").isdigit()
