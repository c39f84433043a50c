"""How many candidates have which score, with the threshold on it; drag it there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_celltrain.gui.ink import ink_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ScoreHistogram(QWidget):
    """Bars from score 0 to 1; what is kept is filled, what is not is faint."""

    threshold_dragged = Signal(float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self._threshold = 0.5
        self._calibrated: float | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Scores of the candidates")
        self.setToolTip(
            "How sure the detector was of each place. Drag the line, or move the slider below: "
            "cells right of it are kept. ▼ marks the threshold that was best on held-out frames."
        )

    def sizeHint(self) -> QSize:
        """A few text lines high."""
        return QSize(240, round(4.5 * self.fontMetrics().height()))

    def minimumSizeHint(self) -> QSize:
        """As high as it wants to be."""
        return QSize(120, self.sizeHint().height())

    def set_counts(self, counts: NDArray[np.int64]) -> None:
        """Show other candidates: counts of equal parts of 0 to 1."""
        self._counts = counts
        self.update()

    def set_threshold(self, threshold: float, calibrated: float | None) -> None:
        """Move the line, and the mark of the calibrated value."""
        self._threshold, self._calibrated = threshold, calibrated
        self.update()

    def paintEvent(self, event: Any) -> None:
        """Draw; heights are square roots, or the many bad candidates would hide the good ones."""
        ink, area = ink_of(self), self._area()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(QRectF(area.left(), area.bottom(), area.width(), 1), ink.faint)
        if len(self._counts):
            heights = np.sqrt(self._counts / max(int(self._counts.max()), 1)) * area.height()
            width = area.width() / len(heights)
            for number in np.flatnonzero(heights).tolist():
                kept = (number + 0.5) / len(heights) >= self._threshold
                bar = QRectF(
                    area.left() + number * width,
                    area.bottom() - heights[number],
                    max(width - 0.5, 0.5),
                    heights[number],
                )
                painter.fillRect(bar, ink.first if kept else ink.faint)
        x = area.left() + self._threshold * area.width()
        painter.setPen(QPen(ink.second, 2))
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        if self._calibrated is not None:
            mark = area.left() + self._calibrated * area.width()
            painter.setBrush(ink.text)
            painter.setPen(Qt.PenStyle.NoPen)
            corners = ((mark - 5, 0), (mark + 5, 0), (mark, 7))
            painter.drawPolygon(QPolygonF([QPointF(*corner) for corner in corners]))
        painter.setPen(ink.text)
        below = QRectF(
            area.left(), area.bottom() + 1, area.width(), self.fontMetrics().height() + 2
        )
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "score 0")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, "1")

    def mousePressEvent(self, event: Any) -> None:
        """Take the line to the mouse."""
        self._drag(event.pos().x())

    def mouseMoveEvent(self, event: Any) -> None:
        """Take the line along."""
        self._drag(event.pos().x())

    def _drag(self, x: float) -> None:
        area = self._area()
        share = (x - area.left()) / max(area.width(), 1)
        self.threshold_dragged.emit(float(min(max(share, 0.0), 1.0)))

    def _area(self) -> QRectF:
        below = self.fontMetrics().height() + 2
        return QRectF(6, 8, max(self.width() - 12, 1), max(self.height() - below - 9, 1))
