"""When a run ends, and how the learning rate gets there."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.training.schedule import LAST, WARM_UP, Schedule
from napari_celltrain.training.settings import Budget


@given(steps=st.integers(WARM_UP + 1, 100_000), seconds=st.floats(0, 1e6))
def test_a_budget_of_steps_does_not_depend_on_the_clock(steps, seconds):
    schedule = Schedule(Budget(steps=steps))
    middle = (steps + WARM_UP) // 2
    assert schedule.rate(middle, seconds) == schedule.rate(middle, 0.0)
    assert not schedule.finished(steps - 1, seconds)
    assert schedule.finished(steps, seconds)
    assert schedule.rate(steps, seconds) == pytest.approx(LAST)


def test_a_budget_of_time_ends_with_it():
    schedule = Schedule(Budget(minutes=2))
    assert not schedule.finished(10**6, 119)
    assert schedule.finished(3, 120)
    assert schedule.rate(10**6, 120) == pytest.approx(LAST)
    assert schedule.rate(10**6, 60) == pytest.approx((1 + LAST) / 2)


def test_whichever_budget_is_used_up_first_ends_it():
    schedule = Schedule(Budget(minutes=1, steps=100))
    assert schedule.finished(100, 5)
    assert schedule.finished(5, 60)


def test_the_first_steps_are_small():
    schedule = Schedule(Budget(steps=10_000))
    rates = [schedule.rate(step, 0) for step in range(WARM_UP)]
    assert rates[0] <= 1 / WARM_UP
    assert all(a < b for a, b in itertools.pairwise(rates))


@given(st.integers(0, 5000), st.integers(0, 5000))
def test_after_warming_up_the_rate_only_falls(a, b):
    schedule = Schedule(Budget(steps=5000))
    first, second = sorted((max(a, WARM_UP), max(b, WARM_UP)))
    assert schedule.rate(first, 0) >= schedule.rate(second, 0) - 1e-12


def test_without_a_budget_it_ends_some_time_after_it_stopped_improving():
    schedule = Schedule(Budget(patience=3))
    assert schedule.by_convergence
    assert schedule.share_done(1000, 50) is None
    for step, improved in ((100, True), (200, False), (300, False), (400, True)):
        schedule.evaluated(step, improved)
    assert schedule.stale == 0
    for step in (500, 600, 700):
        assert schedule.rate(step, 0) == 1
        schedule.evaluated(step, False)
    assert schedule.cooling_from == 700
    assert schedule.cooling_to is not None
    assert schedule.cooling_to > 700
    assert not schedule.finished(701, 0)
    assert schedule.rate(schedule.cooling_to, 0) == pytest.approx(LAST)
    assert schedule.finished(schedule.cooling_to, 0)


def test_an_improvement_while_cooling_does_not_move_the_end():
    schedule = Schedule(Budget(patience=2))
    for step in (100, 200):
        schedule.evaluated(step, False)
    end = schedule.cooling_to
    schedule.evaluated(250, True)
    for step in (300, 320, 340):
        schedule.evaluated(step, False)
    assert schedule.cooling_to == end


def test_its_state_comes_back():
    schedule = Schedule(Budget(patience=2))
    schedule.evaluated(100, False)
    schedule.evaluated(200, False)
    other = Schedule(Budget(patience=2))
    other.load(schedule.state())
    assert other.state() == schedule.state()
    assert other.rate(250, 0) == schedule.rate(250, 0)
