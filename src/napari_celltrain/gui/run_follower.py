"""Watching a run that another program trains: its history file is read as it grows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, QTimer, Signal

from napari_celltrain.training.history import event_from_json
from napari_celltrain.training.run import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from napari_celltrain.training.events import Event

INTERVAL_MS = 1000


class RunFollower(QObject):
    """Tells the events in a run's history: first all there are, then each new one."""

    told = Signal(list)
    ended = Signal()
    """The other program no longer trains."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.run: RunFolder | None = None
        self._read = 0
        self.busy = False
        self._timer = QTimer(self)
        self._timer.setInterval(INTERVAL_MS)
        self._timer.timeout.connect(self.look)

    def follow(self, folder: Path) -> None:
        """Watch a run from its beginning."""
        self.run = RunFolder(folder)
        self._read = 0
        self.busy = self.run.is_locked()
        self._timer.start()
        self.look()

    def stop(self) -> None:
        """Watch no longer."""
        self._timer.stop()
        self.run = None

    def look(self) -> None:
        """Read what is new."""
        if self.run is None:
            return
        locked = self.run.is_locked()  # asked first: what was written until then is read below
        self._read_on(self.run)
        if self.busy and not locked:
            self.ended.emit()
        self.busy = locked

    def _read_on(self, run: RunFolder) -> None:
        try:
            if not run.history_file.is_file():  # a pipe would never end
                return
            with open(run.history_file, "rb") as history:
                size = history.seek(0, 2)
                if size < self._read:  # resumed from an earlier checkpoint: written anew
                    self._read = 0
                history.seek(self._read)
                content = history.read()
        except OSError:
            return
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        found: list[Event] = [
            event
            for event in (event_from_json(line) for line in whole.splitlines())
            if event is not None
        ]
        if found:
            self.told.emit(found)
