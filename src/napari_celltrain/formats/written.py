"""What every writer needs to know of an experiment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, Experiment, FrameSource

USUAL_RADIUS_PX = 5.0
"""The radius of cells of which nobody knows one, for formats that must have one."""

OPEN_END = 10**15
"""Stands for an open end of a range of time points where nobody knows the movie."""
_OPEN_ENDS = (10**9, OPEN_END)
"""The first stood for it before frames could have dates as their numbers."""

_LONGEST_NAME = 120
"""Bytes; file systems have room for 255, encrypted ones for 143, with what is added."""


def short_name(name: str) -> str:
    """Return the beginning of a name that is short enough for a file's; blanks at its ends go."""
    # a letter has up to four bytes, and file systems count these
    return name.encode("utf-8")[:_LONGEST_NAME].decode("utf-8", errors="ignore").strip()


def cells_of(experiment: Experiment) -> Annotations:
    """Return the positions that are cells; other programs know no others."""
    return experiment.annotations.select(experiment.annotations.is_cell)


def radius_px(experiment: Experiment, annotations: Annotations) -> NDArray[np.float64] | None:
    """Return each position's radius in pixels along x, NaN for unknown; None if none is known."""
    stated = annotations.features.get("radius_px")
    if stated is not None and stated.dtype.kind in "iuf":
        return np.asarray(stated, np.float64)
    stated, voxel = annotations.features.get("radius_um"), experiment.known_voxel_size_um
    if stated is None or voxel is None or stated.dtype.kind not in "iuf":
        return None
    return np.asarray(stated, np.float64) / voxel[2]


def drawn_radius_px(experiment: Experiment, annotations: Annotations) -> NDArray[np.float64]:
    """Return each position's radius in pixels along x, the usual one where it is unknown."""
    radius = radius_px(experiment, annotations)
    if radius is None:
        return np.full(len(annotations), USUAL_RADIUS_PX)
    return np.where(np.isfinite(radius), radius, USUAL_RADIUS_PX)


def location_of(source: FrameSource | None) -> Path | None:
    """Return the file or folder that a movie is read from; None for one in memory."""
    location = getattr(source, "location", None)
    return None if location is None else Path(location)


def refuse_other_folders(path: Path, own: str) -> None:
    """Make sure that replacing a folder as a whole takes nothing else with it.

    Parameters
    ----------
    path
        What would be replaced; nothing has to be there.
    own
        Regular expression of the names that the format itself puts into its folder.

    Raises
    ------
    CellTrainError
        When there is a folder with anything else in it.
    """
    if not path.is_dir():
        return
    strangers = sorted(one.name for one in path.iterdir() if not re.fullmatch(own, one.name))
    if strangers:
        more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
        raise CellTrainError(
            f"{path} is a folder that holds something else ({strangers[0]}{more}); it is not "
            "replaced. Choose another name."
        )


def frame_interval_s(experiment: Experiment) -> float | None:
    """Return the seconds between time points, from the experiment or its images."""
    if experiment.frame_interval_s is not None or experiment.images is None:
        return experiment.frame_interval_s
    return experiment.images.frame_interval_s


def time_range_of(experiment: Experiment) -> tuple[int | None, int | None]:
    """Return the first and last time point to use, None for an end that nobody stated.

    The images' own ends are taken for open ones, and where no range is known.
    """
    first, last = experiment.time_range or (None, None)
    first = None if first is None or -first in _OPEN_ENDS else int(first)
    last = None if last is None or last in _OPEN_ENDS else int(last)
    times = () if experiment.images is None else experiment.images.time_points
    if len(times) and first is None and (last is None or times[0] <= last):
        first = int(times[0])
    if len(times) and last is None and (first is None or times[-1] >= first):
        last = int(times[-1])
    return first, last


def inside(experiment: Experiment) -> NDArray[np.bool_]:
    """Tell which cells round to a pixel of the image (of any image, if there is none)."""
    positions = np.round(cells_of(experiment).positions)
    low = (positions >= 0).all(axis=1)
    if experiment.images is None:
        return np.asarray(low)
    return np.asarray(low & (positions < np.array(experiment.images.frame_shape)).all(axis=1))


def numbers_only(columns: Any, besides: set[str]) -> dict[str, NDArray[Any]]:
    """Return the columns of numbers or truth values, without those named."""
    return {
        name: np.asarray(values)
        for name, values in columns.items()
        if name not in besides and np.asarray(values).dtype.kind in "biuf"
    }
