"""Saying how large a voxel is, for movies whose files don't."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QDoubleSpinBox, QHBoxLayout, QLabel, QWidget

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.image_source import VOXEL_SIZE, voxel_size_of
from napari_celltrain.gui.layer_axes import axes_of, shape_of
from napari_celltrain.gui.layers import note, state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.layers import Image

UNKNOWN = "unknown"


class VoxelSizeRow(QWidget):
    """Two numbers: between planes, and within one. What is set is written on the layers."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layers: Sequence[Image] = ()
        self.depth, self.width = QDoubleSpinBox(self), QDoubleSpinBox(self)
        self._depth_label = QLabel("z", self)
        line = QHBoxLayout(self)
        line.setContentsMargins(0, 0, 0, 0)
        for label, box, what in (
            (self._depth_label, self.depth, "Distance between planes"),
            (QLabel("y, x", self), self.width, "Width of a pixel"),
        ):
            box.setRange(0, 1000)
            box.setDecimals(4)
            box.setSingleStep(0.1)
            box.setSpecialValueText(UNKNOWN)
            box.setSuffix(" um")
            box.setAccessibleName(what)
            box.setToolTip(f"{what}, in micrometres. The file of this movie does not say it.")
            box.setMinimumWidth(84)
            box.editingFinished.connect(self._entered)
            line.addWidget(label)
            line.addWidget(box)
        line.addStretch(1)

    def show_layers(self, layers: Sequence[Image]) -> bool:
        """Ask for the voxel size of these channels; False when their files say it."""
        self._layers = layers
        stated = [one for one in layers if note(one).get(VOXEL_SIZE)]
        try:
            known = voxel_size_of(layers[0]) if layers else None
            axes = axes_of(layers[0]) if layers else ""
        except CellTrainError:  # it is no movie, and that is said elsewhere
            return False
        if not layers or (not stated and known is not None):
            return False
        size = known or (0.0, 0.0, 0.0)
        self.depth.setValue(size[0])
        self.width.setValue(size[2])
        deep = "z" in axes and shape_of(layers[0])[axes.index("z")] > 1
        for widget in (self.depth, self._depth_label):
            widget.setVisible(deep)
        return True

    def _entered(self) -> None:
        deep, wide = self.depth.value(), self.width.value()
        if not wide or (not deep and not self.depth.isHidden()):
            return  # the other number is still to come
        for layer in self._layers:
            state(layer, VOXEL_SIZE, (deep or wide, wide, wide))
        self.changed.emit()
