"""How much of a frame fits into memory at once."""

from __future__ import annotations

import contextlib
import ctypes
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch

if TYPE_CHECKING:
    from napari_celltrain.detector.compute import Precision
    from napari_celltrain.detector.design import Design

LEAST_BYTES = 2**26
"""Memory smaller than this is told by an error."""
CPU_BYTES, CPU_BYTES_PER_THREAD = 1.6 * 2**30, 0.3 * 2**30
"""Tiles take no more than the larger of these: others use the machine too."""
LIVE = 7
"""Feature maps of the finest level that are alive at once, a convolution's scratch included."""
SHARE = {"cpu": 0.4, "cuda": 0.7, "mps": 0.3}
"""Of the free memory that tiles may take together, by device."""


OWN_GROUPS = Path("/proc/self/cgroup")
MALLOC = {"M_ARENA_MAX": (-8, 1), "M_MMAP_THRESHOLD": (-3, 2**30), "M_TRIM_THRESHOLD": (-1, 2**30)}
"""Options of glibc (``man mallopt``): one pool for all threads, which only grows."""


def keep_freed_memory() -> None:
    """Let this process keep the memory of a feature map for the next one (Linux).

    glibc gives large blocks back to the system as soon as they are free. Every layer then gets
    its memory anew, page by page and filled with zeros, which took a fifth of the time of a
    prediction with small tiles and a third with large ones. For programs that do nothing but
    predict: what was once used stays with the process to its end.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another C library than glibc
        library = ctypes.CDLL(None)
        for option, value in MALLOC.values():
            library.mallopt(option, value)


def bytes_per_voxel(design: Design, precision: Precision) -> float:
    """Estimate the memory that computing takes for each working voxel."""
    item = 2 if precision == "bfloat16" else 4
    finest = design.width * item * LIVE / math.prod(design.strides[0])
    return finest + design.n_inputs * (4 + item) + 16 / math.prod(design.strides[0]) * 4


def free_bytes(device: torch.device) -> float:
    """Return the memory that is free now on a device."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    return min(float(psutil.virtual_memory().available), _free_in_group())


def _free_in_group(root: Path = Path("/sys/fs/cgroup"), own: Path = OWN_GROUPS) -> float:
    """Return what a container or a job of a cluster may still take (Linux control groups).

    What the group holds in caches of files counts as free: it is given back when needed.
    """
    least = math.inf
    try:
        lines = own.read_text("ascii", errors="replace").splitlines()
    except OSError:  # no Linux
        return least
    for line in lines:
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if controllers and "memory" not in controllers.split(","):
            continue
        new = not controllers  # version 2 of control groups
        limit, used, cache = (
            ("memory.max", "memory.current", "inactive_file")
            if new
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        top = root if new else root / "memory"
        folder = top / group.strip("/")
        # the limit may be that of a group above: of the job, where this is one of its tasks
        for part in (folder, *(one for one in folder.parents if one.is_relative_to(top))):
            with contextlib.suppress(OSError, ValueError):  # "max": no limit
                most = int((part / limit).read_text("ascii"))
                held = int((part / used).read_text("ascii"))
                stat = dict(
                    one.split() for one in (part / "memory.stat").read_text("ascii").splitlines()
                )
                least = min(least, most - held + int(stat.get(cache, 0)))
    return max(0.0, float(least))


def tile_voxels_for(
    design: Design, device: torch.device, precision: Precision, threads: int
) -> int:
    """Choose how many working voxels may be under way at once, all threads together.

    Halved until it fits, so that small changes of the free memory change nothing.
    """
    limit = SHARE[device.type] * free_bytes(device)
    if device.type == "cpu":
        budget = max(CPU_BYTES, CPU_BYTES_PER_THREAD * threads)
        while budget > max(limit, LEAST_BYTES):
            budget /= 2
        limit = budget
    return int(max(limit, LEAST_BYTES) / bytes_per_voxel(design, precision))
