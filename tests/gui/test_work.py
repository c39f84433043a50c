"""Work in a thread: what it reports arrives in order, and every way to end it ends it."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
from qtpy.QtWidgets import QWidget

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.work import Job


def run(qtbot, function, **options):
    job = Job(function, interval_ms=5, **options)
    told: dict = {"reports": [], "returned": [], "failed": []}
    job.reported.connect(told["reports"].extend)
    job.returned.connect(told["returned"].append)
    job.failed.connect(told["failed"].append)
    with qtbot.waitSignal(job.ended, timeout=5000):
        job.start()
    return job, told


def test_reports_arrive_in_order_before_the_result(qtbot):
    def work(report, stop):
        for number in range(100):
            report(number)
        return "done"

    job, told = run(qtbot, work)
    assert told == {"reports": list(range(100)), "returned": ["done"], "failed": []}
    assert not job.running


def test_a_sentence_arrives_as_it_is(qtbot):
    def work(report, stop):
        raise CellTrainError("The disk is full.")

    job, told = run(qtbot, work)
    assert told["failed"] == ["The disk is full."]
    assert not job.details


@pytest.mark.parametrize("error", [RuntimeError("CUDA"), ValueError("x"), SystemExit(1)])
def test_something_unforeseen_becomes_a_sentence_with_details(qtbot, error):
    def work(report, stop):
        raise error

    job, told = run(qtbot, work)
    assert "unforeseen" in told["failed"][0]
    assert "Traceback" in job.details


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")], ids=str)
def test_too_little_memory_is_said(qtbot, error):
    def work(report, stop):
        raise error

    _, told = run(qtbot, work)
    assert "not enough memory" in told["failed"][0]


def wait_for_stop(report, stop):
    report("running")
    assert stop.wait(10), "nobody asked to stop"
    return "stopped"


def test_stop_asks_the_work_to_end(qtbot):
    asked = []
    job = Job(wait_for_stop, interval_ms=5, on_stop=lambda: asked.append(True))
    with qtbot.waitSignal(job.reported):
        job.start()
    with qtbot.waitSignal(job.returned) as returned:
        job.stop()
    assert returned.args == ["stopped"]
    assert asked


def test_the_widgets_end_is_the_works_end(qtbot):
    widget = QWidget()
    ended = threading.Event()

    def work(report, stop):
        stop.wait(10)
        ended.set()

    Job(work, widget, interval_ms=5).start()
    widget.deleteLater()
    qtbot.waitUntil(ended.is_set, timeout=3000)


def test_naparis_own_way_to_end_workers_ends_it(qtbot):
    from napari.qt.threading import WorkerBase

    job = Job(wait_for_stop, interval_ms=5)
    with qtbot.waitSignal(job.reported):
        job.start()
    begin = time.monotonic()
    WorkerBase.await_workers(5000)  # what napari does when it quits
    assert time.monotonic() - begin < 2
    assert job.wait(1)


def test_what_the_function_held_is_let_go(qtbot):
    class Large:
        pass

    large = Large()
    gone = weakref.ref(large)

    def work(report, stop, held=large):
        return held is not None

    job, _ = run(qtbot, work)
    del work, large
    gc.collect()
    assert gone() is None
    assert not job.running
