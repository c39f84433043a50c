"""Which time points a network with a time window sees."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.detector.window import window_time_points

existing = st.sets(st.integers(-50, 200), min_size=1, max_size=30).map(sorted)


@given(existing, st.integers(-60, 210), st.integers(-3, 0), st.integers(0, 3))
def test_each_is_the_nearest_that_exists_and_the_earlier_of_two(times, t, before, after):
    found = window_time_points(times, t, (before, after))
    assert len(found) == after - before + 1
    for wanted, one in zip(range(t + before, t + after + 1), found, strict=True):
        assert one == min(times, key=lambda u: (abs(u - wanted), u))


def test_a_movie_without_gaps_is_seen_as_it_is():
    assert window_time_points(range(3, 10), 5, (-1, 1)) == [4, 5, 6]
    assert window_time_points(range(3, 10), 3, (-1, 1)) == [3, 3, 4]
    assert window_time_points(range(3, 10), 9, (-1, 1)) == [8, 9, 9]


class _Counted(Sequence):
    """A long movie's time points; counts how many are looked at."""

    def __init__(self, length):
        self.length, self.looked_at = length, 0

    def __len__(self):
        return self.length

    def __getitem__(self, place):
        self.looked_at += 1
        return 2 * place


def test_a_long_movie_is_not_gone_through_for_each_of_its_time_points():
    times = _Counted(1_000_000)
    assert window_time_points(times, 1_000_000, (-1, 1)) == [999_998, 1_000_000, 1_000_000]
    assert times.looked_at < 100
