"""Bringing an image to the detector's working voxel size, and positions back.

Downwards an output voxel is the average over its own area (so nothing is skipped and noise
averages out), upwards it is interpolated linearly. Coordinates are global: output voxel ``i``
covers the input from ``i * step - 0.5`` to ``(i + 1) * step - 0.5``, wherever a tile begins, so
that a tile is exactly a part of the whole.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

LARGEST = 1e30
"""Float pixels beyond this stand for "no value here"; sums of them would not be finite."""
CHUNK = 2**20
"""Image voxels resampled at once; four megabytes stay in a processor's cache."""
SAMPLED_PLANES = 8
SAMPLES = 200_000
"""Pixels that stand for a frame."""
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


def _blocks(
    length: int, step: float, first: int, last: int, offset: int, device: torch.device
) -> Iterator[tuple[slice, slice, torch.Tensor]]:
    """Yield some outputs at a time, the inputs they are made from, and the weights.

    Outputs are counted from `first`, inputs from `offset`; weights are (outputs, inputs).
    """
    block = BLOCK if device.type == "cpu" else LARGE_BLOCK
    for begin in range(first, last, block):
        end = min(begin + block, last)
        start, weights = _weights(length, step, begin, end)
        inputs = slice(start - offset, start - offset + weights.shape[1])
        yield slice(begin - first, end - first), inputs, weights.to(device)


def _along_first(
    image: torch.Tensor, length: int, step: float, span: tuple[int, int], offset: int
) -> torch.Tensor:
    """Resample the first axis; `image` holds input voxels from `offset` on."""
    if step == 1.0:
        return image[span[0] - offset : span[1] - offset]
    flat = image.reshape(len(image), -1)
    result = flat.new_empty((span[1] - span[0], flat.shape[1]))
    for outputs, inputs, weights in _blocks(length, step, *span, offset, image.device):
        torch.mm(weights, flat[inputs], out=result[outputs])
    return result.view(-1, *image.shape[1:])


def _along_last(
    image: torch.Tensor, length: int, step: float, span: tuple[int, int], offset: int
) -> torch.Tensor:
    """Resample the last axis; `image` holds input voxels from `offset` on."""
    if step == 1.0:
        return image[..., span[0] - offset : span[1] - offset]
    flat = image.reshape(-1, image.shape[-1])
    result = flat.new_empty((len(flat), span[1] - span[0]))
    for outputs, inputs, weights in _blocks(length, step, *span, offset, image.device):
        torch.mm(flat[:, inputs], weights.T, out=result[:, outputs])
    return result.view(*image.shape[:-1], -1)


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
        Shape (z, y, x), any real type; for pixels without a value see `typical_value`.
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
    return _along_first(planes, length, step, span, offset)


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
    instead = cache(lambda: typical_value(image))
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
        # rows first: so both axes are resampled by plain matrix products, the fastest there are
        tensor = as_float(cut.swapaxes(0, 1), instead).to(device)
        tensor = _along_first(tensor, lengths[1], steps[1], part[0], ranges[0][0])
        tensor = _along_last(tensor, lengths[2], steps[2], part[1], ranges[1][0])
        thinned.append(tensor.transpose(0, 1))
    return thinned[0].contiguous() if len(thinned) == 1 else torch.cat(thinned)


def sampled_planes(planes: int) -> NDArray[np.int_]:
    """Return the planes that stand for a stack of so many, spread evenly over the depth."""
    return np.unique(np.linspace(0, planes - 1, min(SAMPLED_PLANES, planes)).round().astype(int))


def typical_value(image: NDArray[np.generic]) -> float:
    """Return what stands in for pixels without a value: the median of those that have one.

    That is background in most images, and so neither dark nor bright. It is the same for all
    tiles of a frame. 0 where no pixel has a value.
    """
    values = image[sampled_planes(len(image))].reshape(-1)
    values = values[:: max(1, len(values) // SAMPLES) | 1].astype(np.float64)
    values = values[np.abs(values) < LARGEST]  # NaN is not less than anything
    return float(np.median(values)) if len(values) else 0.0


def without_value(image: NDArray[np.generic]) -> NDArray[np.bool_] | None:
    """Tell which pixels are no brightness (see `as_float`); None where all are one.

    Same shape; None costs no memory but that of a plane.
    """
    if image.dtype.kind != "f":
        return None
    with np.errstate(over="ignore"):
        if all((np.abs(plane) < LARGEST).all() for plane in image):
            return None
        return np.stack([~(np.abs(plane) < LARGEST) for plane in image])


def as_float(
    image: NDArray[np.generic], instead: Callable[[], float] = lambda: 0.0
) -> torch.Tensor:
    """Convert pixels of any real type to float32.

    Parameters
    ----------
    image
        Any shape.
    instead
        Returns what becomes of those that are no brightness: NaN, infinite, or beyond `LARGEST`.
    """
    if image.dtype.kind == "f":
        with np.errstate(over="ignore"):
            values = image.astype(np.float32, order="C")
        missing = ~(np.abs(values) < LARGEST)
        if missing.any():
            values[missing] = instead()
        return torch.from_numpy(values)
    return torch.from_numpy(image.astype(np.float32, order="C"))
