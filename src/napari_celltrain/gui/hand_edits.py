"""Noticing that somebody edits points by hand which are the result of something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, QTimer, Signal

if TYPE_CHECKING:
    from napari.layers import Points


class HandEdits(QObject):
    """Tells of edits in one points layer, from Qt's event loop.

    A layer that can't be edited would not do: napari's Delete key works in it all the same.
    """

    made = Signal()
    """Points were added, moved or removed, and not by this plugin."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._layer: Points | None = None
        self._timer = QTimer(self)  # napari is still busy with the edit when it tells of it
        self._timer.setSingleShot(True)
        self._timer.setInterval(0)
        self._timer.timeout.connect(self.made)

    def watch(self, layer: Points | None) -> None:
        """Watch this layer instead of the one before."""
        if self._layer is not None:
            self._layer.events.data.disconnect(self._noticed)
        self._timer.stop()
        self._layer = layer
        if layer is not None:
            layer.events.data.connect(self._noticed)

    def _noticed(self, event: Any) -> None:
        # what this plugin puts in is told without saying how
        if isalive(self) and str(getattr(event, "action", "")) in ("added", "removed", "changed"):
            self._timer.start()
