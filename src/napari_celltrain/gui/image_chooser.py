"""Choosing an image layer, its channel, and the time points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.layers import Image
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QHBoxLayout, QLabel, QSpinBox, QWidget

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.going_there import shown_time_point
from napari_celltrain.gui.image_source import source_of, voxel_size_of
from napari_celltrain.gui.layers import note
from napari_celltrain.gui.setting_row import ignore_wheel

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_celltrain.experiment import ZYX, FrameSource

ALL, CURRENT, RANGE = "all", "the one shown", "from – to"
_NOT_MOVIES = {"preview"}


class ImageChooser(QWidget):
    """Which movie, which of its channels, which time points."""

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.box = QComboBox(self)
        self.box.setAccessibleName("Image layer")
        self.box.setMinimumContentsLength(12)
        self.box.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.times = QComboBox(self)
        self.times.addItems([ALL, CURRENT, RANGE])
        self.times.setAccessibleName("Time points")
        self.first, self.last = QSpinBox(self), QSpinBox(self)
        for box in (self.first, self.last):
            box.setRange(-1_000_000, 1_000_000)
            box.setMinimumWidth(64)
        self._to = QLabel("to", self)
        line = QHBoxLayout()
        line.addWidget(self.times)
        line.addWidget(self.first)
        line.addWidget(self._to)
        line.addWidget(self.last)
        line.addStretch(1)
        form = QFormLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        form.addRow(QLabel("Image"))
        form.addRow(self.box)
        form.addRow("Time points", line)
        self.box.currentIndexChanged.connect(self._image_chosen)
        self.times.currentIndexChanged.connect(self._times_chosen)
        ignore_wheel(self)
        self.refresh()
        self._times_chosen()

    @property
    def layer(self) -> Image | None:
        """The chosen layer."""
        layer = self.box.currentData()
        return layer if layer in self._viewer.layers else None

    def refresh(self) -> None:
        """List the image layers that are there now; the choice stays."""
        chosen = self.layer
        layers = [
            layer
            for layer in self._viewer.layers
            if isinstance(layer, Image) and note(layer).get("role") not in _NOT_MOVIES
        ]
        self.box.blockSignals(True)
        self.box.clear()
        for layer in layers:
            self.box.addItem(layer.name, layer)
        active = self._viewer.layers.selection.active
        preferred = chosen if chosen in layers else active if active in layers else None
        if preferred is None:
            preferred = next((layer for layer in layers if layer.visible), None)
        if preferred is not None:
            self.box.setCurrentIndex(layers.index(preferred))
        self.box.blockSignals(False)
        if self.layer is not chosen:
            self._image_chosen()

    def choose(self, layer: Image) -> None:
        """Choose a layer."""
        for row in range(self.box.count()):
            if self.box.itemData(row) is layer:
                self.box.setCurrentIndex(row)

    def movie(self) -> tuple[FrameSource, int, ZYX | None]:
        """Return the movie, the channel (from 0) and the voxel size.

        Raises
        ------
        CellTrainError
            When none is chosen, or it is no movie of one channel.
        """
        layer = self.layer
        if layer is None:
            raise CellTrainError(
                "Open a movie first: drag an image or a tracking file into napari."
            )
        source, channel = source_of(layer)
        return source, channel, voxel_size_of(layer)

    def time_points(self, source: FrameSource) -> list[int] | None:
        """Return the chosen time points of a movie; None for all.

        Raises
        ------
        CellTrainError
            When the movie has none of them.
        """
        existing = list(source.time_points)
        if self.times.currentText() == ALL:
            return None
        if self.times.currentText() == CURRENT:
            shown = shown_time_point(self._viewer)
            chosen = existing if shown is None else [t for t in existing if t == shown]
        else:
            chosen = [t for t in existing if self.first.value() <= t <= self.last.value()]
        if not chosen:
            raise CellTrainError(
                f"{source.name} has none of the chosen time points; it has {existing[0]} to "
                f"{existing[-1]}."
            )
        return chosen

    def _image_chosen(self) -> None:
        try:
            source, _, _ = self.movie()
        except CellTrainError:
            self.changed.emit()
            return
        times = source.time_points
        if len(times):
            self.first.setValue(times[0])
            self.last.setValue(times[-1])
        self.changed.emit()

    def _times_chosen(self) -> None:
        for widget in (self.first, self._to, self.last):
            widget.setVisible(self.times.currentText() == RANGE)
