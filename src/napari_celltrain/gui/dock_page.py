"""What the three dock widgets have in common: they end properly when their dock is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QWidget

from napari_celltrain.gui.watching import Watcher

if TYPE_CHECKING:
    from napari.viewer import Viewer


class DockPage(QWidget):
    """The content of a dock of a viewer.

    napari closes a dock by taking its content out and forgetting it. Work in a thread would go
    on then, and the viewer would go on telling of its layers: so a page that has lost its dock
    stops its work, listens no longer, and is deleted (unless it is put into another dock at once).
    """

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.watcher = Watcher(viewer, self)
        self._docked = False

    def stop_work(self) -> None:
        """Ask what runs in threads to end."""

    def event(self, event: QEvent) -> bool:
        """Notice that the dock was closed."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.stop_work()
                QTimer.singleShot(0, self._end)
        return bool(super().event(event))

    def _end(self) -> None:
        if self.parent() is None:
            self.watcher.stop()
            self.deleteLater()
