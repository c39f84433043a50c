"""The prediction widget, with a real detector."""

from __future__ import annotations

import shutil
import time

import numpy as np
import pytest
from napari.layers import Layer, Points
from qtpy.QtCore import QEvent, QMimeData, QPoint, Qt, QUrl
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QFileDialog, QPushButton

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats.registry import read_experiments
from napari_celltrain.gui import preferences
from napari_celltrain.gui.candidates import Candidates
from napari_celltrain.gui.docks import open_dock
from napari_celltrain.gui.layers import experiment_layers
from napari_celltrain.gui.open_experiments import open_experiments
from napari_celltrain.gui.predict import (
    LOWER_THE_THRESHOLD,
    NOT_FOR_EDITING,
    NOTHING_LIKE_A_CELL,
    PredictWidget,
)
from napari_celltrain.gui.result_layers import add_detections, show_candidates
from napari_celltrain.gui.saving import filters
from napari_celltrain.gui.train import TrainWidget


@pytest.fixture
def widget(viewer, trained, monkeypatch):
    """The widget in its dock, with the detector in its list."""
    monkeypatch.setattr(preferences, "runs_folder", lambda: trained.parent)
    _, widget = viewer.window.add_plugin_dock_widget("napari-celltrain", "Predict cells")
    return widget


@pytest.fixture
def with_movie(widget, viewer, small_movie, qtbot):
    for layer in experiment_layers(small_movie):
        viewer.add_layer(Layer.create(*layer))
    qtbot.waitUntil(lambda: widget.image.layer is not None)
    return widget


def find(widget, qtbot):
    widget.run_button.click()
    assert widget.running
    qtbot.waitUntil(lambda: not widget.running, timeout=60_000)


def test_the_newest_detector_is_chosen_and_described(widget, trained):
    assert widget.detector.card.folder == trained
    assert "held-out F1" in widget.detector.words.text()


def test_without_a_movie_it_says_what_to_do(widget):
    widget.run_button.click()
    assert "Open a movie first" in widget.sentence.text()


def test_without_a_detector_it_says_what_to_do(viewer, tmp_path, monkeypatch):
    monkeypatch.setattr(preferences, "runs_folder", lambda: tmp_path)
    _, widget = viewer.window.add_plugin_dock_widget("napari-celltrain", "Predict cells")
    widget.run_button.click()
    assert "Choose a detector first" in widget.sentence.text()


def test_a_detector_that_was_deleted_is_named_and_no_longer_listed(
    with_movie, trained, tmp_path, qtbot
):
    widget = with_movie
    for press in (widget.run_button, widget.further_button):
        copy = tmp_path / "a copy"
        shutil.copytree(trained, copy)
        widget.set_detector(copy)
        shutil.rmtree(copy)
        press.click()
        assert not widget.running
        assert "The detector 'a copy' is no longer there" in widget.sentence.text()
        assert widget.detector.box.findText("a copy") < 0
        assert widget.detector.card.folder == trained
    widget.image.times.setCurrentIndex(1)
    find(widget, qtbot)
    assert widget.threshold.count.text().endswith("in 1 time point")


def test_cells_are_found_in_the_images_scale_with_scores(with_movie, viewer, small_movie, qtbot):
    widget = with_movie
    find(widget, qtbot)
    layer = widget.layer
    image = widget.image.layer
    assert layer in viewer.layers
    assert tuple(layer.scale) == tuple(image.scale)
    assert layer.units == image.units
    assert ((layer.features["score"] > 0) & (layer.features["score"] <= 1)).all()
    assert set(np.unique(layer.data[:, 0])) <= set(small_movie.images.time_points)
    found, true = int(layer.shown.sum()), len(small_movie.annotations)
    assert abs(found - true) < 0.4 * true
    assert "Done" in widget.sentence.text()
    assert "cells in 6 time points" in widget.threshold.count.text()
    assert not widget.bar.isVisibleTo(widget)


