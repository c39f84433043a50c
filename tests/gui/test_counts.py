"""The counts widget: every open experiment, live."""

from __future__ import annotations

import csv
import time

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.gui.counts import CountsWidget
from napari_celltrain.gui.going_there import shown_time_point


@pytest.fixture
def widget(viewer, qtbot):
    """The widget in its dock."""
    widget = CountsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="counts")
    yield widget
    qtbot.waitUntil(lambda: widget._closer is None, timeout=10_000)


def texts(widget, row):
    return [widget.table.item(row, column).text() for column in range(7)]


def test_it_opens_from_the_menu_and_says_what_to_do_first(viewer, qtbot):
    _, widget = viewer.window.add_plugin_dock_widget("napari-celltrain", "Annotation counts")
    assert "Drag a tracking file" in widget.message.text()
    assert widget.table.rowCount() == 0


def test_a_row_for_each_experiment_and_a_total(widget, add_experiment, experiment, qtbot):
    add_experiment(experiment)
    add_experiment(experiment)  # the same name twice
    qtbot.waitUntil(lambda: widget.table.rowCount() == 3)
    assert texts(widget, 0)[:6] == ["embryo", "3 / 3", "5", "3", "1", "5 um"] or texts(widget, 0)[
        :5
    ] == ["embryo", "3 / 3", "5", "3", "1"]
    assert texts(widget, 2)[:5] == ["Total", "6 / 6", "10", "6", "2"]


def test_it_follows_added_moved_and_removed_points(widget, add_experiment, experiment, qtbot):
    points = add_experiment(experiment)[-1]
    qtbot.waitUntil(lambda: widget.table.rowCount() == 2)
    points.add((38, 0, 3, 3))
    qtbot.waitUntil(lambda: texts(widget, 0)[2] == "6")
    points.selected_data = {0, 1}
    points.remove_selected()
    qtbot.waitUntil(lambda: texts(widget, 0)[2] == "4")
    data = points.data.copy()
    data[:, 0] = 40
    points.data = data
    qtbot.waitUntil(lambda: texts(widget, 0)[1] == "1 / 3")


def test_layers_may_be_renamed_reordered_hidden_and_deleted(
    viewer, widget, add_experiment, experiment, qtbot
):
    image, tracks, points = add_experiment(experiment)
    qtbot.waitUntil(lambda: widget.table.rowCount() == 2)
    points.name = "new name"
    qtbot.waitUntil(lambda: texts(widget, 0)[0] == "new name")
    viewer.layers.move(2, 0)
    points.visible = False
    viewer.layers.remove(tracks)
    viewer.layers.remove(image)
    qtbot.waitUntil(lambda: texts(widget, 0)[1] in ("3 / ?", "3 / 3"))
    viewer.layers.remove(points)
    qtbot.waitUntil(lambda: widget.table.rowCount() == 0)


def test_the_chart_and_the_viewer_show_the_same_time_point(
    viewer, widget, add_experiment, experiment, qtbot
):
    add_experiment(experiment)
    qtbot.waitUntil(lambda: widget.table.rowCount() == 2)
    place = widget.chart.bar(40).center().toPoint()
    qtbot.mouseClick(widget.chart, Qt.MouseButton.LeftButton, pos=place)
    assert shown_time_point(viewer) == 40
    assert viewer.dims.point[0] == 40
    qtbot.waitUntil(lambda: widget.chart._current == 40)


def test_a_finding_can_be_gone_to(viewer, widget, add_experiment, movie_class, qtbot):
    t = np.repeat([37, 38, 40], 6)
    positions = np.tile(np.linspace([1, 5, 5], [1, 30, 35], 6), (3, 1))
    positions[8] = [1, 900, 5]
    points = add_experiment(Experiment("far", Annotations(t, positions), movie_class()))[-1]
    qtbot.waitUntil(lambda: bool(widget.findings.findings), timeout=10_000)
    finding = next(one for one in widget.findings.findings if one.points)
    buttons = {one.accessibleName(): one for one in widget.findings.findChildren(QPushButton)}
    buttons[f"Show: {finding.message}"].click()
    assert points.selected_data == {8}
    assert viewer.dims.point[0] == 38
    camera = getattr(viewer, "scene", viewer).camera
    assert camera.center[1] == pytest.approx(450)


