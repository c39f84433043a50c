"""Several processes only where they pay, and then the same result to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.images import ArraySource
from napari_celltrain.prediction import as_fits
from napari_celltrain.prediction.as_fits import predict_as_fits, processes_for
from napari_celltrain.prediction.predict import check_request, predict
from napari_celltrain.prediction.workers import WorkersDied


@pytest.fixture
def two_threads(make_detector, monkeypatch):
    monkeypatch.setattr("napari_celltrain.detector.detector.usable_cores", lambda: 2)
    detector = make_detector(planes=4, threads=2)
    assert detector.threads == 2
    return detector


@pytest.fixture
def long_movie(make_movie):
    return make_movie((40, 4, 24, 24))


@pytest.fixture
def calls(monkeypatch):
    """How many time points were given to other processes."""
    given = []
    plain = as_fits.predict_with_workers

    def noted(detector, source, request, **options):
        given.append(len(request.time_points))
        return plain(detector, source, request, **options)

    monkeypatch.setattr(as_fits, "predict_with_workers", noted)
    return given


def test_a_long_movie_is_shared_and_the_result_is_the_same(
    two_threads, long_movie, calls, monkeypatch
):
    monkeypatch.setattr(as_fits, "PAYS_FROM_S", 0.0)
    gamma = 0.75
    expected = list(predict(two_threads, long_movie, gamma=gamma))
    told = []
    request = check_request(two_threads, long_movie, gamma=gamma)
    found = list(predict_as_fits(two_threads, long_movie, request, tell=told.append))
    assert calls == [40 - as_fits.MEASURED]
    assert sorted(one.t for one in found) == [one.t for one in expected]
    by_time = {one.t: one for one in found}
    for one in expected:
        assert np.array_equal(one.positions, by_time[one.t].positions)
        assert np.array_equal(one.scores, by_time[one.t].scores)
    assert [note.code for note in told].count("processes") == 1
    assert "2 processes share them" in next(n.message for n in told if n.code == "processes")


def test_a_short_movie_is_done_here(two_threads, long_movie, calls):
    request = check_request(two_threads, long_movie, gamma=1.0)
    found = list(predict_as_fits(two_threads, long_movie, request))
    assert [one.t for one in found] == list(request.time_points)
    assert calls == []


def test_who_stops_gets_no_processes(two_threads, long_movie, calls, monkeypatch):
    monkeypatch.setattr(as_fits, "PAYS_FROM_S", 0.0)
    stop = []
    request = check_request(two_threads, long_movie, gamma=1.0)
    for number, _ in enumerate(
        predict_as_fits(two_threads, long_movie, request, stopping=lambda: bool(stop)), 1
    ):
        if number == as_fits.MEASURED:
            stop.append(True)
    assert calls == []


def test_nothing_is_shared_where_there_is_one_thread_or_too_little_memory(
    two_threads, make_detector, long_movie, monkeypatch
):
    request = check_request(two_threads, long_movie, gamma=1.0)
    assert processes_for(two_threads, long_movie, request) == 2
    assert processes_for(make_detector(planes=4, threads=1), long_movie, request) == 1
    few = check_request(two_threads, long_movie, gamma=1.0, time_points=range(3, 20))
    assert processes_for(two_threads, long_movie, few) == 1
    monkeypatch.setattr(as_fits, "WORKER_BYTES", 2**50)
    assert processes_for(two_threads, long_movie, request) == 1


def test_a_movie_in_memory_stays_where_it_is(two_threads, make_movie):
    """Its pixels would be copied to every process."""
    movie = ArraySource(np.zeros((40, 4, 400, 400), np.uint8), "tzyx", voxel_size_um=(2, 1, 1))
    assert processes_for(two_threads, movie, check_request(two_threads, movie, gamma=1.0)) == 1
    unknown = make_movie((40, 4, 24, 24))
    unknown.secret = lambda: None  # can't be pickled
    assert processes_for(two_threads, unknown, check_request(two_threads, unknown, gamma=1.0)) == 1


def test_processes_that_die_are_made_up_for(two_threads, long_movie, monkeypatch):
    """Nobody asked for them, so they must not be the end of a prediction."""
    monkeypatch.setattr(as_fits, "PAYS_FROM_S", 0.0)
    plain = as_fits.predict_with_workers

    def dying(*arguments, **options):
        for number, result in enumerate(plain(*arguments, **options)):
            if number == 5:
                raise WorkersDied("The process died 3 times.")
            yield result

    monkeypatch.setattr(as_fits, "predict_with_workers", dying)
    told = []
    request = check_request(two_threads, long_movie, gamma=1.0)
    found = list(predict_as_fits(two_threads, long_movie, request, tell=told.append))
    assert sorted(one.t for one in found) == list(request.time_points)
    assert "processes-died" in [note.code for note in told]


def test_a_damaged_time_point_is_told_once(two_threads, long_movie, monkeypatch):
    """Frames are read ahead here, and again by the processes that take over."""
    monkeypatch.setattr(as_fits, "PAYS_FROM_S", 0.0)
    long_movie._array = long_movie._array[:20]  # as if the rest of the file was missing
    told = []
    request = check_request(two_threads, long_movie, gamma=1.0, on_damaged="skip")
    found = list(predict_as_fits(two_threads, long_movie, request, tell=told.append))
    damaged = [note.time_point for note in told if note.code == "damaged-frame"]
    assert sorted(damaged) == sorted(one.t for one in found if one.damage is not None)
    assert len(damaged) == 20


def test_a_frame_of_many_tiles_is_left_to_the_threads(two_threads, long_movie):
    request = check_request(two_threads, long_movie, gamma=1.0)
    two_threads.sizes.tile_voxels = 100
    assert processes_for(two_threads, long_movie, request) == 1
