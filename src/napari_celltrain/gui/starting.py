"""What the next training is asked for: how it is called, and what it starts from. No Qt."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 (dataclass fields are looked at)

from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.run import RunFolder


@dataclass(frozen=True)
class Asked:
    """What a person has chosen for a training, kept until it has really begun.

    Parameters
    ----------
    name
        As typed; empty: the date and the data.
    start_from
        A detector; None: from nothing.
    """

    name: str = ""
    start_from: Path | None = None


LONGEST_NAME = 200
"""Bytes; file systems take 255, and temporary files beside a run have longer names."""


def new_run_folder(folder: Path, name: str) -> Path:
    """Return the folder of a new run.

    Parameters
    ----------
    folder
        In which runs are kept.
    name
        Of the run, without a path: a run elsewhere would not be found in the list.

    Raises
    ------
    CellTrainError
        When it can't be called so, or something is called so already.
    """
    if name in (".", "..") or any(sign in "/\\" or not sign.isprintable() for sign in name):
        raise CellTrainError(
            f"A run can't be called '{name}': give it a name without / and \\ under Runs; in "
            "which folder it is made is chosen beside Folder."
        )
    if len(os.fsencode(name)) > LONGEST_NAME:
        raise CellTrainError(f"The name of the run, '{name[:20]}…', is too long for a folder.")
    run = RunFolder(folder / name)
    try:
        if run.is_run():
            raise CellTrainError(
                f"There is a run called '{name}' already. Give the next one another name, or "
                "resume that one, under Runs."
            )
        if run.path.is_file() or (run.path.exists() and run.foreign_files()):
            raise CellTrainError(
                f"There is something else called '{name}' in {folder}. Give the run another name, "
                "under Runs."
            )
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise CellTrainError(f"{run.path} can't be used: {why}.") from None
    return run.path


def has_begun(folder: Path) -> bool:
    """Tell whether there is anything of a run to go on from."""
    return any(RunFolder(folder).checkpoints.glob("*"))


def start_text(start_from: Path | None) -> str:
    """Return what the button says that starts a training."""
    if start_from is None:
        return "Start training"
    name = start_from.name
    return f"Train further from '{name if len(name) <= 16 else f'{name[:8]}…{name[-7:]}'}'"


def nothing_learnt(start_from: Path | None) -> str:
    """Say what to do after a training that was stopped before it had a checkpoint."""
    return (
        "Stopped before anything was learnt, so there is nothing to go on from. Press "
        f"{start_text(start_from)} to begin again."
    )
