"""File > IO Utilities > Public tracking data: movies to try things on, and on what terms.

A sample in napari's menu has to open something, and nothing is downloaded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDialog, QDialogButtonBox, QLabel, QVBoxLayout

from napari_celltrain.gui.ink import ink_of

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget


@dataclass(frozen=True)
class PublicData:
    """Somebody's annotated images, to be downloaded from their place."""

    name: str
    links: tuple[tuple[str, str], ...]
    """(what the link says, address)."""
    what: str
    how_to_open: str
    licence: str


PUBLIC_DATA = (
    PublicData(
        "Cell Tracking Challenge",
        (
            ("2D", "https://celltrackingchallenge.net/2d-datasets/"),
            ("3D", "https://celltrackingchallenge.net/3d-datasets/"),
        ),
        "movies, real and simulated, tracked",
        "drag the folder of a set, with 01 and 01_GT in it, into napari",
        "no open licence: cite it; for use beyond the challenge, ask those who gave the set",
    ),
    PublicData(
        "Zenodo 6087728",
        (("doi.org/10.5281/zenodo.6087728", "https://doi.org/10.5281/zenodo.6087728"),),
        "moving nuclei, 2D and time",
        "open its label images, a cell each",
        "CC BY 4.0",
    ),
    PublicData(
        "BBBC039",
        (("bbbc.broadinstitute.org", "https://bbbc.broadinstitute.org/BBBC039"),),
        "200 single images of U2OS nuclei, no movie",
        "open its masks, saved as TIFF label images",
        "CC0 1.0",
    ),
)


def public_data() -> None:
    """Show where to find public data."""
    viewer = napari.current_viewer()
    if viewer is not None:
        PublicDataDialog(viewer.window._qt_window).show()


class PublicDataDialog(QDialog):
    """Names, links and licences; the links open in the browser."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle("Public tracking data")
        self.setAttribute(Qt.WA_DeleteOnClose)
        self.ensurePolished()  # now the theme's colours are known
        self.text = QLabel(_as_html(ink_of(self).first.name()))
        self.text.setWordWrap(True)
        self.text.setMinimumWidth(460)
        self.text.setOpenExternalLinks(True)
        self.text.setTextInteractionFlags(Qt.TextBrowserInteraction)
        buttons = QDialogButtonBox(QDialogButtonBox.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.text)
        layout.addWidget(buttons)


def _as_html(ink: str) -> str:
    # Qt's own colour of links is a dark blue, which nobody can read in the dark theme
    link = f'<a style="color: {ink}" href'
    parts = [
        "None of it comes with the plugin. Read the terms yourself before you publish figures, or "
        "give away a detector that was trained on it."
    ]
    for one in PUBLIC_DATA:
        links = ", ".join(f'{link}="{escape(to)}">{escape(says)}</a>' for says, to in one.links)
        parts.append(
            f"<b>{escape(one.name)}</b> ({links}): {escape(one.what)}.<br>"
            f"To open it: {escape(one.how_to_open)}.<br>Licence: {escape(one.licence)}."
        )
    return "".join(f"<p>{part}</p>" for part in parts)
