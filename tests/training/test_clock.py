"""The time of a run is the time in which it ran."""

from __future__ import annotations

import time

import pytest

from napari_celltrain.training import clock as clock_module
from napari_celltrain.training.clock import LONGEST_S, Clock


def test_what_passes_between_looks_is_counted():
    now = [100.0]
    clock = Clock(lambda: now[0])
    for _ in range(10):
        now[0] += 1.5
        assert clock.seconds == pytest.approx(now[0] - 100)


def test_hours_in_which_nothing_ran_are_not():
    now = [0.0]
    clock = Clock(lambda: now[0])
    now[0] = 1.0
    assert clock.seconds == 1.0
    now[0] += 3600
    assert clock.seconds == 1.0 + LONGEST_S
    now[0] -= 500  # a clock that was set back takes nothing away
    assert clock.seconds == 1.0 + LONGEST_S
    now[0] += 0.5
    assert clock.seconds == 1.5 + LONGEST_S


def test_long_work_is_counted_though_nobody_asks(monkeypatch):
    monkeypatch.setattr(clock_module, "EVERY_S", 0.01)
    monkeypatch.setattr(clock_module, "LONGEST_S", 0.2)
    with Clock() as clock:
        begin = time.monotonic()
        time.sleep(0.8)
        assert clock.seconds == pytest.approx(time.monotonic() - begin, abs=0.3)
