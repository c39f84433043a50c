"""A movie in this process, and from then on in several where much is left to do.

The threads of a process share one lock, Python's, so a fast network waits for the thread that
reads. Processes do not, but each takes a few seconds to start and memory of its own. How much
is left is estimated from the first time points.
"""

from __future__ import annotations

import contextlib
import math
import pickle
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.detector.memory import bytes_per_voxel, free_bytes
from napari_celltrain.detector.resample import output_length
from napari_celltrain.experiment import Finding
from napari_celltrain.prediction.predict import predict_request
from napari_celltrain.prediction.telling import OnceTeller
from napari_celltrain.prediction.workers import WorkersDied, predict_with_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import FrameSource
    from napari_celltrain.prediction.predict import FrameResult, Request

MEASURED = 4
"""Time points after which it is decided; the first is left out: much is loaded with it."""
PAYS_FROM_S = 45.0
"""So much work has to be left for more processes to pay."""
MOST = 8
"""Processes that are started without being asked for."""
WORKER_BYTES = 600 * 2**20
"""What a process takes, without its frames and its tile."""
FRAMES_HELD = 4
"""Frames that a process holds at once: read, waiting, computed, and one as real numbers."""
SHARE_OF_MEMORY = 0.5
"""Of what is free: others use the machine too."""
LARGEST_SOURCE = 2**24
"""Bytes of a movie's description; a larger one holds the pixels themselves."""


def predict_as_fits(
    detector: Detector,
    source: FrameSource,
    request: Request,
    *,
    stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[Finding], None] = lambda finding: None,
) -> Generator[FrameResult]:
    """Do what `predict_request` does, in as many processes as pay; parameters as there.

    The results are the same to the last bit; they come in the order of time at first, and then as
    they are ready.
    """
    teller = OnceTeller(tell)
    at_most = processes_for(detector, source, request)
    left = dict.fromkeys(request.time_points)
    results = predict_request(detector, source, request, stopping=stopping, tell=teller)
    if at_most < 2:
        yield from results
        return
    begin = time.monotonic()
    with contextlib.closing(results):
        for done, result in enumerate(results, 1):
            del left[result.t]
            yield result
            if done == 1:
                begin = time.monotonic()
            pace = (time.monotonic() - begin) / max(1, done - 1)
            if done >= MEASURED and pace * len(left) > PAYS_FROM_S:
                break
        else:
            return
    if stopping():
        return
    teller(
        Finding(
            "info",
            "processes",
            f"{len(left)} more time points would take about {pace * len(left) / 60:.0f} min: "
            f"{at_most} processes share them from here on (--workers states how many).",
            source.name,
        )
    )
    rest = replace(request, time_points=tuple(left), findings=())
    shared = predict_with_workers(
        detector, source, rest, workers=at_most, stopping=stopping, tell=teller
    )
    try:
        with contextlib.closing(shared):
            for result in shared:
                del left[result.t]
                yield result
        return
    except WorkersDied:  # nobody asked for them
        teller(
            Finding(
                "warning",
                "processes-died",
                "The processes that shared the time points were ended from outside, mostly for "
                f"want of memory; the {len(left)} that are left are done by one.",
                source.name,
            )
        )
    rest = replace(request, time_points=tuple(left), findings=())
    yield from predict_request(detector, source, rest, stopping=stopping, tell=teller)


def processes_for(detector: Detector, source: FrameSource, request: Request) -> int:
    """Return how many processes could share a movie: 1 where that is no use."""
    if detector.device.type != "cpu":
        return 1  # a graphics card is kept busy by one
    design, shape = detector.design, source.frame_shape
    voxels = math.prod(shape)
    held = FRAMES_HELD * design.n_inputs * voxels * np.dtype(source.dtype).itemsize
    steps = design.steps(design.relative(request.voxel_size, request.cell_diameter), shape[0])
    working = math.prod(output_length(n, step) for n, step in zip(shape, steps, strict=True))
    if working > detector.sizes.tile_voxels:
        return 1  # the tiles of a frame keep all cores busy already
    tile = working * bytes_per_voxel(design, detector.arithmetic.precision)
    fit = int(SHARE_OF_MEMORY * free_bytes(detector.device) / (WORKER_BYTES + held + tile))
    most = min(detector.threads, fit, MOST, len(request.time_points) // (4 * MEASURED))
    return most if most >= 2 and _can_travel(source) else 1


def _can_travel(source: FrameSource) -> bool:
    """Tell whether another process can be told of a movie, without its pixels."""
    try:
        pickle.Pickler(_Scales()).dump(source)
    except Exception:  # too large, or whatever a source of another program raises
        return False
    return True


class _Scales:
    """A file that keeps nothing, and refuses more than a description."""

    def __init__(self) -> None:
        self._written = 0

    def write(self, content: bytes) -> int:
        self._written += len(content)
        if self._written > LARGEST_SOURCE:
            raise ValueError("more than a description")
        return len(content)
