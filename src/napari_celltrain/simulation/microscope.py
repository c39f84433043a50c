"""What a microscope makes of nuclei: sections, blur, loss of light in depth, photons, a camera."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.simulation.population import Nuclei
    from napari_celltrain.simulation.scene import Scene

EDGE = 14.0
"""Steepness of a nucleus' rim."""
SPOT_WIDTH = 0.22
"""Of a texture spot, in half-axes."""
SUBPLANES = 3
"""A thick section is the mean of so many thin ones."""
HAZE = 0.12
"""Share of the light that arrives out of focus."""


def image(nuclei: Nuclei, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Take a picture of a frame's nuclei, shape (z, y, x), in camera counts."""
    light = _fluorescence(nuclei, scene)
    sigma = np.asarray(scene.blur_um) / np.asarray(scene.voxel_size_um)
    if scene.flat:
        sigma[0] = 0
    light = gaussian_filter(light, sigma, mode="nearest")
    wide = 3 * sigma + np.asarray([0 if scene.flat else 1.5, 8, 8])
    light += HAZE * gaussian_filter(light, wide, mode="nearest", truncate=2.5)
    depth = np.arange(scene.shape[0], dtype=np.float32) * np.float32(scene.voxel_size_um[0])
    seen = scene.photons * np.exp(-depth / scene.attenuation_um)
    photons = light * seen[:, None, None].astype(np.float32) + scene.background_photons
    counts = (scene.gain * rng.poisson(photons)).astype(np.float32)
    counts += scene.offset + scene.read_noise * rng.standard_normal(counts.shape, np.float32)
    picture: NDArray[np.uint16] = np.clip(np.rint(counts), 0, 65_535).astype(np.uint16)
    return picture


def _fluorescence(nuclei: Nuclei, scene: Scene) -> NDArray[np.float32]:
    """Draw every nucleus: a textured ellipsoid with a soft rim."""
    voxel = np.asarray(scene.voxel_size_um)
    light = np.zeros(scene.shape, np.float32)
    thin = np.zeros(1) if scene.flat else (np.arange(SUBPLANES) + 0.5) / SUBPLANES - 0.5
    half_axes, glow = nuclei.half_axes, nuclei.glow
    for i in range(len(nuclei)):
        reach = 1.25 * half_axes[i].max() / voxel
        centre = nuclei.centre[i] / voxel
        low = np.maximum(0, np.floor(centre - reach)).astype(int)
        high = np.minimum(scene.shape, np.ceil(centre + reach) + 1).astype(int)
        planes, rows, columns = (np.arange(a, b) for a, b in zip(low, high, strict=True))
        drawn = _nucleus(
            (planes[:, None] + thin).ravel() * voxel[0] - nuclei.centre[i, 0],
            rows * voxel[1] - nuclei.centre[i, 1],
            columns * voxel[2] - nuclei.centre[i, 2],
            half_axes[i],
            nuclei.turn[i],
            nuclei.spots[i],
        )
        section = drawn.reshape(len(planes), len(thin), len(rows), len(columns)).mean(axis=1)
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        light[part] += section * np.float32(glow[i])
    return light


def _nucleus(
    z: NDArray[np.floating[Any]],
    y: NDArray[np.floating[Any]],
    x: NDArray[np.floating[Any]],
    half_axes: NDArray[np.float64],
    turn: NDArray[np.float64],
    spots: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the light of one nucleus at a grid around its centre (um), shape (z, y, x)."""
    own = turn / half_axes[:, None]
    form = (own.T @ own).astype(np.float32)  # squared distance in half-axes, as a quadratic form
    z, y, x = z.astype(np.float32), y.astype(np.float32), x.astype(np.float32)
    squared = (form[1, 1] * y * y)[:, None] + form[2, 2] * x * x + 2 * form[1, 2] * np.outer(y, x)
    sloped = 2 * (form[0, 1] * y[:, None] + form[0, 2] * x)
    squared = (form[0, 0] * z * z)[:, None, None] + squared + z[:, None, None] * sloped
    body = expit(EDGE * (1 - np.sqrt(np.maximum(squared, 0))))
    # Round spots are products of three curves, which is what makes a texture cheap.
    places = (spots[:, :3] * half_axes) @ turn
    width = SPOT_WIDTH * half_axes.mean()
    curves = [
        np.exp(-((axis - places[:, k, None]) ** 2) / (2 * width**2)).astype(np.float32)
        for k, axis in enumerate((z, y, x))
    ]
    in_plane = curves[1][:, :, None] * curves[2][:, None, :]
    texture = 1 + np.tensordot((spots[:, 3:] * curves[0]).astype(np.float32).T, in_plane, axes=1)
    textured: NDArray[np.float32] = body * np.maximum(texture, np.float32(0.15))
    return textured
