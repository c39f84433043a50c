"""How much memory a run takes."""

from __future__ import annotations

import psutil
import torch


def memory_mib(device: torch.device) -> float:
    """Return the memory in use now, in MiB: of the card, or of this process on a CPU."""
    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device)) / 2**20
    return float(psutil.Process().memory_info().rss) / 2**20
