"""Time points spread over processes of this machine; a process that is killed costs only time."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import traceback
from collections import deque
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.detector.memory import keep_freed_memory
from napari_celltrain.errors import CellTrainError, is_out_of_memory
from napari_celltrain.prediction.payload import Assignment, PackedDetector
from napari_celltrain.prediction.telling import OnceTeller

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import Finding, FrameSource
    from napari_celltrain.prediction.predict import FrameResult, Request


class WorkersDied(CellTrainError):
    """Processes keep dying, which mostly means too little memory."""


MOST_DEATHS = 3
"""A time point whose process died so often is not tried again."""
_LESS_MEMORY = "Use fewer --workers, or a smaller --tile."
LONGEST_SHARE = 32
"""Time points handed to a process at once: neighbours share frames of the time window."""


def predict_with_workers(
    detector: Detector,
    source: FrameSource,
    request: Request,
    *,
    workers: int,
    stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[Finding], None] = lambda finding: None,
) -> Generator[FrameResult]:
    """Do what `predict_request` does in several processes; the results come as they are ready.

    They are the same to the last bit. A process that dies is replaced, and its time points are
    done again. Parameters as there, and:

    Parameters
    ----------
    workers
        How many processes. Each computes with its share of the detector's threads.

    Raises
    ------
    CellTrainError
        While iterating: as `predict`.
    WorkersDied
        While iterating: when processes keep dying.
    """
    teller = OnceTeller(tell)
    for finding in request.findings:
        teller(finding)
    threads = max(1, detector.threads // workers)
    assignment = Assignment(
        PackedDetector.of(detector),
        source,
        request,
        str(detector.device),
        threads,
        in_line=threads == 1 and detector.device.type == "cpu",
    )
    crew = _Crew(assignment, min(workers, len(request.time_points)), request.time_points, teller)
    return crew.results(stopping)


class _Worker:
    """One process, and what it is to do."""

    def __init__(self, assignment: Assignment) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_work, args=(other,), name="celltrain-worker", daemon=True
        )
        self.share: deque[int] = deque()
        with _interrupts_held_back():
            self.process.start()
        other.close()
        self._assignment: Assignment | None = assignment

    def send(self, message: Any) -> None:
        """Send time points; before the first ones, what has to be known to compute any.

        That waits until the process has loaded what it needs, so several should be started first.
        """
        with contextlib.suppress(OSError):  # it died; that is noticed when listening
            if self._assignment is not None:
                self.pipe.send(self._assignment)
                self._assignment = None
            self.pipe.send(message)

    def end(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


class _Crew:
    """All processes, and the time points that are left."""

    def __init__(
        self, assignment: Assignment, workers: int, time_points: Sequence[int], tell: OnceTeller
    ) -> None:
        self._assignment, self._tell = assignment, tell
        self._left = deque(time_points)
        self._size = min(LONGEST_SHARE, max(1, len(time_points) // (4 * workers)))
        self._n = workers
        self._deaths: dict[int, int] = {}
        self._workers: list[_Worker] = []

    def results(self, stopping: Callable[[], bool]) -> Generator[FrameResult]:
        """Yield results as they are ready."""
        try:
            while self._left or any(one.share for one in self._workers):
                if stopping():
                    return
                missing = range(min(self._n - len(self._workers), len(self._left)))
                fresh = [_Worker(self._assignment) for _ in missing]
                self._workers += fresh
                for worker in fresh:
                    if stopping():
                        return
                    self._hand_out(worker)
                ready = wait([one.pipe for one in self._workers], timeout=0.2)
                for worker in [one for one in self._workers if one.pipe in ready]:
                    try:
                        kind, content = worker.pipe.recv()
                    except Exception:  # closed, or broken off in the middle of a message
                        self._bury(worker)
                        continue
                    if kind == "result":
                        worker.share.remove(content.t)
                        if not worker.share:
                            self._hand_out(worker)
                        yield content
                    elif kind == "finding":
                        self._tell(content)
                    elif kind == "error":
                        raise CellTrainError(content)
                    else:
                        sentence, told = content
                        raise CellTrainError(sentence) from RuntimeError(told)
        finally:
            for worker in self._workers:
                worker.end()

    def _hand_out(self, worker: _Worker) -> None:
        """Give a process its next time points; without any it waits, in case another one dies."""
        count = min(self._size, max(1, -(-len(self._left) // (2 * self._n))), len(self._left))
        worker.share.extend(self._left.popleft() for _ in range(count))
        if worker.share:
            worker.send(list(worker.share))

    def _bury(self, worker: _Worker) -> None:
        """A process died: its time points are done again by others."""
        self._workers.remove(worker)
        worker.end()
        if worker.share:
            first = worker.share[0]
            self._deaths[first] = self._deaths.get(first, 0) + 1
            if self._deaths[first] >= MOST_DEATHS:
                raise WorkersDied(
                    f"The process that computes time point {first} died {MOST_DEATHS} times, "
                    f"most likely for want of memory. {_LESS_MEMORY}"
                )
        self._left.extendleft(reversed(worker.share))
        for idle in self._workers:
            if not idle.share and self._left:
                self._hand_out(idle)


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let a process that is started here know nothing of Ctrl+C, not even while it starts.

    It inherits that the signal is held back. Here it is heard a moment later: were it ignored
    meanwhile, it would be lost.
    """
    if not hasattr(signal, "pthread_sigmask"):  # on Windows
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # would be started with the first, and let it through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(pipe: Connection) -> None:
    """Compute time points until nobody asks for more; runs in the worker process."""
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides when to end
    keep_freed_memory()
    try:
        assignment: Assignment = pipe.recv()
        while True:
            share: list[int] = pipe.recv()
            try:
                results = assignment.results(share, lambda note: pipe.send(("finding", note)))
                for result in results:
                    pipe.send(("result", result))
            except CellTrainError as error:
                pipe.send(("error", str(error)))
            except (EOFError, OSError):
                raise
            except Exception as error:
                if is_out_of_memory(error):
                    pipe.send(("error", f"A process had not enough memory. {_LESS_MEMORY}"))
                    continue
                pipe.send(("bug", (_unforeseen(error), traceback.format_exc())))
    except (EOFError, OSError):
        return  # the first process is gone


def _unforeseen(error: Exception) -> str:
    """Say in a sentence what nobody expected, and where, for whoever has to mend it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}, line {last.lineno}"
    what = " ".join(f"{type(error).__name__}: {error}".split())[:300]
    return (
        f"Something unforeseen went wrong in a worker process: {what} ({place}). It may work with "
        "--workers 1; please report it."
    )
