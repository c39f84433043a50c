"""Which crops to train on, and reading them.

Every crop has its own random numbers, made from (seed, step, number within the step) alone. So a
resumed run draws what the uninterrupted one would have drawn, and a batch is the same however it
is spread over machines.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_celltrain.experiment import Status
from napari_celltrain.training.prepare import OpenFrames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.training.crop_groups import CropGroup
    from napari_celltrain.training.prepare import PreparedFrame
    from napari_celltrain.training.settings import Augmentation

EXACT_SHARE = 0.3
"""Share of crops that are only flipped and turned by right angles: their pixels keep the noise
and sharpness of the images, which interpolation would smooth away."""

CROWDING = 0.5
"""A cell with n neighbours within a crop is drawn n ** -this times as often as a lonely one."""


@dataclass(frozen=True, eq=False)
class Crop:
    """A piece of a frame, and how it becomes a training crop.

    Parameters
    ----------
    source
        (inputs, z, y, x) float16 pixels around the crop, zeros outside the frame.
    matrix
        Maps (y, x) of the crop, counted from its centre, to the same of the source, (2, 2).
    centre
        (y, x) of the crop's centre in the source.
    points
        Annotated centres in crop voxels (z, y, x), (n, 3).
    status
        What they are, (n,).
    known
        Whether the annotation is complete at each voxel of the output grid, (z', y', x').
    seed
        For the random changes of brightness.
    """

    source: NDArray[np.float16]
    matrix: NDArray[np.float64]
    centre: NDArray[np.float64]
    points: NDArray[np.float64]
    status: NDArray[np.int8]
    known: NDArray[np.bool_]
    seed: int


class CropSampler:
    """Draws crops from prepared frames.

    Parameters
    ----------
    frames
        To draw from.
    design
        Of the detector.
    shape
        (z, y, x) working voxels of a crop.
    augmentation
        How much crops are turned, flipped and scaled.
    cells_share
        Share of the crops that lie around an annotated cell.
    seed
        Of the run.
    """

    def __init__(
        self,
        frames: Sequence[PreparedFrame],
        design: Design,
        shape: tuple[int, int, int],
        augmentation: Augmentation,
        *,
        cells_share: float = 0.8,
        seed: int = 0,
    ) -> None:
        self.frames = list(frames)
        self.design = design
        self.shape = shape
        self.augmentation = augmentation
        self.cells_share = cells_share
        self.seed = seed
        self._open = OpenFrames()
        self.weight_of_member: dict[int, float] = {}
        """How much there is to learn from each experiment."""
        self._frame_of_point, self._point, self._point_weight = self._weigh_points()
        volume = np.array([np.prod(np.maximum(frame.shape, shape)) for frame in frames], float)
        self._frame_weight = _balanced(volume, np.array([frame.member for frame in frames]))

    def _weigh_points(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Weigh each cell so that crowds don't crowd out the lonely, nor one movie the others."""
        frame_of, index, weight, member = [], [], [], []
        reach = np.array(self.shape) / 3
        for number, frame in enumerate(self.frames):
            marked = np.flatnonzero(frame.status != Status.UNKNOWN)
            if not len(marked):
                continue
            scaled = frame.positions[marked] / np.maximum(reach, 1)
            neighbours = cKDTree(scaled).query_ball_point(scaled, 1.0, return_length=True)
            frame_of.append(np.full(len(marked), number))
            index.append(marked)
            weight.append(neighbours.astype(float) ** -CROWDING)
            member.append(np.full(len(marked), frame.member))
        if not index:
            empty = np.empty(0, np.int64)
            return empty, empty, np.empty(0)
        together, of_member = np.concatenate(weight), np.concatenate(member)
        for value in np.unique(of_member):
            self.weight_of_member[int(value)] = float(together[of_member == value].sum())
        weights = _balanced(together, of_member)
        return np.concatenate(frame_of), np.concatenate(index), np.cumsum(weights)

    def draw(self, step: int, number: int) -> Crop:
        """Return crop `number` of a step."""
        rng = np.random.default_rng((self.seed, step, number))
        if len(self._point) and rng.random() < self.cells_share:
            pick = int(np.searchsorted(self._point_weight, rng.random(), side="right"))
            pick = min(pick, len(self._point) - 1)
            frame = self.frames[self._frame_of_point[pick]]
            shape = np.array(self.shape)
            # anywhere in the crop, not always in its middle
            centre = frame.positions[self._point[pick]] + rng.uniform(-0.4, 0.4, 3) * shape
        else:
            frame = self.frames[int(rng.choice(len(self.frames), p=self._frame_weight))]
            centre = rng.uniform(0, 1, 3) * np.array(frame.shape)
        return self._cut(frame, centre, rng)

    def _cut(
        self, frame: PreparedFrame, centre: NDArray[np.float64], rng: np.random.Generator
    ) -> Crop:
        size = np.array(self.shape)
        # half a crop may hang over the edge of a frame, no more; a small frame is centred
        margin = np.minimum(size / 2, np.array(frame.shape) / 2)
        overhang = np.minimum(margin, size / 4)
        low, high = margin - overhang, np.array(frame.shape) - margin + overhang
        centre = np.clip(centre, np.minimum(low, high), np.maximum(low, high))
        matrix, exact = self._matrix(rng)
        flip_z = bool(
            self.augmentation.flip and self.augmentation.strength > 0 and rng.random() < 0.5
        )
        z0 = round(centre[0] - size[0] / 2) if frame.shape[0] > 1 else 0
        middle = (size[1:] - 1) / 2
        in_source = centre[1:] - 0.5
        if exact:  # on the pixels themselves: an even crop's centre lies between two
            in_source = np.round(in_source - middle % 1) + middle % 1
        half = np.abs(matrix) @ middle
        first = np.floor(in_source - half).astype(int)
        last = np.ceil(in_source + half).astype(int) + 1
        source = self._read(frame, z0, first, last)
        if flip_z:
            source = source[:, ::-1].copy()
        inverse = np.linalg.inv(matrix)
        points = frame.positions - np.array([z0, 0, 0])
        if flip_z:
            points[:, 0] = size[0] - 1 - points[:, 0]
        points[:, 1:] = (points[:, 1:] - in_source) @ inverse.T + middle
        near = ((points > -size / 4 - 8) & (points < size * 1.25 + 8)).all(axis=1)
        return Crop(
            source=source,
            matrix=matrix,
            centre=in_source - first,
            points=points[near],
            status=frame.status[near],
            known=self._known(frame, matrix, in_source, z0, flip_z),
            seed=int(rng.integers(2**62)),
        )

    def _matrix(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], bool]:
        """Draw a map from crop to source, and tell whether it keeps the pixels as they are."""
        change, strength = self.augmentation, self.augmentation.strength
        matrix = np.eye(2)
        if strength == 0:
            return matrix, True
        exact = rng.random() < EXACT_SHARE
        if change.rotate:
            turns = int(rng.integers(4))
            angle = turns * np.pi / 2 if exact else rng.uniform(0, 2 * np.pi)
            matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
            if exact:
                matrix = np.round(matrix)
        if change.flip and rng.random() < 0.5:
            matrix = matrix @ np.diag([1.0, -1.0])
        if exact:
            return matrix, True
        scale, shear = min(0.9, change.scale * strength), min(0.5, change.shear * strength)
        zoom = np.exp(rng.uniform(-1, 1) * np.log1p(scale))
        stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log1p(shear))
        slant = np.array([[stretch, rng.uniform(-1, 1) * shear], [0.0, 1 / stretch]])
        return matrix @ slant * zoom, False

    def _read(
        self, frame: PreparedFrame, z0: int, first: NDArray[np.int_], last: NDArray[np.int_]
    ) -> NDArray[np.float16]:
        size = (len(frame.files), self.shape[0], *(last - first))
        source = np.zeros(size, np.float16)
        low = np.maximum([z0, *first], 0)
        high = np.minimum([z0 + self.shape[0], *last], frame.shape)
        if (low >= high).any():
            return source
        z, y, x = (slice(a - o, b - o) for a, b, o in zip(low, high, (z0, *first), strict=True))
        inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        for k, path in enumerate(frame.files):
            source[k, z, y, x] = self._open.get(path)[inside]
        return source

    def _known(
        self,
        frame: PreparedFrame,
        matrix: NDArray[np.float64],
        in_source: NDArray[np.float64],
        z0: int,
        flip_z: bool,
    ) -> NDArray[np.bool_]:
        stride = np.array(self.design.strides[0])
        grid = -(-np.array(self.shape) // stride)
        if self._surely_known(frame, matrix, in_source, z0):
            return np.ones(grid, bool)
        z, y, x = ((np.arange(n) + 0.5) * s - 0.5 for n, s in zip(grid, stride, strict=True))
        z = z[::-1] if flip_z else z
        plane = (
            np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1) - (np.array(self.shape[1:]) - 1) / 2
        )
        place = plane @ matrix.T + in_source
        steps = np.array(frame.steps)
        in_image = (place + 0.5) * steps[1:] - 0.5
        inside = ((place >= -0.5) & (place <= np.array(frame.shape[1:]) - 0.5)).all(
            axis=-1
        ) & frame.known.in_plane(in_image[..., 0], in_image[..., 1])
        deep = z + z0
        planes = (deep >= -0.5) & (deep <= frame.shape[0] - 0.5)
        planes &= frame.known.in_depth((deep + 0.5) * steps[0] - 0.5)
        if frame.shape[0] == 1:
            planes = np.ones(len(z), bool)
        return np.asarray(planes[:, None, None] & inside[None])

    def _surely_known(
        self,
        frame: PreparedFrame,
        matrix: NDArray[np.float64],
        in_source: NDArray[np.float64],
        z0: int,
    ) -> bool:
        """Tell whether the whole crop lies inside the frame and what is known of it: the usual."""
        known = frame.known
        if known.nothing or known.mask is not None:
            return False
        half = np.abs(matrix) @ (np.array(self.shape[1:]) / 2)
        first, last = (
            np.array([z0, *(in_source - half)]),
            np.array([z0 + self.shape[0] - 1, *(in_source + half)]),
        )
        if frame.shape[0] == 1:
            first[0] = last[0] = 0
        steps = np.array(frame.steps)
        low, high = (first + 0.5) * steps - 0.5, (last + 0.5) * steps - 0.5
        return bool(
            (first >= -0.5).all()
            and (last <= np.array(frame.shape) - 0.5).all()
            and (low >= known.low).all()
            and (high <= known.high).all()
        )


