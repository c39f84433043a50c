"""The training widget, with the real engine on a small simulated movie."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from napari.layers import Points
from qtpy.QtCore import Qt
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.experiment import Experiment
from napari_celltrain.gui import preferences, training_session
from napari_celltrain.gui.predict import PredictWidget
from napari_celltrain.gui.train import FIRST_WORDS, NOTHING_TICKED, READY, TrainWidget
from napari_celltrain.training.events import Finished, Step
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings

SMALL = ["design.width=4", "optimiser.batch_size=1", "optimiser.crop_size=32", "compute.threads=1",
         "compute.precision='float32'", "budget.steps=3"]  # fmt: skip


@pytest.fixture
def open_widget(make_napari_viewer, tmp_path, monkeypatch):
    """Open the widget in a viewer of its own; runs go to a temporary folder."""
    monkeypatch.setattr(preferences, "runs_folder", lambda: tmp_path / "runs")

    def open_one():
        viewer = make_napari_viewer(strict_qt="raise")
        dock, widget = viewer.window.add_plugin_dock_widget("napari-celltrain", "Train detector")
        widget.form.set_settings(TrainingSettings().changed(SMALL))
        return viewer, dock, widget

    return open_one


@pytest.fixture
def ready(open_widget, small_movie, qtbot):
    """A widget with a movie to learn from."""
    from napari.layers import Layer

    from napari_celltrain.gui.layers import experiment_layers

    viewer, dock, widget = open_widget()
    for layer in experiment_layers(small_movie):
        viewer.add_layer(Layer.create(*layer))
    qtbot.waitUntil(lambda: len(widget.table.entries) == 1)
    qtbot.waitUntil(lambda: widget.preflight._job is None, timeout=10_000)
    return viewer, dock, widget


def endless(widget):
    widget.form.row("budget.steps").value = 1_000_000


def ended(qtbot, widget):
    qtbot.waitUntil(lambda: not widget.running, timeout=60_000)


def training(qtbot, widget):
    qtbot.waitUntil(lambda: "Step" in widget.progress.numbers.text(), timeout=60_000)


def press_show(findings, finding):
    """Press the button beside a sentence."""
    name = f"Show: {finding.message}"
    buttons = findings.findChildren(QPushButton)
    next(one for one in buttons if one.accessibleName() == name and not one.isHidden()).click()


def add_files(widget, monkeypatch, qtbot, *paths):
    """Press Add files…, and answer the dialog."""
    answer = ([str(path) for path in paths], "")
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_, **__: answer)
    widget.table.add_button.click()
    qtbot.waitUntil(lambda: not widget.errands.busy, timeout=20_000)


def test_an_empty_viewer_says_what_to_do_first(open_widget):
    _, _, widget = open_widget()
    assert widget.progress.sentence.text() == FIRST_WORDS
    widget.start_button.click()
    assert "nothing to learn from" in widget.progress.sentence.text()
    assert not widget.running


def test_an_empty_viewer_asks_for_nothing_that_only_some_movies_need(open_widget):
    _, _, widget = open_widget()
    table = widget.table
    for one in (table.axes, table.voxel, table.region, table.only_corrected):
        assert not one.isVisibleTo(widget)
    assert table.first.text() == "first"


def test_what_start_missed_is_forgotten_when_it_is_there(open_widget, small_movie, qtbot):
    from napari.layers import Layer

    from napari_celltrain.gui.layers import experiment_layers

    viewer, _, widget = open_widget()
    widget.start_button.click()
    assert "nothing to learn from" in widget.progress.sentence.text()
    for layer in experiment_layers(small_movie):
        viewer.add_layer(Layer.create(*layer))
    qtbot.waitUntil(lambda: widget.progress.sentence.text() == READY)


def test_the_next_run_and_the_folder_are_called_as_one_likes(ready, tmp_path, monkeypatch, qtbot):
    _, _, widget = ready
    other = tmp_path / "other runs"
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(other))
    widget.folder_button.click()
    assert widget.folder == other
    widget.run_name.setText("my detector")
    widget.start_button.click()
    ended(qtbot, widget)
    assert widget.run_folder == other / "my detector"
    assert widget.run_name.text() == ""  # or the next one would be called so too
    assert [run.path for run in widget.runs.runs] == [other / "my detector"]
    widget.runs_folder.setText(str(tmp_path / "runs"))
    widget.runs_folder.editingFinished.emit()
    assert widget.runs.runs == []


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a/b", "can't be called 'a/b'"),
        ("a\\b", "can't be called"),
        ("../escaped", "can't be called"),
        ("/absolute", "can't be called"),
        (".", "can't be called"),
        ("..", "can't be called"),
        ("nul\0", "can't be called"),
        ("x" * 300, "too long"),
        ("ü" * 120, "too long"),
        ("a run", "There is a run called 'a run' already"),
        ("a file", "something else called 'a file'"),
        ("other things", "something else called"),
    ],
)
def test_a_run_that_can_not_be_called_so_is_refused_before_it_begins(ready, name, why):
    _, _, widget = ready
    runs = widget.folder
    for folder in ("a run", "other things"):
        (runs / folder).mkdir(parents=True)
    (runs / "a run" / "settings.toml").write_text("")
    (runs / "other things" / "thesis.txt").write_text("")
    (runs / "a file").write_text("")
    before = sorted(runs.parent.rglob("*"))
    widget.run_name.setText(name)
    typed = widget.run_name.text()
    widget.start_button.click()
    assert not widget.running
    assert why in widget.progress.sentence.text()
    assert "--" not in widget.progress.sentence.text()  # those are the words of a command
    assert widget.run_name.text() == typed
    assert sorted(runs.parent.rglob("*")) == before


def test_an_emptied_folder_for_runs_is_the_preferred_one(ready, tmp_path):
    _, _, widget = ready
    widget.runs_folder.setText(" ")
    widget.runs_folder.editingFinished.emit()
    assert widget.folder == widget.runs.folder == tmp_path / "runs"
    assert widget.runs_folder.placeholderText() == str(tmp_path / "runs")


def test_a_run_in_the_list_is_resumed_and_finds_cells(ready, qtbot):
    viewer, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    folder = widget.run_folder
    widget.form.row("budget.steps").value = 2
    widget.runs.buttons["resume"].click()  # it was finished: so much is added to what it had
    assert widget.running
    assert widget.run_folder == folder
    ended(qtbot, widget)
    *_, last = RunFolder(folder).read_history()
    assert isinstance(last, Finished)
    assert last.step == 5
    widget.runs.buttons["predict"].click()
    predict = next(
        one for one in viewer.window.dock_widgets.values() if isinstance(one, PredictWidget)
    )
    assert predict.detector.card.folder == folder


# napari 0.6 with a numpy that is two years younger
@pytest.mark.filterwarnings("ignore:'where' used without 'out'")
def test_a_drawn_region_is_chosen_by_its_layer(ready, qtbot):
    viewer, _, widget = ready
    square = [[0, 0, 2, 2], [0, 0, 2, 40], [0, 0, 40, 40], [0, 0, 40, 2]]
    drawn = viewer.add_shapes([square], ndim=4, name="where all are marked")
    qtbot.waitUntil(lambda: widget.table.region.count() == 1)
    widget.table.completeness.setCurrentIndex(2)
    widget.table.region.setCurrentIndex(0)
    (member,) = widget.table.members()
    (region,) = member.experiment.regions
    assert len(region.vertices) == 4
    viewer.layers.remove(drawn)
    qtbot.waitUntil(lambda: widget.table.region.count() == 0)
    widget.start_button.click()
    assert "no Shapes layer is chosen" in widget.progress.sentence.text()


def test_start_trains_and_everything_is_shown_and_kept(ready, qtbot):
    viewer, _, widget = ready
    widget.start_button.click()
    assert not widget.start_button.isVisibleTo(widget)
    assert widget.stop_button.isVisibleTo(widget)
    ended(qtbot, widget)
    run = RunFolder(widget.run_folder)
    assert run.best.exists()
    assert run.dataset_file.exists() is False  # the movie is in memory only
    assert "Finished" in widget.progress.sentence.text()
    assert "device" in widget.form._choices.text()
    assert len(widget.progress.curve._evaluations) >= 1
    assert widget.runs.selected.path == run.path
    assert widget.predict_button.isVisibleTo(widget)
    widget.predict_button.click()
    predict = next(
        one for one in viewer.window.dock_widgets.values() if isinstance(one, PredictWidget)
    )
    assert predict.detector.card.folder == run.path
    assert not widget.resume_button.isVisibleTo(widget)  # it came to its end


def test_stop_takes_less_than_a_second_and_the_run_can_be_resumed(ready, qtbot):
    _, _, widget = ready
    endless(widget)
    widget.start_button.click()
    training(qtbot, widget)
    begin = time.monotonic()
    widget.stop_button.click()
    ended(qtbot, widget)
    assert time.monotonic() - begin < 5  # one step, a checkpoint and the last evaluation
    before = RunFolder(widget.run_folder).read_history()
    assert widget.runs.selected.state == "can be resumed"
    assert "left" not in widget.progress.numbers.text()
    assert widget.resume_button.isVisibleTo(widget)
    assert widget.runs.buttons["resume"].isEnabled()
    shown = widget.progress.result.text()
    widget.resume_button.click()
    assert widget.running
    assert not widget.resume_button.isVisibleTo(widget)
    assert widget.progress.result.text() == shown  # what it could do before is not forgotten
    assert "device" in widget.form._choices.text()
    training(qtbot, widget)
    widget.stop_button.click()
    ended(qtbot, widget)
    after = RunFolder(widget.run_folder).read_history()
    assert len(after) >= len([one for one in before if type(one).__name__ == "Evaluation"])


def test_a_run_on_layers_does_not_go_on_with_others_unasked(ready, monkeypatch, qtbot):
    viewer, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    widget.form.row("budget.steps").value = 2
    asked = []
    answers = [QMessageBox.No, QMessageBox.Yes]
    monkeypatch.setattr(
        QMessageBox, "question", lambda *words: asked.append(words[2]) or answers.pop(0)
    )
    random = np.random.default_rng(0)
    viewer.add_image(random.integers(0, 999, (6, 96, 96)).astype(np.uint16), name="else")
    places = np.column_stack([np.repeat(np.arange(6), 9), random.uniform(5, 90, (54, 2))])
    viewer.add_points(places, name="else cells")
    qtbot.waitUntil(lambda: len(widget.table.entries) == 2)
    widget.runs.buttons["resume"].click()
    assert not widget.running
    assert "begun with 'sample plane'. New to it: 'else'. Go on" in asked[0]
    first, second = widget.table.entries
    first.use = False
    widget.runs.buttons["resume"].click()  # the engine knows that this is nothing of it
    assert len(asked) == 1
    ended(qtbot, widget)
    assert "learnt from 'sample plane', and none of these" in widget.progress.sentence.text()
    assert "Train further in the window" in widget.progress.sentence.text()
    second.use = False
    widget.runs.buttons["resume"].click()
    assert not widget.running
    assert "learnt from 'sample plane', out of layers: open it" in widget.progress.sentence.text()
    first.use = second.use = True
    widget.runs.buttons["resume"].click()
    assert widget.running  # now the answer was yes
    widget.stop()
    ended(qtbot, widget)


def test_what_is_missing_of_a_runs_layers_is_named(ready, small_movie, monkeypatch, qtbot):
    from napari.layers import Layer

    from napari_celltrain.gui.layers import experiment_layers

    viewer, _, widget = ready
    for layer in experiment_layers(small_movie.with_(name="second")):
        viewer.add_layer(Layer.create(*layer))
    qtbot.waitUntil(lambda: len(widget.table.entries) == 2)
    run = RunFolder(widget.folder / "both")
    run.path.mkdir(parents=True)
    run.settings_file.write_text(widget.form.settings().to_toml())
    run.write_state(experiments=["sample plane", "second"])
    asked = []
    monkeypatch.setattr(
        QMessageBox, "question", lambda *words: asked.append(words[2]) or QMessageBox.No
    )
    widget.table.entries[1].use = False
    widget.resume(run.path)
    assert not widget.running
    assert "Not ticked now, or not open: 'second'. Go on" in asked[0]


def test_pause_holds_and_go_on_goes_on(ready, qtbot):
    _, _, widget = ready
    endless(widget)
    widget.start_button.click()
    training(qtbot, widget)
    widget.pause_button.click()
    qtbot.waitUntil(lambda: "Paused" in widget.progress.sentence.text(), timeout=10_000)
    assert widget.pause_button.text() == "Go on"
    held = widget.progress.numbers.text()
    qtbot.wait(700)
    assert widget.progress.numbers.text() == held
    widget.pause_button.click()
    qtbot.waitUntil(lambda: widget.progress.numbers.text() != held, timeout=20_000)
    widget.stop()
    ended(qtbot, widget)


def test_a_second_training_is_refused_in_words(ready, open_widget, small_movie, qtbot):
    from napari.layers import Layer

    from napari_celltrain.gui.layers import experiment_layers

    _, _, widget = ready
    endless(widget)
    widget.start_button.click()
    other_viewer, _, other = open_widget()
    for layer in experiment_layers(small_movie):
        other_viewer.add_layer(Layer.create(*layer))
    qtbot.waitUntil(lambda: len(other.table.entries) == 1)
    other.start_button.click()
    assert "Another training" in other.progress.sentence.text()
    assert not other.running
    widget.stop()
    ended(qtbot, widget)


def test_closing_the_dock_stops_the_training_with_a_checkpoint(ready, qtbot):
    viewer, dock, widget = ready
    endless(widget)
    widget.start_button.click()
    training(qtbot, widget)
    folder, session = widget.run_folder, widget.session
    viewer.window.remove_dock_widget(dock)
    assert session.wait(15)
    qtbot.waitUntil(lambda: not training_session._busy, timeout=5000)
    assert not RunFolder(folder).is_locked()
    assert any(RunFolder(folder).checkpoints.iterdir())


def test_closing_the_viewer_stops_the_training(ready, qtbot):
    viewer, _, widget = ready
    endless(widget)
    widget.start_button.click()
    training(qtbot, widget)
    folder, session = widget.run_folder, widget.session
    viewer.close()
    assert session.wait(15)  # five seconds are promised; a busy test machine gets some more
    qtbot.waitUntil(lambda: not training_session._busy, timeout=5000)
    assert not RunFolder(folder).is_locked()
    assert any(RunFolder(folder).checkpoints.iterdir())
    assert RunFolder(folder).read_history()[-1].reason == "stopped by the user"


def test_deleting_the_layers_in_use_does_not_disturb_it(ready, qtbot):
    viewer, _, widget = ready
    widget.start_button.click()
    viewer.layers.clear()
    ended(qtbot, widget)
    assert "Finished" in widget.progress.sentence.text()
    qtbot.waitUntil(lambda: widget.table.entries == [])


def test_a_place_that_cannot_be_written_is_a_sentence(ready, tmp_path, qtbot):
    _, _, widget = ready
    (tmp_path / "file").write_text("")
    widget.runs_folder.setText(str(tmp_path / "file"))
    widget.start_button.click()
    ended(qtbot, widget)
    assert widget.progress.sentence.text().startswith("✖")
    assert "unforeseen" not in widget.progress.sentence.text()
    assert not widget.progress.curve.isVisibleTo(widget)  # none will come
    assert widget.start_button.isVisibleTo(widget)


def test_an_error_of_the_engine_is_a_sentence_and_the_next_run_is_not_told_of_it(
    ready, monkeypatch, qtbot
):
    _, _, widget = ready
    real = training_session._train

    def broken(*args):
        raise RuntimeError("an illegal step in a kernel")

    monkeypatch.setattr(training_session, "_train", broken)
    widget.start_button.click()
    ended(qtbot, widget)
    assert "an illegal step in a kernel" in widget.progress.sentence.text()
    monkeypatch.setattr(training_session, "_train", real)
    widget.start_button.click()
    ended(qtbot, widget)
    assert "Finished" in widget.progress.sentence.text()


def test_the_window_is_not_blocked_while_torch_is_loaded_and_trains(ready, qtbot):
    from qtpy.QtCore import QTimer

    _, _, widget = ready
    gaps, last = [], [time.perf_counter()]

    def tick():
        now = time.perf_counter()
        gaps.append(now - last[0])
        last[0] = now

    timer = QTimer()
    timer.timeout.connect(tick)
    timer.start(10)
    thread = threading.current_thread()
    widget.start_button.click()
    ended(qtbot, widget)
    timer.stop()
    assert threading.current_thread() is thread
    assert sorted(gaps)[int(0.9 * len(gaps))] < 0.25  # the benchmark has the real figure


def test_an_unticked_experiment_is_not_used(ready):
    _, _, widget = ready
    widget.table.table.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    assert widget.table.table.item(0, 1).text() == "not used"
    widget.start_button.click()
    assert "nothing to learn from" in widget.progress.sentence.text()


def test_how_an_experiment_is_used_can_be_changed(ready):
    _, _, widget = ready
    table = widget.table
    table.role.setCurrentIndex(2)
    table.first.setValue(1)
    table.last.setValue(3)
    table.completeness.setCurrentIndex(3)
    (member,) = table.members()
    assert member.role == "held-out"
    assert member.experiment.time_range == (1, 3)
    assert member.experiment.completeness == "sparse"
    assert table.table.item(0, 1).text() == "test on"


def test_what_was_set_stays_when_layers_come_and_go(ready, qtbot):
    viewer, _, widget = ready
    widget.table.role.setCurrentIndex(1)
    viewer.add_points([[0, 0, 1, 1]], ndim=4, name="more")
    qtbot.waitUntil(lambda: len(widget.table.entries) == 2)
    assert widget.table.entries[0].role == "train"


def test_a_second_annotation_of_a_movie_is_used_only_when_it_is_ticked(ready, qtbot):
    viewer, _, widget = ready
    viewer.add_points([[0, 0, 50, 51]], ndim=4, name="by hand")
    qtbot.waitUntil(lambda: len(widget.table.entries) == 2)
    assert [entry.use for entry in widget.table.entries] == [True, False]
    before = widget.table.members()[0].experiment.annotations
    widget.table.table.item(1, 0).setCheckState(Qt.CheckState.Checked)
    (member,) = widget.table.members()
    now = member.experiment.annotations
    assert (now.t == 0).sum() == 1  # t = 0 is as marked by hand, the rest as before
    assert (now.t == 1).sum() == (before.t == 1).sum()


def test_the_image_of_an_annotation_can_be_chosen(ready, small_movie, qtbot):
    viewer, _, widget = ready
    other = viewer.add_image(np.zeros((6, 1, 96, 96)), name="another movie")
    qtbot.waitUntil(lambda: widget.table.image.count() == 2)
    assert widget.table.image.currentText() == small_movie.name
    widget.table.image.setCurrentIndex(widget.table.image.findText("another movie"))
    entry = widget.table.entries[widget.table.table.currentRow()]
    assert entry.open_experiment.images == [other]
    assert entry.use
    assert widget.table.image.currentText() == "another movie"


def test_a_movie_in_several_layers_is_one_image_and_its_channel_is_chosen_below(
    ready, annotations, movie_class, qtbot
):
    from napari.layers import Layer

    from napari_celltrain.gui.layers import experiment_layers

    viewer, _, widget = ready
    movie = movie_class("two", n_channels=2)
    for layer in experiment_layers(Experiment("two", annotations, movie, channels=(1,))):
        viewer.add_layer(Layer.create(*layer))
    qtbot.waitUntil(lambda: len(widget.table.entries) == 2)
    widget.table.table.selectRow(1)
    assert widget.table.image.currentText() == "two, 2 channels"
    assert widget.table.channel.currentText() == "2"


def test_the_voxel_size_is_asked_for_where_nobody_knows_it(ready, qtbot):
    viewer, _, widget = ready
    assert not widget.table.voxel.isVisibleTo(widget)
    viewer.add_image(np.zeros((6, 3, 20, 20)), name="mine")
    viewer.add_points([[2, 1, 5, 5]], ndim=4, name="mine by hand")
    qtbot.waitUntil(lambda: len(widget.table.entries) == 2)
    widget.table.table.selectRow(1)
    voxel = widget.table.voxel
    assert voxel.isVisibleTo(widget)
    voxel.width.setValue(0.25)
    voxel.width.editingFinished.emit()  # half of it says nothing yet
    assert widget.table.entries[1].read().known_voxel_size_um is None
    voxel.depth.setValue(2)
    voxel.depth.editingFinished.emit()
    assert widget.table.entries[1].read().known_voxel_size_um == (2.0, 0.25, 0.25)
    assert voxel.isVisibleTo(widget)  # it can still be corrected


def test_files_are_added_and_removed(open_widget, tmp_path, monkeypatch, qtbot):
    from napari_celltrain.simulation import write_sample

    _, _, widget = open_widget()
    write_sample(tmp_path / "sample", kind="plane", time_points=6, size=(1, 96, 96))
    add_files(widget, monkeypatch, qtbot, tmp_path / "sample" / "dataset.toml")
    assert len(widget.table.entries) >= 1
    count = len(widget.table.entries)
    widget.table.remove_button.click()
    assert len(widget.table.entries) == count - 1
    (tmp_path / "notes.csv").write_text("nothing to see")
    add_files(widget, monkeypatch, qtbot, tmp_path / "notes.csv")
    assert "notes.csv" in widget.progress.sentence.text()
    assert len(widget.table.entries) == count - 1


def test_a_region_layer_appears_when_it_is_wanted(ready):
    _, _, widget = ready
    assert not widget.table.region.isVisibleTo(widget)
    widget.table.completeness.setCurrentIndex(2)
    assert widget.table.region.isVisibleTo(widget)


def test_what_is_missing_is_said_until_it_is_there(ready):
    _, _, widget = ready
    assert widget.progress.sentence.text() == READY
    widget.table.completeness.setCurrentIndex(2)
    assert "no Shapes layer is chosen" in widget.progress.sentence.text()
    widget.table.completeness.setCurrentIndex(0)
    assert widget.progress.sentence.text() == READY
    widget.table.table.item(0, 0).setCheckState(Qt.CheckState.Unchecked)
    assert widget.progress.sentence.text() == NOTHING_TICKED


def test_a_run_of_another_program_can_be_watched(ready, tmp_path, qtbot):
    _, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    folder = widget.run_folder
    widget.runs.buttons["open"].click()
    assert len(widget.progress.curve._evaluations) >= 1
    shown = len(widget.progress.curve._evaluations)
    line = next(
        line
        for line in RunFolder(folder).history_file.read_text("utf-8").splitlines()
        if '"Evaluation"' in line
    )
    with RunFolder(folder).history_file.open("a", encoding="utf-8") as history:
        history.write(line + "\n" + line[:20])  # a whole line, and one that is being written
    widget.follower.look()
    assert len(widget.progress.curve._evaluations) == shown + 1
    widget.follower.stop()


def test_a_run_on_the_command_line_is_watched_left_alone_and_gone_on_with(
    open_widget, tmp_path, qtbot
):
    from napari_celltrain.simulation import write_sample

    _, _, widget = open_widget()
    write_sample(tmp_path / "sample", kind="plane", time_points=6, size=(1, 96, 96))
    folder = tmp_path / "runs" / "elsewhere"
    settings = [part for one in SMALL if "steps" not in one for part in ("--set", one)]
    command = [sys.executable, "-m", "napari_celltrain", "train",
               str(tmp_path / "sample" / "dataset.toml"), "--out", str(folder),
               "--minutes", "20", *settings]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            qtbot.waitUntil(
                lambda: (
                    process.poll() is not None
                    or any(isinstance(event, Step) for event in RunFolder(folder).read_history())
                ),
                timeout=60_000,
            )
            widget.tabs.setCurrentIndex(2)
            widget.runs.show_folder(widget.folder)
            widget.runs.select(folder)
            assert widget.runs.selected.state == "training now"
            assert not widget.runs.buttons["delete"].isEnabled()
            assert not widget.runs.buttons["resume"].isEnabled()
            widget.runs.buttons["open"].click()
            assert "which another program trains" in widget.progress.sentence.text()
            training(qtbot, widget)
            before = widget.progress.numbers.text()
            qtbot.waitUntil(lambda: widget.progress.numbers.text() != before, timeout=30_000)
            assert "device" in widget.form._choices.text()
            psutil.Process(process.pid).suspend()  # or both would share the processors
            widget.resume(folder)  # as if it had been idle when the list was made
            ended(qtbot, widget)
            psutil.Process(process.pid).resume()
            told = widget.progress.sentence.text()
            assert f"process {process.pid}) is training in {folder}" in told
            assert widget.follower.busy  # it is watched as before
            assert not widget.resume_button.isVisibleTo(widget)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130
            qtbot.waitUntil(
                lambda: "can be resumed" in widget.progress.sentence.text(), timeout=10_000
            )
            assert widget.runs.selected.state == "can be resumed"
            assert widget.runs.buttons["resume"].isEnabled()
        finally:
            process.kill()
    steps = [one.step for one in RunFolder(folder).read_history() if isinstance(one, Step)]
    assert steps == sorted(set(steps))  # one writer
    widget.runs.buttons["resume"].click()
    qtbot.waitUntil(lambda: widget.progress.numbers.text() != before, timeout=60_000)
    before = widget.progress.numbers.text()  # of what the other program did
    qtbot.waitUntil(lambda: widget.progress.numbers.text() != before, timeout=60_000)
    widget.stop()
    ended(qtbot, widget)
    after = [one.step for one in RunFolder(folder).read_history() if isinstance(one, Step)]
    assert after == sorted(set(after))
    assert after[: len(steps)] == steps  # nothing is lost


@pytest.mark.slow
def test_a_run_in_the_window_is_left_alone_by_the_command_line(
    open_widget, tmp_path, monkeypatch, qtbot
):
    from napari_celltrain.simulation import write_sample

    _, _, widget = open_widget()
    sample = write_sample(tmp_path / "sample", kind="plane", time_points=6, size=(1, 96, 96))
    add_files(widget, monkeypatch, qtbot, sample)
    endless(widget)
    widget.start_button.click()
    training(qtbot, widget)
    refused = subprocess.run(
        [sys.executable, "-m", "napari_celltrain", "train", "--out", str(widget.run_folder),
         "--resume"],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    assert refused.returncode == 2
    assert f"process {os.getpid()}) is training in {widget.run_folder}" in refused.stderr
    assert widget.running
    widget.stop()
    ended(qtbot, widget)
    steps = [
        one.step for one in RunFolder(widget.run_folder).read_history() if isinstance(one, Step)
    ]
    assert steps == sorted(set(steps))  # one writer


def test_a_full_disk_holds_the_run_and_it_goes_on_by_itself(ready, monkeypatch, qtbot):
    _, _, widget = ready
    endless(widget)
    widget.form.row("compute.checkpoint_every_s").value = 1
    widget.start_button.click()
    training(qtbot, widget)
    full = threading.Event()
    full.set()
    real = os.fsync

    def failing(file):
        if full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(file)

    monkeypatch.setattr(os, "fsync", failing)
    qtbot.waitUntil(lambda: "space" in widget.progress.sentence.text(), timeout=60_000)
    assert widget.running
    held = widget.progress.numbers.text()
    qtbot.wait(300)
    assert widget.progress.numbers.text() == held
    full.clear()
    qtbot.waitUntil(lambda: widget.progress.numbers.text() != held, timeout=30_000)
    widget.stop()
    ended(qtbot, widget)
    assert any(RunFolder(widget.run_folder).checkpoints.iterdir())


def test_a_detector_is_packed_into_a_file(ready, tmp_path, monkeypatch, qtbot):
    _, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    place = tmp_path / "mine"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(place), ""))
    widget.runs.buttons["pack"].click()
    qtbot.waitUntil(lambda: not widget.errands.busy, timeout=20_000)
    assert (tmp_path / "mine.celltrain").exists()
    assert "whoever drags it" in widget.progress.sentence.text()


def test_the_folder_of_a_run_can_be_shown(ready, monkeypatch, qtbot):
    _, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    shown = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: shown.append(url.toLocalFile()))
    widget.runs.buttons["folder"].click()
    assert [Path(one) for one in shown] == [widget.run_folder]


def test_the_list_says_what_a_run_learnt_from_and_when(ready, qtbot):
    _, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    run = widget.runs.selected
    assert [widget.runs.table.item(0, column).text() for column in range(4)] == [
        run.path.name, f"{run.f1:.3f}", run.date[:10], "finished",
    ]  # fmt: skip
    assert "Learnt from sample plane" in widget.runs.details.text()


def test_a_finding_is_shown_in_the_experiment_it_is_about(ready, small_movie, qtbot):
    from napari.layers import Layer

    from napari_celltrain.gui.layers import experiment_layers

    viewer, _, widget = ready
    second = [Layer.create(*layer) for layer in experiment_layers(small_movie)]  # of the same name
    for layer in second:
        viewer.add_layer(layer)
    qtbot.waitUntil(lambda: len(widget.table.entries) == 2)
    second[-1].add((2, 0, 900, 900))
    qtbot.waitUntil(lambda: any(one.points for one in widget.findings.findings), timeout=10_000)
    finding = next(one for one in widget.findings.findings if one.points)
    press_show(widget.findings, finding)
    assert viewer.layers.selection.active == second[-1]
    assert second[-1].selected_data == {len(second[-1].data) - 1}


def test_train_further_starts_from_the_chosen_detector(ready, monkeypatch, qtbot):
    _, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    first = widget.run_folder
    widget.runs.buttons["tune"].click()
    assert "Train further" in widget.start_button.text()
    started = []

    def begun(*args):
        started.append(args)
        (RunFolder(args[1]).checkpoints / "1").mkdir(parents=True)

    monkeypatch.setattr(training_session, "_train", begun)
    widget.start_button.click()
    ended(qtbot, widget)
    assert started[0][6] == first
    assert started[0][1] != first
    assert widget.start_button.text() == "Start training"
    assert not widget.fresh_button.isVisibleTo(widget)


def test_train_further_chosen_while_a_training_runs_holds_for_the_next_one(
    ready, trained, monkeypatch, qtbot
):
    _, _, widget = ready
    endless(widget)
    widget.start_button.click()
    widget.tune(trained)
    assert widget.progress.sentence.text() == (
        "The training after this one starts from 'small detector'."
    )
    training(qtbot, widget)
    widget.stop()
    ended(qtbot, widget)
    assert "Train further from 'small detector'" in widget.start_button.text()
    started = []
    monkeypatch.setattr(training_session, "_train", lambda *args: started.append(args))
    widget.start_button.click()
    ended(qtbot, widget)
    assert started[0][6] == trained


def test_a_start_that_fails_forgets_neither_the_detector_nor_the_name(ready, trained, qtbot):
    _, _, widget = ready
    widget.tune(trained)
    assert "then press Train further" in widget.progress.sentence.text()
    widget.run_name.setText("mine")
    widget.form.row("design.width").value = 16  # that of the detector is another
    widget.start_button.click()
    ended(qtbot, widget)
    assert "✖" in widget.progress.sentence.text()
    assert "Train further from 'small detector'" in widget.start_button.text()
    assert widget.run_name.text() == "mine"


def test_stopped_before_anything_was_learnt_it_does_not_speak_of_going_on(ready, trained, qtbot):
    _, _, widget = ready
    endless(widget)
    widget.form.row("design.width").value = 8  # as that of the detector
    widget.tune(trained)
    widget.start_button.click()
    widget.stop_button.click()
    ended(qtbot, widget)
    assert not widget.resume_button.isVisibleTo(widget)
    assert "resume" not in widget.progress.sentence.text()
    text = widget.start_button.text()
    assert text == "Train further from 'small detector'"
    assert widget.progress.sentence.text().endswith(f"Press {text} to begin again.")


def test_train_further_can_be_taken_back(ready, trained, monkeypatch, qtbot):
    _, _, widget = ready
    assert not widget.fresh_button.isVisibleTo(widget)
    widget.tune(trained)
    widget.fresh_button.click()
    assert widget.start_button.text() == "Start training"
    assert "from nothing" in widget.progress.sentence.text()
    assert not widget.fresh_button.isVisibleTo(widget)
    started = []
    monkeypatch.setattr(training_session, "_train", lambda *args: started.append(args))
    widget.start_button.click()
    ended(qtbot, widget)
    assert started[0][6] is None


def test_deleting_a_run_asks_first(ready, monkeypatch, qtbot):
    _, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    folder = widget.run_folder
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.No)
    widget.runs.buttons["delete"].click()
    assert folder.exists()
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.Yes)
    with RunFolder(folder).locked():  # another program has begun to train it since
        widget.runs.buttons["delete"].click()
        qtbot.waitUntil(lambda: not widget.errands.busy, timeout=20_000)
    assert "another program" in widget.progress.sentence.text()
    assert folder.exists()
    widget.runs.buttons["delete"].click()
    qtbot.waitUntil(lambda: not widget.errands.busy, timeout=20_000)
    assert not folder.exists()
    assert widget.runs.runs == []
    assert not widget.predict_button.isVisibleTo(widget)  # there is nothing to find cells with
    assert not widget.errors_box.isVisibleTo(widget)


def test_a_run_that_is_gone_on_with_is_not_deleted(ready, monkeypatch, qtbot):
    """Also before the engine is there, which takes the lock."""
    _, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    folder, go_on = widget.run_folder, threading.Event()
    real = training_session._train

    def slowly(*args):
        go_on.wait(20)
        return real(*args)

    monkeypatch.setattr(training_session, "_train", slowly)
    monkeypatch.setattr(QMessageBox, "question", lambda *_: QMessageBox.Yes)
    widget.form.row("budget.steps").value = 2
    widget.runs.buttons["resume"].click()
    assert widget.runs.selected.state == "training now"
    assert not widget.runs.buttons["delete"].isEnabled()
    assert not widget.runs.buttons["resume"].isEnabled()
    widget.actions.delete(folder)  # another window lists it as it was
    qtbot.waitUntil(lambda: not widget.errands.busy, timeout=20_000)
    assert "is being trained now, and was not deleted" in widget.progress.sentence.text()
    assert RunFolder(folder).best.exists()
    go_on.set()
    ended(qtbot, widget)
    assert widget.runs.selected.state == "finished"
    assert widget.runs.buttons["delete"].isEnabled()


def test_a_run_is_listed_while_it_trains(ready, qtbot):
    _, _, widget = ready
    endless(widget)
    widget.start_button.click()
    training(qtbot, widget)
    assert [run.state for run in widget.runs.runs] == ["training now"]
    assert widget.runs.runs[0].path == widget.run_folder
    widget.stop()
    ended(qtbot, widget)


def test_a_run_on_files_is_exported_for_another_computer(open_widget, tmp_path, monkeypatch, qtbot):
    from napari_celltrain.dataset import load_dataset
    from napari_celltrain.simulation import write_sample

    _, _, widget = open_widget()
    write_sample(tmp_path / "sample", kind="plane", time_points=6, size=(1, 96, 96))
    add_files(widget, monkeypatch, qtbot, tmp_path / "sample" / "dataset.toml")
    widget.start_button.click()
    ended(qtbot, widget)
    target = tmp_path / "cluster"
    target.mkdir()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(target))
    widget.runs.buttons["export"].click()
    qtbot.waitUntil(lambda: not widget.errands.busy, timeout=20_000)
    assert "celltrain train" in widget.progress.sentence.text()
    assert len(load_dataset(target / "dataset.toml").members) >= 1
    assert (target / "settings.toml").exists()


def test_preview_shows_what_the_network_sees(ready, qtbot):
    viewer, _, widget = ready
    widget.preview_button.click()
    qtbot.waitUntil(lambda: not widget.extra.busy, timeout=60_000)
    names = [layer.name for layer in viewer.layers if "preview" in layer.name]
    assert len(names) == 3
    qtbot.wait(100)
    assert len(widget.table.entries) == 1  # the preview is nothing to learn from


def test_what_the_preview_hid_is_shown_again_when_its_layers_are_deleted(ready, qtbot):
    viewer, _, widget = ready
    image, cells = (next(one for one in viewer.layers if kind in str(type(one)))
                    for kind in ("Image", "Points"))  # fmt: skip
    tracks = [layer for layer in viewer.layers if layer not in (image, cells)]
    cells.visible = False
    viewer.dims.set_point(0, 3)
    camera = getattr(viewer, "scene", viewer).camera
    before = camera.zoom
    for _ in range(2):  # the second takes the place of the first
        widget.preview_button.click()
        qtbot.waitUntil(lambda: not widget.extra.busy, timeout=60_000)
        assert not image.visible
    viewer.layers.selection = {layer for layer in viewer.layers if "preview" in layer.name}
    assert len(viewer.layers.selection) == 3
    viewer.layers.remove_selected()
    assert image.visible
    assert all(layer.visible for layer in tracks)
    assert not cells.visible  # as before
    assert camera.zoom == pytest.approx(before)
    assert viewer.dims.point[0] == 3


def test_held_out_errors_are_a_layer(ready, qtbot):
    viewer, _, widget = ready
    widget.start_button.click()
    ended(qtbot, widget)
    widget.errors_box.setChecked(True)
    qtbot.waitUntil(lambda: not widget.extra.busy, timeout=60_000)
    layer = next(layer for layer in viewer.layers if "held-out errors" in layer.name)
    assert isinstance(layer, Points)
    assert set(layer.features["outcome"]) <= {"found", "missed", "false"}
    assert len(layer.data) > 0
    assert "Held-out frames" in widget.progress.sentence.text()
    assert f"F1 {widget.runs.selected.f1:.3f}" in widget.progress.sentence.text()  # as was kept


def test_each_held_out_error_is_one_click_away(ready, small_movie, qtbot):
    viewer, _, widget = ready
    movie = next(layer for layer in viewer.layers if layer.name == small_movie.name)
    for layer in viewer.layers:
        layer.visible = False
    assert not widget.next_button.isVisibleTo(widget)
    widget.start_button.click()
    ended(qtbot, widget)
    widget.errors_box.setChecked(True)
    assert widget.next_button.isVisibleTo(widget)
    qtbot.waitUntil(lambda: not widget.extra.busy, timeout=60_000)
    layer = next(layer for layer in viewer.layers if "held-out errors" in layer.name)
    assert not layer.visible  # as its movie
    wrong = layer.data[(layer.features["outcome"] != "found").to_numpy()]
    assert len(wrong)  # after three steps
    widget.next_button.click()
    assert f"Error 1 of {len(wrong)}, at t = {int(wrong[:, 0].min())}" in (
        widget.progress.sentence.text()
    )
    assert movie.visible
    assert layer.visible
    assert viewer.dims.point[0] == wrong[:, 0].min()
    for _ in wrong:
        widget.next_button.click()
    assert "Error 1 of" in widget.progress.sentence.text()  # after the last, the first


def test_held_out_errors_follow_a_run_while_it_trains(ready, qtbot):
    viewer, _, widget = ready
    widget.form.row("budget.steps").value = 2000  # judged every hundred
    widget.errors_box.setChecked(True)
    widget.start_button.click()
    name = "sample plane held-out errors"
    qtbot.waitUntil(lambda: name in viewer.layers, timeout=60_000)
    assert not widget.extra.busy  # the run has told it; nothing is computed again
    first = viewer.layers[name]
    assert set(first.features["outcome"]) <= {"found", "missed", "false"}
    told = widget._errors
    assert len(first.data) == sum(
        len(frame.found) + len(frame.missed) + len(frame.false) for frame in told.frames
    )
    first.visible = False
    qtbot.waitUntil(lambda: widget._errors is not told, timeout=60_000)
    assert viewer.layers[name] is first  # another one would take the place of nobody's selection
    assert (
        len(first.data)
        == len(first.size)
        == sum(
            len(frame.found) + len(frame.missed) + len(frame.false)
            for frame in widget._errors.frames
        )
    )
    assert not viewer.layers[name].visible  # hidden by hand stays hidden
    widget.stop()
    ended(qtbot, widget)


def test_settings_go_to_a_file_and_back(ready, tmp_path, monkeypatch):
    _, _, widget = ready
    place = str(tmp_path / "s.toml")
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (place, ""))
    widget.save_button.click()
    widget.form.row("budget.steps").value = 99
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (place, ""))
    widget.load_button.click()
    assert widget.form.settings().budget.steps == 3
    Path(place).write_text("nonsense")
    widget.load_button.click()
    assert "not valid TOML" in widget.progress.sentence.text()


def test_members_are_read_when_start_is_pressed_not_before(ready):
    viewer, _, widget = ready
    points = next(layer for layer in viewer.layers if isinstance(layer, Points))
    before = len(points.data)
    points.add((2, 0, 5, 5))
    dataset = Dataset(tuple(widget.table.members()))
    assert len(dataset.experiments[0].annotations) == before + 1
    assert isinstance(dataset.members[0], Member)
    assert isinstance(widget, TrainWidget)
