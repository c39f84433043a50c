"""Annotations as frozen data."""

from __future__ import annotations

import pickle
import time

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.experiment import Annotations

times_of_positions = st.lists(st.integers(-5, 5), max_size=40)


@given(times_of_positions, st.integers(-7, 7))
def test_the_positions_of_a_time_point_are_all_of_it_in_their_order(times, t):
    annotations = Annotations(np.array(times, np.int64), np.zeros((len(times), 3)))
    assert annotations.at(t).tolist() == [k for k, one in enumerate(times) if one == t]
    copied = pickle.loads(pickle.dumps(annotations))
    assert copied.at(t).tolist() == annotations.at(t).tolist()
    annotations.at(t)[:] = -1  # whoever changes the answer changes nothing else
    assert annotations.at(t).tolist() == copied.at(t).tolist()


def test_looking_at_every_time_point_does_not_go_through_all_positions_each_time():
    n = 200_000
    annotations = Annotations(np.arange(n) // 2, np.zeros((n, 3)))
    annotations.at(0)
    begin = time.thread_time()
    for t in range(1000):
        annotations.at(t)
    one = time.thread_time() - begin
    begin = time.thread_time()
    for _ in range(1000):
        np.flatnonzero(annotations.t == 0)
    assert one < 0.5 * (time.thread_time() - begin)
