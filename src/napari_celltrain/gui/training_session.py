"""One training in a thread: starting, pausing and stopping it. At most one in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.work import Job
from napari_celltrain.training.control import Control

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from napari_celltrain.dataset import Dataset
    from napari_celltrain.training.settings import TrainingSettings

_busy: dict[Control, Path] = {}
"""The training that runs, wherever in this process it was started, and its run folder."""


def is_training(folder: Path) -> bool:
    """Tell whether this process trains a run, or is about to: its lock is taken only later."""
    place = folder.absolute()
    return any(one.absolute() == place for one in list(_busy.values()))


class TrainingSession(QObject):
    """Trains once."""

    told = Signal(list)
    """The run's events, a few times a second."""
    failed = Signal(str)
    """A sentence, when it could not be done."""
    ended = Signal()
    """It is over, well or not."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.control = Control()
        self.finished: Any = None
        self._job: Job | None = None

    @property
    def running(self) -> bool:
        """True until `ended`."""
        return self._job is not None and self._job.running

    @property
    def details(self) -> str:
        """The traceback of something unforeseen."""
        return "" if self._job is None else self._job.details

    def start(
        self,
        dataset: Dataset | Path,
        run_folder: Path,
        settings: TrainingSettings,
        *,
        resume: bool = False,
        start_from: Path | None = None,
    ) -> None:
        """Begin to train.

        Parameters
        ----------
        dataset
            What to learn from, or the file that lists it.
        run_folder, settings, resume, start_from
            As in `napari_celltrain.training.loop.train`.

        Raises
        ------
        CellTrainError
            When a training runs already.
        """
        if _busy:
            raise CellTrainError(
                "Another training is running in this napari. Stop it first, or wait for its end."
            )
        control = self.control

        def work(report: Callable[[Any], None], stop: threading.Event) -> Any:
            try:
                return _train(dataset, run_folder, settings, report, control, resume, start_from)
            finally:
                del _busy[control]

        _busy[control] = run_folder
        self._job = Job(work, self, on_stop=control.stop)
        self._job.reported.connect(self.told)
        self._job.returned.connect(self._keep)
        self._job.failed.connect(self.failed)
        self._job.ended.connect(self.ended)
        self._job.start()

    def pause(self) -> None:
        """Hold after the current step."""
        self.control.pause()

    def go_on(self) -> None:
        """Go on after a pause."""
        self.control.resume()

    def stop(self) -> None:
        """End after the current step, with a checkpoint."""
        if self._job is not None:
            self._job.stop()

    def wait(self, timeout_s: float) -> bool:
        """Block until the thread has ended; True if it has."""
        return self._job is None or self._job.wait(timeout_s)

    def _keep(self, finished: Any) -> None:
        self.finished = finished


def _train(
    dataset: Dataset | Path,
    run_folder: Path,
    settings: TrainingSettings,
    report: Callable[[Any], None],
    control: Control,
    resume: bool,
    start_from: Path | None,
) -> Any:
    """Run the engine; torch is imported here, in the thread: it takes seconds."""
    from napari_celltrain.dataset import Dataset, load_dataset
    from napari_celltrain.training.events import StateChanged

    report(StateChanged("preparing", "Loading the training engine."))
    from napari_celltrain.detector.compute import cores_beside_a_window
    from napari_celltrain.training.loop import train

    if settings.compute.threads is None:
        settings = settings.changed([f"compute.threads={cores_beside_a_window()}"])
    if not isinstance(dataset, Dataset):
        dataset = load_dataset(dataset)
    return train(
        dataset,
        run_folder,
        settings,
        [report],
        control=control,
        resume=resume,
        start_from=start_from,
    )