def test_in_a_movie_that_was_moved_and_rescaled_cells_are_found_where_they_are(
    with_movie, viewer, qtbot
):
    widget = with_movie
    image = widget.image.layer
    for layer in viewer.layers:
        layer.scale = np.asarray(layer.scale) * (1, 1, 0.5, 0.5)
        layer.translate = np.add(layer.translate, (0, 0, 30, 40))
    find(widget, qtbot)
    outer, found = np.asarray(image.extent.world), np.asarray(widget.layer.extent.world)
    assert (found[0] > outer[0] - 1).all()
    assert (found[1] < outer[1] + 1).all()
    copy = widget.use_as_annotations()
    read = next(one for one in open_experiments(viewer.layers) if one.points is copy).read()
    np.testing.assert_allclose(
        read.annotations.positions, widget.found().annotations.positions, atol=1e-6
    )


def test_the_threshold_acts_without_predicting_again(with_movie, qtbot):
    widget = with_movie
    find(widget, qtbot)
    widget.threshold.set_threshold(0.0)
    assert widget.layer.shown.all()
    widget.threshold.set_threshold(1.0)
    assert not widget.layer.shown.any()
    widget.threshold.reset.click()
    assert widget.layer.shown.sum() == widget.candidates.reaching(widget.threshold.threshold).sum()
    assert not widget.running


def test_detections_that_are_edited_by_hand_are_put_back_and_it_is_said(with_movie, qtbot):
    widget = with_movie
    find(widget, qtbot)
    layer, found = widget.layer, len(widget.candidates)

    def remove():
        layer.selected_data = set(np.flatnonzero(layer.shown)[:3].tolist())
        layer.remove_selected()

    def move():
        layer.selected_data = {0}
        layer.data = layer.data + 1.0

    for edit in (remove, lambda: layer.add((0, 0, 3, 3)), move):
        widget.sentence.setText("")
        edit()
        qtbot.waitUntil(lambda: widget.sentence.text() == NOT_FOR_EDITING)
        assert len(layer.data) == found
        np.testing.assert_allclose(layer.data[:, 1:], widget.candidates.positions)
        assert not layer.selected_data
        assert layer.shown.sum() == len(widget.found().annotations)
    widget.sentence.setText("")
    remove()
    widget.threshold.set_threshold(0.99)  # before there was time to put them back
    qtbot.waitUntil(lambda: widget.sentence.text() == NOT_FOR_EDITING)
    assert layer.shown.sum() == widget._counted()
    widget.threshold.set_threshold(0.5)
    assert layer.shown.sum() == widget._counted() > 0


def test_two_hundred_thousand_candidates_follow_the_slider(widget, viewer, movie_class, qtbot):
    random = np.random.default_rng(0)
    n = 200_000
    movie = movie_class(time_points=tuple(range(100)), frame_shape=(20, 500, 500))
    image = Layer.create(*experiment_layers(Experiment("large", images=movie))[0])
    viewer.add_layer(image)
    qtbot.waitUntil(lambda: widget.image.layer is image)
    widget._image = image
    widget._movie = Experiment("large", images=movie)
    widget.candidates = Candidates(
        random.integers(0, 100, n), random.uniform(0, 1, (n, 3)) * [20, 500, 500],
        random.uniform(0, 1, n), list(range(100)),
    )  # fmt: skip
    widget._add_layer()
    widget._show_candidates()
    took = []
    for threshold in np.linspace(0.1, 0.9, 9):
        begin = time.thread_time()  # not the clock: the machine may do something else as well
        widget.threshold.set_threshold(threshold)
        took.append(time.thread_time() - begin)
        assert widget.layer.shown.sum() == (widget.candidates.scores >= threshold).sum()
    assert np.median(took) < 0.05 * 2  # twice, for a busy machine; see benchmarks/gui.py


@pytest.mark.parametrize(("choice", "times"), [(1, {2}), (2, {1, 2, 3})])
def test_only_the_chosen_time_points_are_looked_at(with_movie, viewer, choice, times, qtbot):
    widget = with_movie
    viewer.dims.set_point(0, 2)
    widget.image.times.setCurrentIndex(choice)
    widget.image.first.setValue(1)
    widget.image.last.setValue(3)
    find(widget, qtbot)
    assert set(widget.candidates.times) == times


