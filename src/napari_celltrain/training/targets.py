"""What the network should say for a crop, drawn from the points themselves.

The points are moved with the image first, and the target is drawn afterwards: a drawn target that
is warped with the image would have blurred peaks.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_celltrain.experiment import Status

if TYPE_CHECKING:
    from napari_celltrain.detector.design import Design

REACH = 3.0
"""A mark speaks for the voxels within so many sigmas of it: half a cell diameter."""
POSITIVE_WEIGHT = 9.0
OFFSET_REACH = 1.8
"""Offsets are learned within so many sigmas of a centre."""
_BITS = 20


@dataclass(frozen=True, eq=False)
class Target:
    """Targets and weights on the output grid.

    Parameters
    ----------
    heat
        1 at a centre, Gaussian around it, (n, z, y, x).
    offset
        To the nearest centre in grid voxels, (n, 3, z, y, x).
    weight
        0 where nothing is known, (n, z, y, x).
    offset_weight
        0 away from centres, (n, z, y, x).
    """

    heat: torch.Tensor
    offset: torch.Tensor
    weight: torch.Tensor
    offset_weight: torch.Tensor


def draw_target(
    points: torch.Tensor,
    batch: torch.Tensor,
    status: torch.Tensor,
    known: torch.Tensor,
    design: Design,
) -> Target:
    """Draw the targets of a batch.

    Parameters
    ----------
    points
        (p, 3) centres in crop voxels, of all crops.
    batch
        (p,) which crop each belongs to.
    status
        (p,) `Status` of each.
    known
        (n, z, y, x) where the annotation is complete.
    design
        For strides and sizes.
    """
    n, *grid = known.shape
    device = known.device
    weight = known.float()
    cell = status == Status.CELL
    distance, nearest = _nearest(points[cell], batch[cell], n, grid, design)
    near_cell = distance <= REACH**2
    heat = torch.exp(-0.5 * distance) * near_cell
    # a mark that is no cell is known ground; an undecided one is not, unless a cell is as near
    no_cell, _ = _nearest(
        points[status == Status.NOT_A_CELL], batch[status == Status.NOT_A_CELL], n, grid, design
    )
    weight = torch.where(no_cell <= REACH**2, torch.full_like(weight, 3.0), weight)
    unknown, _ = _nearest(
        points[status == Status.UNKNOWN], batch[status == Status.UNKNOWN], n, grid, design
    )
    weight = torch.where((unknown <= REACH**2) & (unknown < distance), 0.0, weight)
    weight = torch.where(near_cell & (distance <= unknown), weight.clamp(min=1.0), weight)
    weight = weight * (1 + POSITIVE_WEIGHT * heat)

    axes = [torch.arange(size, device=device, dtype=torch.float32) for size in grid]
    here = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
    place = _to_grid(points[cell], design)
    if len(place):
        there = place[nearest].movedim(-1, 1)
        offset = torch.where(near_cell[:, None], there - here, 0.0)
    else:
        offset = torch.zeros(n, 3, *grid, device=device)
    offset_weight = heat * (distance <= OFFSET_REACH**2) * (weight > 0)
    return Target(heat, offset, weight, offset_weight)


def _to_grid(points: torch.Tensor, design: Design) -> torch.Tensor:
    stride = torch.tensor(design.strides[0], device=points.device, dtype=points.dtype)
    return (points + 0.5) / stride - 0.5


def _nearest(
    points: torch.Tensor, batch: torch.Tensor, n: int, grid: list[int], design: Design
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distance in sigmas to the nearest point, and which it is, for the voxels near one.

    Each point offers itself to the few voxels around it; the smallest key of (distance, point)
    wins, so the result does not depend on the order of computation.
    """
    device = points.device
    far = torch.full((n * math.prod(grid),), (1 << 62), dtype=torch.int64, device=device)
    if len(points):
        sigma = torch.tensor(
            [s / g for s, g in zip(design.sigma, design.grid_voxel_size, strict=True)],
            device=device, dtype=torch.float32,
        )
        reach = [math.ceil(REACH * s) + 1 for s in sigma.tolist()]
        reach = [min(r, size) for r, size in zip(reach, grid, strict=True)]
        around = torch.tensor(
            list(itertools.product(*(range(-r, r + 1) for r in reach))), device=device
        )
        place = _to_grid(points, design)
        voxel = place.round().long()[:, None] + around
        size = torch.tensor(grid, device=device)
        inside = ((voxel >= 0) & (voxel < size)).all(dim=-1)
        squared = (((voxel - place[:, None]) / sigma) ** 2).sum(dim=-1)
        key = (squared * 2**20).long() << _BITS | torch.arange(len(points), device=device)[:, None]
        flat = ((batch[:, None] * size[0] + voxel[..., 0]) * size[1] + voxel[..., 1]) * size[
            2
        ] + voxel[..., 2]
        far.scatter_reduce_(0, flat[inside], key[inside], "amin")
    far = far.reshape(n, *grid)
    found = far < (1 << 62)
    squared = torch.where(found, (far >> _BITS).float() / 2**20, torch.inf)
    nearest = torch.where(found, far & ((1 << _BITS) - 1), 0)
    return squared, nearest


def detection_loss(output: torch.Tensor, target: Target) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted cross-entropy of the heat map, and smooth L1 of the offsets.

    Parameters
    ----------
    output
        (n, 4, z, y, x) of the network.
    target
        On the same grid.

    Returns
    -------
    Two scalars; both are divided by the size of the batch alone, so that the sum over the parts
    of a batch is the loss of the batch.
    """
    output = output.float()
    voxels = target.heat.numel()
    heat = F.binary_cross_entropy_with_logits(
        output[:, 0], target.heat, weight=target.weight, reduction="sum"
    )
    # the entropy of the soft target can't be learned away; without it a perfect loss is 0
    entropy = F.binary_cross_entropy(target.heat, target.heat, weight=target.weight, reduction="sum")
    offset = F.smooth_l1_loss(output[:, 1:], target.offset, beta=0.25, reduction="none").sum(dim=1)
    return (heat - entropy) / voxels, (offset * target.offset_weight).sum() / voxels
