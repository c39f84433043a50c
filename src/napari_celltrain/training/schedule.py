"""Budgets and learning rates: by time, by steps, or until it no longer gets better."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_celltrain.training.settings import Budget

WARM_UP = 30
LAST = 0.02
"""Share of the peak learning rate at the very end."""
COOL_DOWN = 0.3
"""After convergence: so many of the steps so far, with a falling learning rate."""


@dataclass
class Schedule:
    """How far the run is, and the share of the peak learning rate that goes with it.

    With a budget of time or steps the rate follows a cosine to its end. Without, it stays level
    until the held-out F1 has not improved for `patience` evaluations, then falls to its end.
    """

    budget: Budget
    stale: int = 0
    """Evaluations since the best."""
    cooling_from: int | None = None
    cooling_to: int | None = None
    _kept: tuple[str, ...] = field(default=("stale", "cooling_from", "cooling_to"), repr=False)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps."""
        return {key: getattr(self, key) for key in self._kept}

    def load(self, state: dict[str, Any]) -> None:
        """Inverse of `state`."""
        for key in self._kept:
            setattr(self, key, state.get(key, getattr(self, key)))

    def reopen(self) -> None:
        """Forget that the end was reached or near."""
        self.stale, self.cooling_from, self.cooling_to = 0, None, None

    @property
    def by_convergence(self) -> bool:
        """True when neither time nor steps are limited."""
        return self.budget.minutes is None and self.budget.steps is None

    def share_done(self, step: int, seconds: float) -> float | None:
        """0 to 1 of the budget; None while it is open when the end will be."""
        shares = []
        if self.budget.minutes is not None:
            shares.append(seconds / (60 * self.budget.minutes))
        if self.budget.steps is not None:
            shares.append(step / self.budget.steps)
        if self.cooling_from is not None and self.cooling_to is not None:
            shares.append((step - self.cooling_from) / (self.cooling_to - self.cooling_from))
        return min(1.0, max(shares)) if shares else None

    def rate(self, step: int, seconds: float) -> float:
        """Share of the peak learning rate for a step (counted from 0)."""
        warm = min(1.0, (step + 1) / WARM_UP)
        # a budget of steps alone must not depend on the clock: a resumed run repeats it exactly
        share = self.share_done(step, seconds)
        if share is None:
            return warm
        return warm * (LAST + (1 - LAST) * 0.5 * (1 + math.cos(math.pi * share)))

    def evaluated(self, step: int, improved: bool) -> None:
        """Note an evaluation; starts the end of an open run when it is due."""
        self.stale = 0 if improved else self.stale + 1
        if self.by_convergence and self.cooling_from is None and self.stale >= self.budget.patience:
            self.cooling_from = step
            self.cooling_to = step + max(100, int(COOL_DOWN * step))

    def finished(self, step: int, seconds: float) -> bool:
        """Tell whether the budget is used up."""
        share = self.share_done(step, seconds)
        return share is not None and share >= 1
