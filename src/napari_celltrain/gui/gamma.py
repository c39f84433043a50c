"""Saying with which gamma a movie is looked at."""

from __future__ import annotations

from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QWidget


class _GammaBox(QDoubleSpinBox):
    """From automatic, a step leads to 1: the images as they are."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setRange(0, 8)
        self.setSingleStep(0.25)
        self.setSpecialValueText("automatic")
        self.setAccessibleName("Gamma")

    def stepBy(self, steps: int) -> None:
        """Go on in quarters."""
        if not self.value():
            self.setValue(1.0)
        else:
            super().stepBy(steps)


class GammaRow(QWidget):
    """One number; nothing entered means 1, or what makes an unlike movie look like the training."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = _GammaBox(self)
        label = QLabel("Gamma", self)
        label.setBuddy(self.box)
        for part in (self.box, label):
            part.setToolTip(
                "Above 1, faint things become fainter before cells are looked for; below 1, dim "
                "cells brighter. At 0: 1, unless the movie looks otherwise unlike the training "
                "images, which is then said. The layer itself stays as it is."
            )
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(label)
        line.addWidget(self.box, 1)

    @property
    def gamma(self) -> float | None:
        """None when nothing was entered; at least the smallest that is possible."""
        return max(0.1, self.box.value()) if self.box.value() else None
