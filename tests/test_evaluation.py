from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_celltrain.evaluation import (
    ScoredFrame,
    Scores,
    _outcomes,
    best_threshold,
    match,
    score_frame,
)

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
    assert score_frame(found[order], truth, tolerance).tp == score_frame(found, truth, tolerance).tp


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
    scores = score_frame(found, [[0, 0, 0], [np.nan] * 3], 1)
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


def test_scores_add_up_over_frames():
    a = Scores(tp=3, fp=1, fn=0, distance_sum=1.5)
    b = Scores(tp=1, fp=0, fn=4, distance_sum=2.5)
    total = Scores.total([a, b])
    assert total == Scores(4, 1, 4, 4.0)
    assert total.precision == pytest.approx(0.8)
    assert total.recall == pytest.approx(0.5)
    assert total.f1 == pytest.approx(8 / 13)
    assert total.localisation_error == pytest.approx(1.0)


def test_an_empty_frame_says_nothing():
    scores = score_frame([], [], 1)
    assert math.isnan(scores.f1)
    assert math.isnan(scores.precision)
    assert math.isnan(scores.recall)
    assert math.isnan(scores.localisation_error)


@pytest.mark.parametrize(("found", "truth"), [([], [[0, 0, 0]]), ([[0, 0, 0]], [])])
def test_finding_nothing_and_finding_noise_are_never_good(found, truth):
    scores = score_frame(found, truth, 1)
    assert (scores.f1, scores.precision, scores.recall) == (0.0, 0.0, 0.0)


def test_two_detections_on_one_cell_are_one_false_positive():
    scores = score_frame([[0, 0, 0], [0, 0, 0.5]], [[0, 0, 0.1]], 1)
    assert (scores.tp, scores.fp, scores.fn) == (1, 1, 0)
    assert scores.localisation_error == pytest.approx(0.1)


def test_an_ignored_cell_counts_for_nobody_found_or_not():
    truth = [[0, 0, 0], [0, 0, 10]]
    ignore = np.array([False, True])
    found_both = score_frame([[0, 0, 0], [0, 0, 10]], truth, 1, ignore_truth=ignore)
    found_one = score_frame([[0, 0, 0]], truth, 1, ignore_truth=ignore)
    assert found_both == found_one == Scores(tp=1)


def test_a_detection_in_the_border_is_no_error_but_may_be_right():
    found = [[0, 0, 0], [0, 0, 10]]
    border = np.array([True, True])
    scores = score_frame(found, [[0, 0, 0.5]], 1, ignore_found=border)
    assert (scores.tp, scores.fp, scores.fn) == (1, 0, 0)


def test_an_ignored_cell_takes_no_detection_from_one_that_counts():
    ignore = np.array([True, False])
    scores = score_frame([[0, 0, 0]], [[0, 0, 0], [0, 0, 0.9]], 1, ignore_truth=ignore)
    assert (scores.tp, scores.fp, scores.fn) == (1, 0, 0)


@settings(max_examples=80, deadline=None)
@given(points(9), points(6), st.sampled_from([0.5, 1.0, 2.0]), st.integers(0, 10_000))
def test_the_sweep_agrees_with_matching_anew_at_every_threshold(found, truth, tolerance, seed):
    scores = np.random.default_rng(seed).integers(1, 6, len(found)) / 6
    frame = ScoredFrame(found, scores, truth, tolerance)
    _, outcome = _outcomes(frame)
    for threshold in np.unique(scores):
        kept = outcome[scores >= threshold]
        expected = frame.score_at(threshold)
        assert np.count_nonzero(kept > 0) == expected.tp
        assert np.count_nonzero(kept < 0) == expected.fp


@settings(max_examples=40, deadline=None)
@given(points(9), points(6), st.integers(0, 10_000))
def test_no_threshold_is_better_than_the_best_one(found, truth, seed):
    scores = np.random.default_rng(seed).integers(1, 6, len(found)) / 6
    frames = [
        ScoredFrame(found, scores, truth, 1.0),
        ScoredFrame(truth, np.full(len(truth), 0.4), truth, 1.0),
    ]
    best = best_threshold(frames, slack=0).scores
    for threshold in [0, *np.unique(scores), 0.4]:
        other = Scores.total(frame.score_at(threshold) for frame in frames)
        assert not other.f1 > best.f1


