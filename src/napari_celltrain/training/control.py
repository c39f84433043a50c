"""Telling a running training to pause, go on or stop, from another thread."""

from __future__ import annotations

import threading


class Control:
    """Thread-safe switches that the loop looks at before every step."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self.reason: str = "stopped by the user"

    def stop(self, reason: str = "stopped by the user") -> None:
        """End the run after the current step; a checkpoint is saved."""
        self.reason = reason
        self._stop.set()
        self._running.set()

    def pause(self) -> None:
        """Hold the run after the current step; a checkpoint is saved first."""
        if not self._stop.is_set():
            self._running.clear()

    def resume(self) -> None:
        """Go on after a pause."""
        self._running.set()

    @property
    def stopping(self) -> bool:
        """True once `stop` was called."""
        return self._stop.is_set()

    @property
    def paused(self) -> bool:
        """True between `pause` and `resume`."""
        return not self._running.is_set()

    def wait_for_stop(self, seconds: float) -> None:
        """Wait, at most so long, for `stop`."""
        self._stop.wait(seconds)

    def wait_while_paused(self) -> None:
        """Block until resumed or stopped."""
        while not self._running.wait(0.2):
            pass
