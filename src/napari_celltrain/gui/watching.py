"""Hearing of changes in the viewer: layers that come, go and are moved, points, the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from napari.layers import Image, Labels, Points, Tracks
from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

from napari_celltrain.gui.label_layers import LabelsReader, doubt, mark_changed
from napari_celltrain.gui.layer_axes import axes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Layer

DELAY_MS = 30
"""Changes within this time are told once: dragging a point changes it at every mouse move."""

_PLACE = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
"""What says where a layer is; a position in it is another one when that changes."""


class Watcher(QObject):
    """Tells a widget, from Qt's event loop, what changed in a viewer; ends with the widget.

    Parameters
    ----------
    viewer
        To listen to.
    parent
        The widget.
    """

    layers_changed = Signal()
    """Layers were added, removed, reordered or renamed, or an image or its axes are others."""
    points_changed = Signal()
    """Points were added, moved or removed, their layer was placed anew, or labels were counted."""
    time_changed = Signal()
    """The viewer shows another time point."""

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._watched: list[tuple[Any, Callable[..., None]]] = []
        self._timers: dict[str, QTimer] = {}
        self._views: WeakKeyDictionary[Labels, Any] = WeakKeyDictionary()
        for name in ("layers_changed", "points_changed", "time_changed"):
            timer = QTimer(self)
            timer.setSingleShot(True)
            timer.setInterval(DELAY_MS)
            timer.timeout.connect(getattr(self, name))
            self._timers[name] = timer
        self.labels = LabelsReader(self)
        self.labels.counted.connect(self._timers["points_changed"].start)
        layers = viewer.layers.events
        for emitter in (layers.inserted, layers.removed, layers.reordered):
            emitter.connect(self._layers)
        viewer.dims.events.current_step.connect(self._time)
        self._watch_layers()

    def stop(self) -> None:
        """Listen no longer."""
        layers = self._viewer.layers.events
        for emitter in (layers.inserted, layers.removed, layers.reordered):
            emitter.disconnect(self._layers)
        self._viewer.dims.events.current_step.disconnect(self._time)
        self._unwatch_layers()
        self.labels.stop()

    def _watch_layers(self) -> None:
        self._unwatch_layers()
        for layer in self._viewer.layers:
            self._listen(layer, ("name",), self._layers)
            self._listen(layer, ("metadata",), self._another)  # its axes, its voxel size, its image
            if isinstance(layer, Image):
                self._listen(layer, ("data", *_PLACE), self._another)
            elif isinstance(layer, Points):
                self._listen(layer, ("data", *_PLACE), self._points)
            elif isinstance(layer, Tracks):
                self._listen(layer, ("data", "rebuild_graph", *_PLACE), self._points)
            elif isinstance(layer, Labels):
                self._listen(layer, _PLACE, self._points)
                self._listen(layer, ("data",), self._labels_replaced)
                self._listen(layer, ("labels_update", "paint"), self._painted)
                self._listen(layer, ("set_data",), self._drawn)
        self._count_labels()

    def _listen(self, layer: Layer, events: tuple[str, ...], callback: Callable[..., None]) -> None:
        for name in events:
            emitter = getattr(layer.events, name)
            emitter.connect(callback)
            self._watched.append((emitter, callback))

    def _unwatch_layers(self) -> None:
        for emitter, callback in self._watched:
            emitter.disconnect(callback)
        self._watched = []

    def _layers(self, event: Any = None) -> None:
        if isalive(self):
            self._watch_layers()
            self._timers["layers_changed"].start()

    def _another(self, event: Any = None) -> None:
        if isalive(self):
            self._timers["layers_changed"].start()

    def _points(self, event: Any = None) -> None:
        # while something is added or moved napari tells before and after; only after counts
        if isalive(self) and str(getattr(event, "action", "")) not in ("adding", "removing"):
            self._timers["points_changed"].start()

    def _labels_replaced(self, event: Any) -> None:
        if isalive(self):
            mark_changed(event.source)
            self._count_labels()

    def _painted(self, event: Any) -> None:
        if isalive(self):
            layer = event.source
            axis = axes_of(layer).find("t")
            painted = _painted_at(getattr(event, "value", None), axis)
            if axis < 0:
                mark_changed(layer)
            elif painted is not None:
                for index in painted:
                    mark_changed(layer, index)
            else:
                whole = layer.n_edit_dimensions >= layer.ndim
                mark_changed(layer, None if whole else self._shown_index(layer, axis))
            self._count_labels()

    def _drawn(self, event: Any) -> None:
        """Doubt labels that are drawn anew where nothing was moved: an undo says nothing else."""
        layer, dims = event.source, self._viewer.dims
        view = (dims.point, dims.order, dims.ndisplay)
        moved = self._views.get(layer) != view
        self._views[layer] = view
        if isalive(self) and not moved:
            axis = axes_of(layer).find("t") if 2 <= layer.ndim <= 5 else -1
            doubt(layer, self._shown_index(layer, axis) if axis >= 0 else 0)
            self._count_labels()

    def _shown_index(self, layer: Labels, axis: int) -> int:
        return round(float(layer.world_to_data(self._viewer.dims.point[-layer.ndim :])[axis]))

    def _count_labels(self) -> None:
        self.labels.look_at([one for one in self._viewer.layers if isinstance(one, Labels)])

    def _time(self, event: Any = None) -> None:
        if isalive(self) and not self._timers["time_changed"].isActive():
            self._timers["time_changed"].start()


def _painted_at(strokes: Any, axis: int) -> list[int] | None:
    """Return the indices along an axis that a paint event tells of; None when it tells none.

    A stroke is the indices of its pixels with their values before and after, and from napari 0.9 on
    a box.
    """
    try:
        keys = [getattr(one, "slice_key", None) or one[0] for one in strokes]
        found = [
            np.arange(key[axis].start, key[axis].stop)
            if isinstance(key[axis], slice)
            else np.unique(np.asarray(key[axis]))
            for key in keys
        ]
        return [int(index) for index in np.unique(np.concatenate(found))]
    except (TypeError, IndexError, ValueError):
        return None
