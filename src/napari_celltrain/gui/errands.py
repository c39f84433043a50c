"""Things that a button starts and that may take a while: reading, writing, making layers."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_celltrain.gui.work import Job

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_celltrain.gui.work import Work


class Errands(QObject):
    """Does one after the other, in a thread."""

    said = Signal(str)
    """Why something could not be done."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._waiting: deque[tuple[Work, Callable[[Any], None]]] = deque()
        self._job: Job | None = None

    @property
    def busy(self) -> bool:
        """True while something is being done."""
        return self._job is not None

    def do(self, work: Work, then: Callable[[Any], None]) -> None:
        """Do this next; `then` (a bound method) is called with what it returned."""
        self._waiting.append((work, then))
        if self._job is None:
            self._start()

    def stop(self) -> None:
        """Do nothing more."""
        self._waiting.clear()
        if self._job is not None:
            self._job.stop()

    def _start(self) -> None:
        if not self._waiting:
            return
        work, then = self._waiting.popleft()
        self._job = Job(work, self, interval_ms=50)
        self._job.returned.connect(then)
        self._job.failed.connect(self.said)
        self._job.ended.connect(self._ended)
        self._job.start()

    def _ended(self) -> None:
        if self._job is not None:
            self._job.deleteLater()
            self._job = None
        self._start()
