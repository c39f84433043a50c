"""Several processes: the same result to the last bit, also when some are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from dataclasses import replace

import numpy as np
import psutil
import pytest

from napari_celltrain.detector.detector import Detector
from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction import workers as workers_module
from napari_celltrain.prediction.payload import PackedDetector
from napari_celltrain.prediction.predict import check_request, predict, predict_request
from napari_celltrain.prediction.workers import predict_with_workers


def processes():
    """Worker processes that live; one that was killed a moment ago has no command any more."""
    found = []
    for one in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(one.cmdline()):
                found.append(one)
    return found


def same(expected, results):
    found = {}
    for one in results:
        assert one.t not in found, "a time point came twice"
        found[one.t] = one
    assert sorted(found) == [one.t for one in expected]
    for one in expected:
        assert np.array_equal(one.positions, found[one.t].positions)
        assert np.array_equal(one.scores, found[one.t].scores)


def test_a_killed_process_is_made_up_for(detector, make_movie):
    movie = make_movie((10, 8, 40, 40))
    expected = list(predict(detector, movie))
    request = check_request(detector, movie, gamma=1.0)

    def killing():
        results = predict_with_workers(detector, movie, request, workers=2)
        for number, one in enumerate(results):
            if number in (1, 5) and os.name != "nt":
                os.kill(processes()[0].pid, signal.SIGKILL)
            yield one

    same(expected, killing())
    assert processes() == []


def test_an_error_ends_all_processes(detector, make_movie):
    movie = make_movie((4, 8, 30, 30))
    movie._array = movie._array[:2]  # as if the rest of the file was missing
    request = check_request(detector, movie, gamma=1.0)
    with pytest.raises(CellTrainError, match="can't be read"):
        list(predict_with_workers(detector, movie, request, workers=1))
    assert processes() == []


def test_what_nobody_expected_in_a_process_is_a_sentence_too(detector, make_movie):
    movie = make_movie((4, 8, 30, 30))
    request = replace(check_request(detector, movie, gamma=1.0), channels=None)
    with pytest.raises(CellTrainError) as told:
        list(predict_with_workers(detector, movie, request, workers=1))
    assert "unforeseen went wrong in a worker process: TypeError: " in str(told.value)
    assert ".py, line " in str(told.value)
    assert "\n" not in str(told.value)
    assert "Traceback" in str(told.value.__cause__)  # for whoever has to mend it
    assert processes() == []


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_a_time_point_that_always_kills_is_named(detector, movie, monkeypatch):
    hand_out = workers_module._Crew._hand_out

    def deadly(self, worker):
        hand_out(self, worker)
        if worker.share:
            worker.process.kill()

    monkeypatch.setattr(workers_module._Crew, "_hand_out", deadly)
    request = check_request(detector, movie, gamma=1.0)
    with pytest.raises(CellTrainError, match=r"time point \d died 3 times"):
        list(predict_with_workers(detector, movie, request, workers=1))
    assert processes() == []


def test_packed_detector_is_the_detector(detector, movie):
    packed = PackedDetector.of(detector)
    other = packed.unpack("cpu", 1)
    assert other is packed.unpack("cpu", 1)  # made once
    assert other.info == detector.info
    assert other.arithmetic == detector.arithmetic
    frame = movie.read_frame(3)
    one, two = (each.detect([frame], (2.0, 1.0, 1.0)) for each in (detector, other))
    assert np.array_equal(one.positions, two.positions)


def test_in_line_the_result_is_the_same(detector):
    in_line = Detector(
        detector.info, detector.weights, device="cpu", precision="float32", in_line=True
    )
    assert in_line.threads == 1
    frame = [np.random.default_rng(0).integers(0, 4000, (8, 60, 64)).astype(np.uint16)]
    for gamma in (1.0, 0.75):
        expected = detector.detect(frame, (2.0, 1.0, 1.0), gamma=gamma, tile=(8, 30, 30))
        found = in_line.detect(frame, (2.0, 1.0, 1.0), gamma=gamma, tile=(8, 30, 30))
        assert np.array_equal(found.positions, expected.positions)
        assert np.array_equal(found.scores, expected.scores)


def test_in_line_nothing_is_read_or_computed_in_another_thread(detector, make_movie, monkeypatch):
    """A process with one core loses time where its threads wait for Python's lock."""
    in_line = Detector(
        detector.info, detector.weights, device="cpu", precision="float32", in_line=True
    )
    movie = make_movie((5, 8, 40, 40))
    readers, computers = set(), set()
    read, compute = type(movie).read_frame, Detector._forward

    def noted_read(self, *arguments):
        readers.add(threading.get_ident())
        return read(self, *arguments)

    def noted_compute(self, *arguments):
        computers.add(threading.get_ident())
        return compute(self, *arguments)

    expected = list(predict(detector, movie))
    monkeypatch.setattr(type(movie), "read_frame", noted_read)
    monkeypatch.setattr(Detector, "_forward", noted_compute)
    request = check_request(in_line, movie, gamma=1.0)
    same(expected, predict_request(in_line, movie, request, in_line=True))
    assert readers == computers == {threading.get_ident()}