def test_finding_nothing_says_what_to_look_at(with_movie, viewer, qtbot):
    widget = with_movie
    empty = viewer.add_image(
        np.full((2, 64, 64), 7, np.uint16), name="empty", scale=(1, 0.5, 0.5),
        units=("pixel", "um", "um"),
    )  # fmt: skip
    qtbot.waitUntil(lambda: widget.image.box.count() == 2)
    widget.image.choose(empty)
    find(widget, qtbot)
    assert "0 cells. Nothing" in widget.sentence.text()
    assert NOTHING_LIKE_A_CELL in widget.sentence.text() or (
        LOWER_THE_THRESHOLD in widget.sentence.text() and len(widget.candidates)
    )


def test_two_windows_do_not_meddle_with_each_other(with_movie, make_napari_viewer, qtbot):
    """Each dock knows its own window; when that is closed the other one works on."""
    widget = with_movie
    other = make_napari_viewer(strict_qt="raise")
    _, second = other.window.add_plugin_dock_widget("napari-celltrain", "Predict cells")
    _, counts = other.window.add_plugin_dock_widget("napari-celltrain", "Annotation counts")
    assert second is not widget
    assert second.image.layer is None
    assert counts.table.rowCount() == 0
    second.run_button.click()
    assert "Open a movie first" in second.sentence.text()
    # a mouse would do this too; napari ends the work of the window that was in front as it began
    QApplication.sendEvent(widget.window(), QEvent(QEvent.Type.WindowActivate))
    widget.run_button.click()
    other.close()
    qtbot.waitUntil(lambda: not widget.running, timeout=60_000)
    assert "Done" in widget.sentence.text()
    assert widget.layer in widget.viewer.layers


def test_a_file_is_opened_lazily_and_its_channel_chosen(
    widget, viewer, tmp_path, monkeypatch, qtbot
):
    import tifffile

    movie = np.zeros((4, 2, 96, 96), np.uint8)
    movie[:, 1] = 3
    tifffile.imwrite(tmp_path / "two.tif", movie, imagej=True, metadata={"axes": "TCYX"})
    answer = (str(tmp_path / "two.tif"), "")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: answer)
    widget.image.file_button.click()
    qtbot.waitUntil(lambda: widget.image.layer is not None, timeout=10_000)
    assert len(viewer.layers) == 2
    assert widget.image.channel.isVisibleTo(widget)
    widget.image.channel.setCurrentIndex(1)
    source, channel, _ = widget.image.movie()
    assert channel == 1
    assert source.read_frame(2, channel).max() == 3
    assert "Press Find cells" in widget.sentence.text()
    find(widget, qtbot)
    assert "enter it under Voxel size" in widget.sentence.text()
    assert widget.image.voxel.isVisibleTo(widget)
    assert not widget.image.voxel.depth.isVisibleTo(widget)  # one plane
    widget.image.voxel.width.setValue(0.5)
    widget.image.voxel.width.editingFinished.emit()
    find(widget, qtbot)
    assert "Done" in widget.sentence.text()
    assert widget.candidates.times == [0, 1, 2, 3]
    assert widget.found().known_voxel_size_um == (0.5, 0.5, 0.5)


def test_a_file_that_is_no_movie_is_a_sentence(widget, tmp_path, qtbot):
    (tmp_path / "notes.tif").write_text("no image")
    widget.image.open_file(tmp_path / "notes.tif")
    qtbot.waitUntil(lambda: not widget.image.errands.busy, timeout=10_000)
    assert "notes.tif" in widget.sentence.text()
    assert "Opening" not in widget.sentence.text()
    assert widget.image.layer is None


def test_a_movie_of_several_channels_is_one_line(widget, add_experiment, movie_class, qtbot):
    first, second, _ = add_experiment(
        Experiment("two", images=movie_class(n_channels=2), channels=(1,))
    )
    qtbot.waitUntil(lambda: widget.image.layer is second)  # the one that is shown
    assert [widget.image.box.itemText(row) for row in range(widget.image.box.count())] == ["two"]
    widget.image.channel.setCurrentIndex(0)
    assert widget.image.layer is first


def test_the_chosen_range_stays_when_layers_come_and_go(with_movie, viewer, qtbot):
    widget = with_movie
    widget.image.first.setValue(2)
    viewer.add_points([[0, 0, 1, 1]], ndim=4)
    qtbot.wait(100)
    assert widget.image.first.value() == 2


