"""Reading every needed frame once, and keeping it at the working scale.

A crop of a prepared frame costs a fraction of a millisecond; decoding a compressed frame for
every crop would cost most of the training time. A prepared frame is named after what it was made
from (the file's name, size and date, or its pixels; time point, channel and scale), so unchanged
data is reused and changed data is never mistaken for the old.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import tokenize
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.detector.intensity import intensity_range
from napari_celltrain.detector.resample import output_length, resample, to_output, without_value
from napari_celltrain.detector.window import window_time_points
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import replacing
from napari_celltrain.known import KnownPlace, frame_annotations, known_place
from napari_celltrain.training.empty_frames import (
    PREPARED_ROUNDING,
    EmptyFrames,
    beside,
    share_missing,
    shows_nothing,
    unknown_where_missing,
)
from napari_celltrain.training.events import FindingEvent, Preparing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.experiment import ZYX, Experiment, FrameSource
    from napari_celltrain.training.events import Event

FORMAT = "4"
OPEN_BYTES = 400 * 2**20
"""Prepared frames kept open at once; a mapped page counts as memory of the process."""
MOST_OPEN = 200
"""Each costs a file handle as well, and systems allow as few as 256."""


@dataclass(frozen=True, eq=False)
class PreparedFrame:
    """One annotated time point at the working scale.

    Parameters
    ----------
    member
        Index of the experiment in the data set.
    t
        Time point.
    files
        One .npy of float16 (z, y, x) for each network input.
    shape
        (z, y, x) of each.
    positions, status
        Annotated centres in working voxels, (n, 3), and what they are.
    known
        Where the annotation says something, in image pixels.
    steps
        Image voxels per working voxel, (z, y, x).
    """

    member: int
    t: int
    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    positions: NDArray[np.float64]
    status: NDArray[np.int8]
    known: KnownPlace
    steps: ZYX


def prepare(
    experiments: Sequence[Experiment],
    frames: Sequence[tuple[int, int]],
    design: Design,
    voxel_sizes: Sequence[ZYX],
    folder: Path,
    *,
    exclude_dying: bool = False,
    tell: Callable[[Event], None] = lambda event: None,
    stopping: Callable[[], bool] = lambda: False,
) -> list[PreparedFrame]:
    """Prepare the frames to train on; those that show nothing are left out, and told.

    Parameters
    ----------
    experiments
        All experiments of the data set.
    frames
        (experiment index, time point) of each frame.
    design
        Of the detector.
    voxel_sizes
        Of each experiment's images, in the design's unit, as if its cells were as wide as the
        design has them.
    folder
        Where prepared frames are kept.
    exclude_dying
        Dying cells give neither reward nor punishment.
    tell, stopping
        Progress, and whether to end early (the result is then incomplete).

    Raises
    ------
    CellTrainError
        When a frame can't be read, or none shows anything.
    """
    jobs: dict[tuple[int, int, int], Path | None] = {}
    needed: list[list[tuple[int, int, int]]] = []
    for member, t in frames:
        source = _source(experiments[member])
        times = window_time_points(source.time_points, t, design.time_window)
        inputs = [(member, u, c) for u in times for c in experiments[member].channels]
        needed.append(inputs)
        jobs.update(dict.fromkeys(inputs))

    def work(job: tuple[int, int, int]) -> Path | None:
        member, t, channel = job
        source = _source(experiments[member])
        steps = design.steps(voxel_sizes[member], source.frame_shape[0])
        return _prepared_file(source, t, channel, steps, folder, stopping)

    with ThreadPoolExecutor(max_workers=2) as pool:  # one decodes while the other resamples
        for done, (job, made) in enumerate(zip(jobs, pool.map(work, jobs), strict=True), 1):
            if stopping():
                pool.shutdown(cancel_futures=True)
                return []
            assert made is not None  # only when stopping
            jobs[job] = made
            tell(Preparing(done, len(jobs), f"{experiments[job[0]].name}, time point {job[1]}"))
    used = {made for made in jobs.values() if made is not None}
    used |= {beside(made) for made in used}
    stale = set(folder.glob("*.npy")) - used  # of data that has changed since
    # frames first: one without what is beside it would pass for one whose pixels all have a value
    frames_first = sorted(stale, key=lambda path: ".missing" in path.suffixes)
    with contextlib.suppress(OSError):  # they are in nobody's way, and go the next time
        for left in frames_first:
            left.unlink(missing_ok=True)
    result = []
    known: dict[int, Callable[[int], KnownPlace]] = {}
    noticed = EmptyFrames()
    for (member, t), inputs in zip(frames, needed, strict=True):
        experiment = experiments[member]
        steps = design.steps(voxel_sizes[member], _source(experiment).frame_shape[0])
        if member not in known:
            known[member] = known_place(experiment, design.diameter, voxel_sizes[member])
        files = tuple(path for job in inputs if (path := jobs[job]) is not None)
        own = [path for job in inputs if job[1] == t and (path := jobs[job]) is not None]
        if all(shows_nothing(np.load(path, mmap_mode="r"), PREPARED_ROUNDING) for path in own):
            noticed.empty.setdefault(member, []).append(t)
            continue
        shape = np.load(files[0], mmap_mode="r").shape
        positions, status = frame_annotations(experiment, t, exclude_dying=exclude_dying)
        places = to_output(positions, steps)
        missing = share_missing(own)
        if missing is not None:
            noticed.missing.setdefault(member, {})[t] = float(missing.mean(dtype=np.float64))
            status = unknown_where_missing(status, places, missing)
        result.append(
            PreparedFrame(
                member,
                t,
                files,
                (shape[0], shape[1], shape[2]),
                places,
                status,
                known[member](t),
                steps,
            )
        )
    for finding in noticed.findings(experiments):
        tell(FindingEvent(finding))
    noticed.check_something_left(len(frames))
    return result


def typical_levels(
    experiments: Sequence[Experiment],
    frames: Sequence[tuple[int, int]],
    design: Design,
    voxel_sizes: Sequence[ZYX],
    *,
    at_most: int = 4,
    stopping: Callable[[], bool] = lambda: False,
) -> tuple[float, float] | None:
    """Return the median dark and bright levels, as stored, of a few frames of the training set.

    None when `stopping` says so on the way.
    """
    levels = []
    for i in np.unique(np.linspace(0, len(frames) - 1, at_most).round().astype(int)):
        if stopping():
            return None
        member, t = frames[i]
        source = _source(experiments[member])
        steps = design.steps(voxel_sizes[member], source.frame_shape[0])
        level = intensity_range(source.read_frame(t, experiments[member].channels[0]), steps)
        levels.append((level.low, level.high))
    low, high = np.median(levels, axis=0)
    return float(low), float(high)


def _source(experiment: Experiment) -> FrameSource:
    if experiment.images is None:
        raise CellTrainError(f"The experiment '{experiment.name}' has no images to train on.")
    return experiment.images


def _prepared_file(
    source: FrameSource,
    t: int,
    channel: int,
    steps: ZYX,
    folder: Path,
    stopping: Callable[[], bool],
) -> Path | None:
    """Return the file of a prepared frame, and make it first where it is not there.

    None when `stopping` says so on the way: a large frame takes seconds to read and to resample.
    """
    if stopping():
        return None
    stamp = getattr(source, "stamp", None)
    stamped = stamp(t, channel) if stamp is not None else None
    frame: NDArray[Any] | None = None
    if stamped is None:  # an array in memory: its pixels are its name
        frame = source.read_frame(t, channel)
        stamped = hashlib.sha256(np.ascontiguousarray(frame).data).hexdigest()
    key = f"{FORMAT}|{stamped}|{t}|{channel}|{[round(s, 9) for s in steps]}"
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.npy"
    shape = tuple(output_length(n, s) for n, s in zip(source.frame_shape, steps, strict=True))
    note = beside(path)
    if _is_whole(path, shape) and (not note.exists() or _is_whole(note, shape)):
        return path
    if frame is None:
        frame = source.read_frame(t, channel)
    if stopping():
        return None
    level = intensity_range(frame, steps)
    values = level.normalise(resample(frame, steps)).numpy().astype(np.float16)
    missing = without_value(frame)
    if missing is not None:  # first: a prepared frame that is there has it beside it
        _save(note, resample(missing, steps).numpy().astype(np.float16))
    elif note.is_file():  # not made for this frame
        note.unlink(missing_ok=True)
    _save(path, values)
    return path


def _save(path: Path, values: NDArray[np.float16]) -> None:
    buffer = io.BytesIO()
    np.save(buffer, values)
    with replacing(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Tell whether a prepared frame is there, and is what it should be."""
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError, SyntaxError, tokenize.TokenError, RecursionError):
        return False  # NumPy reads what is damaged as Python, and tells it in as many ways
    return array.shape == shape and array.dtype == np.float16


class OpenFrames:
    """Maps prepared frames into memory, the least recently used ones closed in time."""

    def __init__(self, limit: int = OPEN_BYTES) -> None:
        self._limit = limit
        self._bytes = 0
        self._open: OrderedDict[Path, NDArray[np.float16]] = OrderedDict()

    def get(self, path: Path) -> NDArray[np.float16]:
        """Return a prepared frame, (z, y, x)."""
        if path in self._open:
            self._open.move_to_end(path)
            return self._open[path]
        array: NDArray[np.float16] = np.load(path, mmap_mode="r")
        self._open[path] = array
        self._bytes += array.nbytes
        while (self._bytes > self._limit or len(self._open) > MOST_OPEN) and len(self._open) > 1:
            self._bytes -= self._open.popitem(last=False)[1].nbytes
        return array
