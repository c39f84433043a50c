"""How good detections are beside cells that somebody marked, and where the errors are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.error_tour import ErrorTour
from napari_celltrain.gui.layers import note
from napari_celltrain.gui.long_texts import NameBox
from napari_celltrain.gui.open_experiments import OpenExperiment, open_experiments
from napari_celltrain.gui.prediction_work import comparison_work
from napari_celltrain.gui.result_layers import add_errors
from napari_celltrain.gui.work import Job

if TYPE_CHECKING:
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_celltrain.gui.candidates import Candidates
    from napari_celltrain.gui.comparison import Comparison


@dataclass(frozen=True, eq=False)
class Judged:
    """Detections to be judged.

    Parameters
    ----------
    detector
        The folder of the detector that found them: it says how wide a cell is.
    name, image, diameter_px
        The movie, the layer that shows it, and how wide a cell is in it.
    candidates, threshold
        What was found, and from which score on it counts.
    """

    detector: Path
    name: str
    image: Image
    diameter_px: float
    candidates: Candidates
    threshold: float


class JudgingPanel(QWidget):
    """Chooses known cells and tells precision, recall, F1 and the localisation error."""

    said = Signal(str)
    """A sentence."""
    errors_shown = Signal()
    """The errors layer shows the detections too."""

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.comparison: Comparison | None = None
        self._judged: Judged | None = None
        self._job: Job | None = None
        self._again = False
        self._tour = ErrorTour(viewer)
        self.truth = NameBox(self)
        self.scores = QLabel("", self)
        self.errors_button = QPushButton("Show errors", self)
        self.next_button = QPushButton("Next error", self)
        self._arrange()
        self.refresh()

    def judge(self, judged: Judged | None) -> None:
        """Score these beside the chosen cells, in a thread; the latest request wins."""
        before, self._judged = self._judged, judged
        if before is None or judged is None or before.image is not judged.image:
            self.refresh()  # cells of this movie come first
        chosen = self._chosen_truth()
        if chosen is None or judged is None or not judged.candidates.times:
            self.comparison = None
            self.scores.setText("")
            self._enable(False)
            if self._job is not None:  # what it finds out is no longer asked for
                self._job.stop()
                self._again = True
            return
        if self._job is not None:
            self._again = True
            return
        try:
            truth = chosen.read()
        except CellTrainError as error:
            self.scores.setText(str(error))
            return
        work = comparison_work(judged.detector, truth, judged.candidates, judged.threshold)
        self._job = Job(work, self, interval_ms=50)
        self._job.returned.connect(self._keep)
        self._job.failed.connect(self.scores.setText)
        self._job.ended.connect(self._ended)
        self._job.start()

    def judge_again(self) -> None:
        """Score the same detections: other cells were chosen, or some were corrected."""
        self.judge(self._judged)

    def stop(self) -> None:
        """Score no more."""
        self._again = False
        if self._job is not None:
            self._job.stop()

    def refresh(self) -> None:
        """List the annotations that are open now, those of this movie first; the choice stays."""
        chosen = self.truth.currentData()
        self.truth.blockSignals(True)
        self.truth.clear()
        self.truth.addItem("nothing", None)
        marked = [
            one for one in open_experiments(self._viewer.layers) if one.annotation is not None
        ]
        for found in sorted(marked, key=self._is_of_another_movie):
            assert found.annotation is not None  # just asked
            self.truth.addItem(found.annotation.name, found.identity)
        self.truth.setCurrentIndex(max(self.truth.findData(chosen), 0))
        self.truth.blockSignals(False)

    def show_errors(self) -> None:
        """Add a layer with what is missed and what is false at this threshold."""
        if self.comparison is None or self._judged is None:
            return
        add_errors(
            self._viewer,
            f"{self._judged.name} errors",
            self.comparison,
            self._judged.image,
            self._judged.diameter_px,
        )
        self.errors_shown.emit()

    def go_to_next_error(self) -> None:
        """Bring the next missed or false cell into the middle; begins again after the last."""
        if self.comparison is not None:
            self.said.emit(self._tour.go_on())

    def _keep(self, comparison: Comparison) -> None:
        self.comparison = comparison
        if self._judged is not None:
            self._tour.plan([(self._judged.image, comparison)])
        self.scores.setText(" ".join(filter(None, (self._reservation(), comparison.in_words))))
        self._enable(True)

    def _ended(self) -> None:
        if self._job is not None:
            self._job.deleteLater()
            self._job = None
        if self._again:
            self._again = False
            self.judge_again()

    def _chosen_truth(self) -> OpenExperiment | None:
        identity = self.truth.currentData()
        for found in open_experiments(self._viewer.layers):
            if found.annotation is not None and found.identity == identity:
                return found
        return None

    def _is_of_another_movie(self, truth: OpenExperiment) -> bool:
        if self._judged is None:
            return False
        image = self._judged.image
        return image not in truth.images and not any(
            "key" in note(image) and note(one).get("key") == note(image)["key"]
            for one in truth.images
        )

    def _reservation(self) -> str:
        """Say why the scores are not what they seem."""
        truth = self._chosen_truth()
        if truth is None or truth.annotation is None or self._judged is None:
            return ""
        name = truth.annotation.name
        if self._is_of_another_movie(truth):
            other = f"'{truth.images[0].name}'" if truth.images else "another movie"
            return f"'{name}' marks cells of {other}, not of '{self._judged.image.name}'."
        if note(truth.annotation).get("copied") is not None:
            return f"'{name}' was copied from detections: what nobody corrected counts as right."
        return ""

    def _enable(self, enabled: bool) -> None:
        self.errors_button.setEnabled(enabled)
        self.next_button.setEnabled(enabled)

    def _arrange(self) -> None:
        self.truth.setToolTip("Points that are known to be cells; the detections are scored.")
        self.truth.setAccessibleName("Compare with")
        self.scores.setWordWrap(True)
        self.scores.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.errors_button.setToolTip(
            "A layer: blue rings are right, yellow squares are missed, red crosses are false."
        )
        self.next_button.setToolTip("Go to the next missed or false cell.")
        self._enable(False)
        title = QLabel("Compare with known cells", self)
        title.setBuddy(self.truth)
        grid = QGridLayout()
        grid.addWidget(self.errors_button, 0, 0)
        grid.addWidget(self.next_button, 0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(title)
        layout.addWidget(self.truth)
        layout.addWidget(self.scores)
        layout.addLayout(grid)
        self.truth.currentIndexChanged.connect(self.judge_again)
        self.errors_button.clicked.connect(self.show_errors)
        self.next_button.clicked.connect(self.go_to_next_error)
