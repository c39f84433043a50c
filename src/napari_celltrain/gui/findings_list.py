"""What was noticed about the data, as sentences, each with a button that goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.experiment import Finding

MARKS = {"info": "ℹ", "warning": "⚠", "error": "✖"}
"""A sign as well as a colour: not everybody tells red from green."""
_COLOURS = {"info": "", "warning": "#e69f00", "error": "#e05050"}
_ORDER = ("error", "warning", "info")


class FindingsList(QWidget):
    """Findings, the worst first.

    Parameters
    ----------
    most
        So many are shown; the others are counted.
    """

    show_requested = Signal(object)
    """The `Finding` whose Show button was pressed."""
    rows_changed = Signal()
    """There are other buttons than before."""

    def __init__(self, parent: QWidget | None = None, *, most: int = 12) -> None:
        super().__init__(parent)
        self.findings: tuple[Finding, ...] = ()
        self._most = most
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(3)
        self._rows: list[QWidget] = []

    def set_findings(self, findings: Sequence[Finding]) -> None:
        """Show these instead."""
        ordered = tuple(sorted(findings, key=lambda one: _ORDER.index(one.severity)))
        same = ordered == self.findings and bool(self._rows)
        self.findings = ordered
        if same:
            return
        for row in self._rows:
            self._layout.removeWidget(row)
            row.hide()
            row.deleteLater()
        self._rows = [self._row(*one) for one in enumerate(ordered[: self._most])]
        if len(ordered) > self._most:
            self._rows.append(QLabel(f"and {len(ordered) - self._most} more", self))
        for row in self._rows:
            self._layout.addWidget(row)
        self.rows_changed.emit()

    def _row(self, number: int, finding: Finding) -> QWidget:
        row = QWidget(self)
        layout = QHBoxLayout(row)
        layout.setContentsMargins(0, 0, 0, 0)
        mark = QLabel(MARKS[finding.severity], row)
        mark.setAccessibleName(finding.severity)
        if _COLOURS[finding.severity]:
            mark.setStyleSheet(f"color: {_COLOURS[finding.severity]}; font-weight: bold;")
        layout.addWidget(mark, 0, Qt.AlignmentFlag.AlignTop)
        where = f"{finding.experiment}: " if finding.experiment else ""
        sentence = QLabel(where + finding.message, row)
        sentence.setWordWrap(True)
        sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        sentence.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        sentence.setAlignment(Qt.AlignmentFlag.AlignTop)
        layout.addWidget(sentence, 1)
        if finding.time_point is not None or finding.points:
            button = QPushButton("Show", row)
            button.setAccessibleName(f"Show: {finding.message}")
            button.setToolTip("Go there.")
            button.setProperty("finding", number)
            button.clicked.connect(self._emit_show)
            layout.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        return row

    def _emit_show(self) -> None:
        self.show_requested.emit(self.findings[self.sender().property("finding")])
