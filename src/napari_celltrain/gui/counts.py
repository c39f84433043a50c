"""The dock widget *Annotation counts*."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.bar_chart import BarChart
from napari_celltrain.gui.counting import Counted, counts_as_csv, look_closely, quick_counts
from napari_celltrain.gui.dock_page import DockPage
from napari_celltrain.gui.findings_list import FindingsList
from napari_celltrain.gui.going_there import (
    go_to,
    lay_on_movies,
    look_at_all_of,
    show_alone,
    show_time_point,
    shown_time_point,
)
from napari_celltrain.gui.long_texts import Title
from napari_celltrain.gui.open_experiments import OpenExperiment, open_experiments
from napari_celltrain.gui.scrolled import Scrolled
from napari_celltrain.gui.work import Job

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_celltrain.experiment import Experiment, Finding

COLUMNS = ("Experiment", "Time\npoints", "Cells", "Tracks", "Divi-\nsions", "Spac-\ning", "Width")
_TIPS = (
    "Click: its bars below, and its layers in the viewer.",
    "Annotated time points / time points in the movie",
    "Annotated cell positions",
    "Unbranched chains of linked positions",
    "Positions with two links onward",
    "Median distance to the nearest neighbour",
    "Estimated width of a cell, measured in the image",
)


class CountsWidget(DockPage):
    """What is annotated in every open experiment, live."""

    NARROWEST = 420

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self._open: list[OpenExperiment] = []
        self.counted: list[Counted] = []
        self._selected: int | None = None
        self._closer: Job | None = None
        self._look_again = False
        self._experiments: list[tuple[int, Experiment]] = []
        self._known: dict[int, Counted] = {}
        self._together = ""
        self.table = QTableWidget(0, len(COLUMNS), self)
        self.chart = BarChart(self)
        self.chart_title = Title("", self)
        self.enough = QLabel("", self)
        self.findings = FindingsList(self)
        self.export_button = QPushButton("Export as CSV…", self)
        self.message = QLabel("", self)
        self._arrange()
        self.watcher.layers_changed.connect(self.update_counts)
        self.watcher.points_changed.connect(self.update_counts)
        self.watcher.time_changed.connect(self._mark_time)
        self.update_counts()

    def update_counts(self) -> None:
        """Count again: at once what is quick, in a thread what is not."""
        self._open = open_experiments(self.viewer.layers)
        lay_on_movies(self.viewer, self._open)
        self.counted, self._experiments = [], []
        for found in self._open:
            try:
                experiment = found.read()
                one = quick_counts(experiment)
                self._experiments.append((found.identity, experiment))
            except CellTrainError as error:
                one = Counted(found.name, problem=str(error))
            except Exception as error:  # one odd layer takes nobody else's counts away
                one = Counted(found.name, problem=f"It can't be counted: {error}")
            known = self._known.get(found.identity)
            if known is not None:  # until the closer look has ended, what it said before
                one.closer = known.closer
            self._known[found.identity] = one
            self.counted.append(one)
        self._known = {one.identity: self._known[one.identity] for one in self._open}
        self._fill()
        self._look_closely()

    # --- showing -------------------------------------------------------------------------------

    def _fill(self) -> None:
        rows = [*self.counted, *([Counted.total(self.counted)] if self.counted else [])]
        self.table.blockSignals(True)
        self.table.setRowCount(len(rows))
        for row, one in enumerate(rows):
            for column, text in enumerate(one.cells()):
                item = self.table.item(row, column)
                if item is None:
                    item = QTableWidgetItem()
                    self.table.setItem(row, column, item)
                if item.text() != text:
                    item.setText(text)
                if column:
                    item.setTextAlignment(
                        Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    )
                item.setToolTip(one.problem or (text if not column else _TIPS[column]))
                font = item.font()
                font.setBold(row == len(rows) - 1)
                item.setFont(font)
        chosen = self._row()
        if chosen is not None:
            self.table.selectRow(chosen)
        self.table.blockSignals(False)
        self._fit_height(len(rows))
        self._show_selected()
        self.findings.set_findings([f for one in self.counted for f in one.closer.findings])
        self.export_button.setEnabled(bool(self.counted))
        if not self.counted:
            self.message.setText(
                "Nothing is open yet. Drag a tracking file (.aut, .autlist, TrackMate .xml, "
                ".geff, .csv, a Cell Tracking Challenge folder) into napari, choose "
                "File > IO Utilities > Open tracking file, or try File > Open Sample > CellTrain."
            )
        else:
            self.message.setText("")
        self.message.setVisible(not self.counted)

    def _row(self) -> int | None:
        """The row whose bars are shown: the selected one, else the first that is in sight."""
        identities = [one.identity for one in self._open]
        if self._selected in identities:
            return identities.index(self._selected)
        in_sight = (
            row for row, one in enumerate(self._open) if any(layer.visible for layer in one.layers)
        )
        return next(in_sight, 0 if identities else None)

    def _show_selected(self) -> None:
        row = self._row()
        if row is None:
            self.chart.set_counts(0, np.zeros(0, np.int64))
            self.chart_title.setText("")
            self.enough.setText("")
            return
        one = self.counted[row]
        self.chart.set_counts(one.first, one.per_time_point)
        self.chart_title.setText(f"{one.name}: cells per time point")
        lines = [one.closer.enough]
        if len(self.counted) > 1:
            together = f"All {len(self.counted)} together: {self._together}"
            alone = f"{one.name} alone: {one.closer.enough}"
            lines = [*([together] if self._together else []), *([alone] if lines[0] else [])]
        self.enough.setText("\n".join(lines))
        self._mark_time()

    def _mark_time(self) -> None:
        self.chart.set_current(shown_time_point(self.viewer))

    def _select(self) -> None:
        row = self.table.currentRow()
        if 0 <= row < len(self._open):
            self._selected = self._open[row].identity
            show_alone(self._open[row], self._open)
            look_at_all_of(self.viewer, self._open[row])
            self._show_selected()

    def _go_to_time(self, time_point: int) -> None:
        show_time_point(self.viewer, time_point)

    def _go_to_finding(self, finding: Finding) -> None:
        for found, one in zip(self._open, self.counted, strict=True):
            if any(finding is own for own in one.closer.findings):
                show_alone(found, self._open)
                go_to(self.viewer, found, finding.time_point, finding.points)
                return

    def stop_work(self) -> None:
        """Look no closer."""
        self._look_again = False
        if self._closer is not None:
            self._closer.stop()

    # --- what takes longer ---------------------------------------------------------------------

    def _look_closely(self) -> None:
        """Estimate diameters and look for findings in a thread; the latest request wins."""
        if self._closer is not None:
            self._look_again = True
            return
        if not self._experiments:
            return
        self._closer = Job(look_closely(self._experiments), self, interval_ms=100)
        self._closer.reported.connect(self._closer_told)
        self._closer.failed.connect(self.message.setText)
        self._closer.ended.connect(self._closer_ended)
        self._closer.start()

    def _closer_told(self, results: list[Any]) -> None:
        for identity, closer in results:
            if identity in self._known:
                self._known[identity].closer = closer
            elif identity is None:
                self._together = closer.enough
        self._fill()

    def _closer_ended(self) -> None:
        if self._closer is not None:
            self._closer.deleteLater()
            self._closer = None
        if self._look_again:
            self._look_again = False
            self._look_closely()

    # --- files and look ------------------------------------------------------------------------

    def export(self, path: Path) -> None:
        """Write the table as CSV.

        Raises
        ------
        CellTrainError
            When the place can't be written.
        """
        from napari_celltrain.files import write_text

        write_text(path, counts_as_csv(self.counted))

    def _export(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Export the counts", "counts.csv", "Tables (*.csv)"
        )
        if not path:
            return
        try:
            self.export(Path(path))
            self.message.setText(f"Written to {path}.")
        except CellTrainError as error:
            self.message.setText(str(error))
        self.message.setVisible(True)

    def _fit_height(self, rows: int) -> None:
        line = self.table.verticalHeader().defaultSectionSize()
        shown = min(max(rows, 1), 8)
        header = self.table.horizontalHeader().sizeHint().height()
        self.table.setFixedHeight(header + shown * line + 20)

    def _arrange(self) -> None:
        self.table.setHorizontalHeaderLabels(COLUMNS)
        for column, tip in enumerate(_TIPS):
            self.table.horizontalHeaderItem(column).setToolTip(tip)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.verticalHeader().setVisible(False)
        self.table.setAccessibleName("Annotation counts")
        self.table.setTextElideMode(Qt.TextElideMode.ElideMiddle)  # names differ at their ends
        self.table.setWordWrap(False)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(34)
        self.table.itemSelectionChanged.connect(self._select)
        self.chart.time_point_clicked.connect(self._go_to_time)
        self.findings.rows_changed.connect(self.order_keys)
        self.findings.show_requested.connect(self._go_to_finding)
        self.export_button.setToolTip("Write this table and the cells per time point to a file.")
        self.export_button.clicked.connect(self._export)
        for label in (self.enough, self.message):
            label.setWordWrap(True)
        bottom = QHBoxLayout()
        bottom.setContentsMargins(0, 0, 0, 0)
        bottom.addStretch(1)
        bottom.addWidget(self.export_button)
        last = QWidget(self)
        last.setLayout(bottom)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(
            Scrolled(
                self.message, self.table, self.chart_title, self.chart, self.enough,
                self.findings, last,
            )
        )  # fmt: skip
