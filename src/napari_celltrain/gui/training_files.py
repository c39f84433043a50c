"""The dialogs of *Train detector*: data and settings out of files, and the folder for runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal
from qtpy.QtWidgets import QFileDialog

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.run_errands import reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_celltrain.gui.errands import Errands
    from napari_celltrain.gui.train_page import TrainPage


class TrainingFiles(QObject):
    """Asks for a file, and does it; `said` tells what came of it."""

    said = Signal(str)

    def __init__(self, page: TrainPage, errands: Errands) -> None:
        super().__init__(page)
        self._page = page
        self._errands = errands
        page.load_button.clicked.connect(self._load_settings)
        page.save_button.clicked.connect(self._save_settings)
        page.folder_button.clicked.connect(self._choose_folder)
        page.table.add_button.clicked.connect(self._add_files)

    def _add_files(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self._page, "Add experiments to learn from")
        if paths:
            self._errands.do(reading([Path(path) for path in paths]), self._page.table.add_members)

    def _load_settings(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self._page, "Load settings", filter="Settings (*.toml)"
        )
        if path:
            self._say_or_fail(lambda: self._page.form.load(Path(path)))

    def _save_settings(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self._page, "Save settings", "settings.toml", "Settings (*.toml)"
        )
        if path:
            self._say_or_fail(lambda: self._page.form.save(Path(path)))

    def _choose_folder(self) -> None:
        field = self._page.runs_folder
        path = QFileDialog.getExistingDirectory(self._page, "Folder for runs", field.text())
        if path:
            field.setText(path)
            field.editingFinished.emit()

    def _say_or_fail(self, act: Callable[[], str | None]) -> None:
        try:
            said = act()
        except CellTrainError as error:
            said = str(error)
        if said:
            self.said.emit(said)
