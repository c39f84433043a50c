"""Reading data for a run, and taking a run or its detector elsewhere: work for a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.training_session import is_training
from napari_celltrain.training.run import RunFolder

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_celltrain.gui.work import Work


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
    write_text(target / "settings.toml", run.settings_text())
    command = "celltrain train dataset.toml --settings settings.toml --out run --resume"
    write_text(target / "train.sh", f'#!/bin/sh\ncd "$(dirname "$0")" || exit 1\n{command}\n')
    return f"Written to {target}. There, run: {command}"


def exporting(folder: Path, target: Path) -> Work:
    """Return work that exports a run and returns a sentence."""

    def work(report: Callable[[Any], None], stop: threading.Event) -> str:
        return export_run(folder, target)

    return work


def deleting(folder: Path) -> Work:
    """Return work that deletes a run's folder and returns a sentence."""

    def work(report: Callable[[Any], None], stop: threading.Event) -> str:
        import shutil

        here = is_training(folder)  # it was idle when it was listed
        if here or RunFolder(folder).is_locked():
            whom = "" if here else " by another program"
            raise CellTrainError(
                f"'{folder.name}' is being trained{whom} now, and was not deleted."
            )
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            return f"Not all of {folder} could be deleted."
        return f"The run '{folder.name}' was deleted."

    return work


def packing(folder: Path, target: Path) -> Work:
    """Return work that writes a run's detector into one file and returns a sentence."""

    def work(report: Callable[[Any], None], stop: threading.Event) -> str:
        from napari_celltrain.sharing import pack_detector

        pack_detector(folder, target)
        return f"The detector is in {target}; whoever drags it into napari can use it."

    return work


def reading(paths: Sequence[Path]) -> Work:
    """Return work that reads files and returns the members of a data set."""

    def work(report: Callable[[Any], None], stop: threading.Event) -> Any:
        from napari_celltrain.dataset import load_dataset

        return load_dataset(list(paths)).members

    return work
