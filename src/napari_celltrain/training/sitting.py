"""What one sitting of a run works with: its data and folder, its clock, and whom it tells."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding
from napari_celltrain.training.clock import Clock
from napari_celltrain.training.events import FindingEvent, StateChanged
from napari_celltrain.training.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from napari_celltrain.dataset import Dataset
    from napari_celltrain.training.control import Control
    from napari_celltrain.training.events import Callback, Event
    from napari_celltrain.training.run import RunFolder
    from napari_celltrain.training.settings import TrainingSettings

RETRY_S = 5.0
"""A run that could not write tries again after so long."""


@dataclass
class Sitting:
    """From a start of a run to its next stop.

    Parameters
    ----------
    dataset
        Experiments with images and annotations.
    run
        The folder of the run.
    settings
        What was asked for.
    control
        What pauses and stops it.
    callbacks
        Get each event.
    start_from
        A detector (or run) folder whose weights to start from.
    together
        The processes that train together.
    clock
        Counts the seconds of the sitting.
    """

    dataset: Dataset
    run: RunFolder
    settings: TrainingSettings
    control: Control
    callbacks: tuple[Callback, ...] = ()
    start_from: Path | None = None
    together: Processes = field(default_factory=Processes)
    clock: Clock = field(default_factory=Clock)
    seconds_before: float = 0.0
    """Of the sittings before this one."""
    paused_s: float = 0.0

    @property
    def is_first(self) -> bool:
        """True for the process that decides, tells and writes."""
        return self.together.is_first

    @property
    def seconds(self) -> float:
        """Time of the run over all its sittings, without pauses and without what it slept."""
        return self.seconds_before + self.clock.seconds - self.paused_s

    def tell(self, event: Event) -> None:
        """Give an event to all who listen."""
        for callback in self.callbacks:
            callback(event)

    def find(self, severity: str, code: str, message: str) -> None:
        """Tell a finding."""
        self.tell(FindingEvent(Finding(cast("Any", severity), code, message)))

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """What passes in this block is no time of the run."""
        begin = self.clock.seconds
        yield
        self.paused_s += self.clock.seconds - begin

    def keep(self, write: Callable[[], object]) -> bool:
        """Write something; a full disk holds the run until there is room, and loses nothing.

        Returns False when the run was stopped before it could be written.
        """
        waited = False
        while True:
            try:
                write()
            except CellTrainError as error:
                if not waited:
                    waited = True
                    sentence = f"{error} The run is paused and goes on as soon as it can write."
                    self.find("warning", "cannot-write", sentence)
                    self.tell(StateChanged("paused", sentence))
                if self.control.stopping:
                    return False
                with self.paused():
                    self.control.wait_for_stop(RETRY_S)
            else:
                if waited:
                    self.tell(StateChanged("training", "It could be written now. Training."))
                return True
