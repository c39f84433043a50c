"""The dock widget *Predict cells*."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Points

from napari_celltrain.errors import CellTrainError, counted
from napari_celltrain.experiment import Experiment
from napari_celltrain.gui.candidates import Candidates
from napari_celltrain.gui.docks import open_dock
from napari_celltrain.gui.errands import Errands
from napari_celltrain.gui.going_there import go_to, show_time_point, shown_time_point, uncover
from napari_celltrain.gui.hand_edits import HandEdits
from napari_celltrain.gui.judging_panel import Judged
from napari_celltrain.gui.layers import METADATA, cells_layer, note, show_through_depth
from napari_celltrain.gui.open_experiments import PAIRED, open_experiments
from napari_celltrain.gui.predict_page import PredictPage
from napari_celltrain.gui.prediction_work import Progress, Ready, prediction_work
from napari_celltrain.gui.result_layers import add_detections, in_layer, show_candidates
from napari_celltrain.gui.saving import ask_where, saving_work
from napari_celltrain.gui.work import Job
from napari_celltrain.training.events import duration

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer
    from qtpy.QtCore import QEvent
    from qtpy.QtWidgets import QWidget

    from napari_celltrain.gui.detector_chooser import DetectorCard


LOWER_THE_THRESHOLD = (
    "Nothing scored high enough; move the threshold to the left to see weaker ones."
)
NOTHING_LIKE_A_CELL = (
    "Nothing looked like a cell to this detector. Are image, channel and voxel size right?"
)
NOT_FOR_EDITING = (
    "Detections are shown as they were found, so this was undone. Use as annotations makes a copy "
    "that can be edited."
)


class PredictWidget(PredictPage):
    """Detector and movie, Find cells, the threshold, and what to do with what was found."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.candidates = Candidates()
        self.layer: Points | None = None
        self.errands = Errands(self)
        self.hand_edits = HandEdits(self)
        self._card: DetectorCard | None = None
        self._image: Any = None
        self._movie: Experiment | None = None
        self._diameter_px = 10.0
        self._job: Job | None = None
        self._shown_candidates = 0
        self._connect()
        self.watcher.layers_changed.connect(self._layers_changed)
        self.watcher.points_changed.connect(self.judging.judge_again)
        self.watcher.time_changed.connect(self._time_changed)
        self._layers_changed()
        self._time_changed()
        self._detector_changed()
        self._show_state()

    # --- what the person does ------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """True while cells are being looked for."""
        return self._job is not None and self._job.running

    def set_detector(self, folder: Path) -> None:
        """Choose a detector."""
        self.detector.choose(folder)

    def start(self) -> None:
        """Look for cells in the chosen movie; a problem becomes a sentence."""
        if self.running:
            return
        card = self.detector.card
        try:
            if card is None:
                raise CellTrainError(self._no_detector())
            source, channel, voxel = self.image.movie()
            times = self.image.time_points(source)
        except CellTrainError as error:
            self.sentence.setText(str(error))
            return
        self._card, self._image = card, self.image.layer
        original = note(self._image).get("experiment")
        channels: tuple[int, ...] = (channel,)
        if card.n_channels > 1:
            channels = original.channels if original is not None else tuple(range(card.n_channels))
        self._movie = Experiment(
            name=self._image.name, images=source, voxel_size_um=voxel, channels=channels
        )
        self._diameter_px = card.diameter_px(None if voxel is None else voxel[2])
        self.candidates = Candidates()
        self._shown_candidates = 0
        self._deactivate_layer()
        self.threshold.set_candidates(self.candidates)
        threshold = card.threshold_for(self._image.name if original is None else original.name)
        self.threshold.set_calibrated(threshold)
        self.threshold.set_threshold(threshold)
        self.findings.set_findings(())
        self.judging.judge(None)
        self.sentence.setText("Loading the detector.")
        self.sentence.setToolTip("")  # the details of an earlier failure
        self.bar.setRange(0, 0)
        work = prediction_work(
            card.folder, self._movie, times, self.cell_diameter.diameter, self.gamma.gamma
        )
        self._job = Job(work, self)
        self._job.reported.connect(self._told)
        self._job.returned.connect(self._returned)
        self._job.failed.connect(self._failed)
        self._job.ended.connect(self._ended)
        self._job.start()
        self._show_state()

    def cancel(self) -> None:
        """Stop looking; what was found stays."""
        if self._job is not None and self.running:
            self.sentence.setText("Stopping after this time point.")
            self._job.stop()

    def stop_work(self) -> None:
        """Look no further, and compare no more."""
        for work in (self._job, self.judging, self.errands, self.image.errands):
            if work is not None:
                work.stop()

    def save(self) -> None:
        """Ask for a place and a format, and write the cells above the threshold."""
        try:
            asked = ask_where(self)
            if asked is None:
                return
            path, format_name = asked
            work = saving_work(path, format_name, self.found())
        except CellTrainError as error:
            self.sentence.setText(str(error))
            return
        self.sentence.setText(f"Writing {path.name}.")
        self.errands.do(work, self.sentence.setText)

    def found(self) -> Experiment:
        """Return the movie with the cells above the threshold."""
        if self._movie is None:
            raise CellTrainError("No cells have been looked for yet.")
        annotations = self.candidates.annotations(self.threshold.threshold)
        return self._movie.with_(annotations=annotations)

    def use_as_annotations(self) -> Points | None:
        """Add an ordinary points layer with the cells above the threshold, for correcting."""
        if self._movie is None or self._image is None:
            return None
        key = note(self._image).get("key")
        found = self.found()
        name = f"{self._image.name} corrected cells"
        _, arguments, _ = cells_layer(found, key=key or "", name=name)
        if key is None:
            arguments["metadata"] = {METADATA: {}}
        arguments["metadata"][METADATA][PAIRED] = self._image.unique_id
        arguments["metadata"][METADATA]["copied"] = found.annotations
        annotations = found.annotations
        uncover(self.viewer, self._image)
        data, place = in_layer(self._image, annotations.t, annotations.positions)
        layer = Points(data, **{**arguments, **place})
        self.viewer.add_layer(layer)
        if self.layer is not None:
            self.layer.visible = False
        self.viewer.layers.selection.active = layer
        layer.mode = "select"
        self.sentence.setText(
            "An editable copy was made: add, move and delete points in it, then press "
            "Train further."
        )
        return layer

    def train_further(self) -> None:
        """Open Train detector with this detector to start from."""
        card = self.detector.card
        if card is None:
            self.sentence.setText(self._no_detector())
            return
        from napari_celltrain.gui.train import TrainWidget

        widget = open_dock(self.viewer, "Train detector")
        if isinstance(widget, TrainWidget):
            widget.tune(card.folder)

    # --- while it runs -------------------------------------------------------------------------

    def _told(self, reports: list[Any]) -> None:
        frames = []
        for report in reports:
            if isinstance(report, Ready):
                self._diameter_px = report.diameter_px
                self._add_layer()
                self.sentence.setText(report.sentence)
            elif isinstance(report, str):
                self.sentence.setText(report)
            elif isinstance(report, Progress):
                if not report.damaged:
                    frames.append((report.t, report.positions, report.scores))
                self._show_progress(report)
            else:
                self.findings.set_findings([*self.findings.findings, report])
        if frames:
            self.candidates = self.candidates.extended(frames)
            # a layer of many points takes time to fill: not at every new time point
            if len(self.candidates) >= 1.15 * self._shown_candidates:
                self._show_candidates()

    def _show_progress(self, progress: Progress) -> None:
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)
        self.bar.setFormat(f"t = {progress.t}, {duration(progress.seconds_left)} left")

    def _add_layer(self) -> None:
        assert self._movie is not None  # set before the work began
        voxel = self._movie.known_voxel_size_um
        name = f"{self._movie.name} detections"
        uncover(self.viewer, self._image)
        self.layer = add_detections(self.viewer, name, self._image, self._diameter_px)
        self.hand_edits.watch(self.layer)
        assert self._movie.images is not None  # it is a movie
        if self._movie.images.frame_shape[0] > 1:
            voxel = voxel or (1.0, 1.0, 1.0)
            show_through_depth(self.viewer, max(self._diameter_px * voxel[2] / 2, voxel[0]))

    def _show_candidates(self) -> None:
        self._shown_candidates = len(self.candidates)
        self.threshold.set_candidates(self.candidates)
        if self._layer_is_there():
            assert self.layer is not None  # just asked
            show_candidates(self.layer, self._image, self.candidates, self.threshold.threshold)

    def _returned(self, sentence: str) -> None:
        self._show_candidates()
        found = self._counted()
        words = f"{sentence} {counted(found, 'cell')}."
        if not found and self.candidates.times:
            words += " " + (LOWER_THE_THRESHOLD if len(self.candidates) else NOTHING_LIKE_A_CELL)
        self.sentence.setText(words)

    def _failed(self, sentence: str) -> None:
        self._show_candidates()
        self.sentence.setText(f"✖ {sentence}")
        if self._job is not None:
            self.sentence.setToolTip(self._job.details)

    def _ended(self) -> None:
        if self._job is not None:
            self._job.deleteLater()
            self._job = None
        self._show_state()
        self._judge()

    # --- the threshold -------------------------------------------------------------------------

    def _threshold_moved(self, threshold: float) -> None:
        if self._layer_is_there():
            assert self.layer is not None  # just asked
            if len(self.layer.data) == len(self.candidates):
                self.layer.shown = self.candidates.reaching(threshold)
        self._judge()

    def _undo_edits(self) -> None:
        """Show again what was found: nothing else is counted, saved or copied."""
        if self._layer_is_there():
            assert self.layer is not None  # just asked
            self.layer.selected_data = set()
            self._show_candidates()
            self.sentence.setText(NOT_FOR_EDITING)

    def _judge(self) -> None:
        """Have what is found scored beside known cells."""
        if self._card is None or self._movie is None or self.running:
            return
        self.judging.judge(
            Judged(
                self._card.folder,
                self._movie.name,
                self._image,
                self._diameter_px,
                self.candidates,
                self.threshold.threshold,
            )
        )

    def _errors_shown(self) -> None:
        uncover(self.viewer, self._image)
        if self._layer_is_there():
            assert self.layer is not None  # just asked
            self.layer.visible = False  # two rings around every cell are one too many

    def _counted(self) -> int:
        return int(self.candidates.reaching(self.threshold.threshold).sum())

    def _layer_is_there(self) -> bool:
        return self.layer is not None and self.layer in self.viewer.layers

    def _deactivate_layer(self) -> None:
        if self._layer_is_there():
            assert self.layer is not None  # just asked
            self.layer.visible = False
        self.hand_edits.watch(None)
        self.layer = None

    # --- the viewer ----------------------------------------------------------------------------

    def _layers_changed(self) -> None:
        self.image.refresh()
        self.judging.refresh()
        self.judging.judge_again()

    def _time_changed(self) -> None:
        self.threshold.set_time_point(shown_time_point(self.viewer))

    def _go_to_time(self, time_point: int) -> None:
        show_time_point(self.viewer, time_point)

    def _go_to_finding(self, finding: Any) -> None:
        for found in open_experiments(self.viewer.layers):
            if self._image in found.images:
                go_to(self.viewer, found, finding.time_point)
                return

    def _no_detector(self) -> str:
        """Say why there is none to work with; one that is gone is no longer listed then."""
        gone = self.detector.box.currentText()
        if not gone:
            return "Choose a detector first: train one with Train detector, or press Other."
        self.detector.refresh()
        return (
            f"The detector '{gone}' is no longer there, or can't be read. Look which one is chosen "
            "now, or choose another one."
        )

    def _detector_changed(self) -> None:
        self.cell_diameter.show_detector(self.detector.card)

    # --- the look --------------------------------------------------------------------------

    def _show_state(self) -> None:
        running = self.running
        self.run_button.setVisible(not running)
        self.cancel_button.setVisible(running)
        self.bar.setVisible(running)
        has_result = bool(self.candidates.times)
        self.result.setVisible(has_result or running)
        for button in (self.save_button, self.annotate_button):
            button.setEnabled(has_result and not running)

    def _connect(self) -> None:
        self.run_button.clicked.connect(self.start)
        self.cancel_button.clicked.connect(self.cancel)
        self.detector.refused.connect(self.sentence.setText)
        self.detector.changed.connect(self._detector_changed)
        self.hand_edits.made.connect(self._undo_edits)
        self.threshold.threshold_changed.connect(self._threshold_moved)
        self.threshold.time_point_clicked.connect(self._go_to_time)
        self.findings.rows_changed.connect(self.order_keys)
        self.findings.show_requested.connect(self._go_to_finding)
        self.judging.said.connect(self.sentence.setText)
        self.judging.errors_shown.connect(self._errors_shown)
        self.image.said.connect(self.sentence.setText)
        self.errands.said.connect(self.sentence.setText)
        self.save_button.clicked.connect(self.save)
        self.annotate_button.clicked.connect(self.use_as_annotations)
        self.further_button.clicked.connect(self.train_further)

    def showEvent(self, event: QEvent) -> None:
        """Look for new detectors whenever the dock is shown."""
        if not self.running:
            self.detector.refresh()
        super().showEvent(event)
