"""Making the next batches in a thread, so that the optimiser never waits for data."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING

from napari_celltrain.detector.threads import compute_alone

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_celltrain.training.augmentation import Batch

AHEAD = 2


class BatchLoader:
    """Calls `make` for step after step in a thread.

    Parameters
    ----------
    make
        Returns the batch of a step; depends on nothing but the step.
    first
        The step to begin with.
    """

    def __init__(self, make: Callable[[int], Batch], first: int) -> None:
        self._make = make
        self._queue: queue.Queue[Batch | BaseException] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(first,), name="celltrain batches", daemon=True
        )
        self._thread.start()

    def _work(self, step: int) -> None:
        compute_alone()  # the optimiser's thread keeps its helpers
        try:
            while not self._closed.is_set():
                self._put(self._make(step))
                step += 1
        except BaseException as error:  # handed to the loop, which raises it
            self._put(error)

    def _put(self, item: Batch | BaseException) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def next(self) -> Batch:
        """Return the batch of the next step; raises what making it raised."""
        item = self._queue.get()
        if isinstance(item, BaseException):
            raise item
        return item

    def close(self) -> None:
        """End the thread."""
        self._closed.set()
        while self._thread.is_alive():
            try:
                self._queue.get_nowait()
            except queue.Empty:
                self._thread.join(0.05)
