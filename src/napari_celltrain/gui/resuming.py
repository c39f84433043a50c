"""Which runs can go on, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from pathlib import Path


def is_unfinished(folder: Path) -> bool:
    """Tell whether a run was ended before its end and has a checkpoint to go on from."""
    run = RunFolder(folder)
    return any(run.checkpoints.glob("*")) and not run.is_finished()


def larger_budget(settings: TrainingSettings, asked: TrainingSettings) -> TrainingSettings:
    """Let a finished run go on for as long as is asked, on top of what it had."""
    values = settings.model_dump()
    for key in ("minutes", "steps"):
        more = getattr(asked.budget, key)
        if more is not None:
            values["budget"][key] = (values["budget"][key] or 0) + more
    return TrainingSettings.from_dict(values)
