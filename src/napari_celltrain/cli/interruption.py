"""Ctrl+C, a cluster's request to end, a closed terminal: what they do to a command."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Termination(KeyboardInterrupt):
    """SIGTERM, as ``kill`` and clusters send it."""


class Hangup(KeyboardInterrupt):
    """SIGHUP: the terminal was closed."""


_EXCEPTIONS: dict[str, type[KeyboardInterrupt]] = {
    "SIGINT": KeyboardInterrupt,
    "SIGTERM": Termination,
    "SIGHUP": Hangup,
}
_STATUS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


def _known() -> dict[int, str]:
    """Return the signals that this system has."""
    return {getattr(signal, name): name for name in _EXCEPTIONS if hasattr(signal, name)}


@contextlib.contextmanager
def _handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers; a test or a notebook may call from another
        return
    before = {}
    for number in _known():
        if _known()[number] == "SIGHUP" and signal.getsignal(number) == signal.SIG_IGN:
            continue  # under nohup: the person wants it to outlive the terminal
        before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def ending_signals() -> Iterator[None]:
    """Turn the signals that ask a process to end into exceptions, so that everything is closed."""

    def raise_(number: int, _frame: Any) -> None:
        raise _EXCEPTIONS[_known()[number]]

    with _handling(raise_):
        yield


class GracefulStop:
    """Turns the first signal into a call, so that a run can save itself; the second one raises.

    Attributes
    ----------
    status
        Exit status for the signal that came; None when none came.
    """

    def __init__(self, stop: Callable[[], None], sentence: str) -> None:
        self._stop = stop
        self._sentence = sentence
        self.status: int | None = None

    def _handle(self, number: int, _frame: Any) -> None:
        name = _known()[number]
        if self.status is not None:
            raise _EXCEPTIONS[name]
        self.status = _STATUS[name]
        self._stop()
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            print(f"\n{self._sentence}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def watching(self) -> Iterator[GracefulStop]:
        """Handle signals this way within a block."""
        with _handling(self._handle):
            yield self
