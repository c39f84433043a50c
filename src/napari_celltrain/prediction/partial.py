"""What was found so far, on the disk: so that a prediction that was killed goes on.

One JSON object a line: first what was asked for, then one for each time point, also when no cell
was found. A line is handed to the system as a whole, so a kill can break only the last one; that
time point is then done again. Numbers are written with all their digits, so that a prediction in
two sittings ends in the same file as one in a single sitting.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.detector.window import window_time_points
from napari_celltrain.errors import CellTrainError, counted
from napari_celltrain.files import LONGEST_TOLD, cannot_be_written
from napari_celltrain.prediction.partial_lines import lines_of, results_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from typing import Self

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import FrameSource
    from napari_celltrain.prediction.predict import FrameResult, Request
    from napari_celltrain.prediction.reserved import Reserved

VERSION = 1
SUFFIX = ".partial"
SECONDS_BETWEEN_QUESTIONS = 0.2
SECONDS_BETWEEN_FLUSHES = 2.0
"""A kill loses nothing in between; a power cut loses at most this."""
_HOW_OPENED = (
    os.O_RDWR
    | os.O_CREAT
    | getattr(os, "O_BINARY", 0)  # Windows
    | getattr(os, "O_NOFOLLOW", 0)  # a link may have been put there a moment ago
)


def header_for(
    detector: Detector, source: FrameSource, request: Request, stated: Collection[str] = ()
) -> dict[str, Any]:
    """Return everything that the result depends on, besides the pixels.

    Parameters
    ----------
    detector, source, request
        What finds cells, where, and how.
    stated
        Of ``cell_diameter`` and ``gamma`` what a person stated; the others were measured.
    """
    return {
        "celltrain_partial": VERSION,
        "detector": weights_digest(detector),
        "movie": source.name,
        "place": _place_of(source),
        "shape": list(source.frame_shape),
        "channels": list(request.channels),
        "voxel_size": [float(size) for size in request.voxel_size],
        "cell_diameter": request.cell_diameter,
        "gamma": float(request.known_gamma),
        "floor": float(request.floor),
        "stated": sorted(stated),
    }


def _place_of(source: FrameSource) -> str | None:
    """Return where a movie lies: two of one name and size are not told apart by their pixels."""
    location = getattr(source, "location", None)
    return None if location is None else str(Path(location).absolute())


def measured_before(path: Path, detector: Detector) -> tuple[float | None, float | None]:
    """Return the cell diameter and the gamma of an unfinished prediction with this detector.

    What was measured once holds for all of a movie; what was stated then has to be stated again,
    and is None here as well. None, None where there is no such prediction.
    """
    try:
        if not path.is_file():  # a pipe would never end
            return None, None
        with open(path, "rb") as file:
            found = json.loads(file.readline(2**16))
        if found["detector"] != weights_digest(detector):
            return None, None
        # who wrote it may be an earlier version, which did not keep what was stated
        diameter, gamma = (
            None if key in found.get("stated", ()) else _measure(found.get(key))
            for key in ("cell_diameter", "gamma")
        )
        return diameter, gamma
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None, None  # what is wrong with it is told when it is opened


def _measure(value: object) -> float | None:
    """Return what can have been measured; None for anything else."""
    return float(value) if isinstance(value, int | float) and 0 < value < np.inf else None


def weights_digest(detector: Detector) -> str:
    """Return a checksum of what a detector computes: its weights and its design."""
    digest = hashlib.sha256(detector.design.model_dump_json().encode())
    for key in sorted(detector.weights):
        digest.update(key.encode())
        digest.update(detector.weights[key].cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def frame_stamps(
    source: FrameSource,
    times: Sequence[int],
    channels: tuple[int, ...],
    window: tuple[int, int],
    stopping: Callable[[], bool] = lambda: False,
) -> dict[int, str | None]:
    """Return for each time point a text that changes when an image file behind its result does.

    None where nobody can tell. When it is stopped, the rest is left out.
    """
    stamp = getattr(source, "stamp", None)
    if stamp is None:
        return dict.fromkeys(times)

    @cache  # neighbours share the frames of a time window
    def of_time(u: int) -> str | None:
        stamps = [stamp(u, channel) for channel in channels]
        return None if None in stamps else "|".join(map(str, stamps))

    found: dict[int, str | None] = {}
    asked = time.monotonic()
    for t in times:
        if time.monotonic() - asked > SECONDS_BETWEEN_QUESTIONS:
            asked = time.monotonic()
            if stopping():
                break
        stamps = [of_time(u) for u in window_time_points(source.time_points, t, window)]
        if None in stamps:
            found[t] = None
            continue
        # names of files may be of any bytes
        known = "|".join(map(str, stamps)).encode("utf-8", "surrogatepass")
        found[t] = hashlib.sha256(known).hexdigest()[:16]
    return found


class PartialResults:
    """The file of the results so far.

    Parameters
    ----------
    place
        Where it is; let go of when this is closed.
    header
        What was asked for (`header_for`).
    resume
        Go on with what is there, and refuse what belongs to another request. False: the same is
        gone on with as well, since it comes to the same, and of another nothing may be lost.

    Raises
    ------
    CellTrainError
        When it belongs to another request, would be lost, or can't be written.
    """

    def __init__(self, place: Reserved, header: dict[str, Any], *, resume: bool) -> None:
        self._place = place
        self.path = path = place.path
        self._results: dict[int, tuple[FrameResult, str | None]] = {}
        self._last_flush = time.monotonic()
        try:
            lines = lines_of(path)
            if not resume and _differs(lines, header):
                _check_nothing_lost(path, lines)
                lines = []
            length = self._take(lines, header)
            self._file = os.open(path, _HOW_OPENED, 0o666)
            try:
                os.ftruncate(self._file, length)
                os.lseek(self._file, 0, os.SEEK_END)
                if not length:
                    self._append(header)
                    os.fsync(self._file)
            except BaseException:
                self._close_file()
                raise
        except OSError as error:
            place.close()
            raise CellTrainError(cannot_be_written(path, error)) from None
        except BaseException:
            place.close()
            raise

    def __len__(self) -> int:
        """Return how many time points are known."""
        return len(self._results)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def result(self, t: int, stamp: str | None = None) -> FrameResult | None:
        """Return what was found at a time point; None when that is not known, or out of date.

        A time point that was damaged, or had to do without a damaged neighbour, is not known: that
        may have been mended.
        """
        result, own_stamp = self._results.get(t, (None, None))
        if result is None or result.damage is not None or result.neighbour_damage is not None:
            return None
        if stamp is not None and own_stamp != stamp:
            return None
        return result

    def add(self, result: FrameResult, stamp: str | None = None) -> None:
        """Keep what was found at a time point.

        Raises
        ------
        CellTrainError
            When the disk is full, for example; everything before is safe.
        """
        line: dict[str, Any] = {"t": result.t, "seconds": round(result.seconds, 4)}
        if stamp is not None:
            line["stamp"] = stamp
        if result.damage is not None:
            line["damage"] = result.damage
        else:
            line["zyx"] = result.positions.tolist()
            line["score"] = result.scores.tolist()
            if result.neighbour_damage is not None:
                line["neighbour_damage"] = result.neighbour_damage
        try:
            self._append(line)
            if time.monotonic() - self._last_flush > SECONDS_BETWEEN_FLUSHES:
                os.fsync(self._file)
                self._last_flush = time.monotonic()
        except OSError as error:
            raise CellTrainError(
                cannot_be_written(self.path, error)
                + " The time points before are safe: go on with --resume."
            ) from None
        self._results[result.t] = result, stamp

    def close(self) -> None:
        """Let go of the file; it stays, to go on with."""
        if self._file >= 0:
            with contextlib.suppress(OSError):
                os.fsync(self._file)
            self._close_file()
        self._place.close()

    def remove(self, written: Collection[int]) -> bool:
        """Remove the file, when everything in it is in its final place; tell whether it was.

        Where it holds time points that are not among those written, it stays.
        """
        if not set(written).issuperset(self._results):
            self.close()
            return False
        self._close_file()
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.close()
        return True

    def _close_file(self) -> None:
        handle, self._file = self._file, -1
        with contextlib.suppress(OSError):  # it is closed then too; what is missing is done again
            os.close(handle)

    def _append(self, line: dict[str, Any]) -> None:
        content = memoryview((json.dumps(line, allow_nan=False) + "\n").encode())
        while content:
            content = content[os.write(self._file, content) :]

    def _take(self, lines: Sequence[bytes], header: dict[str, Any]) -> int:
        """Take over what is there; return the length of its unbroken part."""
        if not lines:
            return 0
        other = _differs(lines, header)
        if other:
            raise CellTrainError(
                f"{self.path} belongs to {other}, so this prediction can't go on from it. Ask for "
                "the same again, or remove that file to start anew."
            )
        length = len(lines[0]) + 1
        for line, result, stamp in results_of(lines[1:], header["shape"]):
            self._results[result.t] = result, stamp
            length += len(line) + 1
        return length


def check_nothing_lost(path: Path, header: dict[str, Any]) -> None:
    """Refuse to begin where another prediction is unfinished that has got somewhere.

    Parameters
    ----------
    path
        Of the file of results so far, which may not be there.
    header
        What is asked for, as far as it is known.

    Raises
    ------
    CellTrainError
        Saying how to go on with it, and how not to; and as `PartialResults`.
    """
    try:
        lines = lines_of(path)
    except OSError as error:
        raise CellTrainError(cannot_be_written(path, error)) from None
    if _differs(lines, header):
        _check_nothing_lost(path, lines)


def _differs(lines: Sequence[bytes], header: dict[str, Any]) -> str:
    """Say what else the lines of a file belong to than what is asked for; nothing for the same."""
    found = json.loads(lines[0]) if lines else header
    for key, wanted in header.items():
        if key == "place" and key not in found:
            continue  # written before it was kept
        if key == "stated":
            continue  # the values themselves are compared
        if found.get(key) != wanted:
            return _other(key, found.get(key), wanted)
    return ""


def _check_nothing_lost(path: Path, lines: Sequence[bytes]) -> None:
    header = json.loads(lines[0])
    done = {one.t for _, one, _ in results_of(lines[1:], header.get("shape")) if one.damage is None}
    if done:
        raise CellTrainError(
            f"{path} holds {counted(len(done), 'time point')} of another prediction that was not "
            "finished: with another detector, movie or options. Ask for that again to go on with "
            "it (--resume says what is different), or remove that file to start anew."
        )


def _other(key: str, found: object, wanted: object) -> str:
    if key == "detector":
        return "another detector (or this one before it was trained further)"
    if key == "movie":
        return f"the movie '{_told(found)}' and not to '{wanted}'"
    if key == "place":
        return f"the movie in {_told(found)} and not to that in {wanted}"
    names = {
        "shape": "frame size",
        "voxel_size": "voxel size",
        "cell_diameter": "cell diameter",
        "celltrain_partial": "version",
    }
    found, wanted = _told(found), _told(wanted)
    return f"a prediction with the {names.get(key, key)} {found} instead of {wanted}"


def _told(value: object) -> str:
    """Return a value for a sentence; it may come from a stranger's file."""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = "none" if value is None else " ".join(str(value).split())
    return text if len(text) < LONGEST_TOLD else f"{text[:LONGEST_TOLD]}..."
