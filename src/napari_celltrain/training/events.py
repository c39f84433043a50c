"""What a training run tells the outside world; the only way it does.

The command line prints these, the widget plots them, the run folder keeps them as JSON lines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from napari_celltrain.experiment import Finding  # noqa: TC001 (looked at when events are read)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

StopReason = Literal[
    "time is up",
    "steps done",
    "F1 stopped improving",
    "overfitting",
    "stopped by the user",
    "interrupted",
]


@dataclass(frozen=True)
class Choice:
    """Something that was chosen automatically (or set), and why."""

    name: str
    value: str
    reason: str


@dataclass(frozen=True)
class Preparing:
    """Progress of reading and preparing the annotated frames."""

    done: int
    total: int
    message: str


@dataclass(frozen=True)
class FindingEvent:
    """Something noticed about the data or the run, as a sentence."""

    finding: Finding


@dataclass(frozen=True)
class Step:
    """One optimiser step (sent a few times a second at most)."""

    step: int
    seconds: float
    """Training time of the run so far, over all its sittings, without pauses."""
    loss: float
    learning_rate: float
    crops_per_s: float
    memory_mib: float
    device: str
    share_done: float | None
    """0 to 1 of the budget; None when the end is by convergence."""
    seconds_left: float | None
    nonfinite_steps: int = 0


@dataclass(frozen=True)
class Evaluation:
    """The real predictor on held-out frames."""

    step: int
    seconds: float
    f1: float
    precision: float
    recall: float
    localisation_error_um: float
    """Mean distance of matched pairs, in um (pixels where the voxel size is unknown); NaN when
    nothing was matched."""
    threshold: float
    """The score threshold that gave this F1."""
    train_loss: float
    best: bool
    """True when this is the best so far; its weights are kept."""
    trustworthy: bool = True
    """False when there was too little data to hold anything out."""
    unit: str = "um"
    """Of the localisation error: ``um``, or ``px`` where the voxel size is unknown."""


@dataclass(frozen=True, eq=False)
class FrameErrors:
    """What was right and wrong in one held-out frame; (z, y, x) pixels of the image, (n, 3)."""

    experiment: str
    member: int
    """Index of the experiment in the data set."""
    time_point: int
    found: NDArray[np.float64]
    """Detections that are annotated cells."""
    missed: NDArray[np.float64]
    """Annotated cells without a detection."""
    false: NDArray[np.float64]
    """Detections that are no annotated cell."""


@dataclass(frozen=True, eq=False)
class HeldOutErrors:
    """Where the detector was right and wrong in its last evaluation; not kept in the history."""

    step: int
    frames: tuple[FrameErrors, ...]


@dataclass(frozen=True)
class CheckpointSaved:
    """Everything up to this step is safe on the disk."""

    step: int
    path: str


@dataclass(frozen=True)
class StateChanged:
    """The state in words, for a status line."""

    state: Literal["preparing", "training", "evaluating", "paused", "finished", "failed"]
    sentence: str


@dataclass(frozen=True)
class Finished:
    """The run ended (and could be resumed with a larger budget)."""

    reason: StopReason
    step: int
    seconds: float
    best_f1: float
    threshold: float
    sentence: str
    performance: dict[str, float] = field(default_factory=dict)
    """What it cost; see `performance.Meter.report`."""


Event = (
    Choice
    | Preparing
    | FindingEvent
    | Step
    | Evaluation
    | HeldOutErrors
    | CheckpointSaved
    | StateChanged
    | Finished
)
Callback = Callable[[Event], None]


def duration(seconds: float) -> str:
    """Return ``45 s``, ``3 min``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    large, small, units = whole // 60, whole % 60, ("min", "s")
    if whole >= 3600:
        large, small, units = whole // 3600, whole % 3600 // 60, ("h", "min")
    return f"{large} {units[0]}" + (f" {small} {units[1]}" if small else "")
