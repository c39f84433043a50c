"""A dask cluster: the same result, also when a worker is killed."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction.cluster import predict_with_dask
from napari_celltrain.prediction.predict import predict

distributed = pytest.importorskip("distributed", reason="the extra [distributed] is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # whatever the cluster's own code warns of


@pytest.fixture(scope="module")
def cluster():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as running:
        yield running


def test_results_are_those_of_one_process_also_when_a_worker_is_killed(
    cluster, detector, make_movie
):
    movie = make_movie((10, 8, 40, 40))
    expected = {one.t: one for one in predict(detector, movie)}
    found = {}
    for one in predict_with_dask(detector, movie, address=cluster.scheduler_address):
        assert one.t not in found
        found[one.t] = one
        if len(found) == 2 and os.name != "nt":
            os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)
    assert sorted(found) == sorted(expected)
    for t, one in expected.items():
        assert np.array_equal(one.positions, found[t].positions)
        assert np.array_equal(one.scores, found[t].scores)


def test_a_damaged_time_point_is_a_sentence(cluster, detector, make_movie):
    movie = make_movie((4, 8, 30, 30))
    movie._array = movie._array[:2]
    with pytest.raises(CellTrainError, match="can't be read"):
        list(predict_with_dask(detector, movie, address=cluster.scheduler_address))
    results = predict_with_dask(
        detector, movie, address=cluster.scheduler_address, on_damaged="skip"
    )
    assert sorted(one.t for one in results if one.damage) == [5, 6]


def test_nobody_at_the_address_is_a_sentence(detector, movie, monkeypatch):
    monkeypatch.setattr("napari_celltrain.prediction.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(CellTrainError, match="No dask scheduler"):
        predict_with_dask(detector, movie, address="tcp://127.0.0.1:9")
