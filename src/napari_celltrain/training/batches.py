"""Making the next batches in a thread, so that the optimiser never waits for data."""

from __future__ import annotations

import itertools
import queue
import threading
from typing import TYPE_CHECKING

from napari_celltrain.detector.compute import BATCH
from napari_celltrain.detector.threads import compute_alone

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_celltrain.training.augmentation import Batch

AHEAD = 2


def parts_of(crops: Sequence[int], device: str) -> list[Sequence[int]]:
    """Divide the crops of a step into the parts that threads compute on their own.

    Two or three crops each on a processor (PyTorch differentiates a single one by a slow way);
    another device takes all at once.
    """
    n = max(1, len(crops) // BATCH) if device == "cpu" else 1
    cuts = [len(crops) * i // n for i in range(n + 1)]
    return [crops[a:b] for a, b in itertools.pairwise(cuts)]


class BatchLoader:
    """Calls `make` for step after step in a thread.

    Parameters
    ----------
    make
        Returns the parts of the batch of a step; depends on nothing but the step.
    first
        The step to begin with.
    """

    def __init__(self, make: Callable[[int], Sequence[Batch]], first: int) -> None:
        self._make = make
        self._queue: queue.Queue[Sequence[Batch] | BaseException] = queue.Queue(AHEAD)
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

    def _put(self, item: Sequence[Batch] | BaseException) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def next(self) -> Sequence[Batch]:
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
