"""The charts that are drawn by hand: what they show, and that clicks and keys work."""

from __future__ import annotations

import math

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt

from napari_celltrain.gui.bar_chart import BarChart
from napari_celltrain.gui.candidates import Candidates
from napari_celltrain.gui.curve import Curve
from napari_celltrain.gui.progress_panel import ProgressPanel
from napari_celltrain.gui.score_histogram import ScoreHistogram
from napari_celltrain.gui.threshold_panel import ThresholdPanel
from napari_celltrain.training.events import Evaluation, Finished, StateChanged, Step, duration


def step(number, loss=0.5):
    return Step(number, float(number), loss, 1e-3, 12.0, 300.0, "cpu", 0.25, 90.0)


def evaluation(seconds, f1, best):
    return Evaluation(int(seconds), seconds, f1, 0.9, 0.8, 0.7, 0.5, 0.1, best)


def shown(widget, qtbot, width=320, height=180):
    qtbot.addWidget(widget)
    widget.resize(width, height)
    widget.show()
    qtbot.waitExposed(widget)
    return widget.grab().toImage()


def colours(image):
    return {
        image.pixelColor(x, y).name()
        for x in range(0, image.width(), 2)
        for y in range(0, image.height(), 2)
    }


def test_a_click_on_a_bar_says_its_time_point(qtbot):
    chart = BarChart()
    chart.set_counts(37, np.array([3, 0, 5, 4]))
    shown(chart, qtbot, 300, 90)
    place = chart.bar(39).center().toPoint()
    with qtbot.waitSignal(chart.time_point_clicked) as clicked:
        qtbot.mouseClick(chart, Qt.MouseButton.LeftButton, pos=place)
    assert clicked.args == [39]


def test_arrow_keys_go_to_the_neighbours_and_stop_at_the_ends(qtbot):
    chart = BarChart()
    chart.set_counts(37, np.array([3, 0, 5]))
    chart.set_current(38)
    shown(chart, qtbot)
    went = []
    chart.time_point_clicked.connect(went.append)
    qtbot.keyClick(chart, Qt.Key.Key_Right)
    chart.set_current(37)
    qtbot.keyClick(chart, Qt.Key.Key_Left)
    assert went == [39, 37]


@pytest.mark.parametrize("counts", [[], [0, 0], [1], list(range(5000))])
def test_any_number_of_bars_can_be_drawn(qtbot, counts):
    chart = BarChart()
    chart.set_counts(0, np.array(counts, np.int64))
    chart.set_current(0)
    assert not shown(chart, qtbot).isNull()


def test_a_taller_bar_has_more_ink(qtbot):
    chart = BarChart()
    chart.set_counts(0, np.array([10, 5]))
    shown(chart, qtbot)
    assert chart.bar(0).height() == pytest.approx(2 * chart.bar(1).height())


def test_the_curve_knows_the_best_and_survives_odd_numbers(qtbot):
    curve = Curve()
    curve.add([step(n, loss=math.nan if n % 7 == 0 else 1 / (n + 1)) for n in range(200)])
    curve.add([evaluation(10.0, 0.5, True), evaluation(20.0, math.nan, False)])
    curve.add([evaluation(30.0, 0.9, True), evaluation(40.0, 0.8, False)])
    assert curve.best.f1 == 0.9
    assert np.isfinite(curve.losses()).all()
    assert len(colours(shown(curve, qtbot))) > 3


def test_a_long_run_is_thinned_out(qtbot):
    curve = Curve()
    for n in range(20_000):
        curve.add([step(n)])
    assert len(curve.losses()) <= 4000
    assert curve.losses()[-1, 0] > 19_000


def test_an_empty_curve_says_so_and_can_be_cleared(qtbot):
    curve = Curve()
    curve.add([evaluation(10.0, 0.5, True)])
    curve.clear()
    assert curve.best is None
    assert not shown(curve, qtbot).isNull()


def test_progress_says_state_numbers_and_result(qtbot):
    panel = ProgressPanel()
    qtbot.addWidget(panel)
    panel.begin()
    panel.add([StateChanged("training", "Training."), step(7), evaluation(8.0, 0.9, True)])
    assert panel.sentence.text() == "Training."
    assert "Step 7" in panel.numbers.text()
    assert "cpu" in panel.numbers.text()
    assert "1 min 30 s left" in panel.numbers.text()
    assert "F1 0.900" in panel.result.text()
    panel.add([Finished("time is up", 9, 9.0, 0.9, 0.5, "Finished: time is up.")])
    assert panel.sentence.text() == "Finished: time is up."


def test_a_detector_that_finds_nothing_is_not_praised(qtbot):
    panel = ProgressPanel()
    qtbot.addWidget(panel)
    panel.add([evaluation(8.0, 0.0, True)])
    assert not panel.result.text()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(4.4, "4 s"), (180, "3 min"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (7200, "2 h")],
)
def test_durations_are_words(seconds, words):
    assert duration(seconds) == words


def test_dragging_in_the_histogram_sets_the_threshold(qtbot):
    histogram = ScoreHistogram()
    histogram.set_counts(np.arange(60))
    histogram.set_threshold(0.5, 0.4)
    shown(histogram, qtbot, 212, 80)
    with qtbot.waitSignal(histogram.threshold_dragged) as dragged:
        qtbot.mousePress(histogram, Qt.MouseButton.LeftButton, pos=QPoint(106, 30))
    assert dragged.args[0] == pytest.approx(0.5, abs=0.02)


def test_the_threshold_counts_without_predicting_again(qtbot):
    panel = ThresholdPanel()
    qtbot.addWidget(panel)
    panel.set_candidates(
        Candidates(
            t=np.array([5, 5, 7]),
            positions=np.zeros((3, 3)),
            scores=np.array([0.2, 0.6, 0.9]),
            times=[5, 6, 7],
        )
    )
    panel.set_calibrated(0.55)
    panel.set_time_point(5)
    panel.set_threshold(0.5)
    assert panel.count.text() == "1 cell at t = 5; 2 cells in 3 time points"
    panel.set_threshold(0.1)
    assert panel.count.text() == "2 cells at t = 5; 3 cells in 3 time points"
    panel.reset.click()
    assert panel.threshold == 0.55