def test_time_points_that_do_not_exist_are_a_sentence(with_movie):
    widget = with_movie
    widget.image.times.setCurrentIndex(2)
    widget.image.first.setValue(50)
    widget.image.last.setValue(60)
    widget.run_button.click()
    assert "none of the chosen time points" in widget.sentence.text()


def test_cancel_keeps_what_was_found(with_movie, viewer, small_movie, qtbot, monkeypatch):
    widget = with_movie

    class Slow:
        def __getattr__(self, name):
            return getattr(small_movie.images, name)

        def read_frame(self, t, channel=0):
            time.sleep(0.4)
            return small_movie.images.read_frame(t, channel)

    monkeypatch.setattr(widget.image, "movie", lambda: (Slow(), 0, small_movie.known_voxel_size_um))
    widget.run_button.click()
    qtbot.waitUntil(lambda: len(widget.candidates.times) >= 1, timeout=30_000)
    widget.cancel_button.click()
    qtbot.waitUntil(lambda: not widget.running, timeout=10_000)
    assert 1 <= len(widget.candidates.times) < 6
    assert "Cancelled" in widget.sentence.text()
    assert widget.layer in viewer.layers


def test_the_first_look_can_be_cancelled(with_movie, small_movie, qtbot, monkeypatch):
    widget, read = with_movie, []

    class Slow:
        def __getattr__(self, name):
            return getattr(small_movie.images, name)

        def read_frame(self, t, channel=0):
            read.append(t)
            time.sleep(0.4)
            return small_movie.images.read_frame(t, channel)

    monkeypatch.setattr("napari_celltrain.prediction.first_look.needs_size", lambda _: True)
    monkeypatch.setattr(widget.image, "movie", lambda: (Slow(), 0, small_movie.known_voxel_size_um))
    widget.run_button.click()
    qtbot.waitUntil(lambda: "looked at first" in widget.sentence.text(), timeout=30_000)
    widget.cancel_button.click()
    qtbot.waitUntil(lambda: not widget.running, timeout=10_000)
    assert len(read) < 3  # what is being read is read, and no more
    assert "Cancelled after 0 of 6" in widget.sentence.text()
    assert widget.run_button.isEnabled()


def test_a_layer_that_is_deleted_meanwhile_does_no_harm(with_movie, viewer, qtbot):
    widget = with_movie
    widget.run_button.click()
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not widget.running, timeout=60_000)
    widget.threshold.set_threshold(0.3)


def test_a_click_on_a_bar_of_what_was_found_goes_there(with_movie, viewer, qtbot):
    widget = with_movie
    find(widget, qtbot)
    chart = widget.threshold.chart
    place = chart.bar(4).center().toPoint()
    qtbot.mouseClick(chart, Qt.MouseButton.LeftButton, pos=place)
    assert viewer.dims.point[0] == 4
    qtbot.waitUntil(lambda: "at t = 4" in widget.threshold.count.text())


def test_a_damaged_time_point_is_told_and_one_click_away(
    with_movie, viewer, small_movie, monkeypatch, qtbot
):
    widget = with_movie

    class Damaged:
        def __getattr__(self, name):
            return getattr(small_movie.images, name)

        def read_frame(self, t, channel=0):
            if t == 3:
                raise CellTrainError("t = 3 is cut short.")
            return small_movie.images.read_frame(t, channel)

        def read_crop(self, t, channel, crop):
            return self.read_frame(t, channel)[crop]

    movie = (Damaged(), 0, small_movie.known_voxel_size_um)
    monkeypatch.setattr(widget.image, "movie", lambda: movie)
    find(widget, qtbot)
    assert 3 not in widget.candidates.times
    assert "5 time points" in widget.sentence.text()
    assert "1 more can't be read" in widget.sentence.text()
    finding = next(one for one in widget.findings.findings if one.time_point == 3)
    viewer.dims.set_point(0, 0)
    name = f"Show: {finding.message}"
    buttons = widget.findings.findChildren(QPushButton)
    next(one for one in buttons if one.accessibleName() == name).click()
    assert viewer.dims.point[0] == 3


