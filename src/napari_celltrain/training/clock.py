"""The time that a run has run: what passes while it is suspended is not counted."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

EVERY_S = 0.5
"""A thread looks at the time so often, whatever the others do."""
LONGEST_S = 2.0
"""No more than this passes between two looks, but where the process did not run at all."""


class Clock:
    """Counts the seconds in which this process ran.

    Ctrl+Z, a cluster that makes room (SIGSTOP) and a laptop that sleeps stop a process for hours
    without a word. The system's clocks go on, some of them even in sleep, and a run with a budget
    of minutes would be over when it wakes. A thread looks at the time twice a second: where far
    more has passed between two looks, the process was not running.

    Parameters
    ----------
    now
        Seconds from any moment on.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._looked = now()
        self._seconds = 0.0
        self._over = threading.Event()

    @property
    def seconds(self) -> float:
        """Seconds that were counted so far."""
        with self._lock:
            now = self._now()
            self._seconds += min(max(0.0, now - self._looked), LONGEST_S)
            self._looked = now
            return self._seconds

    def __enter__(self) -> Self:
        threading.Thread(target=self._look, name="celltrain-clock", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()

    def _look(self) -> None:
        while not self._over.wait(EVERY_S):
            _ = self.seconds
