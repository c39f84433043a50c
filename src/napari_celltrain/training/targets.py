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
NEGATIVE_WEIGHT = 3.0
OFFSET_REACH = 1.8
"""Offsets are learned within so many sigmas of a centre."""
_BITS = 20


@dataclass(frozen=True, eq=False)
class Target:
    """Targets and weights on the output grid of n crops.

    Parameters
    ----------
    heat
        1 at a centre, Gaussian around it, (n, z, y, x).
    weight
        0 where nothing is known, (n, z, y, x).
    near
        Flat indices (into n, z, y, x) of the voxels near a centre, (v,).
    offset
        From those voxels to their nearest centre, in grid voxels, (v, 3).
    offset_weight
        How much each offset counts, (v,).
    entropy
        The part of the cross-entropy that no network can avoid, because the target is soft.
    """

    heat: torch.Tensor
    weight: torch.Tensor
    near: torch.Tensor
    offset: torch.Tensor
    offset_weight: torch.Tensor
    entropy: float


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
    shape = known.shape
    weight = known.float().reshape(-1)

    def near(kind: Status) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        own = status == kind
        return _nearest(points[own], batch[own], shape, design)

    # a mark that is no cell is known ground; an undecided one is not, unless a cell is as near
    if bool((status == Status.NOT_A_CELL).any()):
        weight[near(Status.NOT_A_CELL)[0]] = NEGATIVE_WEIGHT
    voxel, squared, offset = near(Status.CELL)
    known_here = weight[voxel].clamp(min=1.0)
    if bool((status == Status.UNKNOWN).any()):
        unsure, unsure_squared, _ = near(Status.UNKNOWN)
        weight[unsure] = 0.0
        distance = torch.full_like(weight, torch.inf)
        distance[unsure] = unsure_squared
        known_here = torch.where(squared <= distance[voxel], known_here, 0.0)
    heat_here = torch.exp(-0.5 * squared)
    weight_here = known_here * (1 + POSITIVE_WEIGHT * heat_here)
    weight[voxel] = weight_here
    heat = torch.zeros_like(weight)
    heat[voxel] = heat_here
    soft = heat_here.clamp(1e-6, 1 - 1e-6)
    entropy = -(soft * soft.log() + (1 - soft) * torch.log1p(-soft))
    return Target(
        heat=heat.reshape(shape),
        weight=weight.reshape(shape),
        near=voxel,
        offset=offset,
        offset_weight=heat_here * (squared <= OFFSET_REACH**2) * (known_here > 0),
        entropy=float((entropy * weight_here).sum()),
    )


def _to_grid(points: torch.Tensor, design: Design) -> torch.Tensor:
    stride = torch.tensor(design.strides[0], device=points.device, dtype=points.dtype)
    return (points + 0.5) / stride - 0.5


def _nearest(
    points: torch.Tensor,
    batch: torch.Tensor,
    shape: torch.Size,
    design: Design,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Find the voxels near a point: flat index, squared distance in sigmas, offset to the nearest.

    Each point offers itself to the few voxels around it; the smallest key of (distance, point)
    wins, so the result does not depend on the order of computation.
    """
    device = points.device
    if not len(points):
        empty = torch.empty(0, device=device)
        return empty.long(), empty, empty.reshape(0, 3)
    grid = list(shape[1:])
    width = [s / g for s, g in zip(design.sigma, design.grid_voxel_size, strict=True)]
    sigma = torch.tensor(width, device=device)
    reach = [math.ceil(REACH * s + 0.5) for s in width]
    reach = [min(r, size - 1) for r, size in zip(reach, grid, strict=True)]
    around = torch.tensor(
        list(itertools.product(*(range(-r, r + 1) for r in reach))), device=device
    )
    place = _to_grid(points, design)
    size = torch.tensor(grid, device=device)
    # a point outside the crop offers itself from the edge on
    voxel = place.round().long().clamp(min=0).minimum(size - 1)[:, None] + around
    step = place[:, None] - voxel
    squared = ((step / sigma) ** 2).sum(dim=-1)
    use = ((voxel >= 0) & (voxel < size)).all(dim=-1) & (squared <= REACH**2)
    flat = ((batch[:, None] * size[0] + voxel[..., 0]) * size[1] + voxel[..., 1]) * size[2] + voxel[
        ..., 2
    ]
    key = (squared * 2**20).long() << _BITS | torch.arange(len(points), device=device)[:, None]
    flat, key = flat[use], key[use]
    winner = torch.full((shape.numel(),), 1 << 62, dtype=torch.int64, device=device)
    winner.scatter_reduce_(0, flat, key, "amin")
    won = winner[flat] == key
    return flat[won], squared[use][won], step[use][won]


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
    logits = output[:, 0].float()
    voxels = logits.numel()
    cross = ((F.softplus(logits) - logits * target.heat) * target.weight).sum() - target.entropy
    by_voxel = output.movedim(1, -1).reshape(voxels, 4)
    offset = by_voxel[target.near, 1:].float()
    distance = F.smooth_l1_loss(offset, target.offset, beta=0.25, reduction="none").sum(dim=1)
    return cross / voxels, (distance * target.offset_weight).sum() / voxels