def test_another_movie_and_another_detector_are_chosen_from_their_lists(
    widget, viewer, add_experiment, small_movie, trained, tmp_path, monkeypatch, qtbot
):
    import shutil

    shutil.copytree(trained, tmp_path / "first")
    shutil.copytree(trained, tmp_path / "second")
    monkeypatch.setattr(preferences, "runs_folder", lambda: tmp_path)
    widget.detector.refresh()
    widget.detector.box.setCurrentIndex(widget.detector.box.findText("second"))
    assert widget.detector.card.folder == tmp_path / "second"
    first = add_experiment(small_movie)[0]
    second = add_experiment(small_movie)[0]
    qtbot.waitUntil(lambda: widget.image.box.count() == 2)
    for row, layer in enumerate((first, second)):
        widget.image.box.setCurrentIndex(row)
        assert widget.image.layer is layer


def test_cells_found_in_a_hidden_movie_are_not_drawn_on_another_one(
    with_movie, viewer, small_movie, qtbot
):
    widget = with_movie
    other = list(viewer.layers)
    hidden = [Layer.create(*one) for one in experiment_layers(
        small_movie.with_(name="hidden"), visible=False
    )]  # fmt: skip
    for layer in hidden:
        viewer.add_layer(layer)
    qtbot.waitUntil(lambda: widget.image.box.count() == 2)
    widget.image.choose(hidden[0])

    def cover():
        for layer in viewer.layers:
            layer.visible = layer in other

    def only_it_is_shown():
        return hidden[0].visible and not any(layer.visible for layer in other)

    find(widget, qtbot)
    assert only_it_is_shown()
    assert widget.layer.visible
    widget.judging.truth.setCurrentIndex(widget.judging.truth.findText("hidden cells"))
    qtbot.waitUntil(lambda: widget.judging.comparison is not None, timeout=20_000)
    cover()
    widget.judging.errors_button.click()
    assert only_it_is_shown()
    assert viewer.layers["hidden errors"].visible
    cover()
    copy = widget.use_as_annotations()
    assert only_it_is_shown()
    assert copy.visible


def test_a_movie_without_a_single_candidate_is_shown_without_a_complaint(viewer):
    image = viewer.add_image(np.zeros((2, 8, 8)), name="empty")
    layer = add_detections(viewer, "empty detections", image, 5.0)
    show_candidates(layer, image, Candidates(times=[0, 1]), 0.5)
    assert len(layer.data) == 0


def test_somebody_elses_image_gets_points_with_its_own_axes(widget, viewer, small_movie, qtbot):
    frames = [small_movie.images.read_frame(t)[0] for t in range(6)]
    pixel = small_movie.known_voxel_size_um[1]
    image = viewer.add_image(
        np.stack(frames), scale=(1, pixel, pixel), units=("pixel", "um", "um"), name="mine"
    )
    qtbot.waitUntil(lambda: widget.image.layer is image)
    find(widget, qtbot)
    assert widget.layer.ndim == 3
    assert tuple(widget.layer.scale) == (1, pixel, pixel)
    assert abs(widget.layer.shown.sum() - len(small_movie.annotations)) < 40
    annotations = widget.use_as_annotations()
    qtbot.wait(100)
    mine = next(one for one in open_experiments(viewer.layers) if one.points is annotations)
    assert mine.images == [image]


def test_scores_and_errors_beside_known_cells(with_movie, viewer, qtbot):
    widget = with_movie
    find(widget, qtbot)
    assert not widget.judging.errors_button.isEnabled()
    widget.judging.truth.setCurrentIndex(1)
    qtbot.waitUntil(lambda: widget.judging.comparison is not None, timeout=20_000)
    assert widget.judging.comparison.scores.f1 > 0.6
    assert "precision" in widget.judging.scores.text()
    widget.judging.errors_button.click()
    errors = next(layer for layer in viewer.layers if layer.name.endswith("errors"))
    counts = errors.features["outcome"].value_counts()
    assert counts.get("found", 0) == widget.judging.comparison.scores.tp
    assert counts.get("missed", 0) == widget.judging.comparison.scores.fn
    assert counts.get("false", 0) == widget.judging.comparison.scores.fp
    widget.judging.errors_button.click()
    assert sum(layer.name.startswith(errors.name) for layer in viewer.layers) == 1  # not two
    wrong = widget.judging.comparison.scores.fn + widget.judging.comparison.scores.fp
    widget.judging.next_button.click()
    expected = "no error" if wrong == 0 else f"Error 1 of {wrong}"
    assert expected in widget.sentence.text()


