"""What the network gets to see: crops before and after the random changes, with their points."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_celltrain.dataset import split as split_frames
from napari_celltrain.files import temporary_folder
from napari_celltrain.training.augmentation import make_batch, plain
from napari_celltrain.training.crops import StepSampler
from napari_celltrain.training.plan import make_plan
from napari_celltrain.training.prepare import prepare
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.dataset import Dataset


@dataclass(frozen=True, eq=False)
class PreviewCrop:
    """One training crop, twice.

    Parameters
    ----------
    before, after
        (z, y, x) of the network's middle input: only moved, turned and scaled; and with all
        random changes. 0 is dark, 1 is bright.
    points
        Annotated centres in voxels of the crop, (n, 3).
    status
        What they are (`Status`), (n,).
    target
        The heat map that the network should answer with, on its own coarser grid, (z', y', x').
    known
        Where on that grid the answer is judged: weight above 0.
    voxel_size
        (z, y, x) of a voxel of the crop, in `unit`.
    unit
        ``um`` or ``px``.
    """

    before: NDArray[np.float32]
    after: NDArray[np.float32]
    points: NDArray[np.float64]
    status: NDArray[np.int8]
    target: NDArray[np.float32]
    known: NDArray[np.bool_]
    voxel_size: tuple[float, float, float]
    unit: str


def preview_crops(
    dataset: Dataset,
    settings: TrainingSettings | None = None,
    count: int = 12,
    *,
    stopping: Callable[[], bool] = lambda: False,
) -> list[PreviewCrop]:
    """Draw crops as the first training steps would.

    Parameters
    ----------
    dataset
        With images and annotations; at most eight of its frames are read.
    settings
        Of the training.
    count
        How many crops.
    stopping
        Looked at while frames are read; the list is empty then.

    Raises
    ------
    CellTrainError
        As training would.
    """
    settings = settings or TrainingSettings()
    split = split_frames(dataset, settings.data.held_out_share, settings.design.time_window)
    plan = make_plan(dataset.experiments, split, settings)
    some = np.unique(np.linspace(0, len(split.train) - 1, 8).round().astype(int))
    with temporary_folder() as folder:
        frames = prepare(
            dataset.experiments,
            [split.train[i] for i in some],
            plan.design,
            plan.relative_sizes,
            folder,
            exclude_dying=settings.data.exclude_dying,
            stopping=stopping,
        )
        if not frames:
            return []
        sampler = StepSampler(
            frames,
            plan.groups,
            plan.design,
            settings.augmentation,
            cells_share=settings.optimiser.cells_share,
            seed=settings.compute.seed,
        )
        result = []
        # one crop of a step: each shows what another step may be about
        for step in range(count):
            crop, shape = sampler.draw(step, 0), plan.groups[sampler.group(step)].shape
            middle = len(crop.source) // 2
            batch = make_batch(
                [crop], shape, settings.augmentation, plan.design, torch.device("cpu")
            )
            inside = ((crop.points >= -0.5) & (crop.points <= np.array(shape) - 0.5)).all(axis=1)
            result.append(
                PreviewCrop(
                    before=plain(crop, shape)[middle],
                    after=np.ascontiguousarray(batch.images[0, middle].numpy()),
                    points=crop.points[inside],
                    status=crop.status[inside],
                    target=batch.target.heat[0].numpy(),
                    known=batch.target.weight[0].numpy() > 0,
                    voxel_size=plan.design.working_voxel_size,
                    unit=plan.design.unit,
                )
            )
        del sampler  # closes the mapped files before their folder goes
    return _of_one_size(result)


def _of_one_size(crops: Sequence[PreviewCrop]) -> list[PreviewCrop]:
    """Add darkness where one crop is smaller than another, so that they can be shown together."""

    def alike(images: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        largest = np.max([image.shape for image in images], axis=0)
        return [
            np.pad(image, [(0, b - a) for a, b in zip(image.shape, largest, strict=True)])
            for image in images
        ]

    before, after = alike([crop.before for crop in crops]), alike([crop.after for crop in crops])
    target, known = alike([crop.target for crop in crops]), alike([crop.known for crop in crops])
    return [
        replace(crop, before=before[i], after=after[i], target=target[i], known=known[i])
        for i, crop in enumerate(crops)
    ]
