"""What *Predict cells* looks like: its controls and where they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_celltrain.gui.cell_diameter import CellDiameterRow
from napari_celltrain.gui.detector_chooser import DetectorChooser
from napari_celltrain.gui.dock_page import DockPage
from napari_celltrain.gui.findings_list import FindingsList
from napari_celltrain.gui.gamma import GammaRow
from napari_celltrain.gui.image_chooser import ImageChooser
from napari_celltrain.gui.judging_panel import JudgingPanel
from napari_celltrain.gui.prominence import make_prominent
from napari_celltrain.gui.scrolled import Scrolled
from napari_celltrain.gui.setting_row import ignore_wheel
from napari_celltrain.gui.threshold_panel import ThresholdPanel

if TYPE_CHECKING:
    from napari.viewer import Viewer


class PredictPage(DockPage):
    """The controls, from the detector at the top to what can be done with the result."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.detector = DetectorChooser(self)
        self.image = ImageChooser(napari_viewer, self)
        self.cell_diameter, self.gamma = CellDiameterRow(self), GammaRow(self)
        self.run_button = QPushButton("Find cells", self)
        self.cancel_button = QPushButton("Cancel", self)
        self.bar = QProgressBar(self)
        self.sentence = QLabel("", self)
        self.findings = FindingsList(self)
        self.threshold = ThresholdPanel(self)
        self.judging = JudgingPanel(napari_viewer, self)
        self.save_button = QPushButton("Save as…", self)
        self.annotate_button = QPushButton("Use as annotations", self)
        self.further_button = QPushButton("Train further", self)
        self._arrange()

    def _arrange(self) -> None:
        self.sentence.setWordWrap(True)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        buttons = QHBoxLayout()
        buttons.setContentsMargins(0, 0, 0, 0)
        for button in (self.run_button, self.cancel_button):
            button.setMinimumHeight(round(1.9 * self.fontMetrics().height()))
            buttons.addWidget(button)
        font = self.run_button.font()
        font.setBold(True)
        self.run_button.setFont(font)
        make_prominent(self.run_button)
        self.run_button.setToolTip("Look for cells with this detector in this movie.")
        self.bar.setAccessibleName("Progress of the prediction")
        self.annotate_button.setToolTip("Make an editable copy, to correct it by hand.")
        self.cancel_button.setToolTip("Stop after this time point; what was found stays.")
        self.save_button.setToolTip("Write the cells above the threshold in a format of a choice.")
        self.further_button.setToolTip("Go on training from this detector.")
        self.result = QWidget(self)
        result = QVBoxLayout(self.result)
        result.setContentsMargins(0, 0, 0, 0)
        result.addWidget(self.threshold)
        result.addWidget(self.judging)
        grid = QGridLayout()
        grid.addWidget(self.save_button, 0, 0)
        grid.addWidget(self.annotate_button, 0, 1)
        grid.addWidget(self.further_button, 1, 0, 1, 2)
        result.addLayout(grid)
        act = QWidget(self)
        act.setLayout(buttons)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(
            Scrolled(
                self.detector,
                self.image,
                self.cell_diameter,
                self.gamma,
                act,
                self.bar,
                self.sentence,
                self.findings,
                self.result,
            )
        )
        ignore_wheel(self)
