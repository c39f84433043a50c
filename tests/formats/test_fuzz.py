"""Damaged files end in a result or in a sentence: never in a traceback, a hang or a full memory.

That happens in a process of its own (`mutate.py`), so that a crash of a C library is seen too.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

FAST, SLOW = 60, 20_000
FAMILIES = ("json", "xml", "csv", "ctc", "geff", "archive", "hdf5")
MUTATE = Path(__file__).with_name("mutate.py")


def check(family, seed, count):
    done = subprocess.run(
        [sys.executable, str(MUTATE), family, str(seed), str(count)],
        capture_output=True, text=True, timeout=36000,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


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
