"""Cells per time point as bars; a click goes there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import QPainter, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_celltrain.gui.ink import ink_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BarChart(QWidget):
    """A bar for each time point; the current one is marked by a triangle and a line."""

    time_point_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None, *, what: str = "cells") -> None:
        super().__init__(parent)
        self._what = what
        self._first = 0
        self._counts: NDArray[np.int64] = np.zeros(0, np.int64)
        self._current: int | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName(f"{what} per time point")
        self.setToolTip(f"{what.capitalize()} per time point. Click to go there; arrow keys move.")

    def sizeHint(self) -> QSize:
        """Wide as there is room, a few text lines high."""
        return QSize(240, 6 * self.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:
        """Still readable when narrow."""
        return QSize(120, 6 * self.fontMetrics().height())

    def set_counts(self, first: int, counts: NDArray[np.int64]) -> None:
        """Show counts for the time points `first`, `first` + 1, ...; shape (T,)."""
        self._first = first
        self._counts = np.asarray(counts)
        self.update()

    def set_current(self, time_point: int | None) -> None:
        """Mark the time point that the viewer shows."""
        if time_point != self._current:
            self._current = time_point
            self.update()

    def bar(self, time_point: int) -> QRectF:
        """Return where the bar of a time point is, in widget coordinates."""
        area = self._area()
        width = area.width() / max(len(self._counts), 1)
        share = self._counts[time_point - self._first] / max(int(self._counts.max()), 1)
        height = area.height() * share
        left = area.left() + (time_point - self._first) * width
        return QRectF(left, area.bottom() - height, width, height)

    def paintEvent(self, event: Any) -> None:
        """Draw."""
        ink, area, metrics = ink_of(self), self._area(), self.fontMetrics()
        painter = QPainter(self)
        painter.setPen(ink.text)
        if not len(self._counts):
            painter.drawText(self.rect(), Qt.AlignmentFlag.AlignCenter, f"no {self._what} yet")
            return
        painter.fillRect(QRectF(area.left(), area.bottom(), area.width(), 1), ink.faint)
        # with more time points than pixels, a column shows the largest of its time points
        columns = min(len(self._counts), max(int(area.width()), 1))
        edges = np.linspace(0, len(self._counts), columns + 1).astype(int)
        highest = np.maximum.reduceat(self._counts, edges[:-1])
        width, top = area.width() / columns, max(int(self._counts.max()), 1)
        gap = 1 if width > 3 else 0
        for column in np.flatnonzero(highest).tolist():
            height = max(area.height() * highest[column] / top, 1.0)
            left = area.left() + column * width
            painter.fillRect(QRectF(left, area.bottom() - height, width - gap, height), ink.first)
        last = self._first + len(self._counts) - 1
        below = QRectF(area.left(), area.bottom() + 2, area.width(), metrics.height())
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, f"t = {self._first}")
        if last > self._first:
            painter.drawText(below, Qt.AlignmentFlag.AlignRight, str(last))
        above = QRectF(0, 0, area.left() - 4, metrics.height())
        painter.drawText(above, Qt.AlignmentFlag.AlignRight, str(int(self._counts.max())))
        if self._current is not None and self._first <= self._current <= last:
            self._mark_current(painter, ink.second)

    def mousePressEvent(self, event: Any) -> None:
        """Go to the time point that was clicked."""
        time_point = self._time_point_at(event.pos().x())
        if time_point is not None:
            self.time_point_clicked.emit(time_point)

    def keyPressEvent(self, event: Any) -> None:
        """Move with the arrow keys."""
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        step = steps.get(event.key())
        if step is None or self._current is None or not len(self._counts):
            super().keyPressEvent(event)
            return
        last = self._first + len(self._counts) - 1
        self.time_point_clicked.emit(min(max(self._current + step, self._first), last))

    def event(self, event: Any) -> bool:
        """Say the number of a bar under the mouse."""
        if event.type() == QEvent.Type.ToolTip:
            time_point = self._time_point_at(event.pos().x())
            if time_point is not None:
                count = int(self._counts[time_point - self._first])
                QToolTip.showText(
                    event.globalPos(), f"t = {time_point}: {count} {self._what}", self
                )
                return True
        return bool(super().event(event))

    def _mark_current(self, painter: QPainter, colour: Any) -> None:
        assert self._current is not None  # asked by the caller
        area, middle = self._area(), self.bar(self._current).center().x()
        painter.fillRect(QRectF(middle - 0.75, area.top(), 1.5, area.height()), colour)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(colour)
        painter.setPen(Qt.PenStyle.NoPen)
        tip = area.top() + 2
        painter.drawPolygon(
            QPolygonF(
                [QPointF(middle - 5, tip - 7), QPointF(middle + 5, tip - 7), QPointF(middle, tip)]
            )
        )

    def _time_point_at(self, x: float) -> int | None:
        area = self._area()
        if not len(self._counts) or not area.left() <= x <= area.right():
            return None
        index = int((x - area.left()) / area.width() * len(self._counts))
        return self._first + min(index, len(self._counts) - 1)

    def _area(self) -> QRectF:
        metrics = self.fontMetrics()
        left = metrics.horizontalAdvance("00000") + 6
        return QRectF(
            left, 8, max(self.width() - left - 4, 1), self.height() - metrics.height() - 12
        )