def test_scores_say_of_which_movie_the_known_cells_are_and_whether_they_are_a_copy(
    widget, viewer, small_movie, qtbot
):
    def add(movie):
        layers = [Layer.create(*one) for one in experiment_layers(movie)]
        return [viewer.add_layer(layer) for layer in layers]

    add(small_movie.with_(name="other"))
    image = add(small_movie.with_(name="mine"))[0]
    qtbot.waitUntil(lambda: widget.image.box.count() == 2)
    widget.image.choose(image)
    find(widget, qtbot)
    judging = widget.judging
    offered = [judging.truth.itemText(row) for row in range(judging.truth.count())]
    assert offered == ["nothing", "mine cells", "other cells"]  # those of this movie come first

    def said(name):
        judging.scores.setText("")
        judging.truth.setCurrentIndex(judging.truth.findText(name))
        qtbot.waitUntil(lambda: "F1" in judging.scores.text(), timeout=20_000)
        return judging.scores.text()

    assert said("mine cells").startswith("F1")
    assert said("other cells").startswith("'other cells' marks cells of 'other', not of 'mine'. F1")
    widget.use_as_annotations()
    name = "mine corrected cells"
    qtbot.waitUntil(lambda: judging.truth.findText(name) > 0)
    assert said(name).startswith(f"'{name}' was copied from detections: what nobody corrected")


def test_next_error_goes_there(with_movie, viewer, qtbot):
    widget = with_movie
    find(widget, qtbot)
    widget.judging.truth.setCurrentIndex(1)
    qtbot.waitUntil(lambda: widget.judging.comparison is not None, timeout=20_000)
    widget.threshold.set_threshold(1.0)  # everything is missed
    qtbot.waitUntil(lambda: widget.judging.comparison.scores.tp == 0, timeout=20_000)
    widget.judging.next_button.click()
    place = widget.judging.comparison.positions[0] * widget._movie.known_voxel_size_um
    camera = getattr(viewer, "scene", viewer).camera
    np.testing.assert_allclose(camera.center[1:], place[1:], rtol=1e-4)
    assert viewer.dims.point[0] == widget.judging.comparison.t[0]


def save_to(widget, monkeypatch, qtbot, path, chosen=""):
    """Press Save as…, and answer the dialog."""
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), chosen))
    widget.save_button.click()
    qtbot.waitUntil(lambda: not widget.errands.busy, timeout=20_000)


@pytest.mark.parametrize(
    ("asked", "chosen", "written"),
    [
        ("cells.csv", "CSV", "cells.csv"),
        ("cells.aut", "CSV", "cells.aut"),
        ("cells", "TrackMate", "cells.xml"),
        ("cells.geff", "GEFF (", "cells.geff"),
        ("cells.xml", "", "cells.xml"),
        ("01", "Cell Tracking Challenge", "01_RES"),
        ("cells.csv", "Mastodon CSV", "cells.csv"),
    ],
)
def test_cells_are_saved_in_every_format(
    with_movie, tmp_path, monkeypatch, asked, chosen, written, qtbot
):
    widget = with_movie
    find(widget, qtbot)
    line = next(line for line in filters() if chosen in line) if chosen else ""
    save_to(widget, monkeypatch, qtbot, tmp_path / asked, line)
    expected = widget.found().annotations
    assert widget.sentence.text() == f"{len(expected)} cells written to {tmp_path / written}."
    again = read_experiments(tmp_path / written)[0].annotations
    assert len(again) == len(expected) > 0
    if chosen in ("Cell Tracking Challenge", "Mastodon CSV"):  # discs of pixels; micrometres
        return
    order = np.lexsort((*again.positions.round(1).T, again.t))
    wanted = np.lexsort((*expected.positions.round(1).T, expected.t))
    np.testing.assert_array_equal(again.t[order], expected.t[wanted])
    np.testing.assert_allclose(
        again.positions[order].sum(0), expected.positions[wanted].sum(0), rtol=1e-3
    )


def test_every_format_that_can_be_written_is_offered():
    from napari_celltrain.formats.registry import formats, is_writable

    assert set(filters().values()) == {one.name for one in formats() if is_writable(one)}
    assert all("*" in line for line in filters())


