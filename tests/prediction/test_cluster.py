"""A dask cluster: the same result, also when a worker is killed."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction import cluster as cluster_module
from napari_celltrain.prediction.cluster import predict_with_dask
from napari_celltrain.prediction.predict import check_request, predict

distributed = pytest.importorskip("distributed", reason="the extra [distributed] is not installed")
dask = pytest.importorskip("dask")
pytestmark = pytest.mark.filterwarnings("ignore")  # whatever the cluster's own code warns of


@pytest.fixture(scope="module")
def cluster():
    # a worker that is killed and comes back is not missed: else the cluster gives up one that was
    # killed a second time just when it looks whether the first is back
    patient = {"distributed.deploy.lost-worker-timeout": "1 hour"}
    with (
        dask.config.set(patient),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as running,
    ):
        yield running


def predict_and_kill(cluster, detector, movie, after: int, random) -> bool:
    """Kill a worker after so many results; returns whether one was there to be killed."""
    expected = {one.t: one for one in predict(detector, movie)}
    found, killed = {}, False
    with distributed.Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=100)
    request = check_request(detector, movie, gamma=1.0)
    for one in predict_with_dask(detector, movie, request, address=cluster.scheduler_address):
        assert one.t not in found
        found[one.t] = one
        if len(found) == after and os.name != "nt":
            pids = [worker.pid for worker in cluster.workers.values() if worker.pid]
            with contextlib.suppress(ProcessLookupError):
                os.kill(random.choice(pids), signal.SIGKILL)
                killed = True
    assert sorted(found) == sorted(expected)
    for t, one in expected.items():
        assert np.array_equal(one.positions, found[t].positions)
        assert np.array_equal(one.scores, found[t].scores)
    return killed


def test_results_are_those_of_one_process_also_when_a_worker_is_killed(
    cluster, detector, make_movie
):
    predict_and_kill(cluster, detector, make_movie((10, 8, 40, 40)), 2, random.Random(0))


@pytest.mark.slow
@pytest.mark.timeout(1200)  # a busy machine takes a quarter of a minute to start a worker
def test_twenty_workers_killed_at_random_lose_nothing(cluster, detector, make_movie):
    movie, chance, killed = make_movie((10, 8, 40, 40)), random.Random(1), 0
    for _ in range(40):
        killed += predict_and_kill(cluster, detector, movie, chance.randint(1, 9), chance)
        if killed == 20:
            break
    assert killed == 20


def test_a_damaged_time_point_is_a_sentence(cluster, detector, make_movie):
    movie = make_movie((4, 8, 30, 30))
    movie._array = movie._array[:2]
    request = check_request(detector, movie, gamma=1.0)
    with pytest.raises(CellTrainError, match="can't be read"):
        list(predict_with_dask(detector, movie, request, address=cluster.scheduler_address))
    patient = check_request(detector, movie, gamma=1.0, on_damaged="skip")
    results = predict_with_dask(detector, movie, patient, address=cluster.scheduler_address)
    assert sorted(one.t for one in results if one.damage) == [5, 6]


def test_nobody_at_the_address_is_a_sentence(detector, movie, monkeypatch):
    monkeypatch.setattr("napari_celltrain.prediction.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(CellTrainError, match="No dask scheduler"):
        predict_with_dask(
            detector, movie, check_request(detector, movie, gamma=1.0), address="tcp://127.0.0.1:9"
        )


@pytest.fixture
def scheduler():
    """A scheduler in a process of its own, without workers; yields its address and process."""
    port = _free_port()
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(600):  # on a busy machine it takes many seconds to start
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.1)
    yield f"tcp://127.0.0.1:{port}", process
    process.kill()
    process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def without_patience(monkeypatch):
    monkeypatch.setattr(cluster_module, "PATIENCE_S", 0.5)
    monkeypatch.setattr(cluster_module, "ASK_SECONDS", 30)  # on a busy machine it may take long


def test_a_cluster_without_workers_is_told_and_can_be_stopped(
    scheduler, detector, movie, without_patience
):
    address, _ = scheduler
    told = []
    request = check_request(detector, movie, gamma=1.0)
    results = predict_with_dask(
        detector, movie, request, address=address, tell=told.append, stopping=lambda: bool(told)
    )
    assert list(results) == []
    assert [one.code for one in told] == ["no-workers"]
    assert f"dask worker {address}" in told[0].message


def test_a_scheduler_that_is_killed_is_a_sentence(scheduler, detector, movie, without_patience):
    address, process = scheduler
    request = check_request(detector, movie, gamma=1.0)
    results = predict_with_dask(
        detector, movie, request, address=address, tell=lambda _: process.kill()
    )
    with pytest.raises(CellTrainError, match=f"The dask scheduler at {address} is gone"):
        list(results)


def test_workers_without_the_package_are_told_of(cluster, detector, movie, monkeypatch):
    def fails(assignment, t):
        raise ModuleNotFoundError("No module named 'napari_celltrain'")

    monkeypatch.setattr("napari_celltrain.prediction.cluster.compute_one", fails)
    request = check_request(detector, movie, gamma=1.0)
    with pytest.raises(CellTrainError, match="Install the same version"):
        list(predict_with_dask(detector, movie, request, address=cluster.scheduler_address))


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="nothing can be frozen there")
def test_a_scheduler_that_falls_silent_is_told_and_does_not_hold_anybody(
    scheduler, detector, movie, without_patience, monkeypatch
):
    address, process = scheduler
    request = check_request(detector, movie, gamma=1.0)
    told, frozen = [], []

    def tell(finding):
        told.append(finding.code)
        if finding.code == "no-workers":
            monkeypatch.setattr(cluster_module, "ASK_SECONDS", 3)
            process.send_signal(signal.SIGSTOP)
            frozen.append(time.monotonic())

    def stopping():
        return "silent-scheduler" in told

    results = predict_with_dask(
        detector, movie, request, address=address, tell=tell, stopping=stopping
    )
    try:
        assert list(results) == []
    finally:
        process.send_signal(signal.SIGCONT)
    assert told == ["no-workers", "silent-scheduler"]
    assert time.monotonic() - frozen[0] < 30


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_what_has_come_in_is_not_computed_again_when_its_worker_dies(
    cluster, detector, make_movie, tmp_path, monkeypatch
):
    log = tmp_path / "computed.txt"

    def noted(assignment, t, compute=cluster_module.compute_one):
        with open(log, "a") as file:
            file.write(f"{t}\n")
        return compute(assignment, t)

    monkeypatch.setattr(cluster_module, "compute_one", noted)
    predict_and_kill(cluster, detector, make_movie((30, 8, 40, 40)), 20, random.Random(0))
    times = log.read_text().split()
    assert len(times) - len(set(times)) < 15  # those that were done and had not come in yet
