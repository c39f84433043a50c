"""Every control of every dock says what it is, can be reached, and is not cut off."""

from __future__ import annotations

from itertools import pairwise

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QScrollArea,
    QScrollBar,
    QSplitter,
    QTabBar,
    QTableWidget,
    QWidget,
)

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.gui import preferences
from napari_celltrain.gui.long_texts import Title
from napari_celltrain.training.events import Evaluation, StateChanged, Step

DOCKS = ("Annotation counts", "Train detector", "Predict cells")
CONTROLS = (
    QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QTableWidget
)  # fmt: skip
SMALL_SCREEN = (1366, 768)


def step(number):
    return Step(number, float(number), 0.5, 1e-3, 12.0, 300.0, "cpu", 0.25, 90.0)


def evaluation(seconds, f1, best):
    return Evaluation(int(seconds), seconds, f1, 0.9, 0.8, 0.7, 0.5, 0.1, best)


@pytest.fixture
def shown(viewer, small_movie, add_experiment, trained, monkeypatch, qtbot):
    """Return a function that opens a dock beside a movie, on a small screen."""
    monkeypatch.setattr(preferences, "runs_folder", lambda: trained.parent)
    add_experiment(small_movie)
    viewer.window.resize(*SMALL_SCREEN)

    def show(name):
        _, widget = viewer.window.add_plugin_dock_widget("napari-celltrain", name)
        viewer.window._qt_window.show()
        qtbot.wait(300)
        return widget

    return show


@pytest.fixture(params=DOCKS)
def dock(request, shown, qtbot):
    """A dock with everything in it shown."""
    widget = shown(request.param)
    yield widget
    qtbot.waitUntil(lambda: getattr(widget, "_closer", None) is None, timeout=20_000)


def of_kind(widget, kinds):
    """Return the widgets inside that are of one of these kinds; PySide6 asks for one at a time."""
    return [one for one in widget.findChildren(QWidget) if isinstance(one, kinds)]


def controls(widget):
    """Return our controls, without the parts that Qt and magicgui make of them."""
    found = []
    for one in of_kind(widget, CONTROLS):
        inside = one.parentWidget()
        made_by_qt = one.objectName().startswith("qt_") or isinstance(one, QScrollBar)
        part_of_another = isinstance(inside, QAbstractSpinBox | QComboBox | QTableWidget | QTabBar)
        if not made_by_qt and not part_of_another:
            found.append(one)
    return found


def told_to_a_screen_reader(one):
    text = one.text() if isinstance(one, QAbstractButton) else ""
    return one.accessibleName() or text


def test_every_control_has_a_name_and_says_what_it_does(dock):
    nameless = [
        (type(one).__name__, one.objectName(), one.parentWidget().accessibleName())
        for one in controls(dock)
        if not (told_to_a_screen_reader(one) or labelled(dock, one))
    ]
    assert not nameless, nameless
    silent = [
        told_to_a_screen_reader(one) or type(one).__name__
        for one in controls(dock)
        if not (one.toolTip() or one.parentWidget().toolTip()) and not isinstance(one, QTableWidget)
    ]
    assert not silent, silent


def labelled(dock, one):
    return any(label.buddy() is one for label in dock.findChildren(QLabel))


def test_every_control_is_reached_by_the_keyboard(dock):
    unreachable = [
        told_to_a_screen_reader(one) or type(one).__name__
        for one in controls(dock)
        if not one.focusPolicy() & Qt.FocusPolicy.TabFocus
    ]
    assert not unreachable, unreachable


def test_no_text_is_cut_off_on_a_small_screen(dock):
    assert cut_off(dock) == []


def cut_off(dock):
    """Return the texts that are shown in part only."""
    cut = [
        (one.text(), one.width(), one.sizeHint().width())
        for one in of_kind(dock, (QAbstractButton, QLabel))
        if one.isVisible()
        and one.text()
        and not (isinstance(one, QLabel) and one.wordWrap())
        and not isinstance(one, Title)  # whose middle is left out
        and one.width() < one.sizeHint().width()
    ]
    wrapped = [
        (one.text(), one.height(), one.heightForWidth(one.width()))
        for one in dock.findChildren(QLabel)
        if one.isVisible() and one.text() and one.wordWrap()
        and one.height() < one.heightForWidth(one.width())
    ]  # fmt: skip
    numbers = [
        (one.text(), one.width())
        for one in dock.findChildren(QAbstractSpinBox)
        if one.isVisible()
        and one.lineEdit().fontMetrics().horizontalAdvance(one.text()) > one.lineEdit().width() - 4
    ]
    return [*cut, *wrapped, *numbers]


