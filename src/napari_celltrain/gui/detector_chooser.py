"""Choosing a detector: from the runs, from a folder, or by dropping a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_celltrain.detector.package import SUFFIX, description_of, is_package
from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui import preferences
from napari_celltrain.gui.long_texts import NameBox
from napari_celltrain.gui.run_list import summaries
from napari_celltrain.gui.setting_row import ignore_wheel


@dataclass(frozen=True)
class DetectorCard:
    """What a window has to know of a detector before torch is loaded."""

    folder: Path
    diameter: float
    unit: str
    threshold: float
    n_channels: int
    f1: float | None
    held_out: str
    thresholds: dict[str, float] = field(default_factory=dict)
    sizes: tuple[float, float] | None = None
    """Smallest and largest cell it learnt from, where they were of unlike size."""

    @property
    def measures_cells(self) -> bool:
        """Whether it can't know how wide the cells of another movie are."""
        return self.sizes is not None or self.unit == "px"

    @property
    def in_words(self) -> str:
        """One sentence on what it is for and how good it was."""
        f1 = "no held-out F1" if self.f1 is None else f"held-out F1 {self.f1:.3f}"
        if self.sizes is not None:
            return f"{f1}; cells {self.sizes[0]:.3g} to {self.sizes[1]:.3g} {self.unit} wide"
        return f"{f1}; cells about {self.diameter:.3g} {self.unit} wide"

    def threshold_for(self, experiment: str) -> float:
        """Return the calibrated threshold for an experiment; of an unknown one that for all."""
        return self.thresholds.get(experiment, self.threshold)

    def diameter_px(self, pixel_um: float | None) -> float:
        """Return the cell diameter in pixels of an image."""
        return self.diameter / pixel_um if self.unit == "um" and pixel_um else self.diameter


_NO_CARD = (
    CellTrainError,
    OSError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What a description that is none leads to."""


def read_card(folder: Path) -> DetectorCard | None:
    """Return what is written on a detector, run folder or packed detector; None for all else."""
    for place in (folder,) if is_package(folder) else (folder, folder / "best"):
        try:
            info = json.loads(description_of(place).decode("utf-8"))
            design = info["design"]
            sizes = design.get("sizes")
            return DetectorCard(
                folder,
                float(design["diameter"]),
                str(design["unit"]),
                float(info["threshold"]),
                int(design.get("n_channels", 1)),
                None if info.get("f1") is None else float(info["f1"]),
                str(info.get("held_out", "")),
                {str(name): float(value) for name, value in info.get("thresholds", {}).items()},
                None if sizes is None else (float(sizes[0]), float(sizes[1])),
            )
        except _NO_CARD:
            continue
    return None


class DetectorChooser(QWidget):
    """A list of the detectors in the runs folder, and a button for another folder."""

    changed = Signal()
    refused = Signal(str)
    """A sentence, when what was dropped or chosen is no detector."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAcceptDrops(True)
        self.box = NameBox(self)
        self.box.setAccessibleName("Detector")
        self.box.setToolTip("A trained detector; a folder can be dropped here too.")
        self.browse = QPushButton("Other  ", self)
        self.browse.setToolTip("Choose a detector that is not in the list.")
        menu = QMenu(self.browse)
        menu.addAction("Run or detector folder…", self._browse_folder)
        menu.addAction("Packed detector…", self._browse_file)
        self.browse.setMenu(menu)
        self.words = QLabel(self)
        self.words.setWordWrap(True)
        title = QLabel("Detector", self)
        title.setBuddy(self.box)
        line = QHBoxLayout()
        line.addWidget(title)
        line.addStretch(1)
        line.addWidget(self.browse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(line)
        layout.addWidget(self.box)
        layout.addWidget(self.words)
        self.box.currentIndexChanged.connect(self._show)
        ignore_wheel(self)
        self.refresh()

    @property
    def card(self) -> DetectorCard | None:
        """The chosen detector, as it is on the disk now."""
        folder = self.box.currentData()
        return None if folder is None else read_card(Path(folder))

    def refresh(self, folder: Path | None = None) -> None:
        """List the detectors in a runs folder; the choice stays."""
        chosen = self.box.currentData()
        extra = [self.box.itemData(row) for row in range(self.box.count())]
        runs = [run for run in summaries(folder or preferences.runs_folder()) if run.has_detector]
        listed = [str(run.path) for run in runs]
        self.box.blockSignals(True)
        self.box.clear()
        for path in [*listed, *(path for path in extra if path not in listed)]:
            card = read_card(Path(path))
            if card is not None:
                self.box.addItem(Path(path).name, path)
        if chosen is not None:
            self.box.setCurrentIndex(max(self.box.findData(chosen), 0))
        self.box.blockSignals(False)
        self._show()

    def choose(self, folder: Path) -> None:
        """Choose the detector in a folder."""
        card = read_card(folder)
        if card is None:
            self.refused.emit(
                f"{folder} holds no detector; choose a run folder made by training, or a packed "
                "detector."
            )
            return
        row = self.box.findData(str(folder))
        if row < 0:
            self.box.addItem(folder.name, str(folder))
            row = self.box.count() - 1
        self.box.setCurrentIndex(row)
        self._show()

    def dragEnterEvent(self, event: Any) -> None:
        """Take folders and files."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: Any) -> None:
        """Choose what was dropped; a loose file in a detector folder stands for the folder."""
        path = Path(event.mimeData().urls()[0].toLocalFile())
        event.acceptProposedAction()
        self.choose(path if path.is_dir() or is_package(path) else path.parent)

    def _browse_file(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, "Packed detector", filter=f"Packed detectors (*{SUFFIX})"
        )
        if chosen:
            self.choose(Path(chosen))

    def _browse_folder(self) -> None:
        chosen = QFileDialog.getExistingDirectory(
            self, "Run folder or detector folder", str(preferences.runs_folder())
        )
        if chosen:
            self.choose(Path(chosen))

    def _show(self) -> None:
        card = self.card
        self.box.setEnabled(self.box.count() > 0)
        self.words.setText(
            "No detector yet: train one first, or choose another." if card is None
            else card.in_words
        )  # fmt: skip
        self.words.setToolTip("" if card is None else f"{card.folder}\n{card.held_out}")
        self.changed.emit()
