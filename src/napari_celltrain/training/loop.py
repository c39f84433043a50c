"""The training loop: read it from top to bottom.

``train`` prepares a run folder and runs a `_Run` in it. Everything the outside learns is an event;
everything it can do is a `Control`.
"""

from __future__ import annotations

import contextlib
import datetime
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from napari_celltrain.dataset import split as split_frames
from napari_celltrain.dataset import write_dataset
from napari_celltrain.detector.compute import choose_device
from napari_celltrain.detector.design import Design
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import find_detector
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding
from napari_celltrain.files import write_text
from napari_celltrain.training import processes
from napari_celltrain.training.batches import BatchLoader, BatchMaker
from napari_celltrain.training.checkpoint import Checkpoint, load_newest, save_checkpoint
from napari_celltrain.training.control import Control
from napari_celltrain.training.crop_groups import as_before
from napari_celltrain.training.crops import StepSampler
from napari_celltrain.training.debug_log import DebugLog
from napari_celltrain.training.evaluations import Evaluations
from napari_celltrain.training.events import (
    CheckpointSaved,
    Event,
    FindingEvent,
    Finished,
    StateChanged,
    Step,
    StopReason,
)
from napari_celltrain.training.fingerprint import fingerprint
from napari_celltrain.training.held_out import HeldOut
from napari_celltrain.training.learner import Learner
from napari_celltrain.training.memory import memory_mib
from napari_celltrain.training.pace import Pace
from napari_celltrain.training.performance import Meter, meter_for
from napari_celltrain.training.plan import Plan, make_plan
from napari_celltrain.training.prepare import PreparedFrame, prepare, typical_levels
from napari_celltrain.training.run import HistoryWriter, RunFolder
from napari_celltrain.training.saved_state import SavedPlan, check_checkpoint
from napari_celltrain.training.schedule import Schedule
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_celltrain.dataset import Dataset, Split
    from napari_celltrain.training.crop_groups import CropGroup
    from napari_celltrain.training.events import Callback
    from napari_celltrain.training.processes import Processes

RETRY_S = 5.0
"""A run that could not write tries again after so long."""


def train(
    dataset: Dataset,
    run_folder: str | Path,
    settings: TrainingSettings | None = None,
    callbacks: Iterable[Callback] = (),
    *,
    control: Control | None = None,
    resume: bool = False,
    start_from: Path | None = None,
) -> Finished:
    """Train a detector; everything it makes is in the run folder.

    Parameters
    ----------
    dataset
        Experiments with images and annotations.
    run_folder
        Made when missing; must be empty unless `resume`.
    settings
        What to decide yourself; the rest is chosen and told.
    callbacks
        Called with each event, in this thread.
    control
        To pause and stop from another thread.
    resume
        Go on from the last checkpoint in the folder, or start when there is none.
    start_from
        A detector (or run) folder whose weights to start from.

    Returns
    -------
    The last event. ``run_folder/best`` is the detector.

    Raises
    ------
    CellTrainError
        When data, settings or folder don't allow it; nothing is lost then.
    """
    began = time.monotonic()
    settings = settings or TrainingSettings()
    run = RunFolder(Path(run_folder))
    together = processes.join(settings.compute.device)
    if not together.is_first:
        return _follow(dataset, run, settings, control or Control(), start_from, began, together)
    others = [] if not run.path.exists() else run.foreign_files()
    if not resume and (others or run.is_run()):
        raise CellTrainError(
            f"{run.path} is not empty. Choose another folder, or go on with the run in it "
            "(--resume)."
        )
    if resume and others and not run.is_run():
        raise CellTrainError(f"{run.path} holds other things, but no run to resume.")
    if start_from is not None:
        find_detector(Path(start_from))  # a wrong name is told before a folder is made
    choose_device(settings.compute.device)  # the same for a device that is not there
    with run.locked():
        log = DebugLog(run)
        log.begin(settings)
        try:
            return _Run(
                dataset,
                run,
                settings,
                (*callbacks, HistoryWriter(run), log),
                control or Control(),
                start_from,
                began,
                together,
            ).go()
        except BaseException as error:
            log.failed(error)
            raise


