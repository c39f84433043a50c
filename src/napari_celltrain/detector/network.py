"""The network: a residual U-Net whose finest layer is already coarse.

The stem strides by two, and everything after it lives on that grid or a coarser one: for every
grid cell a logit "a centre is here" and the offset to that centre. An axis is convolved and
pooled only where the design says so; with one plane the kernels have one plane, and 2D is the
same code.

There is no normalisation layer. Statistics over a crop would make the result depend on the tile
it is computed in, and on how a batch is spread over machines; instead the weights themselves are
standardised and the residual branches start at a small gain (Brock, De and Smith, "Characterizing
signal propagation to close the performance gap in unnormalized ResNets", ICLR 2021), which costs
nothing per voxel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from napari_celltrain.detector.design import Design

RELU_GAIN = math.sqrt(2 / (1 - 1 / math.pi))
"""Keeps the variance of a rectified standard normal at 1."""


class StandardisedConv(nn.Conv3d):
    """A convolution whose kernels have zero mean and unit norm, times a learned gain."""

    def __init__(self, n_in: int, n_out: int, kernel: tuple[int, int, int],
                 stride: tuple[int, int, int] = (1, 1, 1)) -> None:
        super().__init__(n_in, n_out, kernel, stride, padding=tuple(k // 2 for k in kernel))
        self.gain = nn.Parameter(torch.ones(n_out, 1, 1, 1, 1))

    def standardised(self) -> torch.Tensor:
        """Return the kernels that are actually applied."""
        weight = self.weight
        mean = weight.mean(dim=(1, 2, 3, 4), keepdim=True)
        var = weight.var(dim=(1, 2, 3, 4), keepdim=True, unbiased=False)
        fan_in = weight[0].numel()
        return (weight - mean) * torch.rsqrt(var * fan_in + 1e-6) * self.gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve with the standardised kernels."""
        return F.conv3d(x, self.standardised(), self.bias, self.stride, self.padding)


def _activate(x: torch.Tensor) -> torch.Tensor:
    return F.relu(x)


class Block(nn.Module):
    """Two convolutions and a short cut."""

    def __init__(self, width: int, kernel: tuple[int, int, int], flat_first: bool = False) -> None:
        super().__init__()
        first = (1, *kernel[1:]) if flat_first else kernel
        self.conv1 = StandardisedConv(width, width, first)
        self.conv2 = StandardisedConv(width, width, kernel)
        with torch.no_grad():
            self.conv1.gain.fill_(RELU_GAIN)
            self.conv2.gain.fill_(0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what the two convolutions find to what came in."""
        return x + self.conv2(_activate(self.conv1(_activate(x))))


class CentreNet(nn.Module):
    """Heat map logits and centre offsets on the grid of the first stride.

    Input (n, inputs, z, y, x), with z, y, x multiples of the design's total stride; output
    (n, 4, z', y', x'): a logit, then the (z, y, x) offset to the centre in grid voxels.
    """

    def __init__(self, design: Design) -> None:
        super().__init__()
        self.design = design
        kernels, strides = design.kernels, design.strides
        widths = [design.width * 2**level for level in range(len(strides))]
        stem_kernel = tuple(
            1 if design.flat and axis == 0 else (3 if stride == 1 else 5)
            for axis, stride in enumerate(strides[0])
        )
        if kernels[0][0] == 1:
            stem_kernel = (1, *stem_kernel[1:])
        self.stem = StandardisedConv(design.n_inputs, widths[0], stem_kernel, strides[0])
        self.down = nn.ModuleList()
        self.up = nn.ModuleList()
        self.encode = nn.ModuleList()
        self.decode = nn.ModuleList()
        for level, (width, kernel) in enumerate(zip(widths, kernels, strict=True)):
            flat_first = level == 0
            self.encode.append(Block(width, kernel, flat_first))
            if level == len(widths) - 1:
                self.encode.append(Block(width, kernel))
                break
            self.decode.append(Block(width, kernel, flat_first))
            below = widths[level + 1]
            stride = strides[level + 1]
            down_kernel = tuple(3 if s == 2 else 1 for s in stride)
            self.down.append(StandardisedConv(width, below, down_kernel, stride))
            self.up.append(StandardisedConv(below, width, (1, 1, 1)))
        self.head = nn.Conv3d(widths[0], 4, 1)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
            self.head.bias[0] = -4.0  # centres are rare

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits and offsets, (n, 4, z', y', x')."""
        x = self.encode[0](self.stem(x))
        skips = []
        for level, down in enumerate(self.down):
            skips.append(x)
            x = self.encode[level + 1](down(_activate(x)))
        x = self.encode[-1](x)
        for level in reversed(range(len(self.down))):
            skip = skips[level]
            up = self.up[level](_activate(x))
            x = self.decode[level](skip + F.interpolate(up, size=skip.shape[2:], mode="nearest"))
        return self.head(_activate(x))

    def fold(self) -> None:
        """Replace standardised kernels by plain ones; for prediction only, and irreversible."""
        for module in self.modules():
            for name, child in list(module.named_children()):
                if isinstance(child, StandardisedConv):
                    plain = nn.Conv3d(
                        child.in_channels, child.out_channels, child.kernel_size,
                        child.stride, child.padding,
                    )
                    with torch.no_grad():
                        plain.weight.copy_(child.standardised())
                        plain.bias.copy_(child.bias)
                    setattr(module, name, plain)
                    if isinstance(module, nn.ModuleList):
                        module[int(name)] = plain


def reach(design: Design) -> tuple[int, int, int]:
    """How far, in working voxels along (z, y, x), an output looks to either side."""
    total = []
    for axis in range(3):
        spacing, radius = 1, 0
        levels = len(design.strides)
        for level in range(levels):
            stride, kernel = design.strides[level][axis], design.kernels[level][axis]
            radius += spacing * (2 if stride == 2 else 1)  # stem or down convolution
            spacing *= stride
            # two convolutions a block; encoder and decoder blocks, two blocks at the bottom
            radius += spacing * 4 * (kernel // 2)
            radius += spacing  # nearest neighbour on the way up
        total.append(radius)
    z, y, x = total
    return (0 if design.flat else z, y, x)
