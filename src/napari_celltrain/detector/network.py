"""The network: a residual U-Net whose finest layer is already coarse.

The stem strides by two, and everything after it lives on that grid or a coarser one: for every
grid cell a logit "a centre is here" and the offset to that centre. An axis is convolved and
pooled only where the design says so; with one plane the kernels have one plane, and 2D is the
same code.

There is no normalisation layer. Statistics over a crop would make the result depend on the tile
it is computed in, and on how a batch is spread over machines. Residual branches that start small
train as well without (Zhang, Dauphin and Ma, "Fixup initialization", ICLR 2019), and every layer
that only moves memory is left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_celltrain.detector.design import Design


class Convolution(nn.Conv3d):
    """A convolution that is computed by oneDNN wherever that is possible.

    On a processor, PyTorch hands small batches of small images to code of its own that takes
    several times as long (its choice counts channels x planes x rows, and forgets columns).
    Of a single plane only the middle of a deep kernel sees anything, so only that is computed.
    Written weights and results are those of ``nn.Conv3d``.

    In bfloat16 on a processor, oneDNN (3.12) returns what happened to lie in memory as the gradient
    of the weights, or writes outside of it, when a kernel is larger than the padded image leaves
    room for, such as a kernel of three planes on an image of two. There the zeros around the image
    are made before, which gives the same result. On processors with AMX it also computes nonsense
    for an output of a single column where the stride along x is larger than 1; there a second one
    is computed, and dropped.
    """

    def taps(self, planes: int) -> int:
        """Multiplications for one output value and an image of so many planes."""
        return self.weight[0].numel() // (self.kernel_size[0] if planes == 1 else 1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Convolve (n, channels, z, y, x)."""
        weight, padding = self.weight, cast("tuple[int, ...]", self.padding)
        if self.kernel_size[0] > 1 and not self._exported() and input.shape[2] == 1:
            middle = self.kernel_size[0] // 2
            weight, padding = weight[:, :, middle : middle + 1], (0, *padding[1:])
        if (
            input.device.type == "cpu"
            and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and input.dtype == torch.float32  # PyTorch knows which processors can do the others
            and not torch.is_autocast_enabled("cpu")  # asks for another precision
            and not self._exported()
        ):
            return torch.mkldnn_convolution(
                input, weight, self.bias, padding, self.stride, self.dilation, 1
            )
        single_column = False
        if input.device.type == "cpu" and not self._exported():
            input, padding = _with_zeros_around(input, weight.shape[2:], padding)
            step = self.stride[2]
            single_column = input.shape[4] + 2 * padding[2] - weight.shape[4] < step > 1
            if single_column:
                input = F.pad(input, (0, step))
        output = F.conv3d(input, weight, self.bias, self.stride, padding, self.dilation)
        return output[..., :1] if single_column else output

    @staticmethod
    def _exported() -> bool:
        """Tell whether the network is being written down to serve other machines and sizes."""
        return torch.compiler.is_compiling() or bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def _with_zeros_around(
    image: torch.Tensor, kernel: Sequence[int], padding: tuple[int, ...]
) -> tuple[torch.Tensor, tuple[int, ...]]:
    """Make the padding of axes that are shorter than the kernel; returns image and what is left."""
    short = [k > size for k, size in zip(kernel, image.shape[2:], strict=True)]
    if not any(short):
        return image, padding
    made = [p if too_short else 0 for p, too_short in zip(padding, short, strict=True)]
    both_ends = [zeros for axis in reversed(made) for zeros in (axis, axis)]
    left = tuple(p - zeros for p, zeros in zip(padding, made, strict=True))
    return F.pad(image, both_ends), left


class Pointwise(nn.Conv3d):
    """A convolution with a kernel of one voxel: one matrix product over channels-last memory.

    As a convolution it would first be copied into another layout, which takes longer.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out, 1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Mix the channels of (n, channels, z, y, x)."""
        weight = self.weight.reshape(self.out_channels, self.in_channels)
        return F.linear(input.movedim(1, -1), weight, self.bias).movedim(-1, 1)


def _initialise(layer: nn.Conv3d, gain: float = math.sqrt(2)) -> nn.Conv3d:
    """Let a convolution multiply the variance of a rectified input by gain**2 / 2."""
    with torch.no_grad():
        layer.weight.normal_(std=gain / math.sqrt(layer.weight[0].numel()))
        assert layer.bias is not None
        layer.bias.zero_()
    return layer


def _convolution(
    n_in: int,
    n_out: int,
    kernel: tuple[int, int, int],
    stride: tuple[int, int, int] = (1, 1, 1),
    gain: float = math.sqrt(2),
) -> nn.Conv3d:
    padding = tuple(k // 2 for k in kernel)
    return _initialise(Convolution(n_in, n_out, kernel, stride, padding), gain)  # type: ignore[arg-type]


class Block(nn.Module):
    """Two convolutions and a short cut; starts close to doing nothing.

    What comes in and goes out is rectified (He et al., "Deep residual learning for image
    recognition", CVPR 2016), so that everything between the convolutions happens in place.
    """

    def __init__(self, width: int, kernel: tuple[int, int, int], flat_first: bool = False) -> None:
        super().__init__()
        first = (1, *kernel[1:]) if flat_first else kernel
        self.conv1 = _convolution(width, width, first)
        self.conv2 = _convolution(width, width, kernel, gain=0.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Add what the two convolutions find to what came in, and rectify."""
        change: torch.Tensor = self.conv2(F.relu_(self.conv1(x)))
        return F.relu_(change.add_(x))


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
        in_depth, *in_plane = (3 if stride == 1 else 5 for stride in strides[0])
        if kernels[0][0] == 1:
            in_depth = 1
        stem_kernel = (in_depth, in_plane[0], in_plane[1])
        self.stem = _convolution(design.n_inputs, widths[0], stem_kernel, strides[0])
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
            in_depth, *in_plane = (3 if s == 2 else 1 for s in stride)
            down_kernel = (in_depth, in_plane[0], in_plane[1])
            self.down.append(_convolution(width, below, down_kernel, stride))
            self.up.append(_initialise(Pointwise(below, width)))
        self.head = Pointwise(widths[0], 4)
        with torch.no_grad():
            assert self.head.bias is not None
            self.head.weight.mul_(0.1)
            self.head.bias.zero_()
            self.head.bias[0] = -4.0  # centres are rare

    def forward(
        self, x: torch.Tensor, between: Callable[[], object] = lambda: None
    ) -> torch.Tensor:
        """Return logits and offsets, (n, 4, z', y', x').

        `between` is called before each block, and may raise what ends the computation: a large
        image takes many seconds on one core.
        """
        x = F.relu_(self.stem(x))
        between()
        x = self.encode[0](x)
        skips = []
        for level, down in enumerate(self.down):
            between()
            skips.append(x)
            x = self.encode[level + 1](F.relu_(down(x)))
        x = self.encode[-1](x)
        for level in reversed(range(len(self.down))):
            between()
            skip = skips[level]
            up = F.interpolate(self.up[level](x), size=skip.shape[2:], mode="nearest")
            x = self.decode[level](F.relu_(up.add_(skip)))
        output: torch.Tensor = self.head(x)
        return output


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
