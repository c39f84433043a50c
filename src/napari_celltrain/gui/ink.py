"""The colours in which our own charts are drawn: the theme's, and two that stand out on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qtpy.QtGui import QColor, QPalette

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


@dataclass(frozen=True)
class Ink:
    """Colours for one widget; blue and orange are told apart by the colour blind too."""

    text: QColor
    faint: QColor
    paper: QColor
    first: QColor
    second: QColor


def ink_of(widget: QWidget) -> Ink:
    """Return the colours that fit the widget's theme now."""
    palette = widget.palette()
    paper = palette.color(QPalette.ColorRole.Window)
    text = palette.color(QPalette.ColorRole.WindowText)
    dark = paper.lightness() < 128
    if abs(text.lightness() - paper.lightness()) < 60:  # a half-applied theme
        text = QColor("#f0f1f2" if dark else "#1b1b1b")
    faint = QColor(text)
    faint.setAlpha(60)
    return Ink(
        text=text,
        faint=faint,
        paper=paper,
        first=QColor("#56b4e9" if dark else "#0065a3"),
        second=QColor("#f0a830" if dark else "#b35900"),
    )
