"""Choosing a movie (an open one, or a file), its channel, and the time points."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer
from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QWidget,
)

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.axes_row import AxesRow
from napari_celltrain.gui.errands import Errands
from napari_celltrain.gui.going_there import show_channel, shown_time_point
from napari_celltrain.gui.image_source import movies_in, source_of, voxel_size_of
from napari_celltrain.gui.layer_axes import CHANNEL, axes_of, channel_of, choose_channel, n_channels
from napari_celltrain.gui.layers import note
from napari_celltrain.gui.long_texts import NameBox
from napari_celltrain.gui.setting_row import ignore_wheel
from napari_celltrain.gui.voxel_size import VoxelSizeRow

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_celltrain.experiment import ZYX, FrameSource
    from napari_celltrain.gui.layers import LayerData
    from napari_celltrain.gui.work import Work

ALL, CURRENT, RANGE = "all", "the one shown", "from – to"
_NOT_MOVIES = {"preview"}


class ImageChooser(QWidget):
    """Which movie, which of its channels, which time points."""

    changed = Signal()
    said = Signal(str)
    """A sentence, while a file is opened and when it can't be."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._movies: list[list[Image]] = []
        self._said_of_it: object = None
        self.errands = Errands(self)
        self.box, self.channel = NameBox(self), QComboBox(self)
        self.file_button = QPushButton("File…", self)
        self.axes, self.voxel = AxesRow(self), VoxelSizeRow(self)
        self.times = QComboBox(self)
        self.first, self.last = QSpinBox(self), QSpinBox(self)
        self._to = QLabel("to", self)
        self._arrange()
        self.box.currentIndexChanged.connect(self._movie_chosen)
        self.channel.currentIndexChanged.connect(self._channel_chosen)
        self.times.currentIndexChanged.connect(self._times_chosen)
        self.file_button.clicked.connect(self._choose_file)
        self.axes.changed.connect(self._axes_chosen)
        self.voxel.changed.connect(self._voxel_entered)
        self.errands.said.connect(self.said)
        self.refresh()
        self._times_chosen()

    @property
    def layer(self) -> Image | None:
        """The chosen layer: a channel of the chosen movie."""
        movie = self.box.currentIndex()
        if not 0 <= movie < len(self._movies):
            return None
        layers = self._movies[movie]
        layer = layers[max(self.channel.currentIndex(), 0) if len(layers) > 1 else 0]
        return layer if layer in self._viewer.layers else None

    def refresh(self) -> None:
        """List the movies that are open now; the choice stays."""
        chosen = self.layer
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        movies = movies_in([one for one in images if note(one).get("role") not in _NOT_MOVIES])
        self._movies = list(movies.values())
        layers = [layer for movie in self._movies for layer in movie]
        self.box.blockSignals(True)
        self.box.clear()
        for movie in self._movies:
            name = note(movie[0])["experiment"].name if len(movie) > 1 else movie[0].name
            self.box.addItem(name)
        self.box.blockSignals(False)
        active = self._viewer.layers.selection.active
        preferred = chosen if chosen in layers else active if active in layers else None
        if preferred is None:
            preferred = next((layer for layer in layers if layer.visible), None)
        if preferred is None and layers:
            preferred = layers[0]
        if preferred is None:
            self._fill_channels(None)
        else:
            self._select(preferred)
        if self.layer is not chosen or self._what_is_said() != self._said_of_it:
            self._image_chosen()

    def choose(self, layer: Image) -> None:
        """Choose a layer."""
        self._select(layer)
        self._image_chosen()

    def _select(self, layer: Image) -> None:
        for row, movie in enumerate(self._movies):
            if layer in movie:
                self.box.blockSignals(True)
                self.box.setCurrentIndex(row)
                self.box.blockSignals(False)
                self._fill_channels(layer)

    def open_file(self, path: Path) -> None:
        """Open a movie as layers, and choose it; a problem is said."""
        self.said.emit(f"Opening {path.name}.")
        self.errands.do(_opening(path), self._add_layers)

    def movie(self) -> tuple[FrameSource, int, ZYX | None]:
        """Return the movie, the channel (from 0) and the voxel size.

        Raises
        ------
        CellTrainError
            When none is chosen, or it is no movie.
        """
        layer = self.layer
        if layer is None:
            raise CellTrainError(
                "Open a movie first: drag an image or a tracking file into napari, or press File…"
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

    # --- inside --------------------------------------------------------------------------------

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "A movie to find cells in")
        if path:
            self.open_file(Path(path))

    def _add_layers(self, layers: list[LayerData]) -> None:
        added = [self._viewer.add_layer(Layer.create(*one)) for one in layers]
        self.refresh()
        shown = [layer for layer in added if layer.visible]
        self.choose((shown or added)[0])
        self.said.emit(f"{self.box.currentText()} is open. Press Find cells.")

    def _movie_chosen(self, row: int) -> None:
        if 0 <= row < len(self._movies):
            layers = self._movies[row]
            self._fill_channels(next((one for one in layers if one.visible), layers[0]))
        self._image_chosen()

    def _fill_channels(self, layer: Image | None) -> None:
        """List the channels of the chosen movie, if it has several, this layer's chosen.

        They are layers of their own, or an axis of the one layer.
        """
        row = self.box.currentIndex()
        layers = self._movies[row] if layer is not None else []
        numbers = [int(note(one).get("channel", 0)) for one in layers]
        chosen = layers.index(layer) if layer is not None else -1
        if len(layers) == 1:
            numbers = list(range(_channels_in(layers[0])))
            chosen = self._channel_within(layers[0]) if len(numbers) > 1 else 0
        self.channel.blockSignals(True)
        self.channel.clear()
        for number in numbers:
            self.channel.addItem(str(number + 1))
        self.channel.setCurrentIndex(chosen)
        self.channel.blockSignals(False)
        for widget in (self.channel, self._channel_label):
            widget.setVisible(len(numbers) > 1)
        for widget, label in ((self.axes, self._axes_label), (self.voxel, self._voxel_label)):
            asked = widget.show_layers(layers)
            widget.setVisible(asked)
            label.setVisible(asked)

    def _channel_within(self, layer: Image) -> int:
        """Return the channel chosen in a layer with a channel axis, else the one shown."""
        if CHANNEL in note(layer):
            return channel_of(layer)
        axis = axes_of(layer).index("c")
        shown = layer.world_to_data(self._viewer.dims.point[-layer.ndim :])[axis]
        channel = int(np.clip(round(float(shown)), 0, n_channels(layer) - 1))
        choose_channel(layer, channel)
        return channel

    def _channel_chosen(self, number: int) -> None:
        layer = self.layer
        if layer is not None and number >= 0 and _channels_in(layer) > 1:
            choose_channel(layer, number)
            show_channel(self._viewer, layer, number)  # what is found there is seen there only
        self._image_chosen()

    def _voxel_entered(self) -> None:
        self._said_of_it = self._what_is_said()
        self.changed.emit()

    def _axes_chosen(self) -> None:
        self._fill_channels(self.layer)
        self._image_chosen()

    def _what_is_said(self) -> object:
        """Return what may have been said of the chosen layer in another dock."""
        layer = self.layer
        try:
            return None if layer is None else (axes_of(layer), voxel_size_of(layer))
        except CellTrainError:  # it is no movie, and that is said elsewhere
            return None

    def _image_chosen(self, *_: Any) -> None:
        self._said_of_it = self._what_is_said()
        try:
            source = self.movie()[0]
        except CellTrainError:
            self.changed.emit()
            return
        times = list(source.time_points)
        if times:
            self.first.setValue(times[0])
            self.last.setValue(times[-1])
        self.changed.emit()

    def _times_chosen(self) -> None:
        for widget in (self.first, self._to, self.last):
            widget.setVisible(self.times.currentText() == RANGE)

    def _arrange(self) -> None:
        self.box.setAccessibleName("Image layer")
        self.box.setPlaceholderText("none is open yet")
        self.box.setToolTip("The movie to find cells in.")
        self.channel.setToolTip("The channel to find cells in.")
        self.file_button.setToolTip("Open a movie from a file; it is read as it is needed.")
        self.times.addItems([ALL, CURRENT, RANGE])
        self.times.setAccessibleName("Time points")
        self.times.setToolTip("Where to look for cells.")
        for box, name in ((self.first, "First time point"), (self.last, "Last time point")):
            box.setRange(-1_000_000, 1_000_000)
            box.setMinimumWidth(64)
            box.setAccessibleName(name)
            box.setToolTip(f"{name} to look at; both ends are included.")
        title = QLabel("Image", self)
        title.setBuddy(self.box)
        top = QHBoxLayout()
        top.addWidget(title)
        top.addStretch(1)
        top.addWidget(self.file_button)
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
        form.addRow(top)
        form.addRow(self.box)
        form.addRow("Channel", self.channel)
        form.addRow("Axes", self.axes)
        form.addRow("Voxel size", self.voxel)
        form.addRow("Time points", line)
        self._axes_label = form.labelForField(self.axes)
        self._voxel_label = form.labelForField(self.voxel)
        self._channel_label = form.labelForField(self.channel)
        ignore_wheel(self)


def _channels_in(layer: Image) -> int:
    """Return how many channels a layer holds; 1 for what is no movie, which is said elsewhere."""
    try:
        return n_channels(layer)
    except CellTrainError:
        return 1


def _opening(path: Path) -> Work:
    """Return work that opens a movie and returns its layers."""

    def work(report: Callable[[Any], None], stop: threading.Event) -> list[LayerData]:
        from napari_celltrain.experiment import Experiment
        from napari_celltrain.gui.layers import experiment_layers
        from napari_celltrain.images import open_images

        movie = open_images(path)
        layers = experiment_layers(Experiment(path.stem, images=movie))
        return [layer for layer in layers if layer[2] == "image"]

    return work
