"""Saying what the axes of a layer are, for layers whose axes have no names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QWidget

from napari_celltrain.gui.layer_axes import CHOICES, axes_are_guessed, axes_of, choose_axes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

NAMES = {"t": "time", "c": "channel", "z": "z", "y": "y", "x": "x"}


class AxesRow(QWidget):
    """What each axis is. What is chosen is written on the layer."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers: Sequence[Image] = ()
        self.box = QComboBox(self)
        self.box.setAccessibleName("Axes of the image")
        self.box.setToolTip(
            "What the axes of this layer are, in their order; nothing in the layer says it."
        )
        self.box.setMinimumContentsLength(8)
        self.box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.box, 1)
        self.box.activated.connect(self._chosen)

    def show_layers(self, layers: Sequence[Image]) -> bool:
        """Ask for the axes of this movie; False when somebody has named them."""
        self._layers = layers
        if not layers or not axes_are_guessed(layers[0]):
            return False
        self.box.clear()
        axes = axes_of(layers[0])
        for choice in dict.fromkeys((*CHOICES[len(axes)], axes)):
            self.box.addItem(", ".join(NAMES[axis] for axis in choice), choice)
        self.box.setCurrentIndex(self.box.findData(axes))
        return True

    def choose(self, axes: str) -> None:
        """Choose as a person does, by letters."""
        self.box.setCurrentIndex(self.box.findData(axes))
        self._chosen()

    def _chosen(self, *_: int) -> None:
        for layer in self._layers:
            choose_axes(layer, self.box.currentData())
        self.changed.emit()
