"""Saying how wide the cells of a movie are, for detectors that can't know it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QWidget

if TYPE_CHECKING:
    from napari_celltrain.gui.detector_chooser import DetectorCard


class CellDiameterRow(QWidget):
    """One number; nothing entered means as in training, or measured where that can't be known."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.box = QDoubleSpinBox(self)
        self.box.setRange(0, 10_000)
        self.box.setDecimals(1)
        self.box.setAccessibleName("Cell diameter")
        label = QLabel("Cell diameter", self)
        label.setBuddy(self.box)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(label)
        line.addWidget(self.box, 1)
        self.show_detector(None)

    @property
    def diameter(self) -> float | None:
        """In the unit of the detector; None when nothing was entered."""
        return self.box.value() or None

    def show_detector(self, card: DetectorCard | None) -> None:
        """Say what happens without an entry; a number that was meant for another unit goes."""
        unit = "um" if card is None or card.unit == "um" else "px"
        if not self.box.suffix().endswith(unit):
            self.box.setValue(0)
        self.box.setSuffix(f" {unit}")
        if card is None:
            text = "as in training"
        elif card.measures_cells:
            text = "measured first"
        else:
            text = f"as in training: {card.diameter:.3g} {unit}"
        self.box.setSpecialValueText(text)
        self.box.setToolTip(
            "How wide the cells of this movie are. At 0: "
            + (
                "measured in a few time points before cells are looked for."
                if card is not None and card.measures_cells
                else "as wide as those that the detector learnt from."
            )
        )