def test_it_says_whether_it_is_enough(widget, add_experiment, experiment, qtbot):
    add_experiment(experiment)
    qtbot.waitUntil(lambda: bool(widget.enough.text()), timeout=10_000)
    assert widget.enough.text().startswith("✖")  # five cells


def test_what_the_images_show_to_be_wrong_is_part_of_the_verdict(
    widget, add_experiment, experiment, qtbot
):
    add_experiment(experiment)
    add_experiment(experiment.with_(name="other", channels=(7,)))
    said = "together: ✖ This error has to be put right before training: other: Channel 8"
    qtbot.waitUntil(lambda: said in widget.enough.text(), timeout=10_000)


def test_a_selected_experiment_is_the_one_that_is_shown(
    viewer, widget, add_experiment, experiment, movie_class, qtbot
):
    first = add_experiment(experiment)
    second = add_experiment(Experiment("other", Annotations([37], [[0, 1, 1]]), movie_class()))
    qtbot.waitUntil(lambda: widget.table.rowCount() == 3)
    widget.table.selectRow(1)
    assert widget.chart_title.text().startswith("other")
    assert [layer.visible for layer in (first[0], second[0])] == [False, True]
    assert viewer.layers.selection.active is second[-1]  # what is added now is added to this one


def test_a_selected_experiment_is_brought_into_sight(viewer, widget, movie_class, qtbot):
    """Another movie, elsewhere in time, depth and size: its frame would be an empty picture."""
    from napari.layers import Layer

    from napari_celltrain.gui.layers import experiment_layers

    for name, times, shape in (
        ("late and deep", (37, 38, 40), (9, 400, 500)),
        ("early and flat", (3, 4), (1, 30, 40)),
    ):
        marked = Annotations([times[0]], [[0, 1, 1]])
        movie = movie_class(name=name, time_points=times, frame_shape=shape)
        for layer in experiment_layers(Experiment(name, marked, movie)):
            viewer.add_layer(Layer.create(*layer))
    qtbot.waitUntil(lambda: widget.table.rowCount() == 3)
    viewer.dims.set_point(0, 40)
    viewer.dims.set_point(1, 10)
    widget.table.selectRow(1)
    assert viewer.dims.point[0] == 4  # the nearest time point that it has
    assert viewer.dims.point[1] == 0
    camera = getattr(viewer, "scene", viewer).camera
    assert camera.center[1:] == pytest.approx((29 * 0.5 / 2, 39 * 0.5 / 2), abs=0.5)
    near = camera.zoom
    widget.table.selectRow(0)
    assert viewer.dims.point[0] == 37
    assert viewer.dims.point[1] == 0  # it has this plane
    assert camera.zoom < near / 5  # and is more than ten times as wide


def test_several_experiments_are_judged_together_and_the_selected_one_alone(
    widget, add_experiment, experiment, movie_class, qtbot
):
    add_experiment(experiment)
    t = np.repeat([37, 38, 40], 30)
    positions = np.random.default_rng(0).uniform(0, 1, (90, 3)) * [2, 31, 39]
    add_experiment(Experiment("many", Annotations(t, positions), movie_class()))
    qtbot.waitUntil(lambda: "embryo alone" in widget.enough.text(), timeout=10_000)
    together, alone = widget.enough.text().split("\n")
    assert together.startswith("All 2 together: ✔ 95 cells in 6 time points")
    assert alone.startswith("embryo alone: ✖ 5 cells")
    qtbot.waitUntil(lambda: widget._closer is None, timeout=10_000)
    widget.table.selectRow(1)
    assert "many alone: ✔ 90 cells" in widget.enough.text()


def test_a_layer_that_is_no_movie_is_a_row_with_its_problem(viewer, widget, qtbot):
    viewer.add_image(np.zeros((1, 1, 1, 2, 10, 10), np.uint8), name="hypercube")
    qtbot.waitUntil(lambda: widget.table.rowCount() == 2)
    assert "has 6 axes" in widget.table.item(0, 0).toolTip()


