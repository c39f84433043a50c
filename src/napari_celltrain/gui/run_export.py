"""Taking a run to another computer: its data set, its settings and the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.run import RunFolder

if TYPE_CHECKING:
    from pathlib import Path


def export_run(folder: Path, target: Path) -> str:
    """Write a run's data set and settings, and say the command that trains it elsewhere.

    Raises
    ------
    CellTrainError
        When the run's data are in no file, or the place can't be written.
    """
    from napari_celltrain.dataset import load_dataset, write_dataset
    from napari_celltrain.files import write_text

    run = RunFolder(folder)
    if not run.dataset_file.exists():
        raise CellTrainError(
            f"The data of '{folder.name}' are in memory only; save the images as TIFF and the "
            "cells as .aut first, and open those."
        )
    write_dataset(target / "dataset.toml", load_dataset(run.dataset_file))
    write_text(target / "settings.toml", run.settings_file.read_text("utf-8"))
    command = "celltrain train dataset.toml --settings settings.toml --out run --resume"
    write_text(target / "train.sh", f'#!/bin/sh\ncd "$(dirname "$0")" || exit 1\n{command}\n')
    return f"Written to {target}. There, run: {command}"
