"""Texts that can be longer than there is room: wrapped and never cut off, or with a gap inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QPainter
from qtpy.QtWidgets import (
    QComboBox,
    QLabel,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QWidget,
)

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent, QShowEvent


class Words(QLabel):
    """Sentences of any length. Nothing else may take the room that they need.

    A splitter or a dock asks a wrapped label how high it must be before its width is known, and
    gives it too little when the answer changes; so it is told again here, with each width and text.
    """

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setWordWrap(True)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    def setText(self, text: str) -> None:
        """Show another text."""
        super().setText(text)
        self._take_room()

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Take the room that this width asks for."""
        super().resizeEvent(event)
        self._take_room()

    def showEvent(self, event: QShowEvent) -> None:
        """Take the room that was not known while it was hidden."""
        super().showEvent(event)
        self._take_room()

    def _take_room(self) -> None:
        if self.isVisible():  # before, its width says nothing
            self.setMinimumHeight(max(self.heightForWidth(self.width()), 0) if self.text() else 0)


class Title(QLabel):
    """One line. Where it is too long its middle is left out, for names differ at their ends."""

    def __init__(self, text: str = "", parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def setText(self, text: str) -> None:
        """Show another text; the whole of it is in the tooltip."""
        super().setText(text)
        self.setToolTip(text)

    def minimumSizeHint(self) -> QSize:
        """Any width will do."""
        return QSize(0, super().minimumSizeHint().height())

    def paintEvent(self, event: Any) -> None:
        """Draw what there is room for."""
        painter = QPainter(self)
        area = self.contentsRect().adjusted(4, 0, 0, 0)  # where other labels of napari begin
        shown = self.fontMetrics().elidedText(
            self.text(), Qt.TextElideMode.ElideMiddle, area.width()
        )
        painter.drawText(area, Qt.AlignmentFlag.AlignVCenter, shown)


class NameBox(QComboBox):
    """A choice of names that may be long; what is too long has its middle left out."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setMinimumContentsLength(8)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.view().setTextElideMode(Qt.TextElideMode.ElideMiddle)

    def shown_text(self) -> str:
        """Return what can be read without opening it."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        room = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option,
            QStyle.SubControl.SC_ComboBoxEditField, self,
        )  # fmt: skip
        return str(
            self.fontMetrics().elidedText(
                self.currentText(), Qt.TextElideMode.ElideMiddle, room.width() - 6
            )
        )

    def paintEvent(self, event: Any) -> None:
        """Draw it as the theme does, with the text that there is room for."""
        if self.currentIndex() < 0:
            super().paintEvent(event)  # the words that stand there for nothing
            return
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.shown_text()
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
