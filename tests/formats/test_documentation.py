"""The table of formats in the documentation says what the formats and their tests say."""

from __future__ import annotations

import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

from napari_celltrain.formats import formats, is_writable

HERE = Path(__file__).parent
TEXT = (HERE.parents[1] / "docs" / "formats.md").read_text("utf-8")
CELLS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| **")
]
ROWS = {re.search(r"\*\*(.+?)\*\*", row[0])[1]: row[1:] for row in CELLS if len(row) == 5}
BY_NAME = {one.name: one for one in formats()}
READ_AS = {"MaMuT XML": "TrackMate XML"}
"""Rows for files that another row's format reads, but does not write."""


@pytest.fixture(scope="module")
def real_files():
    return runpy.run_path(str(HERE / "test_real_files.py"))


def test_every_format_has_its_row():
    assert set(ROWS) == {*BY_NAME, *READ_AS}


@pytest.mark.parametrize("name", ROWS)
def test_what_is_written_is_told(name):
    write = ROWS[name][1]
    writable = name in BY_NAME and is_writable(BY_NAME[name])
    assert write.startswith("no") != writable


def test_only_pickles_are_refused():
    assert [name for name, cells in ROWS.items() if cells[0] == "refused"] == ["Pickled tracks"]


@pytest.mark.parametrize("name", ROWS)
def test_a_test_file_stands_behind_each_row(name):
    (test_file,) = re.findall(r"`(test_\w+\.py)`", ROWS[name][2])
    source = (HERE / test_file).read_text("utf-8")
    assert "def test_" in source
    module = type(BY_NAME[READ_AS.get(name, name)]).__module__.rpartition(".")[2]
    own = {"geff_writing": "geff_store", "csv_writing": "csv_table"}.get(module, module)
    assert test_file == f"test_{own}.py"


@pytest.mark.parametrize("name", ROWS)
def test_the_real_files_are_as_many_as_are_opened(name, real_files):
    opened = Counter(entry[0] for entry in real_files["REAL"].values())
    opened += Counter(real_files["IN_POINTS"])
    opened += Counter({"OrganoidTracker list": len(real_files["LISTS"])})
    stated = re.search(r"real: (\d+)", ROWS[name][2])
    assert (int(stated[1]) if stated else 0) == opened[name]
    if stated is None:
        assert "made" in ROWS[name][2]


@pytest.mark.parametrize("name", [name for name, one in BY_NAME.items() if is_writable(one)])
def test_what_writing_loses_is_told(name):
    keeps, told = BY_NAME[name].keeps, ROWS[name][3]
    inherited = "As `.aut`" in told
    for kept, words in (
        (keeps.not_cells or inherited or told.startswith("As GEFF"), "cells"),
        (keeps.links, "links"),
        (keeps.merges or not keeps.links, "one mother"),
        (keeps.gaps, "in between"),
        (
            keeps.columns in ("all",),
            "columns of text" if keeps.columns == "numbers" else "other columns",
        ),
        (keeps.voxel_size, "voxel size"),
        (keeps.exact, "rounded"),
        (not keeps.needs_radius, "radius"),
        (not keeps.in_micrometres, "in pixels" if name.startswith("GEFF") else "micrometres"),
    ):
        assert kept or words in told, words


def test_options_that_are_named_are_options():
    from napari_celltrain.formats.options import ReadOptions

    named = set(re.findall(r"\(`([a-z_]+)`\)", "\n".join(cells[3] for cells in ROWS.values())))
    assert named
    assert named <= set(ReadOptions.__dataclass_fields__)