class StepSampler:
    """Draws the crops of a step, all of one group.

    Parameters
    ----------
    frames
        To draw from.
    groups
        Of the plan; those without a frame are never drawn.
    design, augmentation, cells_share, seed
        As of `CropSampler`.
    """

    def __init__(
        self,
        frames: Sequence[PreparedFrame],
        groups: Sequence[CropGroup],
        design: Design,
        augmentation: Augmentation,
        *,
        cells_share: float = 0.8,
        seed: int = 0,
    ) -> None:
        self.seed = seed
        self._samplers: dict[int, CropSampler] = {}
        shares = []
        for number, group in enumerate(groups):
            own = [frame for frame in frames if frame.member in group.members]
            if own:
                self._samplers[number] = sampler = CropSampler(
                    own, design, group.shape, augmentation, cells_share=cells_share, seed=seed
                )
                shares.append(sum(map(np.sqrt, sampler.weight_of_member.values())))
        # of frames without a mark can be learnt that there is nothing, as of other empty places
        least = (1 - cells_share) * max(shares) or 1.0
        shares = [share or least for share in shares]
        self._share = np.cumsum(shares) / sum(shares)

    def group(self, step: int) -> int:
        """Return the number of the group that a step learns from."""
        numbers = list(self._samplers)
        if len(numbers) == 1:
            return numbers[0]
        chosen = np.random.default_rng((self.seed, step)).random()
        return numbers[min(int(np.searchsorted(self._share, chosen)), len(numbers) - 1)]

    def draw(self, step: int, number: int) -> Crop:
        """Return crop `number` of a step."""
        return self._samplers[self.group(step)].draw(step, number)


def _balanced(weight: NDArray[np.float64], member: NDArray[np.int64]) -> NDArray[np.float64]:
    """Scale weights so that each experiment gets the square root of its share; sum 1."""
    weight = weight / weight.sum()
    for value in np.unique(member):
        own = member == value
        share = weight[own].sum()
        weight[own] *= np.sqrt(share) / share
    return np.asarray(weight / weight.sum())
