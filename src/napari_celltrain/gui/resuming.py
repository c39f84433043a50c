"""Which runs can go on, with what, and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QMessageBox

from napari_celltrain.dataset import Dataset
from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.starting import has_begun
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qtpy.QtWidgets import QWidget

    from napari_celltrain.gui.experiments_table import ExperimentsTable


def is_unfinished(folder: Path) -> bool:
    """Tell whether a run was ended before its end and has a checkpoint to go on from."""
    return has_begun(folder) and not RunFolder(folder).is_finished()


def larger_budget(settings: TrainingSettings, asked: TrainingSettings) -> TrainingSettings:
    """Let a finished run go on for as long as is asked, on top of what it had."""
    values = settings.model_dump()
    for key in ("minutes", "steps"):
        more = getattr(asked.budget, key)
        if more is not None:
            values["budget"][key] = (values["budget"][key] or 0) + more
    return TrainingSettings.from_dict(values)


def data_to_go_on_with(
    folder: Path, table: ExperimentsTable, parent: QWidget
) -> Dataset | Path | None:
    """Return the data of a run; what is ticked where they were layers, which are in no file.

    Asks where only some of that is what the run was begun with. Where none of it is called so,
    the layers may have been renamed: the engine knows movies by their pixels, and refuses others.

    Parameters
    ----------
    folder
        Of the run.
    table
        The experiments that are open.
    parent
        The window to ask in.

    Returns
    -------
    None when it is not to go on.

    Raises
    ------
    CellTrainError
        When nothing is ticked, or it can't be used.
    """
    run = RunFolder(folder)
    if run.dataset_file.exists():
        return run.dataset_file
    begun_with = run.read_state().get("experiments") or []
    if begun_with and not any(entry.use for entry in table.entries):
        raise CellTrainError(
            f"'{folder.name}' has learnt from {_listed(begun_with)}, out of layers: open it again, "
            "tick it under Data, and press Resume."
        )
    members = tuple(table.members())
    now = [member.experiment.name for member in members]
    question = _question(folder.name, begun_with, now)
    if question:
        answer = QMessageBox.question(parent, "Go on with other data", question)
        if answer != QMessageBox.Yes:
            return None
    return Dataset(members)


def _question(run: str, begun_with: Sequence[str], now: Sequence[str]) -> str:
    missing = [name for name in begun_with if name not in now]
    new = [name for name in now if name not in begun_with]
    if len(missing) == len(begun_with) or not (missing or new):
        return ""
    words = f"'{run}' was begun with {_listed(begun_with)}."
    if missing:
        words += f" Not ticked now, or not open: {_listed(missing)}."
    if new:
        words += f" New to it: {_listed(new)}."
    return f"{words} Go on with what is ticked now?"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:5])
    return shown + (f" and {len(names) - 5} more" if len(names) > 5 else "")
