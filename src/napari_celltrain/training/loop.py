"""The training loop: read it from top to bottom.

``train`` prepares a run folder, a `Sitting` and its `Beginning`, and runs a `_Loop` in it.
Everything the outside learns is an event; everything it can do is a `Control`.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

from napari_celltrain.detector.compute import choose_device
from napari_celltrain.detector.folder import find_detector
from napari_celltrain.errors import CellTrainError, counted, is_out_of_memory
from napari_celltrain.training import processes
from napari_celltrain.training.batches import BatchLoader, BatchMaker
from napari_celltrain.training.beginning import Beginning, begin
from napari_celltrain.training.checkpoint import Checkpoint, save_checkpoint
from napari_celltrain.training.control import Control
from napari_celltrain.training.crops import StepSampler
from napari_celltrain.training.debug_log import DebugLog
from napari_celltrain.training.ending import end, end_before_training, is_natural, stopped_at
from napari_celltrain.training.events import CheckpointSaved, StateChanged, Step
from napari_celltrain.training.history import HistoryWriter
from napari_celltrain.training.learner import Learner
from napari_celltrain.training.memory import memory_mib
from napari_celltrain.training.pace import Pace
from napari_celltrain.training.performance import Meter, meter_for
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.schedule import Schedule
from napari_celltrain.training.settings import TrainingSettings
from napari_celltrain.training.sitting import Sitting

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from napari_celltrain.dataset import Dataset
    from napari_celltrain.training.crop_groups import CropGroup
    from napari_celltrain.training.events import Callback, Finished, StopReason


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
    settings = settings or TrainingSettings()
    sitting = Sitting(
        dataset,
        RunFolder(Path(run_folder)),
        settings,
        control or Control(),
        start_from=start_from,
        together=processes.join(settings.compute.device),
    )
    try:
        if not sitting.is_first:  # it follows: nothing is told and nothing written
            return _sit(sitting)
        sitting.run.check_free(resume=resume)
        if start_from is not None:
            find_detector(Path(start_from))  # a wrong name is told before a folder is made
        choose_device(settings.compute.device)  # the same for a device that is not there
        with sitting.run.locked():
            log = DebugLog(sitting.run)
            log.begin(settings)
            sitting.callbacks = (*callbacks, HistoryWriter(sitting.run), log)
            try:
                return _sit(sitting)
            except BaseException as error:
                log.failed(error)
                raise
    finally:
        processes.leave()


def _sit(sitting: Sitting) -> Finished:
    """Begin, and train to the end of the sitting."""
    with sitting.clock:
        beginning = begin(sitting)
        if sitting.control.stopping:  # before seconds go by while PyTorch loads all for learning
            return end_before_training(sitting, beginning)
        return _Loop(sitting, beginning).go()


class _Loop:
    """Step after step until something ends the sitting."""

    def __init__(self, sitting: Sitting, beginning: Beginning) -> None:
        self.sitting, self.beginning = sitting, beginning
        self.run, self.settings, self.control = sitting.run, sitting.settings, sitting.control
        self.tell, self.find = sitting.tell, sitting.find
        self.plan, self.evaluations = beginning.plan, beginning.evaluations
        self.device = self.plan.device
        self.last_checkpoint_s = 0.0
        self.saved_step = 0
        self.schedule = Schedule(self.settings.budget)
        self._pace = Pace()
        self._meter: Meter | None = None
        self._groups: Sequence[CropGroup] = ()
        self.learner = Learner(self.plan, self.settings, sitting.together, self.find)
        if beginning.start is not None:
            self.learner.start_from(beginning.start.weights)
        if beginning.checkpoint is not None:
            self._go_on_from(beginning.checkpoint)

    @property
    def step(self) -> int:
        """Steps done."""
        return self.learner.step

    def go(self) -> Finished:
        """Train to the end."""
        if self.beginning.start is not None:
            self.evaluations.last_step = -1
        if self.evaluations.last_step < 0 and self.sitting.is_first:
            self._evaluate()  # never end up with less than it started from
        return self._finish(self._train())

    # --- going on and saving -------------------------------------------------------------------

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        self.learner.load(checkpoint.tensors, state)
        self.evaluations.load(state)
        self.schedule.load(state["schedule"])
        self.saved_step = checkpoint.step
        self.sitting.seconds_before = state["seconds"]
        if self.beginning.was_finished or not self.schedule.by_convergence:
            self.schedule.reopen()  # a run that is resumed after its end was given more to do
        if self.sitting.is_first:
            self.run.truncate_history(self.step, self.evaluations.last_step)
            if state.get("judged_on", "") not in ("", self.evaluations.judged_on):
                self._judge_again()

    def _judge_again(self) -> None:
        self.tell(StateChanged("evaluating", "Looking for cells in other held-out frames."))
        before = self.evaluations.standing.kept_f1
        self.evaluations.judge_kept_again(lambda: self.control.stopping)
        now = self.evaluations.standing.kept_f1
        if now >= 0:
            self.find(
                "info",
                "judged-again",
                "What is held out, or marked there, has changed. The best detector was judged "
                f"again: F1 {now:.3f} (before: {before:.3f}).",
            )

    def _save(self) -> None:
        state = {
            "seconds": self.sitting.seconds,
            "schedule": self.schedule.state(),
            "settings": self.settings.model_dump(),
            "design": self.plan.design.model_dump(),
            "plan": {
                "groups": [asdict(group) for group in self._groups],
                "learning_rate": self.plan.learning_rate,
                "layout": self.plan.arithmetic.layout,
            },
            **self.learner.state(),
            **self.evaluations.state(),
        }
        checkpoint = Checkpoint(self.step, self.learner.tensors(), state)
        if self.sitting.keep(lambda: save_checkpoint(self.run.checkpoints, checkpoint)):
            self.saved_step = self.step
            self.tell(CheckpointSaved(self.step, str(self.run.checkpoints)))
        self.last_checkpoint_s = self.sitting.seconds

    # --- training ------------------------------------------------------------------------------

    def _train(self) -> StopReason:
        sampler = StepSampler(
            self.beginning.frames,
            self.plan.groups,
            self.plan.design,
            self.settings.augmentation,
            cells_share=self.settings.optimiser.cells_share,
            seed=self.settings.compute.seed,
        )
        maker = BatchMaker(
            sampler,
            self.plan.groups,
            self.settings.augmentation,
            self.plan.design,
            self.device,
            self.sitting.together,
        )
        self._groups = maker.groups
        self.tell(StateChanged("training", "Training."))
        self.last_checkpoint_s = self.sitting.seconds
        if not self.evaluations.next_step:
            self.evaluations.schedule(self.step, 0.0, 0.0)
        self._meter = meter_for(self.plan, self.sitting.dataset.experiments, maker, self.learner)
        ends: StopReason | None = None
        if self.sitting.is_first and 0 < self.evaluations.next_step <= self.step:
            ends = self._evaluate_in_training()  # the last sitting was stopped in the midst of it
        loader = BatchLoader(maker, self.step)
        try:
            while True:
                if self.sitting.is_first:
                    ends = ends or self._reason_to_end()
                rate = self.plan.learning_rate * self.schedule.rate(self.step, self.sitting.seconds)
                goes_on, rate = self.sitting.together.decide(ends is None, rate, self.device)
                if not goes_on:
                    break
                try:
                    self._one_step(loader, rate)
                except (MemoryError, RuntimeError) as error:
                    if not is_out_of_memory(error):
                        raise
                    loader = self._with_smaller_batches(loader, maker)
                    continue
                if not self.sitting.is_first:
                    continue
                if self.step >= self.evaluations.next_step:
                    ends = self._evaluate_in_training()
                since = self.sitting.seconds - self.last_checkpoint_s
                if since > self.settings.compute.checkpoint_every_s:
                    self._save()
        finally:
            loader.close()
            self.learner.close()
        return ends or "stopped by the user"

    def _with_smaller_batches(self, loader: BatchLoader, maker: BatchMaker) -> BatchLoader:
        """Halve the batch after running out of memory, and go on with the same step."""
        loader.close()
        self.learner.optimiser.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        crops = maker.halve() if self.sitting.together.size == 1 else 0
        if not crops:
            largest = counted(max(group.batch_size for group in maker.groups), "crop")
            raise CellTrainError(
                f"There is not enough memory for a batch of {largest}. Set a smaller "
                "optimiser.crop_size or optimiser.batch_size, or use another device."
            )
        self._groups = maker.groups
        self.find(
            "warning",
            "out-of-memory",
            f"There was not enough memory; training goes on with {crops} crops a step.",
        )
        return BatchLoader(maker, self.step)

    def _reason_to_end(self) -> StopReason | None:
        """Hold the run while it is paused; return why it ends, if it does."""
        if self.control.paused and not self.control.stopping:
            self._pause()
        if self.control.stopping:
            self._save()
            return cast("StopReason", self.control.reason)
        # one step at least, however long the preparations took: a finished run has a detector
        over = self.step > 0 and self.schedule.finished(self.step, self.sitting.seconds)
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
        share = self.schedule.share_done(self.step, self.sitting.seconds)
        left = None
        if self.settings.budget.minutes is not None:
            left = max(0.0, 60 * self.settings.budget.minutes - self.sitting.seconds)
        elif share is not None and self.settings.budget.steps is not None:
            left = (self.settings.budget.steps - self.step) / max(self._pace.steps_per_s, 1e-9)
        self.tell(
            Step(
                step=self.step,
                seconds=self.sitting.seconds,
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

    def _pause(self) -> None:
        self._save()
        self.tell(StateChanged("paused", f"Paused at step {self.step}; a checkpoint is saved."))
        with self.sitting.paused():
            self.control.wait_while_paused()
        if not self.control.stopping:
            self.tell(StateChanged("training", "Training."))

    def _evaluate_in_training(self) -> StopReason | None:
        """Judge the detector; return why training ends now, if it does."""
        self._evaluate()
        by_heart = self.evaluations.standing.overfitting(self.learner.mean_loss)
        if by_heart is None:
            return None
        self.find("warning", "overfitting", by_heart)
        return "overfitting"

    def _evaluate(self) -> None:
        if self.step > self.saved_step:
            self._save()  # judging large frames takes longer than a cluster waits before it kills
        self.tell(StateChanged("evaluating", "Looking for cells in held-out frames."))
        begin = self.sitting.seconds
        done = self.evaluations.judge(
            self.learner, self.sitting.seconds, lambda: self.control.stopping
        )
        if done is None:
            return
        verdict, best = done
        if best:
            better = self.evaluations.detector(self.learner, verdict)
            self.sitting.keep(lambda: better.save(self.run.best))
        self.schedule.evaluated(self.step, best)
        for event in self.evaluations.events(verdict, self.learner, self.sitting.seconds, best):
            self.tell(event)
        self.evaluations.schedule(self.step, self.sitting.seconds - begin, self._pace.steps_per_s)
        self._save()
        self.tell(StateChanged("training", self.evaluations.standing.in_words(self.step)))

    # --- the end -------------------------------------------------------------------------------

    def _finish(self, reason: str) -> Finished:
        standing = self.evaluations.standing
        if is_natural(reason) and self.sitting.is_first and self.evaluations.last_step != self.step:
            self._evaluate()
            if self.evaluations.last_step != self.step:  # stopped in the midst of it
                reason = self.control.reason
        f1, threshold = max(standing.kept_f1, 0.0), standing.best_threshold
        sentence = ""
        if is_natural(reason) and self.sitting.is_first:
            self._save()
            f1, threshold = self.evaluations.judge_best(lambda: self.control.stopping)
            sentence = f"Finished: {reason}. F1 {f1:.3f} on held-out frames."
            split = self.evaluations.split
            if not split.trustworthy:
                sentence += f" This figure is not to be trusted. {split.reason}"
        elif self.sitting.is_first:
            sentence = stopped_at(self.sitting, self.step)
            if self.saved_step < self.step:
                sentence += f" The last checkpoint that was written is of step {self.saved_step}."
        performance = {} if self._meter is None else self._meter.report(self.learner.nonfinite)
        return end(self.sitting, reason, self.step, f1, threshold, sentence, performance)
