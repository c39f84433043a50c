"""The end of a sitting: what the run folder keeps of it, and what is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from napari_celltrain.training.events import Finished, StateChanged, StopReason
from napari_celltrain.training.run import time_stamp

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_celltrain.training.beginning import Beginning
    from napari_celltrain.training.sitting import Sitting


def is_natural(reason: str) -> bool:
    """Tell whether a run came to its own end, and was not stopped."""
    return reason not in ("stopped by the user", "interrupted")


def end_before_training(sitting: Sitting, beginning: Beginning) -> Finished:
    """End a sitting that was stopped while it began: nothing was learnt, and nothing is lost."""
    checkpoint, evaluations = beginning.checkpoint, beginning.evaluations
    step = 0
    if checkpoint is not None:
        step = checkpoint.step
        evaluations.load(checkpoint.state)
        sitting.seconds_before = checkpoint.state["seconds"]
    f1, threshold = max(evaluations.standing.kept_f1, 0.0), evaluations.standing.best_threshold
    return end(sitting, sitting.control.reason, step, f1, threshold, stopped_at(sitting, step))


def stopped_at(sitting: Sitting, step: int) -> str:
    """Say that a run was stopped, and where."""
    return f"{sitting.control.reason.capitalize()} at step {step}; resume to go on."


def end(
    sitting: Sitting,
    reason: str,
    step: int,
    f1: float,
    threshold: float,
    sentence: str,
    performance: Mapping[str, float] | None = None,
) -> Finished:
    """Write down how a sitting ended, and tell it.

    Parameters
    ----------
    sitting
        That ends.
    reason
        Why.
    step
        Steps done.
    f1, threshold
        Of the best detector.
    sentence
        The same in words.
    performance
        How fast it was, where anything was learnt.
    """
    finished = Finished(
        cast("StopReason", reason),
        step,
        sitting.seconds,
        f1,
        threshold,
        sentence if sitting.is_first else "",
        performance=dict(performance or {}),
    )
    if not sitting.is_first:
        return finished
    sitting.keep(
        lambda: sitting.run.write_state(
            finished=is_natural(reason),
            stopped_because=reason,
            step=step,
            seconds=finished.seconds,
            best_f1=f1,
            threshold=threshold,
            ended=time_stamp(),
        )
    )
    sitting.tell(finished)
    sitting.tell(StateChanged("finished", sentence))
    return finished
