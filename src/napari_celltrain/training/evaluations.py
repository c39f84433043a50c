"""Judging the detector while it is learnt: how often, on which frames, and which one is kept."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.resample import output_length
from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.description import describe, judged
from napari_celltrain.training.events import Evaluation, HeldOutErrors
from napari_celltrain.training.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from napari_celltrain.dataset import Dataset, Split
    from napari_celltrain.detector.learnt import TrainedOn
    from napari_celltrain.training.held_out import HeldOut, Verdict
    from napari_celltrain.training.learner import Learner
    from napari_celltrain.training.plan import Plan
    from napari_celltrain.training.run import RunFolder
    from napari_celltrain.training.settings import TrainingSettings

SHARE = 0.08
"""Evaluations take at most about this share of the time."""
LEARNING = 3
"""To learn from a voxel costs about so many times as much as to judge one (measured: 3.2)."""


class Evaluations:
    """The evaluations of a run.

    Parameters
    ----------
    dataset, settings, run
        Of the run.
    plan, split
        What was decided for it.
    held_out
        The frames that nothing is learnt from.
    levels
        Typical dark and bright levels of the training frames; None when there are none.
    learnt_from
        All that the network has learnt from, before this run too.
    """

    def __init__(
        self,
        dataset: Dataset,
        settings: TrainingSettings,
        run: RunFolder,
        plan: Plan,
        split: Split,
        held_out: HeldOut,
        levels: tuple[float, float] | None,
        *,
        learnt_from: tuple[TrainedOn, ...],
    ) -> None:
        self.dataset, self.settings, self.run = dataset, settings, run
        self.plan, self.split, self.held_out, self.levels = plan, split, held_out, levels
        self.learnt_from = learnt_from
        self.judged_on = _digest(dataset, held_out.frames)
        self.standing = Standing()
        self.next_step = 0
        """The step of the next one; 0 before the first is scheduled."""
        self.gap = 0
        self.last_step = 0
        """The step of the last one; 0 before the first, -1 before that of the start's weights."""

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "next_evaluation": self.next_step,
            "evaluation_gap": self.gap,
            "last_evaluation": self.last_step,
            "learnt_from": [part.model_dump() for part in self.learnt_from],
            "judged_on": self.judged_on,
            **self.standing.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what a checkpoint kept."""
        self.next_step, self.gap = state["next_evaluation"], state["evaluation_gap"]
        # not in the first checkpoints; the next one is always a gap after the last
        self.last_step = state.get("last_evaluation", max(0, self.next_step - self.gap))
        self.standing.load(state)

    def schedule(self, step: int, cost_s: float, steps_per_s: float) -> None:
        """Choose the step of the next one, so that evaluations cost little of the time.

        Only a run with a budget of minutes goes by the clock. Any other is the same again with
        the same seed, however busy the machine is: which detector it keeps, and where it stops
        improving, depend on when it is judged.

        Parameters
        ----------
        step
            Steps done.
        cost_s
            Of the last evaluation.
        steps_per_s
            Pace of training; 0 when it is not known yet.
        """
        budget = self.settings.budget
        if budget.minutes is None:
            gap = max(25, budget.steps // 20) if budget.steps is not None else 100
            self.gap = max(gap, self.gap)
            while budget.steps is None and self.gap < self._cost_in_steps() / SHARE:
                self.gap *= 2
        else:
            gap_s = max(cost_s / SHARE, 0.05 * 60 * budget.minutes, 1.5)
            self.gap = max(10, int(gap_s * (steps_per_s or 10.0)))
        self.next_step = step + self.gap

    def _cost_in_steps(self) -> float:
        """Estimate how many steps take as long as an evaluation, by the voxels of both."""
        design, sizes = self.plan.design, self.plan.relative_sizes
        judged = 0
        for member, _ in self.held_out.some(self.settings.data.max_held_out_frames):
            images = self.dataset.experiments[member].images
            assert images is not None
            steps = design.steps(sizes[member], images.frame_shape[0])
            judged += math.prod(map(output_length, images.frame_shape, steps))
        learnt = np.mean([group.batch_size * math.prod(group.shape) for group in self.plan.groups])
        return judged / (LEARNING * float(learnt))

    def detector(self, learner: Learner, verdict: Verdict | None = None) -> Detector:
        """Return the detector as it stands: the running average of the weights."""
        info = describe(
            self.run.path.name,
            self.plan.design,
            self.dataset.experiments,
            self.split,
            verdict,
            trained_on=self.learnt_from,
            step=learner.step,
            levels=self.levels,
        )
        return Detector(
            info,
            learner.average,
            device=str(self.plan.device),
            threads=self.settings.compute.threads,
            precision=self.settings.compute.precision,
        )

    def judge(
        self, learner: Learner, seconds: float, stopping: Callable[[], bool]
    ) -> tuple[Verdict, bool] | None:
        """Judge the detector on the same few frames each time.

        Returns
        -------
        The verdict, and whether it is the best so far; None when it was stopped.
        """
        frames = self.held_out.some(self.settings.data.max_held_out_frames)
        verdict = self.held_out.evaluate(self.detector(learner), frames, stopping)
        if verdict is None:
            return None
        self.last_step = learner.step
        return verdict, self.standing.add(verdict, learner.step, learner.mean_loss, seconds)

    def judge_kept_again(self, stopping: Callable[[], bool]) -> None:
        """Judge the detector that is kept on what is held out now.

        What is held out, or its annotation, has changed since: the figures so far are about
        something else, and nothing that comes could be compared with them.
        """
        try:
            kept = self._kept()
        except CellTrainError:  # it is gone: the next one is the best
            self.standing = Standing()
            return
        frames = self.held_out.some(self.settings.data.max_held_out_frames)
        verdict = self.held_out.evaluate(kept, frames, stopping)
        if verdict is None:
            self.judged_on = "not yet"
            return
        before, self.standing = self.standing, Standing()
        self.standing.add(verdict, before.best_step, before.best_train_loss, before.best_seconds)
        told = kept.info.model_copy(
            update={"trustworthy": self.split.trustworthy, "held_out": self.split.reason}
        )
        kept.info = judged(told, verdict, self.dataset.experiments)
        kept.save(self.run.best)

    def _kept(self) -> Detector:
        return Detector.from_folder(
            self.run.best,
            device=str(self.plan.device),
            threads=self.settings.compute.threads,
            precision=self.settings.compute.precision,
        )

    def events(
        self, verdict: Verdict, learner: Learner, seconds: float, best: bool
    ) -> tuple[Evaluation, HeldOutErrors]:
        """Return what is told of a verdict."""
        experiments = self.dataset.experiments
        evaluation = Evaluation(
            step=learner.step,
            seconds=seconds,
            f1=verdict.f1,
            precision=verdict.scores.precision,
            recall=verdict.scores.recall,
            localisation_error_um=verdict.scores.localisation_error,
            threshold=verdict.threshold,
            train_loss=learner.mean_loss,
            best=best,
            trustworthy=self.split.trustworthy,
            unit=self.plan.design.unit,
        )
        errors = tuple(
            frame.errors(verdict.threshold, experiments[frame.member].name)
            for frame in verdict.frames
        )
        return evaluation, HeldOutErrors(learner.step, errors)

    def judge_best(self, stopping: Callable[[], bool]) -> tuple[float, float]:
        """Calibrate the best detector on all held-out frames, if only some were used so far.

        Returns its F1 and threshold; on the few where that is stopped. What stands so far keeps
        the figures on the fixed few, so that a run that is extended later goes on comparing like
        with like.
        """
        few = self.held_out.some(self.settings.data.max_held_out_frames)
        on_few = max(self.standing.kept_f1, 0.0), self.standing.best_threshold
        if len(few) == len(self.held_out.frames):
            return on_few
        best = self._kept()
        verdict = self.held_out.evaluate(best, self.held_out.frames, stopping)
        if verdict is None:
            return on_few
        best.info = judged(best.info, verdict, self.dataset.experiments)
        best.save(self.run.best)
        return verdict.f1, verdict.threshold


def _digest(dataset: Dataset, frames: Sequence[tuple[int, int]]) -> str:
    """Return a short text that changes when other frames, or other cells in them, are judged on."""
    digest = hashlib.sha256()
    times: dict[int, list[int]] = {}
    for member, t in frames:
        times.setdefault(member, []).append(t)
    for member, own in times.items():
        experiment = dataset.experiments[member]
        marks = experiment.annotations
        here = np.isin(marks.t, own)
        digest.update(repr((experiment.name, own, experiment.regions)).encode())
        for array in (marks.t[here], marks.positions[here], np.asarray(marks.status)[here]):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]
