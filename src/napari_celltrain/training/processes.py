"""Training on several processes, GPUs or machines, as ``torchrun`` starts them.

Every process draws its own share of each batch (crops are numbered, so which process draws one
changes nothing), and the gradients are averaged. The first process alone decides, evaluates and
writes; the others follow it.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterable

PATIENCE = timedelta(minutes=30)
"""How long the others wait while the first evaluates or saves."""


@dataclass(frozen=True)
class Processes:
    """One process among those that train together."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """True for the one that decides and writes."""
        return self.rank == 0

    def share(self, batch_size: int) -> range:
        """Numbers of the crops that this process draws; `batch_size` is a multiple of `size`."""
        return range(self.rank, batch_size, self.size)

    def whole(self, batch_size: int) -> int:
        """Return the batch size that gives every process as many crops."""
        return -(-batch_size // self.size) * self.size

    def decide(self, goes_on: bool, rate: float, device: torch.device) -> tuple[bool, float]:
        """Return what the first process decided for the next step."""
        if self.size == 1:
            return goes_on, rate
        message = torch.tensor([float(goes_on), rate], dtype=torch.float64, device=device)
        self._together(lambda: dist.broadcast(message, 0))
        return bool(message[0] > 0), float(message[1])

    def average(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Average the gradients over all processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        self._together(lambda: dist.all_reduce(flat))
        flat /= self.size
        for gradient, part in zip(
            gradients, torch.split(flat, [g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.size > 1:
            self._together(dist.barrier)

    def _together(self, work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except RuntimeError as error:
            raise CellTrainError(
                "Another of the processes that train together has ended; the last checkpoint is "
                f"safe, resume from it. ({str(error).splitlines()[0]})"
            ) from error


def join(device: str) -> Processes:
    """Join the processes that ``torchrun`` started; alone, if it did not.

    Parameters
    ----------
    device
        ``cuda`` uses NCCL, one card for each process of a machine; anything else uses Gloo.

    Raises
    ------
    CellTrainError
        When the others can't be reached.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Processes()
    rank = int(os.environ["RANK"])
    cuda = device != "cpu" and torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    if not dist.is_initialized():
        # What these functions have for default is the group there is when they are imported, and
        # the first optimiser imports them: a group made before is never given up, and its threads
        # may abort the process as it exits.
        importlib.import_module("torch.distributed.nn")
        try:
            dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
        except (RuntimeError, ValueError) as error:
            raise CellTrainError(
                f"The {size} processes can't reach each other: {str(error).splitlines()[0]}."
            ) from error
    return Processes(rank, size)


def leave() -> None:
    """Leave the others."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
