"""Reading a movie for a detector: one frame ahead, and none twice."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.detector.window import window_time_points
from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction.scratch import ScratchFrame

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.experiment import FrameSource

MEMORY_BYTES = 2**30
"""What the frames of a movie may take in memory together; larger ones go through scratch files."""


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


def read_ahead(
    design: Design,
    source: FrameSource,
    time_points: Sequence[int],
    channels: Sequence[int],
    *,
    memory_bytes: int | None = None,
    in_line: bool = False,
) -> Generator[Inputs]:
    """Read the time points one after the other, each while the one before is worked on.

    Frames that neighbouring time points share are read once. At most the frames of one time
    window and one more are held.

    Parameters
    ----------
    design
        Of the detector.
    source
        The movie.
    time_points
        In the order in which they are wanted; they exist.
    channels
        Counted from 0; they exist.
    memory_bytes
        Frames that need more go through scratch files; default: `MEMORY_BYTES`.
    in_line
        Read in the thread that asks, and not ahead.
    """
    n_held = design.n_inputs + len(channels)
    frame_bytes = int(np.prod(source.frame_shape, dtype=np.int64)) * np.dtype(source.dtype).itemsize
    too_large = n_held * frame_bytes > (MEMORY_BYTES if memory_bytes is None else memory_bytes)
    existing = source.time_points
    held: dict[tuple[int, int], NDArray[Any] | str] = {}
    closed = threading.Event()

    def read(t: int, channel: int) -> NDArray[Any] | str:
        if (t, channel) not in held:
            try:
                held[t, channel] = (
                    ScratchFrame(source, t, channel, given_up=closed.is_set)  # type: ignore[assignment]
                    if too_large
                    else source.read_frame(t, channel)
                )
            except CellTrainError as error:
                held[t, channel] = str(error)
        return held[t, channel]

    def inputs(t: int) -> Inputs:
        times = window_time_points(existing, t, design.time_window)
        for old in [key for key in held if key[0] not in times]:
            del held[old]
        own = [read(t, channel) for channel in channels]
        for frame in own:
            if isinstance(frame, str):
                return Inputs(t, (), frame)
        frames: list[NDArray[Any]] = []
        damage = None
        for u in times:
            seen = own if u == t else [read(u, channel) for channel in channels]
            broken = next((one for one in seen if isinstance(one, str)), None)
            if broken is not None:
                damage, seen = broken, own
            frames += [one for one in seen if not isinstance(one, str)]
        return Inputs(t, tuple(frames), damage)

    if in_line:
        for t in time_points:
            yield inputs(t)
        return
    yield from _one_ahead(inputs, time_points, closed)


def _one_ahead(
    read: Callable[[int], Inputs], time_points: Sequence[int], closed: threading.Event
) -> Iterator[Inputs]:
    """Compute each item in a thread while the caller is busy with the one before.

    `closed` is set when nobody wants more, so that a reading under way can end.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="celltrain-read") as pool:
        coming = None
        try:
            for t in [*time_points, None]:
                ready, coming = coming, None if t is None else pool.submit(read, t)
                if ready is None:
                    continue
                # nothing here may keep a frame alive once the caller is done with it
                yield ready.result()
                del ready
        finally:
            closed.set()