def test_the_table_is_written_as_csv(
    widget, add_experiment, experiment, tmp_path, monkeypatch, qtbot
):
    add_experiment(experiment)
    qtbot.waitUntil(lambda: widget.table.rowCount() == 2)
    place = tmp_path / "counts.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(place), ""))
    widget.export_button.click()
    assert "Written to" in widget.message.text()
    rows = list(csv.reader((tmp_path / "counts.csv").read_text("utf-8").splitlines()))
    assert rows[1][:6] == ["embryo", "3", "3", "5", "3", "1"]
    assert ["embryo", "39", "0"] in rows
    assert ["embryo", "38", "2"] in rows
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path), ""))
    widget.export_button.click()  # to a folder
    assert str(tmp_path) in widget.message.text()
    assert "Written" not in widget.message.text()


def test_two_hundred_thousand_points_are_counted_within_a_tenth_of_a_second(
    viewer, widget, add_experiment, movie_class, qtbot
):
    random = np.random.default_rng(0)
    movie = movie_class(time_points=tuple(range(100)), frame_shape=(20, 500, 500))
    n = 200_000
    annotations = Annotations(
        random.integers(0, 100, n), random.uniform(0, 1, (n, 3)) * [20, 500, 500]
    )
    points = add_experiment(Experiment("large", annotations, movie))[-1]
    qtbot.waitUntil(lambda: widget.table.rowCount() == 2, timeout=10_000)
    qtbot.waitUntil(lambda: widget._closer is None, timeout=60_000)
    took = []
    for number in range(5):
        points.add((3, 0, 3, 3))
        begin = time.thread_time()  # not the clock: the machine may do something else as well
        widget.update_counts()
        took.append(time.thread_time() - begin)
        assert texts(widget, 0)[2] == str(n + number + 1)
    assert np.median(took) < 0.1 * 2  # twice, for a busy machine; the benchmark has the figure
    qtbot.waitUntil(lambda: widget._closer is None, timeout=60_000)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # napari's
@pytest.mark.parametrize("stray", [(np.nan, 10, 10), (1, np.nan, 10)])
def test_a_point_that_is_no_number_is_left_out_and_told(viewer, widget, qtbot, stray):
    viewer.add_image(np.zeros((3, 30, 30)), name="other")
    viewer.add_points([[0, 5, 5]], name="other cells")
    viewer.add_image(np.zeros((3, 40, 40)), name="nuclei")
    points = viewer.add_points([[0, 5, 5], [2, 6, 6], [2, 900, 6]], name="nuclei cells")
    qtbot.waitUntil(lambda: widget.table.rowCount() == 3)
    points.data = [[0, 5, 5], stray, [2, 6, 6], [2, 900, 6]]
    qtbot.waitUntil(lambda: bool(widget.findings.findings), timeout=10_000)
    assert [texts(widget, row)[2] for row in range(3)] == ["1", "3", "4"]

    def said():
        return {one.code: one for one in widget.findings.findings if one.experiment == "nuclei"}

    qtbot.waitUntil(lambda: "left-out" in said(), timeout=10_000)
    words = "1 position has no finite coordinates in the layer 'nuclei cells' and is left out."
    assert said()["left-out"].message == words
    widget.table.selectRow(1)
    assert widget.chart_title.text().startswith("nuclei")
    buttons = {one.accessibleName(): one for one in widget.findings.findChildren(QPushButton)}
    buttons[f"Show: {said()['outside-image'].message}"].click()
    assert points.selected_data == {3}  # in the layer, where the odd one is counted


def test_an_experiment_with_fewer_axes_than_the_viewer_is_brought_into_sight(
    viewer, widget, add_experiment, experiment, qtbot
):
    add_experiment(experiment, with_units=False)
    viewer.add_image(np.zeros((3, 400, 400)), name="flat")
    viewer.add_points([[0, 5, 5]], name="flat cells")
    qtbot.waitUntil(lambda: widget.table.rowCount() == 3)
    widget.table.selectRow(0)
    near = getattr(viewer, "scene", viewer).camera.zoom
    widget.table.selectRow(1)
    assert widget.chart_title.text().startswith("flat")
    camera = getattr(viewer, "scene", viewer).camera
    assert camera.center[1:] == pytest.approx((199.5, 199.5), abs=1)
    assert camera.zoom < near / 5
