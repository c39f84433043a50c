"""What a checkpoint must hold before a run goes on from it.

Its checksum tells damage from content; this tells content that this program wrote from content
that somebody made up, before anything is allocated for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from napari_celltrain.detector.compute import Layout, Precision  # noqa: TC001 (pydantic again)
from napari_celltrain.detector.design import Design  # noqa: TC001 (pydantic looks at it)
from napari_celltrain.detector.learnt import TrainedOn  # noqa: TC001 (pydantic again)
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.crop_groups import CropGroup

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_celltrain.training.checkpoint import Checkpoint

MOST_VOXELS = 2**28
"""Working voxels of a step; the largest cards take a few million."""

Side = Annotated[int, Field(ge=1, le=4096)]
Count = Annotated[int, Field(ge=0)]


class _Saved(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class SavedGroup(_Saved):
    """Crop and batch size for some of the experiments."""

    members: tuple[Count, ...]
    shape: tuple[Side, Side, Side]
    batch_size: int = Field(ge=1, le=2**16)

    @model_validator(mode="after")
    def _fits_into_a_machine(self) -> Self:
        if self.batch_size * math.prod(self.shape) > MOST_VOXELS:
            raise ValueError("crop and batch are larger than any machine")
        return self


class SavedPlan(_Saved):
    """What a run decided when it began."""

    groups: tuple[SavedGroup, ...] = Field(min_length=1, max_length=4096)
    learning_rate: float = Field(gt=0, le=0.1)
    layout: Layout = "channels last"

    def crop_groups(self) -> list[CropGroup]:
        """Return crop and batch sizes as the plan has them."""
        return [CropGroup(one.members, one.shape, one.batch_size) for one in self.groups]

    @model_validator(mode="before")
    @classmethod
    def _of_one_size(cls, value: object) -> object:
        """Read what was written when all crops of a run had one size: it holds for everything."""
        if isinstance(value, dict) and "crop_shape" in value and "groups" not in value:
            size = {"shape": value["crop_shape"], "batch_size": value.get("batch_size")}
            return {**value, "groups": ({"members": (), **size},)}
        return value


class SavedSchedule(_Saved):
    """How far the run was."""

    stale: Count
    cooling_from: Count | None
    cooling_to: Count | None


class SavedState(_Saved):
    """Everything in a checkpoint but the tensors."""

    step: Count
    seconds: float = Field(ge=0, allow_inf_nan=False)
    schedule: SavedSchedule
    design: Design
    plan: SavedPlan
    nonfinite: Count
    nonfinite_in_bfloat16: Count
    best_f1: float
    best_steadiness: float
    best_threshold: float = Field(ge=0, le=1)
    best_step: Count
    best_train_loss: float
    worse: list[float]
    mean_loss: float
    next_evaluation: Count
    evaluation_gap: Count
    last_evaluation: int = Field(default=0, ge=-1)
    precision: Precision
    learnt_from: tuple[TrainedOn, ...] = ()
    judged_on: str = ""


def check_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Refuse a checkpoint that this program can't have written.

    Raises
    ------
    CellTrainError
        Naming what does not fit.
    """
    where = f"The checkpoint of step {checkpoint.step} in {folder} can't be used"
    try:
        state = SavedState.model_validate(dict(checkpoint.state))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:80]
        raise CellTrainError(
            f"{where}: '{place}': {first['msg']}. Move it away to go on from the one before."
        ) from None
    with torch.device("meta"):
        expected = CentreNet(state.design).state_dict()
    for key, like in expected.items():
        for name, tensor in _of(checkpoint, key):
            if tensor is None or tensor.shape != like.shape or not tensor.dtype.is_floating_point:
                raise CellTrainError(f"{where}: '{name}' does not fit its design.")
            if not torch.isfinite(tensor).all():
                raise CellTrainError(f"{where}: '{name}' has values that are not finite.")


def _of(checkpoint: Checkpoint, key: str) -> Iterator[tuple[str, torch.Tensor | None]]:
    for name in (f"model.{key}", f"ema.{key}"):
        yield name, checkpoint.tensors.get(name)
    for name in (f"optimiser.exp_avg.{key}", f"optimiser.exp_avg_sq.{key}"):
        if name in checkpoint.tensors:  # there are none before the first step
            yield name, checkpoint.tensors[name]