def test_the_threshold_is_in_the_middle_of_the_plateau():
    truth = np.array([[0, 0, 0], [0, 0, 50], [0, 0, 100.0]])
    found = np.concatenate([truth, [[0, 0, 200], [0, 0, 300]]])
    scores = np.array([0.9, 0.95, 0.8, 0.2, 0.1])
    calibration = best_threshold([ScoredFrame(found, scores, truth, 1)])
    assert calibration.threshold == pytest.approx(0.5)
    assert calibration.scores == Scores(tp=3)


def test_without_false_candidates_the_plateau_ends_at_the_floor():
    truth = np.array([[0, 0, 0.0]])
    frame = ScoredFrame(truth, np.array([0.7]), truth, 1)
    assert best_threshold([frame], floor=0.1).threshold == pytest.approx(0.4)


def test_frames_have_tolerances_of_their_own():
    fine = ScoredFrame(np.array([[0, 0, 4.0]]), np.array([0.9]), np.zeros((1, 3)), 2, (1, 0.5, 0.5))
    coarse = ScoredFrame(np.array([[0, 0, 4.0]]), np.array([0.8]), np.zeros((1, 3)), 2)
    assert best_threshold([fine, coarse]).scores == Scores(tp=1, fn=1, distance_sum=2.0)


def test_nothing_to_calibrate_on_gives_the_default_and_no_good_score():
    noise = ScoredFrame(np.array([[0, 0, 90.0]]), np.array([0.9]), np.zeros((1, 3)), 1)
    calibration = best_threshold([noise])
    assert calibration.threshold == 0.5
    assert calibration.scores.f1 == 0
    assert math.isnan(best_threshold([]).scores.f1)


def test_neighbouring_floats_as_scores_still_separate():
    low, high = np.nextafter(0.5, 0), 0.5
    truth = np.array([[0, 0, 0.0]])
    frame = ScoredFrame(np.array([[0, 0, 0], [0, 0, 90.0]]), np.array([high, low]), truth, 1)
    assert best_threshold([frame]).scores == Scores(tp=1)


def test_ignored_places_do_not_move_the_threshold():
    truth = np.array([[0, 0, 0], [0, 0, 50.0]])
    found = np.array([[0, 0, 0], [0, 0, 50], [0, 0, 90.0]])
    frame = ScoredFrame(
        found,
        np.array([0.4, 0.9, 0.8]),
        truth,
        1,
        ignore_found=np.array([False, False, True]),
        ignore_truth=np.array([False, True]),
    )
    calibration = best_threshold([frame])
    assert calibration.threshold == pytest.approx(0.2)
    assert calibration.scores == Scores(tp=1)


def test_an_experiment_with_many_cells_does_not_choose_the_threshold_for_the_others():
    """Nine hundred cells are as well found at 0.2 or 0.5; the twenty-five others only at 0.5."""
    many = np.column_stack([np.zeros((900, 2)), 10.0 * np.arange(900)])
    scores = np.r_[np.full(898, 0.9), np.full(2, 0.3)]
    few = np.column_stack([np.zeros((25, 2)), 10.0 * np.arange(25)])
    noise = few + np.array([0, 500, 0])
    frames = [
        ScoredFrame(many, scores, many, 1),
        ScoredFrame(np.r_[few, noise], np.r_[np.full(25, 0.8), np.full(25, 0.35)], few, 1),
        ScoredFrame(np.r_[few, noise[:0]], np.full(25, 0.8), few, 1),
    ]
    alone = best_threshold(frames[:1], floor=0.1, slack=0).threshold
    assert alone < 0.3
    assert best_threshold(frames, groups=[0, 1, 1], floor=0.1, slack=0).threshold > 0.35
    assert best_threshold(frames[:1], groups=[7], floor=0.1, slack=0).threshold == alone
