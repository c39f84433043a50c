"""The live plot of a training run: the loss, and F1 on the held-out frames."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QPainter, QPen, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QWidget

from napari_celltrain.gui.ink import Ink, ink_of
from napari_celltrain.training.events import Evaluation, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.training.events import Event

HEIGHT_LINES = 9
MOST_POINTS = 4000
"""A longer series is thinned out by half; the plot is a few hundred pixels wide."""


class Curve(QWidget):
    """F1 (line with dots, left axis) and training loss (dashed, right axis) against time."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._steps: list[tuple[float, float]] = []
        self._evaluations: list[Evaluation] = []
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(HEIGHT_LINES * self.fontMetrics().height())
        self.setAccessibleName("Training curve")
        self.setToolTip(
            "Dots: F1 of the real predictor on the held-out frames (1 is perfect); the ring is "
            "the best, and that detector is kept. Dashed: training loss."
        )

    def sizeHint(self) -> QSize:
        """A few text lines high."""
        return QSize(260, HEIGHT_LINES * self.fontMetrics().height())

    def minimumSizeHint(self) -> QSize:
        """Still readable."""
        return QSize(160, 7 * self.fontMetrics().height())

    def clear(self) -> None:
        """Begin a new run."""
        self._steps, self._evaluations = [], []
        self.update()

    def add(self, events: Sequence[Event]) -> None:
        """Add what a run told; other events are left alone."""
        for event in events:
            if isinstance(event, Step) and math.isfinite(event.loss):
                self._steps.append((event.seconds, event.loss))
            elif isinstance(event, Evaluation):
                self._evaluations.append(event)
        if len(self._steps) > MOST_POINTS:
            self._steps = self._steps[::2]
        self.update()

    @property
    def is_empty(self) -> bool:
        """True until a run has told something that can be drawn."""
        return not self._steps and not self._evaluations

    @property
    def best(self) -> Evaluation | None:
        """The last evaluation that was the best so far."""
        return next((one for one in reversed(self._evaluations) if one.best), None)

    def losses(self) -> NDArray[np.float64]:
        """Return (seconds, loss) rows, lightly smoothed as they are drawn."""
        rows = np.array(self._steps, np.float64).reshape(-1, 2)
        width = min(len(rows) // 20, 25)
        if width > 1:
            kernel = np.ones(width) / width
            padded = np.pad(rows[:, 1], (width // 2, width - 1 - width // 2), mode="edge")
            rows = np.column_stack([rows[:, 0], np.convolve(padded, kernel, "valid")])
        return rows

    def paintEvent(self, event: Any) -> None:
        """Draw."""
        ink, metrics = ink_of(self), self.fontMetrics()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line = metrics.height()
        left = metrics.horizontalAdvance("0.00") + 8
        right = metrics.horizontalAdvance("0.000") + 10
        area = QRectF(left, line + 6, self.width() - left - right, self.height() - 2.4 * line - 10)
        losses = self.losses()
        last = max([1.0, *losses[-1:, 0].tolist(), *(one.seconds for one in self._evaluations)])
        self._draw_axes(painter, ink, area, last)
        if self.is_empty:
            painter.setPen(ink.text)
            painter.drawText(area, Qt.AlignmentFlag.AlignCenter, "the curve appears here")
            return
        if len(losses):
            self._draw_losses(painter, ink, area, losses, last)
        if self._evaluations:
            self._draw_f1(painter, ink, area, last)
        self._draw_legend(painter, ink, area)

    def _draw_axes(self, painter: QPainter, ink: Ink, area: QRectF, last: float) -> None:
        metrics = self.fontMetrics()
        for f1 in (0.0, 0.5, 1.0):
            y = area.bottom() - f1 * area.height()
            painter.setPen(QPen(ink.faint, 1))
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
            painter.setPen(ink.text)
            box = QRectF(0, y - metrics.height() / 2, area.left() - 5, metrics.height())
            painter.drawText(
                box, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, f"{f1:g}"
            )
        unit, size = ("min", 60.0) if last >= 120 else ("s", 1.0)
        below = QRectF(area.left(), area.bottom() + 3, area.width(), metrics.height())
        painter.drawText(below, Qt.AlignmentFlag.AlignLeft, "0")
        painter.drawText(below, Qt.AlignmentFlag.AlignRight, f"{last / size:.3g} {unit}")
        painter.drawText(below, Qt.AlignmentFlag.AlignHCenter, "training time")

    def _draw_losses(
        self, painter: QPainter, ink: Ink, area: QRectF, losses: NDArray[np.float64], last: float
    ) -> None:
        top = float(np.percentile(losses[:, 1], 98)) * 1.15 or 1.0
        x = area.left() + losses[:, 0] / last * area.width()
        y = area.bottom() - np.clip(losses[:, 1] / top, 0, 1) * area.height()
        painter.setPen(QPen(ink.second, 1.4, Qt.PenStyle.DashLine))
        painter.drawPolyline(QPolygonF([QPointF(*point) for point in zip(x, y, strict=True)]))
        painter.setPen(ink.second)
        metrics = self.fontMetrics()
        box = QRectF(area.right() + 9, area.top() + 1, 80, metrics.height())
        painter.drawText(box, Qt.AlignmentFlag.AlignLeft, f"{top:.2g}")

    def _draw_f1(self, painter: QPainter, ink: Ink, area: QRectF, last: float) -> None:
        places = [
            QPointF(
                area.left() + one.seconds / last * area.width(),
                area.bottom() - (one.f1 if math.isfinite(one.f1) else 0.0) * area.height(),
            )
            for one in self._evaluations
        ]
        painter.setPen(QPen(ink.first, 2))
        painter.drawPolyline(QPolygonF(places))
        painter.setBrush(ink.first)
        for place in places:
            painter.drawEllipse(place, 2.5, 2.5)
        best = self.best
        if best is not None:
            place = places[self._evaluations.index(best)]
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(ink.text, 1.5))
            painter.drawEllipse(place, 6, 6)

    def _draw_legend(self, painter: QPainter, ink: Ink, area: QRectF) -> None:
        metrics, best = self.fontMetrics(), self.best
        f1 = "● held-out F1" + ("" if best is None else f", best {best.f1:.3f}")
        painter.setPen(ink.first)
        top = QRectF(area.left(), 1, area.width() + 40, metrics.height() + 2)
        painter.drawText(top, Qt.AlignmentFlag.AlignLeft, f1)
        painter.setPen(ink.second)
        painter.drawText(top, Qt.AlignmentFlag.AlignRight, "- - loss ")