def test_what_cannot_be_saved_is_a_sentence(with_movie, tmp_path, monkeypatch, qtbot):
    widget = with_movie
    find(widget, qtbot)
    save_to(widget, monkeypatch, qtbot, tmp_path / "cells.docx")
    assert "suffix" in widget.sentence.text()
    save_to(widget, monkeypatch, qtbot, tmp_path / "no folder" / "cells.csv")
    assert "no folder" in widget.sentence.text()
    assert not list(tmp_path.glob("cells*"))


def test_use_as_annotations_makes_an_editable_copy_of_what_is_shown(with_movie, viewer, qtbot):
    widget = with_movie
    find(widget, qtbot)
    copy = widget.use_as_annotations()
    assert isinstance(copy, Points)
    assert len(copy.data) == widget.layer.shown.sum()
    copy.add((0, 0, 3, 3))
    assert len(widget.layer.data) == len(widget.candidates)
    qtbot.waitUntil(lambda: widget.judging.truth.count() == 3)  # nothing, the annotation, the copy
    experiment = next(one for one in open_experiments(viewer.layers) if one.points is copy)
    assert len(experiment.read().annotations) == len(copy.data)


def test_train_further_goes_to_the_training_dock(with_movie, viewer, trained, qtbot):
    widget = with_movie
    widget.further_button.click()
    train = next(one for one in viewer.window.dock_widgets.values() if isinstance(one, TrainWidget))
    assert train._start_from == trained


def test_train_further_from_a_copy_that_is_not_corrected_says_what_is_missing(
    with_movie, viewer, qtbot
):
    widget = with_movie
    find(widget, qtbot)
    copy = widget.use_as_annotations()
    widget.further_button.click()
    train = next(one for one in viewer.window.dock_widgets.values() if isinstance(one, TrainWidget))
    sentence = train.progress.sentence
    qtbot.waitUntil(lambda: "Nothing is corrected" in sentence.text())
    train.start_button.click()
    assert not train.running
    assert "untick 'only what I corrected'" in sentence.text()
    copy.add((0, 0, 3, 3))
    qtbot.waitUntil(lambda: "Nothing is corrected" not in sentence.text())


def test_a_dock_that_is_open_already_comes_to_the_front(viewer, qtbot):
    """Two docks under each other would both be too low on a small screen: they are tabs."""
    viewer.window._qt_window.show()
    _, train = viewer.window.add_plugin_dock_widget("napari-celltrain", "Train detector")
    qtbot.waitUntil(lambda: not train.visibleRegion().isEmpty())
    _, predict = viewer.window.add_plugin_dock_widget("napari-celltrain", "Predict cells")
    qtbot.waitUntil(lambda: not predict.visibleRegion().isEmpty())
    qtbot.waitUntil(lambda: train.visibleRegion().isEmpty())
    assert open_dock(viewer, "Train detector") is train
    qtbot.waitUntil(lambda: not train.visibleRegion().isEmpty())
    qtbot.waitUntil(lambda: predict.visibleRegion().isEmpty())


def test_a_detector_can_be_dropped(widget, trained, tmp_path):
    def drop(path):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        widget.detector.dropEvent(
            QDropEvent(
                QPoint(3, 3).toPointF() if hasattr(QPoint, "toPointF") else QPoint(3, 3),
                Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton,
                Qt.KeyboardModifier.NoModifier,
            )
        )  # fmt: skip

    drop(trained / "best" / "detector.json")
    assert widget.detector.card.folder == trained / "best"
    drop(tmp_path)
    assert "holds no detector" in widget.sentence.text()
    assert widget.detector.card.folder == trained / "best"


def test_a_packed_detector_or_its_folder_can_be_chosen(widget, trained, tmp_path, monkeypatch):
    from napari_celltrain.sharing import pack_detector

    place = tmp_path / "mine.celltrain"
    pack_detector(trained, place)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(place), ""))
    folder, packed = widget.detector.browse.menu().actions()
    packed.trigger()
    assert widget.detector.card.folder == place
    answer = str(trained / "best")
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: answer)
    folder.trigger()
    assert widget.detector.card.folder == trained / "best"


