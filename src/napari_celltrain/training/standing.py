"""Which detector is the best so far, and whether the network only learns by heart."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from napari_celltrain.training.events import duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_celltrain.training.held_out import Verdict

OVERFITTING_AFTER = 6
"""Evaluations that have to be worse than the best before it is called overfitting."""


@dataclass
class Standing:
    """Results of the evaluations so far."""

    best_f1: float = -1.0
    """The highest so far: what the next ones are compared with."""
    kept_f1: float = -1.0
    """Of the detector that is kept; by chance a little lower, where it is the steadier one."""
    best_steadiness: float = -1.0
    best_threshold: float = 0.5
    best_step: int = 0
    best_seconds: float = 0.0
    """Training time at the best."""
    best_train_loss: float = math.inf
    """Training loss at the best."""
    worse: list[float] = field(default_factory=list)
    """F1 of the evaluations since the best."""
    cells: int = 0
    """Held-out cells that count."""

    def add(self, verdict: Verdict, step: int, train_loss: float, seconds: float = 0.0) -> bool:
        """Note an evaluation; return whether it is the best so far.

        The best is the one with the highest F1, or of those that are as good (within a cell or
        two, which is chance) the one that depends least on the threshold.
        """
        self.cells = verdict.cells
        slack = max(1e-3, 1.5 / max(1, verdict.cells))
        better = verdict.f1 > self.best_f1 + slack
        as_good = verdict.f1 >= self.best_f1 - slack
        if not better and not (as_good and verdict.steadiness > self.best_steadiness):
            self.worse.append(verdict.f1)
            return False
        self.best_f1 = max(self.best_f1, verdict.f1)
        self.kept_f1 = verdict.f1
        self.best_steadiness = verdict.steadiness
        self.best_threshold = verdict.threshold
        self.best_step = step
        self.best_seconds = seconds
        self.best_train_loss = train_loss if math.isfinite(train_loss) else math.inf
        self.worse = []
        return True

    def overfitting(self, train_loss: float) -> str | None:
        """Return a sentence when held-out F1 falls, by more than chance, while the loss falls."""
        recent = self.worse[-OVERFITTING_AFTER:]
        if len(recent) < OVERFITTING_AFTER or self.best_f1 <= 0:
            return None
        noise = math.sqrt(max(self.best_f1 * (1 - self.best_f1), 0.01) / max(1, self.cells))
        fallen = self.best_f1 - sum(recent) / len(recent) > 0.02 + 2 * noise
        if not fallen or not train_loss < 0.9 * self.best_train_loss:
            return None
        return (
            f"The network learns the training frames by heart: on held-out frames F1 fell from "
            f"{self.best_f1:.3f} to {recent[-1]:.3f} while the training loss went on falling. "
            "The best detector is kept. More, and more different, annotated frames help."
        )

    def in_words(self, step: int) -> str:
        """Return the state of the run in words."""
        if self.best_step == step:
            return f"Still improving; best F1 {self.kept_f1:.3f} at {duration(self.best_seconds)}."
        return f"Not better lately; best F1 {self.kept_f1:.3f} at {duration(self.best_seconds)}."

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return asdict(self)

    def load(self, state: Mapping[str, Any]) -> None:
        """Go back to what a checkpoint kept."""
        for key in asdict(self):
            setattr(self, key, state.get(key, getattr(self, key)))
        self.kept_f1 = state.get("kept_f1", self.best_f1)  # not in the first checkpoints
