"""The dock widget *Train detector*."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info

from napari_celltrain.dataset import Dataset
from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui import preferences
from napari_celltrain.gui.detector_chooser import read_card
from napari_celltrain.gui.errands import Errands
from napari_celltrain.gui.experiments_table import NOTHING_TO_LEARN_FROM
from napari_celltrain.gui.going_there import go_to, show_finding
from napari_celltrain.gui.resuming import data_to_go_on_with, larger_budget
from napari_celltrain.gui.run_actions import RunActions
from napari_celltrain.gui.starting import Asked, has_begun, new_run_folder, nothing_learnt
from napari_celltrain.gui.train_page import TrainPage
from napari_celltrain.gui.training_files import TrainingFiles
from napari_celltrain.gui.training_session import TrainingSession
from napari_celltrain.training.events import Choice, FindingEvent, Finished, HeldOutErrors
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QWidget

    from napari_celltrain.experiment import Finding

FIRST_WORDS = "Open a tracked movie (drag it into napari), then press Start training."
NOTHING_TICKED = "Tick the experiments to learn from; each needs an image and marked cells."
READY = "Ready. Press Start training; all settings can stay as they are."
_WAITING = ("", FIRST_WORDS, NOTHING_TICKED, READY, NOTHING_TO_LEARN_FROM)


class TrainWidget(TrainPage):
    """Experiments, settings and runs in tabs; below them Start, and what the run is doing."""

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(napari_viewer, parent)
        self.session: TrainingSession | None = None
        self.run_folder: Path | None = None
        self._dataset: Dataset | Path | None = None
        self._run_findings: list[Finding] = []
        self._start_from: Path | None = None
        self._asked = Asked()
        self._errors: HeldOutErrors | None = None
        self._data_problem = ""
        self.errands = Errands(self)
        self.actions = RunActions(self, self.errands)
        self.files = TrainingFiles(self, self.errands)
        self._connect()
        self.watcher.layers_changed.connect(self._layers_changed)
        self.watcher.points_changed.connect(self._layers_changed)
        self.runs.show_folder(self.folder)
        self._show_state()
        self._layers_changed()

    # --- what the person does ------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder that runs are kept in; the preferred one where none is written."""
        written = self.runs_folder.text().strip()
        return Path(written).expanduser() if written else preferences.runs_folder()

    @property
    def running(self) -> bool:
        """True while a training of this widget runs or is paused."""
        return self.session is not None and self.session.running

    def start(self) -> None:
        """Train a new detector with what is in the tabs; a problem becomes a sentence."""
        try:
            members = tuple(self.table.members())
            settings = self.form.settings()
            self.preflight.refuse_errors()
            name = self.run_name.text().strip() or preferences.new_run_name(
                [member.experiment.name for member in members], self.folder
            )
            folder = new_run_folder(self.folder, name)
        except CellTrainError as error:
            self.progress.say(str(error))
            return
        self._begin(Dataset(members), folder, settings, start_from=self._start_from)
        if self.running:  # these are the name and the start of this one
            self._asked = Asked(self.run_name.text(), self._start_from)
            self._start_from = None
            self.run_name.clear()
            self._show_state()

    def resume(self, folder: Path) -> None:
        """Go on with a run from its last checkpoint, with its own data and settings."""
        run = RunFolder(folder)
        try:
            settings = TrainingSettings.from_toml(run.settings_file)
            dataset = data_to_go_on_with(folder, self.table, self)
        except CellTrainError as error:
            self.progress.say(str(error))
            return
        if dataset is None:
            return
        if run.is_finished():
            settings = larger_budget(settings, self.form.settings())
        self._begin(dataset, folder, settings, resume=True)

    def pause_or_go_on(self) -> None:
        """Hold the training, or let it go on."""
        if self.session is None or not self.running:
            return
        if self.session.control.paused:
            self.session.go_on()
        else:
            self.session.pause()
            self.progress.say("Pausing after the current step.")
        self._show_state()

    def stop(self) -> None:
        """End the training after the current step; it can be resumed."""
        if self.running and self.session is not None:
            self.progress.say("Stopping after the current step; the best detector is kept.")
            self.session.stop()

    def stop_work(self) -> None:
        """End the training, with a checkpoint, and everything else."""
        self.extra.stop()
        self.errands.stop()
        if self.running:
            self.stop()
            show_info("The training was stopped with its window; it can be resumed under Runs.")

    def tune(self, folder: Path) -> None:
        """Let the next Start begin from a detector instead of from nothing."""
        self._start_from = folder
        self.tabs.setCurrentIndex(0)
        if self.running:
            self.progress.say(f"The training after this one starts from '{folder.name}'.")
        else:
            next_step = self._data_problem or "Check the data, then press Train further."
            self.progress.say(f"The next training starts from '{folder.name}'. {next_step}")
        self._show_state()

    def start_fresh(self) -> None:
        """Let the next Start begin from nothing after all."""
        self._start_from = None
        self.progress.say(f"The next training starts from nothing. {self._data_problem}".strip())
        self._show_state()

    def preview(self) -> None:
        """Show what the network would see with these data and settings."""
        try:
            dataset = Dataset(tuple(self.table.members()))
            self.extra.preview(dataset, self.form.settings())
        except CellTrainError as error:
            self.progress.say(str(error))

    def show_errors(self) -> None:
        """Show what is found, missed and false in held-out frames, if that is wanted.

        While a run trains here, it has told it; of any other run the best detector is asked.
        """
        if not self.errors_box.isChecked() or self.run_folder is None:
            return
        if self.running:
            if self._errors is not None:
                here = self._dataset.experiments if isinstance(self._dataset, Dataset) else ()
                self.extra.told_errors(self._errors, here, read_card(self.run_folder))
            return
        run = RunFolder(self.run_folder)
        try:
            settings = TrainingSettings.from_toml(run.settings_file)
        except CellTrainError as error:
            self.progress.say(str(error))
            return
        dataset = self._dataset if self._dataset is not None else run.dataset_file
        self.extra.held_out_errors(dataset, self.run_folder, settings)

    def watch(self, folder: Path) -> None:
        """Show a run's curve, and go on showing it while another program trains it."""
        if self.running:
            self.progress.say("A training is running here; its curve is shown.")
            return
        self.run_folder, self._dataset, self._errors = folder, None, None
        self.form.clear_choices()
        self._begin_progress()
        self.follower.follow(folder)
        self._show_state()
        if self.follower.busy:
            self.progress.say(f"Watching '{folder.name}', which another program trains.")
        else:
            self.progress.end()

    # --- inside --------------------------------------------------------------------------------

    def _begin(
        self,
        dataset: Dataset | Path,
        folder: Path,
        settings: TrainingSettings,
        *,
        resume: bool = False,
        start_from: Path | None = None,
    ) -> None:
        session = TrainingSession(self)
        session.told.connect(self._told)
        session.failed.connect(self._failed)
        session.ended.connect(self._ended)
        try:
            session.start(dataset, folder, settings, resume=resume, start_from=start_from)
        except CellTrainError as error:
            self.progress.say(str(error))
            session.deleteLater()
            return
        self.follower.stop()
        if self.session is not None:
            self.session.deleteLater()
        self.session, self.run_folder, self._dataset = session, folder, dataset
        self._run_findings, self._errors, self._asked = [], None, Asked()
        self.form.clear_choices()
        self._begin_progress()
        self.progress.say("Loading the training engine.")
        self.runs.show_folder(self.folder)
        if resume:
            history = RunFolder(folder).read_history()
            self._recall([event for event in history if not isinstance(event, Finished)])
        self._show_state()

    def _recall(self, history: list[Any]) -> None:
        """Show what a run has told before, or to another program."""
        for event in history:
            if isinstance(event, Choice):
                self.form.show_choice(event)
        self.progress.add(history)

    def _begin_progress(self) -> None:
        """Make room for the curve."""
        self.progress.begin()
        height = sum(self.splitter.sizes())
        if self.splitter.sizes()[1] < 0.5 * height:
            self.splitter.setSizes([round(0.45 * height), round(0.55 * height)])

    def _told(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, HeldOutErrors):
                self._errors = event
                self.show_errors()
            elif isinstance(event, Choice):
                self.form.show_choice(event)
            elif isinstance(event, FindingEvent) and event.finding.severity != "info":
                self._run_findings.append(event.finding)
                self._show_findings()
        self.progress.add(events)
        self.runs.add(self.run_folder)
        self._show_state()

    def _failed(self, sentence: str) -> None:
        self.progress.say(f"✖ {sentence}")
        if self.session is not None and self.session.details:
            self.progress.sentence.setToolTip(self.session.details)

    def _ended(self) -> None:
        self.progress.end()
        self.runs.show_folder(self.folder)
        if self.run_folder is not None:
            if not has_begun(self.run_folder):
                self._ask_again(self.run_folder)
            self.runs.select(self.run_folder)
            if RunFolder(self.run_folder).is_locked():  # by another program, so it was refused
                refused = self.progress.sentence.text()
                self.watch(self.run_folder)
                self.progress.say(refused)
        self._show_state()

    def _ask_again(self, folder: Path) -> None:
        """Leave chosen what was chosen for a training that came to nothing."""
        self._start_from = self._start_from or self._asked.start_from
        if not self.run_name.text() and not RunFolder(folder).is_run():
            self.run_name.setText(self._asked.name)
        if self.session is not None and self.session.finished is not None:
            self.progress.say(nothing_learnt(self._start_from))

    def _show_findings(self) -> None:
        own = self._run_findings if self.session is not None else []
        self.findings.set_findings([*self.preflight.findings, *own])

    def _layers_changed(self) -> None:
        self.table.refresh()
        self._look_at_data()

    def _look_at_data(self) -> None:
        """Look for problems in the ticked experiments, in a thread."""
        if self.running:
            return
        experiments, problem = [], ""
        for entry in self.table.entries:
            if entry.use:
                try:
                    experiments.append((entry.identity, entry.read()))
                except CellTrainError as error:
                    problem = str(error)
        self.preflight.look(experiments)
        if problem:
            self.progress.say(problem)
        elif (said := self.progress.sentence.text()) in _WAITING or (
            self._data_problem and said.endswith(self._data_problem)
        ):
            nothing = NOTHING_TICKED if self.table.entries else FIRST_WORDS
            self.progress.say(READY if experiments else nothing)
        self._data_problem = problem

    def _show_state(self) -> None:
        running = self.running
        paused = running and self.session is not None and self.session.control.paused
        self.show_buttons(self.run_folder, self._start_from, running=running, paused=paused)

    def _act(self, action: str, folder: Path) -> None:
        acts = {
            "resume": self.resume, "tune": self.tune, "open": self.watch,
            "predict": self.actions.predict, "folder": self.actions.folder,
            "pack": self.actions.pack, "export": self.actions.export,
            "delete": self.actions.delete,
        }  # fmt: skip
        acts[action](folder)

    def _resume_shown(self) -> None:
        if self.run_folder is not None:
            self.resume(self.run_folder)

    def _predict_now(self) -> None:
        if self.run_folder is not None:
            self.actions.predict(self.run_folder)

    def _connect(self) -> None:
        self.start_button.clicked.connect(self.start)
        self.fresh_button.clicked.connect(self.start_fresh)
        self.resume_button.clicked.connect(self._resume_shown)
        self.pause_button.clicked.connect(self.pause_or_go_on)
        self.preview_button.clicked.connect(self.preview)
        self.errors_box.toggled.connect(self.show_errors)
        self.errors_box.toggled.connect(self.next_button.setVisible)
        self.next_button.clicked.connect(self.extra.go_to_next_error)
        self.predict_button.clicked.connect(self._predict_now)
        self.extra.said.connect(self.progress.say)
        self.stop_button.clicked.connect(self.stop)
        self.table.changed.connect(self._look_at_data)
        self.preflight.found.connect(self._show_findings)
        self.findings.rows_changed.connect(self.order_keys)
        self.findings.show_requested.connect(self._go_to)
        self.runs.action_requested.connect(self._act)
        self.runs_folder.editingFinished.connect(self._runs_folder_changed)
        self.follower.told.connect(self._recall)
        self.follower.ended.connect(self._follow_ended)
        self.errands.said.connect(self.progress.say)
        self.actions.said.connect(self.progress.say)
        self.files.said.connect(self.progress.say)
        self.actions.deleted.connect(self._run_deleted)
        self.tabs.currentChanged.connect(self._tab_shown)

    def _runs_folder_changed(self) -> None:
        self.runs.show_folder(self.folder)

    def _run_deleted(self) -> None:
        self.runs.show_folder(self.folder)
        if self.run_folder is not None and not self.running and not self.run_folder.exists():
            self.follower.stop()
            self.run_folder = None
        self._show_state()

    def _follow_ended(self) -> None:
        self.progress.end()
        self.runs.show_folder(self.folder)
        self._show_state()
        if self.run_folder is not None and not RunFolder(self.run_folder).is_finished():
            self.progress.say("The other program has stopped training; the run can be resumed.")

    def _tab_shown(self, number: int) -> None:
        if self.tabs.widget(number) is not None and self.tabs.tabText(number) == "Runs":
            self.runs.show_folder(self.folder)  # another program may have made one

    def _go_to(self, finding: Finding) -> None:
        identity = self.preflight.owner(finding)
        entry = next((one for one in self.table.entries if one.identity == identity), None)
        if entry is None:
            show_finding(self.viewer, finding)
        elif entry.open_experiment is None:
            self.progress.say(f"'{entry.name}' is not open; drag its file into napari to see it.")
        else:
            # of a filtered annotation the rows are other ones than in the layer
            points = () if entry.corrected_time_points() is not None else finding.points
            go_to(self.viewer, entry.open_experiment, finding.time_point, points)
