"""The lines of an unfinished prediction: which file has such lines, and what they say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import content_of
from napari_celltrain.prediction.predict import FrameResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LARGEST_FILE = 2**34
"""Hundreds of millions of cells."""
_BEGIN = b'{"celltrain_partial": '
"""Of every first line."""
_ODD = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What a line that this program did not write leads to."""


def lines_of(path: Path) -> list[bytes]:
    """Return the complete lines of an unfinished prediction; none where there is no file.

    Raises
    ------
    CellTrainError
        When it is a link, or a file that is something else: that is never emptied.
    OSError
        When it can't be read.
    """
    if path.is_symlink():
        raise CellTrainError(
            f"{path} is a link, and what it leads to would be overwritten. Move it away, or choose "
            "another file."
        )
    try:
        content = content_of(path, LARGEST_FILE)
    except FileNotFoundError:
        return []
    lines = content.split(b"\n")[:-1]  # what follows the last line end is a broken line
    if not (_is_header(lines[0]) if lines else _is_cut(content)):
        raise CellTrainError(
            f"{path} is no unfinished prediction. Move it away, or choose another file."
        )
    return lines


def _is_header(line: bytes) -> bool:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and "celltrain_partial" in found


def _is_cut(content: bytes) -> bool:
    """Tell whether a file can be what a kill left of the first line."""
    return _BEGIN.startswith(content[: len(_BEGIN)])


def results_of(
    lines: Sequence[bytes], shape: Sequence[int]
) -> Iterator[tuple[bytes, FrameResult, str | None]]:
    """Yield each line, what it holds and its stamp, up to the first that is not as it should be."""
    for line in lines:
        try:
            values = json.loads(line)
            result, stamp = _result_of(values, shape), values.get("stamp")
        except _ODD:
            return
        yield line, result, stamp


def _result_of(values: dict[str, Any], shape: Sequence[int]) -> FrameResult:
    """Return the result that a line holds, in an image of this (z, y, x) size.

    Raises
    ------
    ValueError or another of `_ODD`
        When it is not as such lines are written: its time point is done again then.
    """
    t, seconds, damage = values["t"], float(values["seconds"]), values.get("damage")
    if type(t) is not int or not 0 <= seconds < np.inf:
        raise ValueError("no time point")
    if damage is not None:
        return FrameResult(t, np.empty((0, 3)), np.empty(0), seconds, str(damage))
    positions = np.array(values["zyx"], np.float64).reshape(-1, 3)
    scores = np.array(values["score"], np.float64)
    inside = (positions >= -0.5) & (positions <= np.array(shape) - 0.5)
    if scores.shape != (len(positions),) or not inside.all():  # NaN is not inside
        raise ValueError("no positions in the image")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("no scores")
    neighbour = values.get("neighbour_damage")
    return FrameResult(
        t,
        positions,
        scores,
        seconds,
        neighbour_damage=None if neighbour is None else str(neighbour),
    )
