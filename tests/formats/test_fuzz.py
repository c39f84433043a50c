"""Damaged files end in a result or in a sentence: never in a traceback, a hang or a full memory.

That happens in a process of its own (`mutate.py`), so that a crash of a C library is seen too.
"""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from napari_celltrain.formats import format_of, formats

FAST, SLOW = 60, 20_000
FAMILIES = ("json", "xml", "csv", "ctc", "geff", "archive", "hdf5")
MUTATE = Path(__file__).with_name("mutate.py")


def check(family, seed, count):
    done = subprocess.run(
        [sys.executable, str(MUTATE), family, str(seed), str(count)],
        capture_output=True, text=True, timeout=36000,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_no_format_is_forgotten(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(MUTATE.parent)
    found = set()
    for make in runpy.run_path(str(MUTATE.with_name("mutation_seeds.py")))["FAMILIES"].values():
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        found |= {format_of(folder / opened).name for opened, _ in make(folder).values()}
    only_written = {"GEFF for Mastodon", "napari points CSV", "Mastodon CSV"}
    assert found == {one.name for one in formats()} - only_written - {"Pickled tracks"}


def test_no_family_is_forgotten():
    done = subprocess.run([sys.executable, str(MUTATE)], capture_output=True, text=True)
    assert tuple(done.stderr.split()) == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_some_damage_ends_in_a_result_or_a_sentence(family):
    check(family, seed=0, count=FAST)


@pytest.mark.slow
@pytest.mark.timeout(36000)
@pytest.mark.parametrize("family", FAMILIES)
def test_much_damage_ends_in_a_result_or_a_sentence(family):
    check(family, seed=1, count=SLOW)
