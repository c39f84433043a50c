"""File > IO Utilities: opening tracking data of any name, and having napari ask no more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.layers import Layer
from napari.utils.notifications import show_error, show_info
from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui import reader_preferences, readers
from napari_celltrain.gui.errands import Errands

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from napari.viewer import Viewer

    from napari_celltrain.experiment import Experiment
    from napari_celltrain.gui.layers import LayerData
    from napari_celltrain.gui.work import Work


def open_file() -> None:
    """Ask for a file of any name, and open it as tracking data."""
    viewer = _viewer()
    window = viewer.window._qt_window
    path, _ = QFileDialog.getOpenFileName(window, "Open a tracking file")
    if path:
        Opening(viewer, window).open(Path(path))


def open_folder() -> None:
    """Ask for a folder of any name, and open it as tracking data."""
    viewer = _viewer()
    window = viewer.window._qt_window
    path = QFileDialog.getExistingDirectory(window, "Open a folder with tracking data")
    if path:
        Opening(viewer, window).open(Path(path))


def ask_no_more() -> None:
    """Let napari give tables and folders to this plugin without a question; or ask again."""
    show_info(reader_preferences.toggle())


class Opening(QObject):
    """Opens one file or folder: read in a thread, shown when that has ended.

    Parameters
    ----------
    viewer
        That gets the layers.
    parent
        The window; reading ends with it.
    """

    def __init__(self, viewer: Viewer, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._errands = Errands(self)
        self._errands.said.connect(self._fail)

    def open(self, place: Path) -> None:
        """Open it; a problem becomes a notification."""
        if readers.is_detector(place):
            try:
                readers.open_detector(str(place))
            except CellTrainError as error:
                show_error(str(error))
            self.deleteLater()
            return
        show_info(f"Opening {place.name}.")
        self._errands.do(_reading(place), self._show)

    def _show(self, read: tuple[list[Experiment], list[LayerData]]) -> None:
        experiments, layers = read
        readers.tell(experiments)
        readers.look_through_depth(experiments)
        for one in layers:
            self._viewer.add_layer(Layer.create(*one))
        self.deleteLater()

    def _fail(self, sentence: str) -> None:
        show_error(sentence)
        self.deleteLater()


def _reading(place: Path) -> Work:
    """Return work that reads experiments and returns them with their layers."""

    def work(report: Callable[[Any], None], stop: threading.Event) -> Any:
        experiments = readers.read_experiments(place)
        return experiments, readers.layers_of(experiments)

    return work


def _viewer() -> Viewer:
    from napari import current_viewer

    viewer = current_viewer()
    if viewer is None:
        raise CellTrainError("There is no napari window to open tracking data in.")
    return viewer
