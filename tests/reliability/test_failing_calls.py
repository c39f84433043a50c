"""Each system call of a prediction and of a history fails once: nothing is lost or doubled."""

from __future__ import annotations

import errno
import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction.movie import predict_to_file
from napari_celltrain.prediction.options import Options
from napari_celltrain.prediction.predict import FrameResult
from napari_celltrain.training import events
from napari_celltrain.training.history import HistoryWriter
from napari_celltrain.training.run import RunFolder

FAILING = runpy.run_path(str(Path(__file__).with_name("failing_calls.py")))
WRITERS = runpy.run_path(str(Path(__file__).with_name("all_writers.py")))
PREDICTION = runpy.run_path(str(Path(__file__).parents[1] / "prediction" / "conftest.py"))

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for open files")


def with_each_call_failing(monkeypatch, folder, number, prepare, work):
    """Do some work again and again, in which the first call fails, then the second, to the last.

    Yields what failed, and the error that was raised or None.
    """
    nth = 0
    while True:
        nth += 1
        prepare()
        with monkeypatch.context() as patch:
            failing = FAILING["Failing"](patch, folder, nth, number)
            error = None
            try:
                work()
            except CellTrainError as raised:
                error = raised
        if not failing.failed:
            assert error is None
            return
        yield failing.failed, error


@pytest.fixture(params=FAILING["ERRORS"], ids=lambda number: errno.errorcode[number])
def number(request):
    return request.param


# --- a prediction ---


@pytest.fixture(scope="module")
def predict():
    """Return a function that predicts, but for the network: the cells are drawn by lot."""
    detector = PREDICTION["eager_detector"]()
    movie = PREDICTION["noise_movie"]((4, 8, 16, 16))

    def runner(detector, source, request, *, stopping, tell):
        for t in request.time_points:
            random = np.random.default_rng(t)
            yield FrameResult(t, random.random((5, 3)) * 8, random.random(5), 0.5)

    def run(out):
        options = Options(gamma=1.0, cell_diameter=10.0, threshold=0.1, resume=True)
        predict_to_file(detector, movie, out, options, runner=runner)

    return run


def test_a_prediction_of_which_a_call_failed_goes_on_to_the_same_bytes(
    predict, tmp_path, monkeypatch, number
):
    predict(tmp_path / "whole.csv")
    whole = (tmp_path / "whole.csv").read_bytes()
    out = tmp_path / "place" / "cells.csv"
    failures = 0

    def prepare():
        shutil.rmtree(out.parent, ignore_errors=True)

    def work():
        predict(out)

    for failed, error in with_each_call_failing(monkeypatch, out.parent, number, prepare, work):
        failures += 1
        assert error is None or (str(tmp_path) in str(error) and "\n" not in str(error)), failed
        assert not out.exists() or out.read_bytes() == whole, failed
        predict(out)
        assert out.read_bytes() == whole, failed
        assert [file.name for file in out.parent.iterdir()] == ["cells.csv"], failed
    assert failures > 15


# --- everything else that is written ---

MANY_CALLS = (
    *WRITERS["SLOW"],
    "GEFF",
    "GEFF for Mastodon",
    "Cell Tracking Challenge",
    "chart of a prediction",
    "sample",
)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param(
            name,
            number,
            marks=[pytest.mark.slow] if name in MANY_CALLS or number != errno.EIO else [],
            id=f"{name}-{errno.errorcode[number]}",
        )
        for name in WRITERS["PLACES"]
        if name != "bioimage.io package"  # one takes seconds, and its writing has many calls
        for number in FAILING["ERRORS"]
    ],
)
def test_a_writer_of_which_a_call_failed_leaves_the_old_or_the_new(
    name, number, tmp_path, monkeypatch
):
    path = tmp_path / "place" / WRITERS["PLACES"][name]
    path.parent.mkdir()
    write = WRITERS["writer"](name, path)
    failures = 0

    def prepare():
        write("old")

    def work():
        write("new")

    for failed, error in with_each_call_failing(monkeypatch, path.parent, number, prepare, work):
        failures += 1
        assert error is None or "\n" not in str(error), failed
        if path.exists() or name not in WRITERS["IN_PARTS"]:
            found = WRITERS["which_is_there"](name, path)
            assert error is not None or found == "new", failed
            accepted = (
                ("old", "new", "unfinished") if name in WRITERS["IN_PARTS"] else ("old", "new")
            )
            assert found in accepted, failed
        assert not list(path.parent.rglob(".celltrain-*/new/*")), failed
    assert failures >= 6
    assert WRITERS["which_is_there"](name, path) == "new"


# --- the history of a run ---

TOLD = [
    events.Choice("width", "8", "it is small"),
    *(
        events.Evaluation(
            step=step, seconds=1.0 * step, f1=0.5, precision=0.5, recall=0.5,
            localisation_error_um=1.0, threshold=0.5, best=True, trustworthy=True,
            train_loss=0.1, unit="um",
        )
        for step in range(1, 6)
    ),
]  # fmt: skip


def test_a_history_of_which_a_call_failed_has_every_event_once(tmp_path, monkeypatch, number):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    writers = []
    failures = 0

    def prepare():
        run.history_file.unlink(missing_ok=True)

    def work():
        writers.append(HistoryWriter(run))
        for event in TOLD[:-1]:
            writers[-1](event)

    for failed, error in with_each_call_failing(monkeypatch, run.path, number, prepare, work):
        failures += 1
        assert error is None, failed
        writers[-1](TOLD[-1])  # with which comes what could not be written before
        assert run.read_history() == TOLD, failed
    assert failures > 10
