"""How large crops are, and how many make a step.

Flat images and stacks of unlike depth can be learnt from in one run. A step takes all its crops
from images that are about as deep: a crop of one plane out of a stack's depth would be nearly
empty.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import psutil

from napari_celltrain.detector.compute import BATCH
from napari_celltrain.training.events import Choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_celltrain.detector.design import Design
    from napari_celltrain.training.settings import TrainingSettings

STEP_VOXELS = {"cpu": 130_000, "cuda": 4_000_000, "mps": 1_000_000}
"""Working voxels of one optimiser step: many small steps teach more in a minute than few large."""
CROP_WIDTH = {"flat": 128, "deep": 64}
CROP_CELLS = 2.5
"""Depth of a crop in cell diameters."""
MOST_PAIRS = 8
"""Larger batches than that are not made only because there are threads for them."""
BYTES_PER_VOXEL = 900
"""Peak memory of a training step for each working voxel, at width 16 (measured)."""


@dataclass(frozen=True)
class CropGroup:
    """Experiments whose crops are alike.

    Parameters
    ----------
    members
        Indices of the experiments in the data set.
    shape
        (z, y, x) working voxels of a crop.
    batch_size
        Crops of a step.
    """

    members: tuple[int, ...]
    shape: tuple[int, int, int]
    batch_size: int

    def with_batch_size(self, batch_size: int) -> CropGroup:
        """Return the same with another number of crops."""
        return replace(self, batch_size=batch_size)


def choose_crops(
    frame_shapes: Mapping[int, Sequence[int]],
    design: Design,
    device: str,
    threads: int,
    settings: TrainingSettings,
) -> tuple[tuple[CropGroup, ...], list[Choice]]:
    """Choose crop and batch sizes.

    Parameters
    ----------
    frame_shapes
        For each experiment that is trained on, (z, y, x) working voxels of its frames.
    design
        Of the detector.
    device
        Its type: ``cpu``, ``cuda``, ``mps``.
    threads
        That may compute parts of a step side by side.
    settings
        What the user asked for.
    """
    by_depth: dict[int, list[int]] = {}
    for member, shape in frame_shapes.items():
        by_depth.setdefault(_depth(shape[0], design), []).append(member)
    groups, sizes, reasons = [], [], []
    wanted = settings.optimiser.crop_size
    for depth, members in sorted(by_depth.items()):
        largest = np.max([frame_shapes[member] for member in members], axis=0)
        across = wanted or CROP_WIDTH["flat" if depth == 1 else "deep"]
        strides = design.multiples(depth)
        y, x = (
            min(across, -(-int(n) // s) * s) for n, s in zip(largest[1:], strides[1:], strict=True)
        )
        shape = (depth, -(-y // strides[1]) * strides[1], -(-x // strides[2]) * strides[2])
        batch_size, reason = _batch_size(shape, design, device, threads, settings)
        groups.append(CropGroup(tuple(members), shape, batch_size))
        sizes.append(
            "no larger than the images"
            if min(largest[1:]) < across
            else "as asked"
            if wanted
            else "several cells wide and deep"
        )
        reasons.append(reason)
    several = len(groups) > 1
    if several:
        sizes.append("each step takes images about as deep as each other")
    return tuple(groups), [
        Choice(
            "crop",
            "; ".join(" x ".join(map(str, group.shape)) for group in groups)
            + " working voxels (z, y, x)",
            ", ".join(dict.fromkeys(sizes)),
        ),
        Choice(
            "batch size",
            "; ".join(str(group.batch_size) for group in groups),
            ", ".join(dict.fromkeys(reasons)),
        ),
    ]


def as_before(fresh: Sequence[CropGroup], kept: Sequence[CropGroup]) -> tuple[CropGroup, ...]:
    """Return the groups of a run that goes on: those it had, unless other experiments joined it."""
    members = {member for group in fresh for member in group.members}
    if len(kept) == 1 and not kept[0].members:  # of a time when there was one size for all
        return (replace(kept[0], members=tuple(sorted(members))),)
    if members == {member for group in kept for member in group.members}:
        return tuple(kept)
    return tuple(fresh)


def _depth(planes: int, design: Design) -> int:
    """Planes of a crop from an image of so many."""
    if planes == 1:
        return 1
    deep = max(8, round(CROP_CELLS * design.diameter / design.working_voxel_size[0]))
    stride = design.multiples(planes)[0]
    return -(-min(int(planes), deep) // stride) * stride


def _batch_size(
    crop: tuple[int, int, int],
    design: Design,
    device: str,
    threads: int,
    settings: TrainingSettings,
) -> tuple[int, str]:
    if settings.optimiser.batch_size is not None:
        return settings.optimiser.batch_size, "as asked"
    voxels = crop[0] * crop[1] * crop[2]
    wanted = max(2, round(STEP_VOXELS[device] / voxels))
    if device == "cpu":
        # in pairs, and some for each thread: what they compute side by side takes no longer
        wanted = BATCH * max(-(-wanted // BATCH), min(threads, MOST_PAIRS))
        free = psutil.virtual_memory().available
        fits = max(1, int(0.3 * free / (voxels * BYTES_PER_VOXEL * design.width / 16)))
        if fits < wanted:
            return fits, f"{free / 2**30:.1f} GiB of memory are free"
    return wanted, "steps short enough to learn from many of them"
