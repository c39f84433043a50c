"""Positions are matched one to one, in the best way there is."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_celltrain.evaluation.matching import match
from napari_celltrain.evaluation.scores import judge_frame

# A coarse lattice, so that ties, duplicates and distances equal to the tolerance do occur.
COORDINATES = st.integers(0, 6).map(lambda v: v / 2)


def points(max_size: int = 6):
    return st.integers(0, max_size).flatmap(lambda n: arrays(float, (n, 3), elements=COORDINATES))


def best_by_trying_all(found, truth, tolerance):
    """Return (pairs, total distance) of the best matching, by exhaustion."""
    distance = np.linalg.norm(found[:, None] - truth[None], axis=2)
    best = (0, 0.0)
    for size in range(1, min(len(found), len(truth)) + 1):
        for rows in itertools.combinations(range(len(found)), size):
            for columns in itertools.permutations(range(len(truth)), size):
                d = distance[list(rows), list(columns)]
                if (d <= tolerance).all():
                    best = min(best, (-size, float(d.sum())))
    return -best[0], best[1]


@settings(max_examples=60, deadline=None)
@given(points(4), points(4), st.sampled_from([0.0, 0.5, 1.0, 1.6, 5.0]))
def test_matching_is_the_best_there_is(found, truth, tolerance):
    matching = match(found, truth, tolerance)
    n, total = best_by_trying_all(found, truth, tolerance)
    assert len(matching.pairs) == n
    assert matching.distances.sum() == pytest.approx(total)
    for column in matching.pairs.T:
        assert len(set(column)) == len(column)
    expected = np.linalg.norm(found[matching.pairs[:, 0]] - truth[matching.pairs[:, 1]], axis=1)
    np.testing.assert_allclose(matching.distances, expected)
    assert (matching.distances <= tolerance).all()


@settings(max_examples=60, deadline=None)
@given(points(), points(), st.sampled_from([0.5, 1.0, 2.0]), st.randoms())
def test_order_of_positions_changes_no_score(found, truth, tolerance, random):
    order = list(range(len(found)))
    random.shuffle(order)
    again = match(found[order], truth, tolerance)
    assert len(again.pairs) == len(match(found, truth, tolerance).pairs)


def test_every_pair_counts_even_when_the_nearest_would_waste_one():
    found = [[0, 0, 0], [0, 0, 1]]
    truth = [[0, 0, 1.2], [0, 0, 2.5]]
    np.testing.assert_array_equal(match(found, truth, 1.6).pairs, [[0, 0], [1, 1]])


def test_tolerance_is_physical_and_inclusive():
    found, truth = [[1, 0, 0]], [[0, 0, 0]]
    assert len(match(found, truth, 2.0, (2.0, 0.4, 0.4)).pairs) == 1
    assert len(match(found, truth, 1.99, (2.0, 0.4, 0.4)).pairs) == 0


@pytest.mark.parametrize("empty", [np.empty((0, 3)), []])
def test_nothing_to_match_is_no_error(empty):
    assert len(match(empty, [[0, 0, 0]], 1).pairs) == 0
    assert len(match([[0, 0, 0]], empty, 1).pairs) == 0
    assert match(empty, empty, 1).pairs.shape == (0, 2)


def test_positions_that_are_no_numbers_match_nothing():
    found = [[np.nan, 0, 0], [0, 0, 0], [np.inf, 1, 1]]
    scores = judge_frame(found, [[0, 0, 0], [np.nan] * 3], 1).scores
    assert (scores.tp, scores.fp, scores.fn) == (1, 2, 1)


@pytest.mark.parametrize("tolerance", [-1.0, math.nan])
def test_a_tolerance_that_makes_no_sense_is_refused(tolerance):
    with pytest.raises(ValueError, match="tolerance"):
        match([[0, 0, 0]], [[0, 0, 0]], tolerance)


def test_five_thousand_points_match_quickly():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, (5000, 3)) * (50, 1000, 1000)
    found = truth + rng.normal(0, 1.5, truth.shape)
    match(found, truth, 5)
    seconds = min(_seconds(lambda: match(found, truth, 5)) for _ in range(3))
    assert seconds < 0.3  # 0.01 here; a full assignment takes seconds


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
