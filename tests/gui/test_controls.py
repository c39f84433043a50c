"""Every control of every dock says what it is, can be reached, and is not cut off."""

from __future__ import annotations

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLabel,
    QLineEdit,
    QScrollBar,
    QTabBar,
    QTableWidget,
    QWidget,
)

from napari_celltrain.gui import preferences

DOCKS = ("Annotation counts", "Train detector", "Predict cells")
CONTROLS = (
    QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QTableWidget
)  # fmt: skip
SMALL_SCREEN = (1366, 768)


@pytest.fixture(params=DOCKS)
def dock(request, viewer, small_movie, add_experiment, trained, monkeypatch, qtbot):
    """A dock beside a movie, on a small screen, with everything in it shown."""
    monkeypatch.setattr(preferences, "runs_folder", lambda: trained.parent)
    add_experiment(small_movie)
    viewer.window.resize(*SMALL_SCREEN)
    _, widget = viewer.window.add_plugin_dock_widget("napari-celltrain", request.param)
    viewer.window._qt_window.show()
    qtbot.wait(300)
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


def test_no_text_is_cut_off_on_a_small_screen(dock, qtbot):
    cut = [
        (one.text(), one.width(), one.sizeHint().width())
        for one in of_kind(dock, (QAbstractButton, QLabel))
        if one.isVisible()
        and one.text()
        and not (isinstance(one, QLabel) and one.wordWrap())
        and one.width() < one.sizeHint().width()
    ]
    assert cut == []
    wrapped = [
        (one.text(), one.height(), one.heightForWidth(one.width()))
        for one in dock.findChildren(QLabel)
        if one.isVisible() and one.text() and one.wordWrap()
        and one.height() < one.heightForWidth(one.width())
    ]  # fmt: skip
    assert wrapped == []