LONG = "an experiment with the long name that somebody gave to it, at the end of a long day, no. 17"


def test_what_a_training_says_is_not_cut_off_and_covers_nothing(shown, trained, qtbot):
    """Everything is on the screen at once: what runs has to be seen beside its curve."""
    shown("Predict cells")
    train = shown("Train detector")
    train.run_folder = trained
    train._begin_progress()
    train.progress.add(
        [StateChanged("training", f"Still improving; best F1 0.94 at 2 min on '{LONG}'.")]
    )
    train.progress.add([step(7), evaluation(8.0, 0.9, True)])
    train.errors_box.setChecked(True)
    train.start_button.setText("Train further from 'an exper…, no. 17'")
    for button in (train.predict_button, train.next_button, train.resume_button):
        button.setVisible(True)
    progress = train.progress
    below = [progress.sentence, progress.bar, progress.curve, progress.numbers, progress.result]

    def laid_out():
        lowest = train.predict_button.mapTo(train, train.predict_button.rect().bottomLeft()).y()
        return (
            cut_off(train) == []
            and all(a.geometry().bottom() < b.geometry().top() for a, b in pairwise(below))
            and progress.curve.height() >= progress.curve.minimumHeight()
            and lowest <= train.height()
        )

    for number in range(train.tabs.count()):
        train.tabs.setCurrentIndex(number)
        qtbot.waitUntil(laid_out)
    window = train.window()
    assert window.height() <= SMALL_SCREEN[1]


def test_the_tab_key_goes_through_a_dock_as_it_is_read(dock):
    """From the top to the bottom, and in a line from left to right."""
    mine = [one for one in controls(dock) if one.isVisible() and one.isEnabled()]
    first = min(mine, key=lambda one: place_in(dock, one))
    first.setFocus()
    reached = [first]
    for _ in range(200):
        dock.focusNextChild()  # what the Tab key does
        one = dock.window().focusWidget()
        if one == first or not dock.isAncestorOf(one):
            break
        reached.append(one)
    assert not [told_to_a_screen_reader(one) for one in mine if one not in reached]
    places = [place_in(dock, one) for one in reached]
    assert places == sorted(places)


def place_in(dock, one):
    """Return where a control is read: its part of the dock, its line and its place in that."""
    part, inside = 0, one
    while inside is not dock and not isinstance(inside, QScrollArea):
        inside = inside.parentWidget()
    if inside is dock and dock.findChildren(QSplitter):
        part = 1  # below what is scrolled
    origin = inside if inside is dock else inside.widget()
    middle = one.mapTo(origin, one.rect().center())
    return part, round(middle.y() / 12), middle.x()


def test_long_names_have_their_middle_left_out(viewer, shown, movie_class, add_experiment, qtbot):
    """Names differ at their ends more often than not."""
    counts = shown("Annotation counts")
    predict = shown("Predict cells")
    names = [f"{LONG} ({number})" for number in (1, 2)]
    for name in names:
        annotated = Experiment(name, Annotations([37], [[1, 10, 10]]), movie_class(name=name))
        add_experiment(annotated)
    qtbot.waitUntil(lambda: predict.image.box.count() == 3)
    shown_texts = []
    for number in (1, 2):
        predict.image.box.setCurrentIndex(number)
        assert predict.image.box.currentText() == names[number - 1]
        shown_texts.append(predict.image.box.shown_text())
    assert [text[-3:] for text in shown_texts] == ["(1)", "(2)"]
    assert all("…" in text for text in shown_texts)
    qtbot.waitUntil(lambda: counts.table.rowCount() == 4)
    counts.table.selectRow(1)
    assert counts.chart_title.toolTip() == f"{names[0]}: cells per time point"
    assert counts.chart_title.width() <= counts.width()
    qtbot.waitUntil(lambda: counts._closer is None, timeout=20_000)


def test_the_tabs_of_docks_are_called_what_the_docks_are(viewer, shown, qtbot):
    for name in DOCKS:
        widget = shown(name)
        assert widget.parent().windowTitle() == name
    qtbot.waitUntil(lambda: all_quiet(viewer), timeout=20_000)


def all_quiet(viewer):
    docks = viewer.window.dock_widgets.values()
    return all(getattr(one, "_closer", None) is None for one in docks)
