"""The threshold: a slider, the scores it cuts, and the cells that it leaves per time point."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSlider, QVBoxLayout, QWidget

from napari_celltrain.errors import counted
from napari_celltrain.gui.bar_chart import BarChart
from napari_celltrain.gui.candidates import Candidates
from napari_celltrain.gui.score_histogram import ScoreHistogram
from napari_celltrain.gui.setting_row import ignore_wheel

STEPS = 1000


class ThresholdPanel(QWidget):
    """Shows candidates and lets the threshold be moved; nothing is predicted again."""

    threshold_changed = Signal(float)
    time_point_clicked = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._candidates = Candidates()
        self._calibrated: float | None = None
        self._time_point: int | None = None
        self.histogram = ScoreHistogram(self)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setRange(0, STEPS)
        self.slider.setValue(STEPS // 2)
        self.slider.setPageStep(STEPS // 20)
        self.slider.setAccessibleName("Score threshold")
        self.slider.setToolTip("Cells with at least this score are kept; nothing is run again.")
        self.value = QLabel(self)
        self.value.setMinimumWidth(self.fontMetrics().horizontalAdvance("0.000 "))
        self.reset = QPushButton("Calibrated", self)
        self.reset.setToolTip("Back to the threshold that was best on held-out frames.")
        self.count = QLabel(self)
        self.count.setWordWrap(True)
        self.chart = BarChart(self)
        title = QLabel("Threshold", self)
        title.setBuddy(self.slider)
        line = QHBoxLayout()
        line.addWidget(title)
        line.addWidget(self.slider, 1)
        line.addWidget(self.value)
        line.addWidget(self.reset)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.histogram)
        layout.addLayout(line)
        layout.addWidget(self.count)
        layout.addWidget(self.chart)
        self.slider.valueChanged.connect(self._slid)
        self.histogram.threshold_dragged.connect(self.set_threshold)
        self.reset.clicked.connect(self._reset)
        self.chart.time_point_clicked.connect(self.time_point_clicked)
        ignore_wheel(self)
        self._show()

    @property
    def threshold(self) -> float:
        """The score from which on a candidate is a cell."""
        return float(self.slider.value() / STEPS)

    def set_threshold(self, threshold: float) -> None:
        """Move the slider."""
        self.slider.setValue(round(threshold * STEPS))

    def set_calibrated(self, threshold: float | None) -> None:
        """Mark the calibrated threshold."""
        self._calibrated = threshold
        self.reset.setEnabled(threshold is not None)
        self._show()

    def set_candidates(self, candidates: Candidates) -> None:
        """Show other candidates."""
        self._candidates = candidates
        self.histogram.set_counts(candidates.histogram())
        self._show()

    def set_time_point(self, time_point: int | None) -> None:
        """Say how many there are at this time point."""
        self._time_point = time_point
        self.chart.set_current(time_point)
        self._show_count()

    def _slid(self) -> None:
        self._show()
        self.threshold_changed.emit(self.threshold)

    def _reset(self) -> None:
        if self._calibrated is not None:
            self.set_threshold(self._calibrated)

    def _show(self) -> None:
        self.value.setText(f"{self.threshold:.3f}")
        self.histogram.set_threshold(self.threshold, self._calibrated)
        first, counts = self._candidates.per_time_point(self.threshold)
        self._first, self._counts = first, counts
        self.chart.set_counts(first, counts)
        self._show_count()

    def _show_count(self) -> None:
        total = int(self._counts.sum())
        looked_at = counted(len(set(self._candidates.times)), "time point")
        words = f"{counted(total, 'cell')} in {looked_at}"
        t = self._time_point
        if t is not None and 0 <= t - self._first < len(self._counts):
            words = f"{counted(int(self._counts[t - self._first]), 'cell')} at t = {t}; {words}"
        self.count.setText(words)
