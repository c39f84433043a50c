"""Random changes of crops, batched on the device.

Geometry was drawn with the crop (`crops`), because the points move with it; here the pixels follow,
and brightness, contrast, gamma, blur, noise and what light does in depth are added. Every crop has
its own random numbers, so a batch is the same however it is split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from napari_celltrain.detector.intensity import CLIP
from napari_celltrain.training.targets import Target, draw_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.training.crops import Crop
    from napari_celltrain.training.settings import Augmentation


@dataclass(frozen=True, eq=False)
class Batch:
    """Crops ready for the network.

    Parameters
    ----------
    images
        (n, inputs, z, y, x) float32.
    target
        What the network should say.
    """

    images: torch.Tensor
    target: Target


def make_batch(
    crops: Sequence[Crop],
    shape: tuple[int, int, int],
    augmentation: Augmentation,
    design: Design,
    device: torch.device,
) -> Batch:
    """Turn crops into a batch on the device."""
    images = _warp(crops, shape, device)
    if augmentation.strength > 0:
        images = _change_light(images, [crop.seed for crop in crops], augmentation)
    points = np.concatenate([crop.points for crop in crops])
    number = np.repeat(np.arange(len(crops)), [len(crop.points) for crop in crops])
    status = np.concatenate([crop.status for crop in crops])
    known = np.stack([crop.known for crop in crops])
    target = draw_target(
        torch.from_numpy(points.astype(np.float32)).to(device),
        torch.from_numpy(number).to(device),
        torch.from_numpy(status).to(device),
        torch.from_numpy(known).to(device),
        design,
    )
    return Batch(images, target)


def _warp(crops: Sequence[Crop], shape: tuple[int, int, int], device: torch.device) -> torch.Tensor:
    """Sample each source along its map; planes and inputs share it, so this is 2D and cheap."""
    depth, height, width = shape
    y = torch.arange(height, device=device) - (height - 1) / 2
    x = torch.arange(width, device=device) - (width - 1) / 2
    warped = []
    for crop in crops:
        source = torch.from_numpy(crop.source).to(device).float()
        inputs, _, rows, columns = source.shape
        m, c = crop.matrix, crop.centre
        at_y = m[0, 0] * y[:, None] + m[0, 1] * x[None] + c[0]
        at_x = m[1, 0] * y[:, None] + m[1, 1] * x[None] + c[1]
        grid = torch.stack(
            [at_x * (2 / max(columns - 1, 1)) - 1, at_y * (2 / max(rows - 1, 1)) - 1], dim=-1
        )
        flat = source.reshape(1, inputs * depth, rows, columns)
        warped.append(
            F.grid_sample(flat, grid[None].float(), align_corners=True).reshape(
                1, inputs, depth, height, width
            )
        )
    return torch.cat(warped)


def _change_light(images: torch.Tensor, seeds: Sequence[int], change: Augmentation) -> torch.Tensor:
    n, _, depth = images.shape[:3]
    device, strength = images.device, change.strength
    draws = [np.random.default_rng(seed) for seed in seeds]

    def uniform(low: float, high: float, probability: float, neutral: float) -> torch.Tensor:
        values = [
            rng.uniform(low, high) if rng.random() < probability else neutral for rng in draws
        ]
        return torch.tensor(values, device=device, dtype=torch.float32).view(-1, 1, 1, 1, 1)

    def planes(largest: float) -> torch.Tensor:
        values = np.stack(
            [rng.uniform(-largest, largest, depth) * (rng.random() < 0.3) for rng in draws]
        )
        return torch.tensor(values, device=device, dtype=torch.float32).view(n, 1, depth, 1, 1)

    blur = uniform(0, min(1.0, change.blur * strength), 0.3, 0.0)
    if bool((blur > 0).any()):
        images = torch.lerp(images, _smooth(images), blur)
    log_gamma = float(np.log1p(change.gamma * strength))
    gamma = torch.exp(uniform(-log_gamma, log_gamma, 0.5, 0.0))
    images = images.sign() * (images.abs() + 1e-4) ** gamma
    log_contrast = float(np.log1p(change.contrast * strength))
    contrast = torch.exp(uniform(-log_contrast, log_contrast, 0.7, 0.0))
    if depth > 1:
        dimmest = 1 - min(0.95, change.z_decay * strength)
        decay = uniform(dimmest, 1, 0.4, 1.0)
        from_below = uniform(0, 1, 1.0, 0.0) < 0.5
        position = torch.linspace(0, 1, depth, device=device).view(1, 1, -1, 1, 1)
        position = torch.where(from_below, 1 - position, position)
        contrast = contrast * decay**position * (1 + planes(change.plane_flicker * strength))
    brightness = uniform(-change.brightness * strength, change.brightness * strength, 0.7, 0.0)
    images = images * contrast + brightness
    gauss = uniform(0, change.noise * strength, 0.5, 0.0)
    poisson = uniform(0, change.noise * strength, 0.5, 0.0)
    noise = torch.empty_like(images)
    for i, rng in enumerate(draws):
        generator = torch.Generator(device=device).manual_seed(int(rng.integers(2**62)))
        noise[i].normal_(generator=generator)
    # noise that went through a resampling is blurred: in half of the crops it is too
    blurred = uniform(0, 1, 1.0, 0.0) < 0.5
    noise = torch.where(blurred, _smooth(noise) / SMOOTHED_NOISE, noise)
    images = images + noise * (gauss + poisson * images.clamp(min=0).sqrt())
    return images.clamp_(*CLIP)


SMOOTHED_NOISE = 6 / 16
"""What `_smooth` leaves of the standard deviation of white noise."""


def _smooth(images: torch.Tensor) -> torch.Tensor:
    """Binomial filter in plane: a Gaussian of about 0.8 pixels, twice over."""
    n, inputs, depth, height, width = images.shape
    flat = images.reshape(n, inputs * depth, height, width)
    flat = F.pad(flat, (1, 1, 1, 1), mode="replicate")
    flat = (flat[..., :-2] + 2 * flat[..., 1:-1] + flat[..., 2:]) * 0.25
    flat = (flat[..., :-2, :] + 2 * flat[..., 1:-1, :] + flat[..., 2:, :]) * 0.25
    return flat.reshape(images.shape)


def plain(crop: Crop, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Return the pixels of a crop before brightness is changed, (inputs, z, y, x)."""
    return _warp([crop], shape, torch.device("cpu"))[0].numpy()
