"""From what a file says to annotations that keep their promises, with a note of what was mended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

LAST_TIME_POINT = 10**15
"""A date and time as a number has 14 digits, and file names have up to 15; more is damage.

Nothing may reserve memory for each number up to a time point.
"""


def clean_annotations(
    t: ArrayLike,
    positions: ArrayLike,
    links: ArrayLike = (),
    *,
    status: ArrayLike | None = None,
    features: Mapping[str, NDArray[Any]] | None = None,
    link_features: Mapping[str, NDArray[Any]] | None = None,
    findings: list[Finding],
) -> Annotations:
    """Return annotations without impossible positions and links.

    Positions that are no numbers are left out; links are turned to run forward in time; links
    within one time point and repeated ones are left out. Each is added to `findings`.

    Parameters
    ----------
    t, positions, links, status, features, link_features
        As in `Annotations`; links may run either way.
    findings
        Where to write what was mended.

    Raises
    ------
    CellTrainError
        When a time point is no whole number, or a link names a position that does not exist.
    """
    times = whole_numbers(t, "time point")
    n = len(times)
    xyz = np.asarray(positions, np.float64).reshape(n, 3)
    pairs = np.asarray(links, np.int64).reshape(-1, 2)
    if len(pairs) and (pairs.min() < 0 or pairs.max() >= n):
        raise CellTrainError("A link names a position that is not in the file.")
    backward = times[pairs[:, 0]] > times[pairs[:, 1]]
    pairs = np.where(backward[:, None], pairs[:, ::-1], pairs)
    within = times[pairs[:, 0]] == times[pairs[:, 1]]
    first = np.zeros(len(pairs), bool)
    first[np.unique(pairs, axis=0, return_index=True)[1]] = True
    keep = first & ~within
    if within.any():
        where = int(times[pairs[within][0, 0]])
        _note(
            findings,
            "warning",
            "link-within-time-point",
            int(within.sum()),
            where,
            "{n} between two positions of the same time point {are} left out",
            "link",
            "links",
        )
    if (~first & ~within).any():
        _note(
            findings,
            "info",
            "repeated-link",
            int((~first & ~within).sum()),
            None,
            "{n} stated more than once {are} taken once",
            "link",
            "links",
        )
    annotations = Annotations(
        times,
        xyz,
        pairs[keep],
        None if status is None else np.asarray(status),
        dict(features or {}),
        {key: np.asarray(column)[keep] for key, column in (link_features or {}).items()},
    )
    # a coordinate beyond 1e9 pixels is damage, and squares of it overflow further on
    finite = np.asarray((np.abs(np.nan_to_num(xyz, nan=np.inf)) < 1e9).all(axis=1), bool)
    if not finite.all():
        where = int(times[np.flatnonzero(~finite)[0]])
        _note(
            findings,
            "warning",
            "no-number",
            int((~finite).sum()),
            where,
            "{n} without usable coordinates {are} left out",
            "position",
            "positions",
        )
        annotations = annotations.select(finite)
    return annotations


def whole_numbers(values: ArrayLike, what: str) -> NDArray[np.int64]:
    """Return whole numbers, shape (N,); `what` names them in the sentence when they are none.

    Raises
    ------
    CellTrainError
        When a value is no whole number, or beyond every movie.
    """
    try:
        numbers = np.asarray(values, np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise CellTrainError(f"A {what} is no number ({error}).") from error
    wrong = ~(np.abs(numbers) <= LAST_TIME_POINT) | (numbers != np.round(numbers))
    if wrong.any():
        index = int(np.flatnonzero(wrong)[0])
        raise CellTrainError(f"The {what} {numbers[index]!s} is no usable whole number.")
    return numbers.astype(np.int64)


def column(values: list[Any]) -> NDArray[Any]:
    """Turn values of any kind, None for missing, into one feature column.

    Numbers become float64 with NaN for missing; texts keep being texts with "" for missing; truth
    values stay so when none is missing. Whatever else is kept as Python objects.
    """
    present = [value for value in values if value is not None]
    if present and len(present) == len(values) and all(isinstance(one, bool) for one in present):
        return np.array(values, bool)
    if all(isinstance(one, (int, float)) and not isinstance(one, bool) for one in present):
        try:
            return np.array([np.nan if one is None else one for one in values], np.float64)
        except OverflowError:
            pass
    if all(isinstance(one, str) for one in present):
        return np.array(["" if one is None else one for one in values], object)
    objects = np.empty(len(values), object)
    objects[:] = values
    return objects


def plain(value: Any) -> Any:
    """Turn an entry of a feature column back into a plain value; None when it is missing."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return None if isinstance(value, str) and value == "" else value


def _note(
    findings: list[Finding],
    severity: Any,
    code: str,
    n: int,
    time_point: int | None,
    sentence: str,
    singular: str,
    plural: str,
) -> None:
    start = f"1 {singular}" if n == 1 else f"{n} {plural}"
    text = sentence.format(n=start, are="is" if n == 1 else "are")
    place = "" if time_point is None else f" (first at time point {time_point})"
    findings.append(Finding(severity, code, f"{text}{place}.", time_point=time_point))
