"""A page that scrolls up and down, and is never cut off at its sides."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, QSize, Qt
from qtpy.QtWidgets import QFrame, QScrollArea, QVBoxLayout, QWidget


class Scrolled(QScrollArea):
    """Shows widgets below each other, at least as wide as they have to be.

    Qt's own scroll area is content with any width; without a scroll bar for it, what is on the
    right would be out of reach.
    """

    def __init__(self, *parts: QWidget, margin: int = 4) -> None:
        super().__init__()
        page = QWidget()
        layout = QVBoxLayout(page)
        layout.setContentsMargins(margin, margin, margin, margin)
        for part in parts:
            layout.addWidget(part)
        layout.addStretch(0)
        self.setWidget(page)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        # it follows the control that has the focus; a stop of its own could not be seen
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def minimumSizeHint(self) -> QSize:
        """As wide as the page has to be, beside the scroll bar."""
        page, bar = self.widget(), self.verticalScrollBar()
        width = 0 if page is None else page.minimumSizeHint().width() + bar.sizeHint().width()
        return QSize(width, super().minimumSizeHint().height())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Notice that the page needs another width."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return bool(super().eventFilter(watched, event))
