"""Time points spread over a cluster that runs already: ``dask.distributed``."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import CancelledError
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding
from napari_celltrain.prediction.payload import Assignment, PackedDetector
from napari_celltrain.prediction.telling import OnceTeller

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import FrameSource
    from napari_celltrain.prediction.predict import FrameResult, Request

CONNECT_SECONDS = 20
CLOSE_SECONDS = 3
ASK_EVERY_S = 0.2
ASK_SECONDS = 5
FETCH_SECONDS = 10
"""Results are small."""
PATIENCE_S = 10.0
"""Without a result for so long, it is looked whether there is anybody to compute one."""


def predict_with_dask(
    detector: Detector,
    source: FrameSource,
    request: Request,
    *,
    address: str,
    device: str = "auto",
    stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[Finding], None] = lambda finding: None,
) -> Generator[FrameResult]:
    """Do what `predict_request` does on the workers of a dask cluster.

    The results come as they are ready. The workers need this package and the same path to the
    images. A worker that dies is made up for by the others. Parameters as there, and:

    Parameters
    ----------
    address
        Of the scheduler, such as ``tcp://node1:8786``.
    device
        Where the workers compute.

    Raises
    ------
    CellTrainError
        As `predict`; when dask is not installed, nobody answers at that address, the scheduler
        goes away, or tasks keep killing their workers.
    """
    try:
        dask: Any = import_module("distributed")
    except ImportError:
        raise CellTrainError(
            "Computing on a dask cluster needs another package: pip install "
            "'napari-celltrain[distributed]'."
        ) from None
    teller = OnceTeller(tell)
    for finding in request.findings:
        teller(finding)
    assignment = Assignment(PackedDetector.of(detector), source, request, device, 1)
    try:
        client = dask.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise CellTrainError(
            f"No dask scheduler answers at {address}: {error or type(error).__name__}. Is the "
            "address right, and is the scheduler running?"
        ) from None
    return _results(client, address, assignment, stopping, teller)


def _results(
    client: Any,
    address: str,
    assignment: Assignment,
    stopping: Callable[[], bool],
    tell: OnceTeller,
) -> Generator[FrameResult]:
    gone = CellTrainError(
        f"The dask scheduler at {address} is gone, or it let go of the time points. Those before "
        "are safe: go on with --resume when it runs again."
    )
    futures: list[Any] = []
    try:
        # a task and no scattered data: those are gone for good when the worker that has them dies
        shared = client.submit(keep, assignment, pure=False)
        futures = client.map(
            lambda t, what: compute_one(what, t), assignment.request.time_points, what=shared,
            pure=False,
        )  # fmt: skip
        for answer in _answers(client, address, futures, stopping, tell):
            result, findings, sentence = answer
            for finding in findings:
                tell(finding)
            if sentence is not None:
                raise CellTrainError(f"A worker of the cluster says: {sentence}")
            yield result
    # older versions raise the second, and errors of a connection that broke are of the third kind
    except (CancelledError, asyncio.CancelledError, OSError):
        raise gone from None
    finally:
        with contextlib.suppress(Exception):  # nobody there to be told: all the better
            if client.status == "running":
                client.cancel(futures)
        with contextlib.suppress(Exception):
            client.close(timeout=CLOSE_SECONDS)


def _of_worker(error: Exception) -> Exception:
    """Return what to raise for what came back instead of a result."""
    if type(error).__name__ == "KilledWorker":
        return CellTrainError(
            "A time point killed its worker several times, most likely for want of memory. Give "
            "the workers more, or use a smaller --tile."
        )
    if isinstance(error, ImportError):
        return CellTrainError(
            f"A worker of the cluster lacks a package: {error}. Install the same version of "
            "napari-celltrain where the workers run."
        )
    return RuntimeError(f"A worker of the cluster failed: {error!r}")


def _answers(
    client: Any,
    address: str,
    futures: list[Any],
    stopping: Callable[[], bool],
    tell: OnceTeller,
) -> Iterator[Any]:
    """Yield what comes back, as it comes; say so where nobody works on it.

    Takes each future out of the list when its answer is here: else a worker that dies later would
    have all that it ever did done again.
    """
    done: SimpleQueue[Any] = SimpleQueue()
    for future in futures:
        future.add_done_callback(done.put)
    heard = time.monotonic()
    while futures and not stopping():
        try:
            future = done.get(timeout=ASK_EVERY_S)
        except Empty:
            if time.monotonic() - heard > PATIENCE_S:
                _look_after(client, address, tell)
                heard = time.monotonic()
            continue
        try:
            answer = future.result(timeout=FETCH_SECONDS)
        except Exception as error:
            if future.status == "error":
                raise _of_worker(error) from error
            if not isinstance(error, TimeoutError):
                raise
            # its worker died after it was done: it is done again elsewhere, some time
            future.add_done_callback(done.put)
            continue
        futures.remove(future)
        future.release()
        heard = time.monotonic()
        yield answer


def _look_after(client: Any, address: str, tell: OnceTeller) -> None:
    """Find out whether there is anybody to compute anything, and say so if not."""
    if client.status != "running":
        return
    try:
        workers = client.sync(client.scheduler.ncores, callback_timeout=ASK_SECONDS)
    except (TimeoutError, OSError):
        tell(
            Finding(
                "warning",
                "silent-scheduler",
                f"The dask scheduler at {address} does not answer; this waits for it.",
            )
        )
        return
    if not workers:
        tell(
            Finding(
                "warning",
                "no-workers",
                f"The dask cluster at {address} has no workers; this waits until some are there. "
                f"Start some with: dask worker {address}",
            )
        )


def keep(assignment: Assignment) -> Assignment:
    """Have the assignment on a worker; runs there, again if need be."""
    return assignment


def compute_one(
    assignment: Assignment, t: int
) -> tuple[FrameResult | None, list[Finding], str | None]:
    """Compute one time point; runs on a worker of the cluster, which loads the detector once.

    Returns
    -------
    The result, findings, and a sentence when it can't be computed.
    """
    findings: list[Finding] = []
    try:
        (result,) = assignment.results([t], findings.append)
    except CellTrainError as error:
        return None, findings, str(error)
    return result, findings, None
