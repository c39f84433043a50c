"""Time points spread over a cluster that runs already: ``dask.distributed``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction.payload import Assignment, OnceTeller, PackedDetector

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import Finding, FrameSource
    from napari_celltrain.prediction.predict import FrameResult, Request

CONNECT_SECONDS = 20


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
        As `predict`; when dask is not installed, nobody answers at that address, or tasks keep
        killing their workers.
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
    return _results(client, assignment, request.time_points, stopping, teller)


def _results(
    client: Any,
    assignment: Assignment,
    time_points: Sequence[int],
    stopping: Callable[[], bool],
    tell: OnceTeller,
) -> Generator[FrameResult]:
    dask: Any = import_module("distributed")
    with client:
        # a task and no scattered data: those are gone for good when the worker that has them dies
        shared = client.submit(keep, assignment, pure=False)
        futures = client.map(
            lambda t, what: compute_one(what, t), time_points, what=shared, pure=False
        )
        try:
            for future in dask.as_completed(futures, loop=client.loop):
                if stopping():
                    return
                try:
                    result, findings, sentence = future.result()
                except CellTrainError:
                    raise
                except Exception as error:
                    if type(error).__name__ != "KilledWorker":
                        raise
                    raise CellTrainError(
                        "A time point killed its worker several times, most likely for want of "
                        "memory. Give the workers more, or use a smaller --tile."
                    ) from error
                for finding in findings:
                    tell(finding)
                if sentence is not None:
                    raise CellTrainError(f"A worker of the cluster says: {sentence}")
                yield result
        finally:
            client.cancel(futures)


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
