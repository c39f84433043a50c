"""Nuclei that move, push each other away, grow and divide; every one of them exactly known."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_celltrain.simulation.scene import Scene

N_SPOTS = 9
"""Bright and dark spots (chromatin, nucleoli) in a nucleus."""
CONDENSED = 0.8
"""Width of a nucleus that is about to divide."""
NEWBORN = 0.76
GROWING_FRAMES = 4
RELAXATIONS = 40


@dataclass
class Nuclei:
    """The nuclei of one frame; every array has one entry for each.

    Parameters
    ----------
    mother
        Index in the frame before.
    centre
        (z, y, x) in um.
    velocity
        um for a frame.
    axes
        Grown-up half-axes in um, shape (N, 3).
    turn
        Rotation matrices into the nucleus' own axes, shape (N, 3, 3).
    brightness
        Relative to the mean nucleus.
    age, cycle
        Frames since birth, and from birth to division.
    spots
        Texture: (z, y, x) in half-axes and a strength, shape (N, `N_SPOTS`, 4).
    """

    mother: NDArray[np.int64]
    centre: NDArray[np.float64]
    velocity: NDArray[np.float64]
    axes: NDArray[np.float64]
    turn: NDArray[np.float64]
    brightness: NDArray[np.float64]
    age: NDArray[np.int64]
    cycle: NDArray[np.int64]
    spots: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.centre)

    def pick(self, index: NDArray[np.int64]) -> Nuclei:
        """Return some of them, possibly repeated."""
        return Nuclei(*(getattr(self, field.name)[index].copy() for field in fields(self)))

    @property
    def dividing(self) -> NDArray[np.bool_]:
        """Whether it will be two in the next frame."""
        return self.age >= self.cycle

    @property
    def half_axes(self) -> NDArray[np.float64]:
        """Half-axes in um at its age, shape (N, 3)."""
        size = NEWBORN + (1 - NEWBORN) * np.clip(self.age / GROWING_FRAMES, 0, 1)
        axes = self.axes * size[:, None]
        mean = np.cbrt(axes.prod(axis=1, keepdims=True))
        return np.where(self.dividing[:, None], CONDENSED * mean, axes)

    @property
    def radius(self) -> NDArray[np.float64]:
        """Mean radius in um."""
        return np.asarray(np.cbrt(self.half_axes.prod(axis=1)))

    @property
    def glow(self) -> NDArray[np.float64]:
        """Brightness; condensed chromatin shines."""
        mitotic = self.dividing | (self.age == 0)
        return np.asarray(self.brightness * np.where(mitotic, 1.5, 1.0))


def grow(scene: Scene, rng: np.random.Generator) -> Iterator[Nuclei]:
    """Yield the nuclei of every frame."""
    nuclei = _first(scene, rng)
    for t in range(scene.time_points):
        if t:
            nuclei = _next(nuclei, scene, rng)
        yield nuclei


def _first(scene: Scene, rng: np.random.Generator) -> Nuclei:
    n = scene.n_cells
    cycle = _cycles(n, scene, rng)
    nuclei = Nuclei(
        mother=np.full(n, -1),
        centre=rng.uniform(0, 1, (n, 3)) * np.asarray(scene.size_um),
        velocity=rng.normal(0, scene.drift_um, (n, 3)),
        axes=_axes(n, scene, rng),
        turn=_rotations(n, scene, rng),
        brightness=rng.lognormal(0, 0.25, n),
        age=(rng.uniform(0, 1, n) * cycle).astype(np.int64),
        cycle=cycle,
        spots=_spots(n, scene, rng),
    )
    if scene.on_shell:
        direction = rng.normal(size=(n, 3))
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        nuclei.centre = _middle(scene) + direction * _shell(scene, n)
    for _ in range(8):  # from a random heap to a tissue
        _relax(nuclei, scene)
    return nuclei


def _next(before: Nuclei, scene: Scene, rng: np.random.Generator) -> Nuclei:
    index = np.repeat(np.arange(len(before)), np.where(before.dividing, 2, 1))
    nuclei = before.pick(index)
    nuclei.mother = index
    nuclei.age += 1
    born = before.dividing[index]
    n_born = int(born.sum())
    if n_born:
        axis = rng.normal(size=(n_born // 2, 3))
        if scene.flat:
            axis[:, 0] = 0
        elif scene.on_shell:  # daughters stay in the layer
            outward = nuclei.centre[born][::2] - _middle(scene)
            outward /= np.linalg.norm(outward, axis=1, keepdims=True)
            axis -= (axis * outward).sum(axis=1, keepdims=True) * outward
        axis /= np.linalg.norm(axis, axis=1, keepdims=True)
        nuclei.age[born] = 0
        nuclei.cycle[born] = _cycles(n_born, scene, rng)
        nuclei.axes[born] = _axes(n_born, scene, rng)
        nuclei.turn[born] = _rotations(n_born, scene, rng)
        nuclei.spots[born] = _spots(n_born, scene, rng)
        nuclei.brightness[born] *= rng.lognormal(0, 0.1, n_born)
        sides = np.repeat(axis, 2, axis=0) * np.tile([[1.0], [-1.0]], (n_born // 2, 1))
        nuclei.centre[born] += sides * nuclei.radius[born][:, None]
        nuclei.velocity[born] = 0.3 * sides
    nuclei.velocity = 0.7 * nuclei.velocity + rng.normal(
        0, 0.7 * scene.drift_um, nuclei.velocity.shape
    )
    nuclei.centre += 0.5 * nuclei.velocity
    nuclei.turn = _rotations(len(nuclei), scene, rng, angle=0.08) @ nuclei.turn
    if scene.on_shell:  # organoids turn slowly
        turn = _turn(np.array([0.3, 1.0, 0.2]), 0.02)
        nuclei.centre = _middle(scene) + (nuclei.centre - _middle(scene)) @ turn.T
    _relax(nuclei, scene)
    return nuclei


def _relax(nuclei: Nuclei, scene: Scene) -> None:
    """Push nuclei apart and back to where they belong, until they touch at most."""
    radius = nuclei.radius
    margin = np.zeros(3) if scene.flat else np.full(3, 0.9) * radius.mean()
    low, high = margin, np.asarray(scene.size_um) - margin
    for step in range(RELAXATIONS):
        if scene.on_shell and step < RELAXATIONS * 3 // 4:
            middle, shell = _middle(scene), _shell(scene, len(nuclei))
            offset = (nuclei.centre - middle) / shell
            distance = np.linalg.norm(offset, axis=1, keepdims=True)
            nuclei.centre += 0.3 * (1 / np.maximum(distance, 0.1) - 1) * offset * shell
        pairs = cKDTree(nuclei.centre).query_pairs(
            2 * scene.spacing * radius.max(), output_type="ndarray"
        )
        between = nuclei.centre[pairs[:, 1]] - nuclei.centre[pairs[:, 0]]
        distance = np.maximum(np.linalg.norm(between, axis=1), 1e-6)
        wanted = scene.spacing * (radius[pairs[:, 0]] + radius[pairs[:, 1]])
        push = (0.5 * np.maximum(wanted - distance, 0) / distance)[:, None] * between
        np.add.at(nuclei.centre, pairs[:, 0], -0.8 * push)
        np.add.at(nuclei.centre, pairs[:, 1], 0.8 * push)
        nuclei.centre = np.clip(nuclei.centre, low, high)


def _middle(scene: Scene) -> NDArray[np.float64]:
    return np.asarray(scene.size_um) / 2


def _shell(scene: Scene, n: int) -> NDArray[np.float64]:
    """Return the half-axes of the ellipsoid that n nuclei sit on; it grows with them."""
    most = np.asarray(scene.size_um) / 2 - 0.75 * scene.diameter_um
    grown = np.clip((n / (1.9 * scene.n_cells)) ** 0.5, 0.8, 1.0)
    return np.asarray(np.maximum(most, 0.5 * scene.diameter_um) * grown)


def _cycles(n: int, scene: Scene, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.maximum(6, rng.normal(scene.cycle_frames, 0.2 * scene.cycle_frames, n)).astype(
        np.int64
    )


def _axes(n: int, scene: Scene, rng: np.random.Generator) -> NDArray[np.float64]:
    radius = 0.5 * scene.diameter_um * np.clip(rng.normal(1, 0.08, (n, 1)), 0.8, 1.2)
    shape = np.exp(np.clip(rng.normal(0, 0.1, (n, 3)), -0.2, 0.2))
    shape /= np.cbrt(shape.prod(axis=1, keepdims=True))
    return np.asarray(radius * shape)


def _spots(n: int, scene: Scene, rng: np.random.Generator) -> NDArray[np.float64]:
    spots = np.empty((n, N_SPOTS, 4))
    place = rng.normal(size=(n, N_SPOTS, 3))
    if scene.flat:
        place[..., 0] *= 0.2
    place *= (rng.uniform(0, 0.8, (n, N_SPOTS)) / np.linalg.norm(place, axis=2))[..., None]
    spots[..., :3] = place
    spots[..., 3] = rng.uniform(0.2, 0.6, (n, N_SPOTS))
    spots[:, : N_SPOTS // 3, 3] *= -1  # nucleoli
    return spots


def _rotations(
    n: int, scene: Scene, rng: np.random.Generator, angle: float | None = None
) -> NDArray[np.float64]:
    """Return random rotation matrices, or small ones; in the plane for a flat scene."""
    axis = rng.normal(size=(n, 3))
    if scene.flat:
        axis[:, 1:] = 0
    angles = rng.uniform(0, 2 * np.pi, n) if angle is None else rng.normal(0, angle, n)
    return np.stack([_turn(one, by) for one, by in zip(axis, angles, strict=True)])


def _turn(axis: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    """Return the matrix of a rotation (Rodrigues' formula)."""
    a, b, c = axis / np.linalg.norm(axis)
    cross = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
    return np.asarray(np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross)
