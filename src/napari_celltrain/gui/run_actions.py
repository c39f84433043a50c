"""What can be done with a run besides training: use it, show it, give it away, delete it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QUrl, Signal
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_celltrain.detector.package import SUFFIX
from napari_celltrain.gui.docks import open_dock
from napari_celltrain.gui.run_errands import deleting, exporting, packing

if TYPE_CHECKING:
    from napari_celltrain.gui.dock_page import DockPage
    from napari_celltrain.gui.errands import Errands


class RunActions(QObject):
    """Asks where it has to, and does it; `said` tells what came of it."""

    said = Signal(str)
    deleted = Signal()

    def __init__(self, page: DockPage, errands: Errands) -> None:
        super().__init__(page)
        self._page = page
        self._errands = errands

    def predict(self, run: Path) -> None:
        """Open Predict cells with the run's detector."""
        from napari_celltrain.gui.predict import PredictWidget

        widget = open_dock(self._page.viewer, "Predict cells")
        if isinstance(widget, PredictWidget):
            widget.set_detector(run)

    def folder(self, run: Path) -> None:
        """Show the folder in the system's file browser."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(run)))

    def pack(self, run: Path) -> None:
        """Write the detector into one file."""
        place, _ = QFileDialog.getSaveFileName(
            self._page,
            "Write the detector to",
            f"{run.name}{SUFFIX}",
            f"Detectors (*{SUFFIX})",
        )
        if place:
            path = Path(place if place.endswith(SUFFIX) else place + SUFFIX)
            self._errands.do(packing(run, path), self.said.emit)

    def export(self, run: Path) -> None:
        """Write the data set and the command that trains elsewhere."""
        chosen = QFileDialog.getExistingDirectory(
            self._page, "Write the data set and the command to"
        )
        if chosen:
            self._errands.do(exporting(run, Path(chosen)), self.said.emit)

    def delete(self, run: Path) -> None:
        """Delete the folder, if that is really wanted and nobody trains in it."""
        question = f"Delete the run '{run.name}' with its detector? This can't be undone."
        if QMessageBox.question(self._page, "Delete the run", question) == QMessageBox.Yes:
            self._errands.do(deleting(run), self._deleted)

    def _deleted(self, sentence: str) -> None:
        self.said.emit(sentence)
        self.deleted.emit()
