"""Making the next batches in a thread, so that the optimiser never waits for data."""

from __future__ import annotations

import itertools
import queue
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_celltrain.detector.compute import BATCH
from napari_celltrain.detector.threads import compute_alone
from napari_celltrain.training.augmentation import make_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import torch

    from napari_celltrain.detector.design import Design
    from napari_celltrain.training.augmentation import Batch
    from napari_celltrain.training.crop_groups import CropGroup
    from napari_celltrain.training.crops import StepSampler
    from napari_celltrain.training.processes import Processes
    from napari_celltrain.training.settings import Augmentation

AHEAD = 2


def parts_of(crops: Sequence[int], device: str) -> list[Sequence[int]]:
    """Divide the crops of a step into the parts that threads compute on their own.

    Two or three crops each on a processor (PyTorch differentiates a single one by a slow way);
    another device takes all at once.
    """
    n = max(1, len(crops) // BATCH) if device == "cpu" else 1
    cuts = [len(crops) * i // n for i in range(n + 1)]
    return [crops[a:b] for a, b in itertools.pairwise(cuts)]


@dataclass(frozen=True, eq=False)
class StepBatch:
    """What one step learns from.

    Parameters
    ----------
    group
        Number of the crop group.
    crops
        How many crops all processes together take.
    parts
        Of this process, to be computed one by one.
    """

    group: int
    crops: int
    parts: Sequence[Batch]


class BatchMaker:
    """Makes the batch of a step; it depends on nothing but the step.

    Parameters
    ----------
    sampler
        Draws the crops.
    groups
        Crop and batch sizes.
    augmentation, design, device
        As of `make_batch`.
    together
        The processes that share a step.
    """

    def __init__(
        self,
        sampler: StepSampler,
        groups: Sequence[CropGroup],
        augmentation: Augmentation,
        design: Design,
        device: torch.device,
        together: Processes,
    ) -> None:
        self._sampler, self._augmentation, self._design = sampler, augmentation, design
        self._device, self._together = device, together
        self.groups = [one.with_batch_size(together.whole(one.batch_size)) for one in groups]

    def __call__(self, step: int) -> StepBatch:
        """Make the batch of a step."""
        number = self._sampler.group(step)
        group = self.groups[number]
        parts = [
            make_batch(
                [self._sampler.draw(step, n) for n in part],
                group.shape,
                self._augmentation,
                self._design,
                self._device,
            )
            for part in self.parts(number)
        ]
        return StepBatch(number, group.batch_size, parts)

    def parts(self, number: int) -> list[Sequence[int]]:
        """Return the crops of this process in a step of a group, as they are computed."""
        return parts_of(self._together.share(self.groups[number].batch_size), self._device.type)

    def halve(self) -> int:
        """Make steps half as large; returns the crops of the largest, 0 when it was one already."""
        largest = max(one.batch_size for one in self.groups)
        if largest == 1:
            return 0
        self.groups = [one.with_batch_size(max(1, one.batch_size // 2)) for one in self.groups]
        return largest // 2


class BatchLoader:
    """Calls `make` for step after step in a thread.

    Parameters
    ----------
    make
        Returns the batch of a step; depends on nothing but the step.
    first
        The step to begin with.
    """

    def __init__(self, make: Callable[[int], StepBatch], first: int) -> None:
        self._make = make
        self._queue: queue.Queue[StepBatch | BaseException] = queue.Queue(AHEAD)
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

    def _put(self, item: StepBatch | BaseException) -> None:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
            return

    def next(self) -> StepBatch:
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