def _follow(
    dataset: Dataset,
    run: RunFolder,
    settings: TrainingSettings,
    control: Control,
    start_from: Path | None,
    began: float,
    together: Processes,
) -> Finished:
    """Train as one of several processes, not the first: nothing is told and nothing written."""
    return _Run(dataset, run, settings, (), control, start_from, began, together).go()


class _Run:
    """One sitting of a run."""

    def __init__(
        self,
        dataset: Dataset,
        run: RunFolder,
        settings: TrainingSettings,
        callbacks: tuple[Callback, ...],
        control: Control,
        start_from: Path | None,
        began: float,
        together: Processes,
    ) -> None:
        self.dataset, self.run, self.settings = dataset, run, settings
        self.control, self.start_from = control, start_from
        self.callbacks, self.began, self.together = callbacks, began, together
        self.seconds_before = 0.0
        self.paused_s = 0.0
        self.last_checkpoint_s = 0.0
        self.saved_step = 0
        self.schedule = Schedule(settings.budget)
        self._pace = Pace()
        self._meter: Meter | None = None
        self._groups: Sequence[CropGroup] = ()

    # --- telling -------------------------------------------------------------------------------

    def tell(self, event: Event) -> None:
        for callback in self.callbacks:
            callback(event)

    def find(self, severity: str, code: str, message: str) -> None:
        self.tell(FindingEvent(Finding(cast("Any", severity), code, message)))

    @property
    def step(self) -> int:
        """Steps done."""
        return self.learner.step

    @property
    def seconds(self) -> float:
        """Time of the run over all its sittings, without pauses."""
        return self.seconds_before + time.monotonic() - self.began - self.paused_s

    # --- the whole -----------------------------------------------------------------------------

    def go(self) -> Finished:
        self.tell(StateChanged("preparing", "Looking at the data."))
        if not self.together.is_first:
            self.together.wait()  # until the first has looked at checkpoints and prepared frames
        checkpoint = self._find_checkpoint()
        start = self._start_detector() if checkpoint is None else None
        design = start.design if start is not None else None
        if checkpoint is not None:
            check_checkpoint(checkpoint, self.run.checkpoints)
            design = Design.model_validate(checkpoint.state["design"])
        window = self.settings.design.time_window if design is None else design.time_window
        split = split_frames(self.dataset, self.settings.data.held_out_share, window)
        plan = self._plan(split, checkpoint, design)
        if self.together.is_first:
            self._write_what_was_asked()
        self.find("info" if split.trustworthy else "warning", "held-out", split.reason)
        frames = self._prepare(split, plan)
        if self.together.is_first:
            self.together.wait()
        held_out = HeldOut(
            self.dataset.experiments,
            split.held_out,
            plan.voxel_sizes,
            plan.cell_diameters,
            exclude_dying=self.settings.data.exclude_dying,
        )
        levels = typical_levels(
            self.dataset.experiments, split.train, plan.design, plan.relative_sizes
        )
        self.evaluations = Evaluations(
            self.dataset, self.settings, self.run, plan, split, held_out, levels
        )
        self._build(plan, start, checkpoint)
        if self.control.stopping:
            return self._finish(self.control.reason, plan)
        if start is not None and self.together.is_first:
            self._evaluate(plan)  # never end up with less than it started from
        return self._finish(self._train(plan, frames), plan)

    def _find_checkpoint(self) -> Checkpoint | None:
        checkpoint, damaged = load_newest(self.run.checkpoints)
        if checkpoint is None and self.together.is_first:
            # killed before its first checkpoint: it begins again, and so does its history
            self.run.history_file.unlink(missing_ok=True)
        for path in damaged if self.together.is_first else ():
            self.find(
                "warning",
                "damaged-checkpoint",
                f"The checkpoint {path.name} is damaged and was put aside; the run goes on from "
                + (f"step {checkpoint.step}." if checkpoint else "the beginning."),
            )
            with contextlib.suppress(OSError):
                path.replace(path.with_suffix(".damaged"))
        return checkpoint

    def _start_detector(self) -> Detector | None:
        if self.start_from is None:
            return None
        return Detector.from_folder(self.start_from, device="cpu", precision="float32")

    def _plan(self, split: Split, checkpoint: Checkpoint | None, design: Design | None) -> Plan:
        plan = make_plan(self.dataset.experiments, split, self.settings, start_design=design)
        if checkpoint is None:
            for choice in plan.choices:
                self.tell(choice)
        else:
            kept = SavedPlan.model_validate(checkpoint.state["plan"])
            plan = replace(
                plan,
                groups=as_before(plan.groups, kept.crop_groups()),
                learning_rate=self.settings.optimiser.learning_rate or kept.learning_rate,
                # sums in another order would not be the uninterrupted run's
                arithmetic=replace(plan.arithmetic, layout=kept.layout),
            )
            if self.run.read_state().get("fingerprint") not in (None, fingerprint(self.dataset)):
                self.find(
                    "warning",
                    "data-changed",
                    "Images or annotations have changed since the run was started; it goes on "
                    "with what is there now.",
                )
        for finding in plan.findings:
            self.tell(FindingEvent(finding))
        return plan

    def _write_what_was_asked(self) -> None:
        write_text(self.run.settings_file, self.settings.to_toml())
        with contextlib.suppress(CellTrainError):  # experiments made of arrays have no place
            write_dataset(self.run.dataset_file, self.dataset)
        self.run.write_state(
            finished=False,
            fingerprint=fingerprint(self.dataset),
            started=self.run.read_state().get("started") or _now(),
            experiments=[experiment.name for experiment in self.dataset.experiments],
        )

    def _prepare(self, split: Split, plan: Plan) -> list[PreparedFrame]:
        self.tell(StateChanged("preparing", f"Reading {len(split.train)} annotated frames."))
        return prepare(
            self.dataset.experiments,
            split.train,
            plan.design,
            plan.relative_sizes,
            self.run.prepared,
            exclude_dying=self.settings.data.exclude_dying,
            tell=self.tell,
            stopping=lambda: self.control.stopping,
        )

    # --- going on and saving -------------------------------------------------------------------

    def _build(self, plan: Plan, start: Detector | None, checkpoint: Checkpoint | None) -> None:
        self.device, self.peak_rate = plan.device, plan.learning_rate
        self.learner = Learner(plan, self.settings, self.together, self.find)
        if start is not None:
            self.learner.start_from(start.weights)
        if checkpoint is None:
            return
        state = checkpoint.state
        self.learner.load(checkpoint.tensors, state)
        self.evaluations.load(state)
        self.schedule.load(state["schedule"])
        self.saved_step = checkpoint.step
        self.seconds_before = state["seconds"]
        if self.run.is_finished() or not self.schedule.by_convergence:
            self.schedule.reopen()  # a run that is resumed after its end was given more to do
        if self.together.is_first:
            self.run.truncate_history(self.step)

    def _save(self, plan: Plan) -> None:
        state = {
            "seconds": self.seconds,
            "schedule": self.schedule.state(),
            "design": plan.design.model_dump(),
            "plan": {
                "groups": [asdict(group) for group in self._groups],
                "learning_rate": plan.learning_rate,
                "layout": plan.arithmetic.layout,
            },
            **self.learner.state(),
            **self.evaluations.state(),
        }
        checkpoint = Checkpoint(self.step, self.learner.tensors(), state)
        if self._keep(lambda: save_checkpoint(self.run.checkpoints, checkpoint)):
            self.saved_step = self.step
            self.tell(CheckpointSaved(self.step, str(self.run.checkpoints)))
        self.last_checkpoint_s = time.monotonic()

    def _keep(self, write: Callable[[], object]) -> bool:
        """Write something; a full disk holds the run until there is room, and loses nothing.

        Returns False when the run was stopped before it could be written.
        """
        waited = False
        while True:
            try:
                write()
            except CellTrainError as error:
                if not waited:
                    waited = True
                    sentence = f"{error} The run is paused and goes on as soon as it can write."
                    self.find("warning", "cannot-write", sentence)
                    self.tell(StateChanged("paused", sentence))
                if self.control.stopping:
                    return False
                self.paused_s += self.control.wait_for_stop(RETRY_S)
            else:
                if waited:
                    self.tell(StateChanged("training", "It could be written now. Training."))
                return True

    # --- training ------------------------------------------------------------------------------

    def _train(self, plan: Plan, frames: list[PreparedFrame]) -> StopReason:
        sampler = StepSampler(
            frames,
            plan.groups,
            plan.design,
            self.settings.augmentation,
            cells_share=self.settings.optimiser.cells_share,
            seed=self.settings.compute.seed,
        )
        maker = BatchMaker(
            sampler,
            plan.groups,
            self.settings.augmentation,
            plan.design,
            self.device,
            self.together,
        )
        self._groups = maker.groups
        self.tell(StateChanged("training", "Training."))
        self.last_checkpoint_s = time.monotonic()
        if not self.evaluations.next_step:
            self.evaluations.schedule(self.step, 0.0, 0.0)
        self._meter = meter_for(plan, self.dataset.experiments, maker, self.learner)
        if self.together.is_first and 0 < self.evaluations.next_step <= self.step:
            self._evaluate(plan)  # the last sitting was stopped in the midst of it
        loader = BatchLoader(maker, self.step)
        ends: StopReason | None = None
        try:
            while True:
                if self.together.is_first:
                    ends = ends or self._reason_to_end(plan)
                rate = self.peak_rate * self.schedule.rate(self.step, self.seconds)
                goes_on, rate = self.together.decide(ends is None, rate, self.device)
                if not goes_on:
                    break
                try:
                    self._one_step(loader, rate)
                except (torch.OutOfMemoryError, MemoryError):
                    loader = self._with_smaller_batches(loader, maker)
                    continue
                if not self.together.is_first:
                    continue
                if self.step >= self.evaluations.next_step:
                    self._evaluate(plan)
                    by_heart = self.evaluations.standing.overfitting(self.learner.mean_loss)
                    if by_heart is not None:
                        self.find("warning", "overfitting", by_heart)
                        ends = "overfitting"
                since = time.monotonic() - self.last_checkpoint_s
                if since > self.settings.compute.checkpoint_every_s:
                    self._save(plan)
        finally:
            loader.close()
            self.learner.close()
            processes.leave()
        return ends or "stopped by the user"

    def _with_smaller_batches(self, loader: BatchLoader, maker: BatchMaker) -> BatchLoader:
        """Halve the batch after running out of memory, and go on with the same step."""
        loader.close()
        self.learner.optimiser.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        crops = maker.halve() if self.together.size == 1 else 0
        if not crops:
            largest = max(group.batch_size for group in maker.groups)
            raise CellTrainError(
                f"There is not enough memory for a batch of {largest} crops. Set a smaller "
                "optimiser.crop_size or optimiser.batch_size, or use another device."
            )
        self._groups = maker.groups
        self.find(
            "warning",
            "out-of-memory",
            f"There was not enough memory; training goes on with {crops} crops a step.",
        )
        return BatchLoader(maker, self.step)

    def _reason_to_end(self, plan: Plan) -> StopReason | None:
        """Hold the run while it is paused; return why it ends, if it does."""
        if self.control.paused and not self.control.stopping:
            self._pause(plan)
        if self.control.stopping:
            self._save(plan)
            return cast("StopReason", self.control.reason)
        # one step at least, however long the preparations took: a finished run has a detector
        over = self.step > 0 and self.schedule.finished(self.step, self.seconds)
        return self._ran_out() if over else None

    def _ran_out(self) -> StopReason:
        if self.schedule.by_convergence:
            return "F1 stopped improving"
        steps = self.settings.budget.steps
        return "steps done" if steps is not None and self.step >= steps else "time is up"

    def _one_step(self, loader: BatchLoader, rate: float) -> None:
        waited, cpu = time.perf_counter(), time.process_time()
        batch = loader.next()
        begin, before = time.perf_counter(), self.learner.network_s
        self.learner.learn(batch.parts, rate)
        self._pace.add(batch.crops)
        assert self._meter is not None
        self._meter.add(
            batch.group,
            sum(len(part.images) for part in batch.parts),
            cpu_s=time.process_time() - cpu,
            step_s=time.perf_counter() - waited,
            waited_s=begin - waited,
            network_s=self.learner.network_s - before,
        )
        if self._pace.due():
            self._tell_step(rate)

    def _tell_step(self, rate: float) -> None:
        share = self.schedule.share_done(self.step, self.seconds)
        left = None
        if self.settings.budget.minutes is not None:
            left = max(0.0, 60 * self.settings.budget.minutes - self.seconds)
        elif share is not None and self.settings.budget.steps is not None:
            left = (self.settings.budget.steps - self.step) / max(self._pace.steps_per_s, 1e-9)
        self.tell(
            Step(
                step=self.step,
                seconds=self.seconds,
                loss=self.learner.mean_loss,
                learning_rate=rate,
                crops_per_s=self._pace.crops_per_s,
                memory_mib=memory_mib(self.device),
                device=str(self.device),
                share_done=share,
                seconds_left=left,
                nonfinite_steps=self.learner.nonfinite,
            )
        )

    def _pause(self, plan: Plan) -> None:
        self._save(plan)
        self.tell(StateChanged("paused", f"Paused at step {self.step}; a checkpoint is saved."))
        self.paused_s += self.control.wait_while_paused()
        if not self.control.stopping:
            self.tell(StateChanged("training", "Training."))

    def _evaluate(self, plan: Plan) -> None:
        self.tell(StateChanged("evaluating", "Looking for cells in held-out frames."))
        begin = time.monotonic()
        done = self.evaluations.judge(self.learner, self.seconds, lambda: self.control.stopping)
        if done is None:
            return
        verdict, best = done
        if best:
            better = self.evaluations.detector(self.learner, verdict)
            self._keep(lambda: better.save(self.run.best))
        self.schedule.evaluated(self.step, best)
        for event in self.evaluations.events(verdict, self.learner, self.seconds, best):
            self.tell(event)
        self.evaluations.schedule(self.step, time.monotonic() - begin, self._pace.steps_per_s)
        self._save(plan)
        self.tell(StateChanged("training", self.evaluations.standing.in_words(self.step)))

    # --- the end -------------------------------------------------------------------------------

    def _finish(self, reason: str, plan: Plan) -> Finished:
        natural = reason not in ("stopped by the user", "interrupted")
        standing = self.evaluations.standing
        f1, threshold = max(standing.kept_f1, 0.0), standing.best_threshold
        if not self.together.is_first:
            return Finished(cast("StopReason", reason), self.step, self.seconds, f1, threshold, "")
        if natural:
            if standing.best_step != self.step:
                self._evaluate(plan)
            self._save(plan)
            f1, threshold = self.evaluations.judge_best()
        if natural:
            sentence = f"Finished: {reason}. F1 {f1:.3f} on held-out frames."
            if not self.evaluations.split.trustworthy:
                sentence += " This figure is not to be trusted: too little could be held out."
        else:
            sentence = f"{reason.capitalize()} at step {self.step}; resume to go on."
            if self.saved_step < self.step:
                sentence += f" The last checkpoint that was written is of step {self.saved_step}."
        seconds = self.seconds
        self._keep(
            lambda: self.run.write_state(
                finished=natural,
                stopped_because=reason,
                step=self.step,
                seconds=seconds,
                best_f1=f1,
                threshold=threshold,
                ended=_now(),
            )
        )
        finished = Finished(
            reason=cast("StopReason", reason),
            step=self.step,
            seconds=self.seconds,
            best_f1=f1,
            threshold=threshold,
            sentence=sentence,
            performance={} if self._meter is None else self._meter.report(self.learner.nonfinite),
        )
        self.tell(finished)
        self.tell(StateChanged("finished", sentence))
        return finished


def _now() -> str:
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
