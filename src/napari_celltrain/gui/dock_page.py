"""What the three dock widgets have in common: they share a place, and end with their dock."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, QTimer
from qtpy.QtWidgets import QDockWidget, QMainWindow, QWidget

from napari_celltrain.gui.preferences import PLUGIN
from napari_celltrain.gui.tab_order import order_tabs
from napari_celltrain.gui.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer


class DockPage(QWidget):
    """The content of a dock of a viewer.

    napari closes a dock by taking its content out and forgetting it. Work in a thread would go
    on then, and the viewer would go on telling of its layers: so a page that has lost its dock
    stops its work, listens no longer, and is deleted (unless it is put into another dock at once).

    napari puts a dock that was chosen in its menu under the others; each of ours needs the whole
    height of a small screen, so they become tabs.
    """

    NARROWEST = 330

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.watcher = Watcher(viewer, self)
        self._docked = False
        # timers of its own: one that outlived the page would call what is no longer there
        self._docking, self._raising, self._ending = (
            self._at_once(act) for act in (self._settle, self._raise, self._end)
        )

    def minimumSizeHint(self) -> QSize:
        """As wide as what is shown now has to be; a set minimum would let it be cut off."""
        hint = super().minimumSizeHint()
        return QSize(max(hint.width(), self.NARROWEST), hint.height())

    def stop_work(self) -> None:
        """Ask what runs in threads to end."""

    def event(self, event: QEvent) -> bool:
        """Notice that the dock was closed."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
                self._docking.start()
            elif self._docked:
                self.stop_work()
                self._ending.start()
        return bool(super().event(event))

    def order_keys(self) -> None:
        """Let the Tab key go through the page from its top to its bottom."""
        order_tabs(self)

    def _share_place(self) -> None:
        dock, window = self.parent(), self.window()
        if not isinstance(dock, QDockWidget) or not isinstance(window, QMainWindow):
            return  # it floats, or is gone again
        # what napari adds, the plugin's name, would leave no room for what tabs are called
        dock.setWindowTitle(dock.windowTitle().removesuffix(f" ({PLUGIN})"))
        area = window.dockWidgetArea(dock)
        beside = [page.parent() for page in window.findChildren(DockPage) if page is not self]
        others = [
            other
            for other in beside
            if isinstance(other, QDockWidget) and window.dockWidgetArea(other) == area
        ]
        if others and not any(other in others for other in window.tabifiedDockWidgets(dock)):
            window.tabifyDockWidget(others[-1], dock)
            self._raising.start()  # Qt lays the tabs out first

    def _settle(self) -> None:
        self.order_keys()
        self._share_place()

    def _raise(self) -> None:
        dock = self.parent()
        if isinstance(dock, QDockWidget):
            dock.raise_()

    def _at_once(self, act: Callable[[], None]) -> QTimer:
        """Return a timer that lets Qt finish what it is at first."""
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(0)
        timer.timeout.connect(act)
        return timer

    def _end(self) -> None:
        if self.parent() is None:
            self.watcher.stop()
            self.deleteLater()
