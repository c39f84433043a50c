"""What *Train detector* looks like: its controls and where they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSplitter,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from napari_celltrain.gui import preferences
from napari_celltrain.gui.dock_page import DockPage
from napari_celltrain.gui.experiments_table import ExperimentsTable
from napari_celltrain.gui.extra_layers import ExtraLayers
from napari_celltrain.gui.findings_list import FindingsList
from napari_celltrain.gui.preflight import Preflight
from napari_celltrain.gui.progress_panel import ProgressPanel
from napari_celltrain.gui.prominence import make_prominent
from napari_celltrain.gui.resuming import is_unfinished
from napari_celltrain.gui.run_follower import RunFollower
from napari_celltrain.gui.run_list import RunList
from napari_celltrain.gui.scrolled import Scrolled
from napari_celltrain.gui.settings_form import SettingsForm
from napari_celltrain.gui.starting import start_text
from napari_celltrain.training.run import RunFolder

if TYPE_CHECKING:
    from napari.viewer import Viewer


class TrainPage(DockPage):
    """The tabs, and below them the buttons and what the run is doing."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.table = ExperimentsTable(napari_viewer, self)
        self.findings = FindingsList(self)
        self.form = SettingsForm(self)
        self.form.row("compute.device").value = preferences.device()
        self.form.row("compute.threads").value = preferences.threads()
        self.runs = RunList(self)
        self.progress = ProgressPanel(self)
        self.follower = RunFollower(self)
        self.preflight = Preflight(self)
        self.start_button = QPushButton("Start training", self)
        self.fresh_button = QPushButton("Start from nothing instead", self)
        self.extra = ExtraLayers(napari_viewer, self)
        self.preview_button = QPushButton("Preview augmentation", self)
        self.errors_box = QCheckBox("Held-out errors", self)
        self.next_button = QPushButton("Next error", self)
        self.predict_button = QPushButton("Find cells with it", self)
        self.resume_button = QPushButton("Resume", self)
        self.pause_button = QPushButton("Pause", self)
        self.stop_button = QPushButton("Stop", self)
        self.load_button = QPushButton("Load…", self)
        self.save_button = QPushButton("Save…", self)
        self.folder_button = QPushButton("…", self)
        self.run_name = QLineEdit(self)
        self.runs_folder = QLineEdit(str(preferences.runs_folder()), self)
        self._arrange()

    def show_buttons(
        self, run: Path | None, start_from: Path | None, *, running: bool, paused: bool
    ) -> None:
        """Show what can be done now.

        Parameters
        ----------
        run
            The run that is shown below.
        start_from
            The detector that the next training starts from.
        running, paused
            Whether it trains here, and is held.
        """
        self.start_button.setText(start_text(start_from))
        self.start_button.setVisible(not running)
        self.fresh_button.setVisible(not running and start_from is not None)
        self.pause_button.setVisible(running)
        self.stop_button.setVisible(running)
        self.pause_button.setText("Go on" if paused else "Pause")
        done = run is not None and not running
        self.predict_button.setVisible(done and RunFolder(run or Path()).best.exists())
        self.errors_box.setVisible(run is not None)
        self.next_button.setVisible(run is not None and self.errors_box.isChecked())
        unfinished = done and is_unfinished(run or Path())
        self.resume_button.setVisible(unfinished and not self.follower.busy)

    def _arrange(self) -> None:
        self.tabs = QTabWidget(self)
        self.tabs.addTab(Scrolled(self.table, self.findings), "Data")
        files = QWidget()
        row = QHBoxLayout(files)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Settings"))
        row.addStretch(1)
        row.addWidget(self.load_button)
        row.addWidget(self.save_button)
        self.preview_button.setToolTip(
            "Show training crops as layers, with the random changes that these settings make."
        )
        self.errors_box.setToolTip(
            "A layer for each experiment with held-out frames: blue rings are found, yellow "
            "squares missed, red crosses false. Made anew after each better evaluation."
        )
        self.next_button.setToolTip(
            "Bring the next missed or false cell of the held-out frames into the middle."
        )
        self.predict_button.setToolTip("Open Predict cells with this detector.")
        self.tabs.addTab(Scrolled(files, self.form, self.preview_button), "Settings")
        place = QWidget()
        form = QFormLayout(place)
        form.setContentsMargins(0, 0, 0, 0)
        self.run_name.setPlaceholderText("date and experiment")
        self.run_name.setToolTip("The name of the folder that the next training makes.")
        self.folder_button.setToolTip("Choose the folder for runs.")
        self.folder_button.setAccessibleName("Choose the folder for runs")
        self.run_name.setAccessibleName("Name of the next run")
        self.runs_folder.setAccessibleName("Folder for runs")
        self.runs_folder.setPlaceholderText(str(preferences.runs_folder()))
        self.runs_folder.setToolTip("Each training makes a folder in it.")
        self.resume_button.setToolTip("Go on with the run shown here from its last checkpoint.")
        self.pause_button.setToolTip("Hold after the current step; Go on takes it up again.")
        self.stop_button.setToolTip("End after the current step; the best detector is kept.")
        self.load_button.setToolTip("Show the settings of a TOML file.")
        self.save_button.setToolTip("Write these settings to a TOML file.")
        line = QHBoxLayout()
        line.addWidget(self.runs_folder)
        line.addWidget(self.folder_button)
        form.addRow("Folder", line)
        form.addRow("Next run", self.run_name)
        self.tabs.addTab(Scrolled(place, self.runs), "Runs")
        bottom = QWidget(self)
        layout = QVBoxLayout(bottom)
        layout.setContentsMargins(0, 0, 0, 0)
        buttons = QHBoxLayout()
        for button in (
            self.start_button, self.resume_button, self.pause_button, self.stop_button
        ):  # fmt: skip
            button.setMinimumHeight(round(1.9 * self.fontMetrics().height()))
            buttons.addWidget(button, 2 if button is self.start_button else 1)
        make_prominent(self.start_button)
        self.start_button.setToolTip("Train with what is in the tabs; nothing has to be set.")
        self.fresh_button.setToolTip("Forget the chosen detector; the next training is a new one.")
        layout.addLayout(buttons)
        layout.addWidget(self.fresh_button)
        layout.addWidget(self.progress, 1)
        after = QHBoxLayout()
        after.addWidget(self.errors_box)
        after.addWidget(self.next_button)
        after.addStretch(1)
        after.addWidget(self.predict_button)
        layout.addLayout(after)
        self.splitter = splitter = QSplitter(Qt.Orientation.Vertical, self)
        splitter.addWidget(self.tabs)
        splitter.addWidget(bottom)
        splitter.setChildrenCollapsible(False)
        splitter.setStretchFactor(0, 1)
        splitter.setStretchFactor(1, 0)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(4, 4, 4, 4)
        outer.addWidget(splitter)
