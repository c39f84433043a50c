"""The runs in a folder: their detectors, how good they are, and what can be done with them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QGridLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_celltrain.detector.package import description_of
from napari_celltrain.gui.training_session import is_training
from napari_celltrain.training.run import RunFolder, is_number

if TYPE_CHECKING:
    from pathlib import Path

ACTIONS = {
    "resume": ("Resume", "Go on with this run from its last checkpoint."),
    "tune": ("Train further", "Start a new run from this detector, on the data in the Data tab."),
    "predict": ("Find cells", "Use this detector in the Predict cells widget."),
    "open": ("Show curve", "Show the curve of this run, also while another program trains it."),
    "folder": ("Open folder", "Show the folder of this run in the system's file browser."),
    "pack": ("Pack…", "Write the detector into one file, to give it to others."),
    "export": (
        "Export for a cluster…",
        "Write the data set and the command to train on another computer.",
    ),
    "delete": ("Delete…", "Delete the run folder; asks first."),
}
_NEED_DETECTOR = {"tune", "predict", "pack"}


@dataclass(frozen=True)
class RunSummary:
    """What the list shows of a run."""

    path: Path
    f1: float | None
    data: str
    date: str
    state: str
    has_detector: bool

    @property
    def in_words(self) -> str:
        """What it learnt from, and when."""
        learnt = f"Learnt from {self.data}" if self.data else "What it learnt from is not written"
        return f"{learnt}; begun {self.date}." if self.date else f"{learnt}."


def summaries(folder: Path) -> list[RunSummary]:
    """Return the runs in a folder, the newest first; never raises for a damaged one."""
    try:
        places = [place for place in folder.iterdir() if place.is_dir()]
    except OSError:
        return []
    found = [summary(place) for place in places if RunFolder(place).is_run()]
    return sorted(found, key=lambda one: one.date, reverse=True)


def summary(place: Path) -> RunSummary:
    """Return what is known of one run."""
    run = RunFolder(place)
    state = run.read_state()
    info: dict[str, object] = {}
    try:
        read = json.loads(description_of(run.best))
        info = read if isinstance(read, dict) else {}
    except (OSError, ValueError, RecursionError):
        pass
    f1 = info.get("f1")
    experiments = state.get("experiments")
    names = [str(name) for name in experiments] if isinstance(experiments, list) else []
    if run.is_locked() or is_training(place):
        words = "training now"
    else:
        words = "finished" if state.get("finished") else "can be resumed"
    return RunSummary(
        place,
        float(f1) if is_number(f1) else None,  # type: ignore[arg-type]
        ", ".join(names),
        str(state.get("started", ""))[:16].replace("T", " "),
        words,
        bool(info),
    )


class _Table(QTableWidget):
    """A table that is content with a few lines, so that the buttons below stay in sight."""

    def sizeHint(self) -> QSize:
        return QSize(256, round(5.5 * self.fontMetrics().height()))


class RunList(QWidget):
    """A table of runs with buttons for the selected one."""

    action_requested = Signal(str, object)
    """A key of `ACTIONS`, and the run's folder."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.folder: Path | None = None
        self.runs: list[RunSummary] = []
        self.table = _Table(0, 4, self)
        self.table.setHorizontalHeaderLabels(["Run", "F1", "Date", "State"])
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.verticalHeader().setVisible(False)
        self.table.setAccessibleName("Runs")
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.table.setWordWrap(False)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in (1, 2, 3):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.table.itemSelectionChanged.connect(self._show_selected)
        self.details = QLabel(self)
        self.details.setWordWrap(True)
        self.details.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.buttons: dict[str, QPushButton] = {}
        grid = QGridLayout()
        place = 0
        for key, (text, tip) in ACTIONS.items():
            button = QPushButton(text, self)
            button.setToolTip(tip)
            button.setProperty("action", key)
            button.clicked.connect(self._emit_action)
            columns = 2 if key == "export" else 1  # its text is long
            grid.addWidget(button, place // 3, place % 3, 1, columns)
            place += columns
            self.buttons[key] = button
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.details)
        layout.addLayout(grid)
        self._show_selected()

    @property
    def selected(self) -> RunSummary | None:
        """The selected run."""
        row = self.table.currentRow()
        return self.runs[row] if 0 <= row < len(self.runs) else None

    def show_folder(self, folder: Path) -> None:
        """List the runs of a folder, keeping the selection."""
        before = self.selected
        self.folder = folder
        self.runs = summaries(folder)
        self.table.setRowCount(len(self.runs))
        for row, run in enumerate(self.runs):
            f1 = "–" if run.f1 is None else f"{run.f1:.3f}"
            for column, text in enumerate((run.path.name, f1, run.date[:10], run.state)):
                item = QTableWidgetItem(text)
                item.setToolTip(f"{run.path}\n{run.in_words}")
                item.setTextAlignment(Qt.AlignmentFlag.AlignVCenter)
                self.table.setItem(row, column, item)
        paths = [run.path for run in self.runs]
        if before is not None and before.path in paths:
            self.table.selectRow(paths.index(before.path))
        elif paths:
            self.table.selectRow(0)
        self._show_selected()

    def add(self, path: Path | None) -> None:
        """List a run that was begun in this folder since; nothing is read again for others."""
        if path is None or path.parent != self.folder or path in [run.path for run in self.runs]:
            return
        if RunFolder(path).is_run():
            self.show_folder(self.folder)

    def select(self, path: Path) -> None:
        """Select a run."""
        for row, run in enumerate(self.runs):
            if run.path == path:
                self.table.selectRow(row)

    def _show_selected(self) -> None:
        run = self.selected
        none_yet = (
            "" if self.runs else "No runs in this folder yet; Start training makes the first."
        )
        self.details.setText(none_yet if run is None else run.in_words)
        for key, button in self.buttons.items():
            enabled = run is not None and (key not in _NEED_DETECTOR or run.has_detector)
            if run is not None and run.state == "training now" and key in ("resume", "delete"):
                enabled = False
            button.setEnabled(enabled)

    def _emit_action(self) -> None:
        run = self.selected
        if run is not None:
            self.action_requested.emit(self.sender().property("action"), run.path)
