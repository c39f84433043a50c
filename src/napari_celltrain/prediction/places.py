"""Refusing to put results where a person's own work would be lost."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.registry import read_experiments
from napari_celltrain.statistics.counts import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_NUMBERED = re.compile(r"(\d{1,9})\. ")
"""How the names begin that are given to the files of a list."""


def check_nothing_is_lost(
    out: Path, others: Mapping[str, Path], named: Sequence[Path], experiments: int | None
) -> None:
    """Refuse results in the place of annotation, before anything is computed.

    Parameters
    ----------
    out
        The file of the cells, or the folder of a list.
    others
        The files of further results, by the option that names them.
    named
        Files and folders of annotation that the prediction is asked about.
    experiments
        How many a list has; None when `out` is a file.

    Raises
    ------
    CellTrainError
        When a file that is named would be replaced, or one that holds tracks: a prediction has
        none.
    """
    kind = "file" if experiments is None else "folder"
    for path in _replaced(out, experiments):
        if _is_among(path, named):
            raise CellTrainError(
                f"{path} belongs to what is to be searched, and would be replaced by what is "
                f"found. Name another {kind} (--out)."
            )
        _check_tracks(path, kind)
    for option, path in others.items():
        if _is_among(path, named):
            raise CellTrainError(
                f"{path} belongs to what is to be searched, and would be replaced. Name another "
                f"file ({option})."
            )
        _check_tracks(path, "file")


def _replaced(out: Path, experiments: int | None) -> list[Path]:
    """Return the files that are there and in whose places results are put."""
    if experiments is None:
        # a list has a file of its name beside it
        beside = [out.with_suffix(".aut")] if out.suffix.lower() == ".autlist" else []
        return [path for path in (out, *beside) if path.exists()]
    name = out.resolve().name
    places = [out / f"{name}.autlist"]
    if experiments == 1:
        places.append(out / f"{name}.aut")
    else:
        for path in sorted((out / f"{name} files").glob("*.aut")):
            number = _NUMBERED.match(path.name)
            if number is not None and int(number[1]) <= experiments:
                places.append(path)
    return [path for path in places if path.exists()]


def _is_among(path: Path, named: Sequence[Path]) -> bool:
    """Tell whether a place is one of those, under whatever name."""
    for one in named:
        with contextlib.suppress(OSError):  # nothing is there
            if path.samefile(one):
                return True
    return False


def _check_tracks(path: Path, kind: str) -> None:
    if not path.exists():
        return
    try:
        there = read_experiments(path, find_images=False)
    except CellTrainError:  # nothing that anybody could lose here
        return
    tracks = sum(count(one, spacing=False).tracks for one in there)
    if tracks:
        raise CellTrainError(
            f"{path} holds {tracks} track{'' if tracks == 1 else 's'}, which a prediction would "
            f"replace. Name another {kind}, or remove it."
        )
