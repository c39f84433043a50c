"""File > IO Utilities > Public tracking data."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_celltrain.gui.public_data import PUBLIC_DATA, PublicDataDialog, public_data

PAGE = Path(__file__).parents[2] / "docs" / "first-detector.md"


def test_public_data_are_shown_with_links_and_licences(viewer):
    public_data()
    (dialog,) = viewer.window._qt_window.findChildren(PublicDataDialog)
    assert dialog.isVisible()
    assert dialog.text.openExternalLinks()
    for one in PUBLIC_DATA:
        assert one.name in dialog.text.text()
        assert one.licence in dialog.text.text()
        for _, address in one.links:
            assert f'href="{address}"' in dialog.text.text()
    dialog.reject()


@pytest.mark.parametrize("one", PUBLIC_DATA, ids=lambda one: one.name)
def test_the_documentation_names_the_same(one):
    page = PAGE.read_text("utf-8")
    for _, address in one.links:
        assert f"({address})" in page
    assert one.licence.split(":")[0] in page
