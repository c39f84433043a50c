"""Reading a movie for a detector: some frames ahead, and none twice."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.detector.compute import usable_cores
from napari_celltrain.detector.window import window_time_points
from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction.scratch import ScratchFrame

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import FrameSource

MEMORY_BYTES = 2**30
"""What the frames of a movie may take in memory together; larger ones go through scratch files."""
READERS = (2, 4)
"""Few and most: two cost nothing where one would do, and more than four mostly wait for each other,
for Python's lock."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a detector sees for one time point.

    Parameters
    ----------
    t
        The time point.
    frames
        One (z, y, x) array for each network input; empty when the time point can't be read.
    damage
        A sentence on what can't be read; None when all is well. Where only a neighbour in the
        time window is damaged, the frame itself stands in for it.
    """

    t: int
    frames: tuple[NDArray[Any], ...]
    damage: str | None = None


def readers_for(detector: Detector, source: FrameSource) -> int:
    """Return how many frames of a movie are worth reading side by side.

    A file server is waited for most of the time, and decoding a frame can take as long as computing
    it in one thread, so a single reader would be what many cores or a graphics card wait for.
    """
    if not getattr(source, "reads_side_by_side", False):
        return 1
    threads = detector.threads if detector.device.type == "cpu" else usable_cores()
    few, most = READERS
    return max(few, min(most, threads // 2))


def read_ahead(
    design: Design,
    source: FrameSource,
    time_points: Sequence[int],
    channels: Sequence[int],
    *,
    readers: int = 1,
    memory_bytes: int | None = None,
    in_line: bool = False,
) -> Generator[Inputs]:
    """Read the time points one after the other, the next ones while one is worked on.

    Frames that neighbouring time points share are read once. At most the frames of one time
    window, and of one more time point for each reader, are held.

    Parameters
    ----------
    design
        Of the detector.
    source
        The movie.
    time_points
        Ascending; they exist.
    channels
        Counted from 0; they exist.
    readers
        Frames that are read side by side, and time points ahead; fewer where memory asks for it.
    memory_bytes
        Frames that need more go through scratch files; default: `MEMORY_BYTES`.
    in_line
        Read in the thread that asks, and not ahead.
    """
    frame_bytes = int(np.prod(source.frame_shape, dtype=np.int64)) * np.dtype(source.dtype).itemsize
    memory_bytes = MEMORY_BYTES if memory_bytes is None else memory_bytes
    fit = (memory_bytes // max(1, frame_bytes) - design.n_inputs) // len(channels)
    ahead = 0 if in_line else max(1, min(readers, fit))
    existing = source.time_points
    closed = threading.Event()
    held: dict[tuple[int, int], Future[NDArray[Any] | str]] = {}

    def read(t: int, channel: int) -> NDArray[Any] | str:
        try:
            if fit < 1:
                return ScratchFrame(source, t, channel, given_up=closed.is_set)  # type: ignore[return-value]
            return source.read_frame(t, channel)
        except CellTrainError as error:
            return str(error)

    def needed(t: int) -> list[int]:
        return window_time_points(existing, t, design.time_window)

    def forget() -> None:
        wanted = {u for t in asked for u in (t, *needed(t))}
        for old in [key for key in held if key[0] not in wanted]:
            del held[old]

    def begin(t: int) -> None:
        for key in itertools.product([t, *needed(t)], channels):
            if key not in held:
                held[key] = _done(read(*key)) if pool is None else pool.submit(read, *key)

    def inputs(t: int) -> Inputs:
        own = [held[t, channel].result() for channel in channels]
        for frame in own:
            if isinstance(frame, str):
                return Inputs(t, (), frame)
        frames: list[NDArray[Any]] = []
        damage = None
        for u in needed(t):
            seen = own if u == t else [held[u, channel].result() for channel in channels]
            broken = next((one for one in seen if isinstance(one, str)), None)
            if broken is not None:
                damage, seen = broken, own
            frames += [one for one in seen if not isinstance(one, str)]
        return Inputs(t, tuple(frames), damage)

    pool = None if in_line else ThreadPoolExecutor(ahead, "celltrain-read")
    coming = iter(time_points)
    asked: deque[int] = deque()
    try:
        while True:
            fresh = list(itertools.islice(coming, 1 + ahead - len(asked)))
            asked.extend(fresh)
            if not asked:
                return
            forget()
            for t in fresh:
                begin(t)
            ready = inputs(asked.popleft())
            if asked:
                forget()
            # nothing here may keep a frame alive once the caller is done with it
            yield ready
            del ready
    finally:
        closed.set()  # a reading under way can end
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _done(frame: NDArray[Any] | str) -> Future[NDArray[Any] | str]:
    future: Future[NDArray[Any] | str] = Future()
    future.set_result(frame)
    return future
