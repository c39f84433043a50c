"""Long work away from the window's thread.

A `Job` runs one function in one of napari's worker threads. What the function reports goes into a
queue; the window's own thread empties the queue a few times a second and tells it as signals. No
signal crosses threads, nothing in the thread knows the widget, and a job that a widget has dropped
can't tell it anything any more.

Whoever ends it, the same thing happens: the Stop button, the widget's destruction, napari's own
list of running tasks, and napari waiting for its workers at exit all set the one `stop` event. (A
generator in napari's `thread_worker` would stay alive, with all that it holds, when napari quits
it; and an error of type RuntimeError in one would never be heard of.)
"""

from __future__ import annotations

import threading
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from napari.qt.threading import FunctionWorker, create_worker
from qtpy.QtCore import QObject, QTimer, Signal

from napari_celltrain.errors import CellTrainError, is_out_of_memory

INTERVAL_MS = 200
"""How often reports are told: redrawing at every training step would cost more than the step."""

Work = Callable[[Callable[[Any], None], threading.Event], Any]
"""``function(report, stop)``: `report` takes anything; `stop` is to be looked at often."""


class Job(QObject):
    """One piece of work in a thread.

    Parameters
    ----------
    function
        The work.
    parent
        The widget it belongs to; when that is destroyed, the work is asked to stop.
    interval_ms
        How often reports are told.
    on_stop
        Called too when the work is asked to stop, from any thread, any number of times.
    """

    reported = Signal(list)
    """What was reported since the last time, in order."""
    returned = Signal(object)
    """What the function returned."""
    failed = Signal(str)
    """A sentence; when it was no `CellTrainError`, the traceback is in `details`."""
    ended = Signal()
    """After either of the two; nothing follows."""

    def __init__(
        self,
        function: Work,
        parent: QObject | None = None,
        *,
        interval_ms: int = INTERVAL_MS,
        on_stop: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(parent)
        self.details = ""
        self._task = _Task(function, on_stop)
        self._timer = QTimer(self)
        self._timer.setInterval(interval_ms)
        self._timer.timeout.connect(self._drain)
        self._running = False
        self.destroyed.connect(self._task.stop)

    @property
    def running(self) -> bool:
        """True from `start` until `ended`."""
        return self._running

    def start(self) -> None:
        """Begin."""
        self._running = True
        self._timer.start()
        create_worker(self._task.run, _worker_class=_Worker, _ignore_errors=True).start()

    def stop(self) -> None:
        """Ask the work to end; `ended` comes when it has."""
        self._task.stop()

    def wait(self, timeout_s: float) -> bool:
        """Block until the function has returned; True if it has. For closing, and for tests."""
        return self._task.finished.wait(timeout_s)

    def _drain(self) -> None:
        queue = self._task.queue
        reports: list[Any] = []
        while queue:
            kind, value = queue.popleft()
            if kind == "report":
                reports.append(value)
                continue
            self._timer.stop()
            self._running = False
            if reports:
                self.reported.emit(reports)
            if kind == "returned":
                self.returned.emit(value)
            else:
                sentence, self.details = value
                self.failed.emit(sentence)
            self.ended.emit()
            return
        if reports:
            self.reported.emit(reports)


class _Worker(FunctionWorker):
    """A napari worker that passes a request to quit on to the task."""

    def quit(self) -> None:
        super().quit()
        task = getattr(self._func, "__self__", None)
        if isinstance(task, _Task):
            task.stop()


class _Task:
    """What the thread knows: the function, a queue to report into, an event to stop at."""

    def __init__(self, function: Work, on_stop: Callable[[], None] | None) -> None:
        self.queue: deque[tuple[str, Any]] = deque()
        self.finished = threading.Event()
        self._function: Work | None = function
        self._stop = threading.Event()
        self._on_stop = on_stop

    def stop(self, *_: Any) -> None:
        self._stop.set()
        if self._on_stop is not None:
            self._on_stop()

    def run(self) -> None:
        assert self._function is not None  # runs once
        try:
            self.queue.append(("returned", self._function(self._report, self._stop)))
        except CellTrainError as error:
            self.queue.append(("failed", (str(error), "")))
        except BaseException as error:  # whatever it is, the window must hear of it
            if is_out_of_memory(error):
                sentence = "There is not enough memory; close other programs, or use less data."
                self.queue.append(("failed", (sentence, "")))
                return
            sentence = f"Something unforeseen went wrong: {type(error).__name__}: {error}"
            self.queue.append(("failed", (sentence, traceback.format_exc())))
        finally:
            # napari's task list keeps the worker, and so this, for as long as the window lives
            self._function = None
            self.finished.set()

    def _report(self, value: Any) -> None:
        self.queue.append(("report", value))
