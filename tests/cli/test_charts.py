"""Charts show every value at its place."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib", reason="the extra plots is not installed")

from napari_celltrain.cli.charts import as_svg, counts_figure, drawing, run_figure
from napari_celltrain.training.events import Evaluation, Step


def step(seconds, loss):
    from dataclasses import fields

    values = {"step": 1, "seconds": seconds, "loss": loss, "device": "cpu"}
    empty = {f.name: 0 for f in fields(Step)}
    return Step(**{**empty, **values})


def evaluation(seconds, f1, best=False):
    from dataclasses import fields

    empty = {f.name: 0 for f in fields(Evaluation)}
    return Evaluation(**{**empty, "seconds": seconds, "f1": f1, "precision": f1, "recall": f1,
                         "best": best})  # fmt: skip


def test_bars_are_as_high_as_their_numbers():
    with drawing():
        figure = counts_figure({"one <movie>": [(3, 10), (4, 20), (7, 0)]})
        heights = [bar.get_height() for bar in figure.axes[0].patches]
        assert heights == [10, 20, 0]
        assert "one &lt;movie&gt;" in as_svg(figure)


def test_curves_have_the_run_s_values_over_the_same_minutes():
    history = [step(60, 0.5), evaluation(60, 0.8, best=True), step(120, 0.25), evaluation(120, 0.7)]
    with drawing():
        scores, loss = run_figure(history).axes
    assert list(loss.lines[0].get_ydata()) == [0.5, 0.25]
    assert list(loss.lines[0].get_xdata()) == [1, 2]
    assert list(scores.lines[0].get_ydata()) == [0.8, 0.7]
    assert scores.get_xlim() == loss.get_xlim() == (0, pytest.approx(2, rel=0.05))
    ringed = scores.lines[-1]
    assert list(ringed.get_ydata()) == [0.8]
    assert ringed.get_label() == "best F1: 0.800"


@pytest.mark.parametrize(
    ("seconds", "unit", "place"),
    [(40, "seconds", 40), (600, "minutes", 10), (36000, "hours", 10)],
)
def test_the_time_axis_has_numbers_that_one_can_read(seconds, unit, place):
    with drawing():
        (chart,) = run_figure([step(seconds, 0.5)]).axes
    assert chart.get_xlabel() == unit
    assert list(chart.lines[0].get_xdata()) == [place]


@pytest.mark.parametrize("history", [[step(0, 1)], [evaluation(0, 0)], [step(1, float("nan"))]])
def test_little_data_is_no_error(history):
    with drawing():
        assert as_svg(run_figure(history)).startswith("<svg")


def test_no_experiment_is_no_error():
    with drawing():
        assert as_svg(counts_figure({})).startswith("<svg")
