"""Opening one of the docks from another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.viewer import Viewer


def open_dock(viewer: Viewer, name: str) -> Any:
    """Return the content of a dock of this plugin, opened if need be, and in front."""
    dock, content = viewer.window.add_plugin_dock_widget("napari-celltrain", name, tabify=True)
    dock.show()
    dock.raise_()  # it may have been open behind another one
    return content
