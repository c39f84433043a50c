"""The Tab key goes through a page as it is read, not as its controls happen to have been made."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLayout, QScrollArea, QSplitter, QTabWidget, QWidget

if TYPE_CHECKING:
    from collections.abc import Iterator


def order_tabs(page: QWidget) -> None:
    """Let the Tab key follow the layout of a page."""
    reached = [one for one in _in_order(page) if one.focusPolicy() & Qt.FocusPolicy.TabFocus]
    for before, after in pairwise(reached):
        QWidget.setTabOrder(before, after)


def _in_order(widget: QWidget) -> Iterator[QWidget]:
    """Yield what is in a widget, from the top to the bottom, line by line."""
    if isinstance(widget, QScrollArea):
        inside = widget.widget()
        if inside is not None:
            yield from _in_order(inside)
    elif isinstance(widget, QTabWidget):
        yield widget.tabBar()
        for number in range(widget.count()):
            yield from _in_order(widget.widget(number))
    elif isinstance(widget, QSplitter):
        for number in range(widget.count()):
            yield from _in_order(widget.widget(number))
    elif widget.layout() is not None and not widget.focusPolicy() & Qt.FocusPolicy.TabFocus:
        yield from _in_layout(widget.layout())
    else:
        yield widget


def _in_layout(layout: QLayout) -> Iterator[QWidget]:
    for number in range(layout.count()):
        item = layout.itemAt(number)
        if item.widget() is not None:
            yield from _in_order(item.widget())
        elif item.layout() is not None:
            yield from _in_layout(item.layout())
