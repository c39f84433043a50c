"""How fast a run goes, and when it is time to say so."""

from __future__ import annotations

import time

TELL_EVERY_S = 0.2


class Pace:
    """Steps and crops per second over the last seconds."""

    def __init__(self) -> None:
        self._told = 0.0
        self._began = time.perf_counter()
        self._steps = 0
        self._crops = 0
        self.steps_per_s = 0.0
        self.crops_per_s = 0.0

    def add(self, crops: int) -> None:
        """Count a step of so many crops."""
        self._steps += 1
        self._crops += crops
        elapsed = time.perf_counter() - self._began
        self.steps_per_s, self.crops_per_s = self._steps / elapsed, self._crops / elapsed
        if elapsed > 10:  # forget slowly
            self._began += elapsed / 2
            self._steps //= 2
            self._crops //= 2

    def due(self) -> bool:
        """Tell whether it is time for the next news; at most a few times a second."""
        now = time.perf_counter()
        if now - self._told < TELL_EVERY_S:
            return False
        self._told = now
        return True
