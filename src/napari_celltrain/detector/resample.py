"""Bringing an image to the detector's working voxel size, and positions back.

Downwards an output voxel is the average over its own area (so nothing is skipped and noise
averages out), upwards it is interpolated linearly. Coordinates are global: output voxel ``i``
covers the input from ``i * step - 0.5`` to ``(i + 1) * step - 0.5``, wherever a tile begins, so
that a tile is exactly a part of the whole.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LARGEST = 1e30
"""Float pixels beyond this stand for "no value here"; sums of them would not be finite."""
CHUNK = 2**20
"""Image voxels resampled at once; four megabytes stay in a processor's cache."""
BLOCK, LARGE_BLOCK = 16, 64
"""Output voxels computed by one small matrix product; keeps the work linear in the length.

The larger one is for a graphics card, where starting a product takes longer than most of them.
"""


def output_length(length: int, step: float) -> int:
    """Voxels along an axis after resampling; `step` is input voxels per output voxel."""
    return max(1, round(length / step))


def to_input(positions: NDArray[np.float64], steps: Sequence[float]) -> NDArray[np.float64]:
    """Map output (z, y, x) coordinates to input ones; 0 is the centre of the first voxel."""
    step = np.asarray(steps, dtype=np.float64)
    return (positions + 0.5) * step - 0.5


def to_output(positions: NDArray[np.float64], steps: Sequence[float]) -> NDArray[np.float64]:
    """Inverse of `to_input`."""
    step = np.asarray(steps, dtype=np.float64)
    return (positions + 0.5) / step - 0.5


@lru_cache(maxsize=1024)
def _weights(length: int, step: float, first: int, last: int) -> tuple[int, torch.Tensor]:
    """Weights of output voxels first..last-1: where their input begins, and (outputs, inputs)."""
    centre = (np.arange(first, last) + 0.5) * step - 0.5
    reach = max(step, 1.0) / 2 + 0.5
    start = int(np.clip(np.floor(centre[0] - reach), 0, length - 1))
    stop = int(np.clip(np.ceil(centre[-1] + reach) + 1, start + 1, length))
    distance = np.abs(np.arange(start, stop)[None] - np.clip(centre, 0, length - 1)[:, None])
    if step > 1:  # share of each input voxel that lies under the output voxel
        weights = np.clip(step / 2 + 0.5 - distance, 0, 1)
    else:
        weights = np.clip(1 - distance, 0, None)
    weights /= weights.sum(axis=1, keepdims=True)
    return start, torch.from_numpy(weights.astype(np.float32))


def _along(
    image: torch.Tensor, axis: int, length: int, step: float, first: int, last: int, offset: int
) -> torch.Tensor:
    """Resample one axis; `image` holds input voxels from `offset` on."""
    if step == 1.0:
        return image.narrow(axis, first - offset, last - first)
    parts = []
    block = BLOCK if image.device.type == "cpu" else LARGE_BLOCK
    for begin in range(first, last, block):
        start, weights = _weights(length, step, begin, min(begin + block, last))
        part = image.narrow(axis, start - offset, weights.shape[1])
        weights = weights.to(image.device)
        if axis == 2:
            parts.append(part @ weights.T)
        elif axis == 1:
            parts.append(torch.matmul(weights, part))
        else:
            flat = part.reshape(part.shape[0], -1)
            parts.append((weights @ flat).reshape(-1, *part.shape[1:]))
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=axis)


def input_range(length: int, step: float, first: int, last: int) -> tuple[int, int]:
    """Input voxels that outputs first..last-1 are made from, as (start, stop)."""
    if step == 1.0:
        return first, last
    start, _ = _weights(length, step, first, first + 1)
    last_start, weights = _weights(length, step, last - 1, last)
    return start, last_start + weights.shape[1]


def resample(
    image: NDArray[np.generic],
    steps: Sequence[float],
    part: Sequence[tuple[int, int]] | None = None,
    device: torch.device | str = "cpu",
) -> torch.Tensor:
    """Resample a (z, y, x) image, or compute a part of the result from as little as it needs.

    Parameters
    ----------
    image
        Shape (z, y, x), any real type; what is not finite becomes 0.
    steps
        Input voxels per output voxel along (z, y, x).
    part
        (first, last) output voxels along each axis; None: all.
    device
        Where the result lies.

    Returns
    -------
    float32 tensor (z, y, x).
    """
    length, step = image.shape[0], steps[0]
    if part is None:
        part = [(0, output_length(n, s)) for n, s in zip(image.shape, steps, strict=True)]
    planes = input_range(length, step, *part[0])
    thinned = resample_in_plane(image, steps, part[1:], device, planes=planes)
    return resample_in_depth(thinned, length, step, part[0], planes[0])


def resample_in_depth(
    planes: torch.Tensor, length: int, step: float, span: tuple[int, int], offset: int = 0
) -> torch.Tensor:
    """Resample z alone.

    Parameters
    ----------
    planes
        (z, y, x), of an image of `length` planes from plane `offset` on.
    length, step
        Planes of the image, and of those, how many make one of the result.
    span
        (first, last) planes of the result.
    offset
        The first plane.
    """
    return _along(planes, 0, length, step, *span, offset=offset)


def resample_in_plane(
    image: NDArray[np.generic],
    steps: Sequence[float],
    part: Sequence[tuple[int, int]] | None = None,
    device: torch.device | str = "cpu",
    *,
    planes: tuple[int, int] | None = None,
) -> torch.Tensor:
    """Resample y and x alone.

    Parameters
    ----------
    image, steps, device
        As in `resample`.
    part
        (first, last) output voxels along y and x; None: all.
    planes
        (first, last) planes of the image; None: all.

    Returns
    -------
    float32 tensor (z, y', x').
    """
    lengths = image.shape
    if part is None:
        part = [(0, output_length(n, s)) for n, s in zip(lengths[1:], steps[1:], strict=True)]
    ranges = [
        input_range(n, s, *span) for n, s, span in zip(lengths[1:], steps[1:], part, strict=True)
    ]
    rows, columns = (slice(*span) for span in ranges)
    area = max(1, (rows.stop - rows.start) * (columns.stop - columns.start))
    at_once = max(1, CHUNK // area)
    thinned = []
    # a few planes at a time: as float32 a whole stack would take twice its memory or more
    first, last = planes or (0, lengths[0])
    for plane in range(first, last, at_once):
        cut = image[plane : min(plane + at_once, last), rows, columns]
        tensor = as_float(cut).to(device)
        for axis in (2, 1):
            span, (begin, _) = part[axis - 1], ranges[axis - 1]
            tensor = _along(tensor, axis, lengths[axis], steps[axis], *span, offset=begin)
        thinned.append(tensor)
    return thinned[0] if len(thinned) == 1 else torch.cat(thinned)


def as_float(image: NDArray[np.generic]) -> torch.Tensor:
    """Convert pixels of any real type to float32, with 0 for what is no brightness."""
    if image.dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = image.astype(np.float32)
        values[~(np.abs(values) < LARGEST)] = 0.0  # NaN is not less than anything
        return torch.from_numpy(values)
    return torch.from_numpy(np.ascontiguousarray(image).astype(np.float32))
