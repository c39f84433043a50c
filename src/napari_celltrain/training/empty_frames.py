"""Frames that show nothing, and places without a pixel: nothing can be learnt there.

An annotated frame that a camera or a copy left empty would teach that cells look like nothing, and
so would cells that lie where pixels have no value (NaN or infinite). Empty frames are left out,
such cells count neither as cells nor as background, and both are told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError, counted
from napari_celltrain.experiment import Finding, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment

PREPARED_ROUNDING = 0.01
"""Prepared frames are 0 to 1 from dark to bright; of an equal frame resampling leaves 1e-4."""
MOST_NAMED = 8
"""Time points that a sentence lists."""


def beside(prepared: Path) -> Path:
    """Return where it is kept how much of each voxel of a prepared frame has no value.

    There is such a file, float16 (z, y, x), only where some has none.
    """
    return prepared.with_name(f"{prepared.stem}.missing.npy")


def shows_nothing(frame: NDArray[Any], rounding: float = 0.0) -> bool:
    """Tell whether all pixels of a (z, y, x) frame that have a value have the same.

    Of most frames a single plane is looked at. Values that differ by `rounding` are the same.
    """
    low = high = None
    for plane in frame:
        values = plane[np.isfinite(plane)] if plane.dtype.kind == "f" else plane
        if values.size:
            low = values.min() if low is None else min(low, values.min())
            high = values.max() if high is None else max(high, values.max())
            if float(high) - float(low) > rounding:
                return False
    return True


def share_missing(files: Sequence[Path]) -> NDArray[np.float16] | None:
    """Return how much of each voxel has a value in none of the prepared channels, (z, y, x).

    None where all have one.
    """
    notes = [beside(path) for path in files]
    if not all(note.is_file() for note in notes):
        return None
    return np.asarray(np.min([np.load(note) for note in notes], axis=0))


def unknown_where_missing(
    status: NDArray[np.int8], places: NDArray[np.float64], missing: NDArray[np.float16]
) -> NDArray[np.int8]:
    """Return the status of marks, unknown for those that lie where pixels have no value.

    Parameters
    ----------
    status
        (n,), what the marks say.
    places
        (n, 3), (z, y, x) in voxels of the prepared frame.
    missing
        (z, y, x), as `share_missing` returns it.
    """
    index = np.clip(np.rint(places), 0, np.array(missing.shape) - 1).astype(np.int64)
    hidden = missing[tuple(index.T)] > 0.5
    return np.where(hidden, np.int8(Status.UNKNOWN), status)


@dataclass
class EmptyFrames:
    """What was noticed of the frames of a data set.

    Parameters
    ----------
    empty
        By the index of an experiment, the time points that show nothing.
    missing
        The same, the share of pixels without a value of the time points that have such.
    """

    empty: dict[int, list[int]] = field(default_factory=dict)
    missing: dict[int, dict[int, float]] = field(default_factory=dict)

    def check_something_left(self, number: int) -> None:
        """Refuse to learn from nothing.

        Parameters
        ----------
        number
            Of the frames that are to be learnt from.

        Raises
        ------
        CellTrainError
            When all of them are empty.
        """
        if number and sum(map(len, self.empty.values())) == number:
            frames = "the only frame" if number == 1 else f"all {number} frames"
            raise CellTrainError(
                f"There is nothing to learn from: {frames} to learn from show"
                f"{'s' if number == 1 else ''} nothing, every pixel has one value or none. Are "
                "these the right images and the right channel?"
            )

    def findings(self, experiments: Sequence[Experiment]) -> Iterator[Finding]:
        """Yield what to tell, a sentence for each experiment and kind."""
        for member, times in self.empty.items():
            verb = "shows" if len(times) == 1 else "show"
            yield Finding(
                "warning",
                "empty-frames",
                f"{named(times)} {verb} nothing: every pixel has "
                "one value or none. Nothing is learnt from "
                f"{'it' if len(times) == 1 else 'them'}.",
                experiments[member].name,
                times[0],
            )
        for member, shares in self.missing.items():
            times, most = list(shares), max(shares.values())
            yield Finding(
                "warning",
                "not-finite-pixels",
                f"{named(times)}: "
                f"{'' if len(times) == 1 else 'up to '}{max(most, 0.0001):.2%} of the pixels are "
                "no finite numbers; they are taken for background, and cells marked there are not "
                "learnt.",
                experiments[member].name,
                times[0],
            )


def named(times: Sequence[int]) -> str:
    """Return "Time point 3", "Time points 3 and 4", "Time points 3, 4 and 17 others"."""
    if len(times) == 1:
        return f"Time point {times[0]}"
    first, rest = list(map(str, times[:MOST_NAMED])), len(times) - MOST_NAMED
    last = counted(rest, "other") if rest > 0 else first.pop()
    return f"Time points {', '.join(first)} and {last}"
