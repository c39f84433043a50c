"""The table of image containers in the documentation says what can be opened."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from napari_celltrain.images.opening import SUFFIXES

HERE = Path(__file__).parent
TEXT = (HERE.parents[1] / "docs" / "formats.md").read_text("utf-8")
TABLE = TEXT.partition("## Images")[2].partition("\n## ")[0]
ROWS = [line.strip("|").split("|") for line in TABLE.splitlines() if line.startswith("| **")]


def test_every_suffix_has_its_row():
    told = [suffix for row in ROWS for suffix in re.findall(r"`(\.\w+)`", row[1])]
    assert sorted(told) == sorted({*SUFFIXES})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: re.search(r"\*\*(.+?)\*\*", row[0])[1])
def test_a_test_file_stands_behind_each_row(row):
    assert len(row) == 4
    (test_file,) = re.findall(r"`(test_\w+\.py)`", row[2])
    assert "def test_" in (HERE / test_file).read_text("utf-8")
