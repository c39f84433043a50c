"""Choosing where and in which format cells are saved. Writing them is work for a thread."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_celltrain.gui.writers import save_as

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from napari_celltrain.experiment import Experiment
    from napari_celltrain.gui.work import Work

FIRST = "CSV table"
FOLDERS = {"Cell Tracking Challenge": "*_RES"}
"""Formats that are folders, and how those are called."""


def filters() -> dict[str, str]:
    """Return the name of each format that can be written, by its line in a dialog."""
    from napari_celltrain.formats.registry import formats, is_writable

    names = [one.name for one in formats() if is_writable(one)]
    patterns = {
        one.name: FOLDERS.get(one.name) or " ".join(f"*{suffix}" for suffix in one.suffixes)
        for one in formats()
    }
    names.sort(key=lambda name: name != FIRST)
    return {f"{name} ({patterns[name]})": name for name in names}


def ask_where(parent: QWidget) -> tuple[Path, str] | None:
    """Ask for a place and a format; None when it was cancelled.

    A name without a suffix gets that of the format; one with a suffix keeps it.
    """
    lines = filters()
    path, line = QFileDialog.getSaveFileName(
        parent, "Save the cells", "cells.csv", ";;".join(lines)
    )
    if not path:
        return None
    return named(Path(path), lines.get(line, FIRST))


def named(path: Path, format_name: str) -> tuple[Path, str]:
    """Return the path with what the format needs at its end, and the format.

    A suffix that belongs to another format says which one is meant, whatever the dialog says.
    """
    from napari_celltrain.formats.registry import format_named, format_written_to

    if format_name in FOLDERS:
        ending = FOLDERS[format_name].lstrip("*")
        return (path if path.name.endswith(ending) else path.with_name(path.stem + ending)), (
            format_name
        )
    suffixes = format_named(format_name).suffixes
    if not path.suffix:
        return path.with_name(path.name + suffixes[0]), format_name
    if path.suffix.lower() in suffixes:
        return path, format_name
    return path, format_written_to(path).name


def saving_work(path: Path, format_name: str, experiment: Experiment) -> Work:
    """Return work that writes an experiment and returns a sentence."""

    def work(report: Callable[[Any], None], stop: threading.Event) -> str:
        save_as(path, experiment, format_name)
        return f"{len(experiment.annotations)} cells written to {path}."

    return work