@pytest.mark.parametrize("what", ["run", "detector", "packed"])
def test_a_detector_dropped_on_napari_opens_the_dock_with_it(viewer, trained, tmp_path, what):
    from napari_celltrain.sharing import pack_detector

    place = {"run": trained, "detector": trained / "best", "packed": tmp_path / "a.celltrain"}[what]
    if what == "packed":
        pack_detector(trained, place)
    layers = viewer.open(str(place), plugin="napari-celltrain")
    assert layers == []
    (widget,) = [one for one in viewer.window.dock_widgets.values()
                 if isinstance(one, PredictWidget)]  # fmt: skip
    assert widget.detector.card.folder == place


def test_a_damaged_detector_is_a_sentence(with_movie, trained, tmp_path, qtbot):
    import shutil

    widget = with_movie
    copy = tmp_path / "damaged"
    shutil.copytree(trained / "best", copy)
    weights = next(copy.glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:100])
    widget.set_detector(copy)
    find(widget, qtbot)
    assert widget.sentence.text().startswith("✖")
    assert "damaged" in widget.sentence.text()


def test_closing_the_dock_while_it_runs_ends_it(with_movie, viewer, qtbot):
    widget = with_movie
    widget.run_button.click()
    job = widget._job
    dock = next(
        dock for name, dock in viewer.window._wrapped_dock_widgets.items() if "Predict" in name
    )
    viewer.window.remove_dock_widget(dock)
    assert job.wait(20)


def test_time_points_whose_numbers_are_dates_take_no_memory():
    times = [20261128203000, 20261128203500, 20261228203000]
    candidates = Candidates(
        np.array([times[0], times[2], times[2]]), np.zeros((3, 3)), np.ones(3), times
    )
    first, counts = candidates.per_time_point(0.5)
    assert (first, counts.tolist()) == (times[0], [1, 0, 2])


def test_candidates_count_like_their_definition():
    random = np.random.default_rng(1)
    candidates = Candidates(
        random.integers(3, 9, 500), random.uniform(0, 9, (500, 3)), random.uniform(0, 1, 500),
        list(range(3, 10)),
    )  # fmt: skip
    for threshold in (0.0, 0.3, 1.0):
        first, counts = candidates.per_time_point(threshold)
        assert first == 3
        assert counts.tolist() == [
            int(((candidates.t == t) & (candidates.scores >= threshold)).sum())
            for t in range(3, 10)
        ]
        assert len(candidates.annotations(threshold)) == counts.sum()
    assert candidates.histogram().sum() == 500
    assert isinstance(candidates.annotations(0.5), Annotations)


def test_a_stated_cell_diameter_is_looked_for_and_drawn(with_movie, trained, qtbot):
    widget = with_movie
    usual = widget.detector.card.diameter
    assert f"as in training: {usual:.3g}" in widget.cell_diameter.box.text()
    find(widget, qtbot)
    size, found = float(widget.layer.size[0]), len(widget.candidates)
    widget.cell_diameter.box.setValue(round(3 * usual, 1))
    find(widget, qtbot)
    assert len(widget.candidates) < found
    assert float(np.max(widget.layer.size, initial=3 * size)) == pytest.approx(3 * size, rel=0.02)


def test_a_stated_gamma_is_what_is_looked_with(with_movie, qtbot):
    widget = with_movie
    assert widget.gamma.gamma is None
    assert widget.gamma.box.text() == "automatic"
    widget.gamma.box.stepUp()
    assert widget.gamma.gamma == 1.0  # not the most extreme that there is
    widget.gamma.box.setValue(0)
    find(widget, qtbot)
    plain = widget.candidates.scores.copy()
    widget.gamma.box.setValue(3)
    find(widget, qtbot)
    assert not np.array_equal(widget.candidates.scores, plain)
    widget.gamma.box.setValue(1)
    find(widget, qtbot)
    assert np.array_equal(widget.candidates.scores, plain)


def test_a_cell_diameter_that_is_impossible_is_refused_in_a_sentence(with_movie, qtbot):
    widget = with_movie
    widget.cell_diameter.box.setValue(9999)
    find(widget, qtbot)
    assert "A cell diameter of 9999 um is not possible" in widget.sentence.text()
