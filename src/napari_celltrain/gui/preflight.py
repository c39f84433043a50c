"""Looking for problems in experiments before anything is trained, in a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.counting import left_out
from napari_celltrain.gui.work import Job

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from napari_celltrain.experiment import Experiment, Finding


class Preflight(QObject):
    """Tells what `napari_celltrain.statistics.findings` says of some experiments."""

    found = Signal()
    """`findings` are those of the experiments that were last asked about."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.findings: list[Finding] = []
        self._owners: list[tuple[Finding, object]] = []
        self._job: Job | None = None
        self._next: list[tuple[object, Experiment]] | None = None

    def owner(self, finding: Finding) -> object:
        """Return the identity of the experiment that a finding is about; None when unknown."""
        return next((identity for one, identity in self._owners if one is finding), None)

    def refuse_errors(self) -> None:
        """Refuse to train on what can't be right.

        Raises
        ------
        CellTrainError
            Saying what was found, and where.
        """
        for finding in self.findings:
            if finding.severity == "error":
                raise CellTrainError(f"{finding.experiment}: {finding.message}")

    def look(self, experiments: Sequence[tuple[object, Experiment]]) -> None:
        """Look at these (identity, experiment).

        While an earlier look is under way, the latest request waits for it.
        """
        self._next = list(experiments)
        if self._job is None:
            self._start()

    def _start(self) -> None:
        experiments, self._next = self._next, None
        if experiments is None:
            return

        def work(report: Callable[[Any], None], stop: threading.Event) -> Any:
            from napari_celltrain.statistics import findings

            return [
                (finding, identity)
                for identity, experiment in experiments
                for finding in (*left_out(experiment), *findings(experiment))
                if not stop.is_set()
            ]

        self._job = Job(work, self, interval_ms=50)
        self._job.returned.connect(self._keep)
        self._job.failed.connect(self._fail)
        self._job.ended.connect(self._end)
        self._job.start()

    def _keep(self, owners: list[tuple[Finding, object]]) -> None:
        self._owners = owners
        self.findings = [finding for finding, _ in owners]

    def _fail(self, sentence: str) -> None:
        from napari_celltrain.experiment import Finding

        words = f"The data could not be checked: {sentence}"
        self._owners = []
        self.findings = [Finding("warning", "not-looked", words)]

    def _end(self) -> None:
        if self._job is not None:
            self._job.deleteLater()
            self._job = None
        if self._next is not None:
            self._start()
        else:
            self.found.emit()
