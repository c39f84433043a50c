"""The threshold is where F1 is best, and not on an edge."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_celltrain.evaluation.scores import Scores
from napari_celltrain.evaluation.threshold import ScoredFrame, _outcomes, best_threshold

# A coarse lattice, so that ties, duplicates and distances equal to the tolerance do occur.
COORDINATES = st.integers(0, 6).map(lambda v: v / 2)


def points(max_size: int = 6):
    return st.integers(0, max_size).flatmap(lambda n: arrays(float, (n, 3), elements=COORDINATES))


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


def test_a_candidate_below_the_threshold_is_neither_right_nor_false():
    found = np.array([[0, 0, 0.0], [0, 0, 10], [0, 0, 20], [0, 0, 30]])
    frame = ScoredFrame(found, np.array([0.9, 0.3, 0.8, 0.2]), found[:2], 1)
    verdict = frame.verdict_at(0.5)
    assert verdict.right.tolist() == [True, False, False, False]
    assert verdict.false.tolist() == [False, False, True, False]
    assert verdict.missed.tolist() == [False, True]
    assert verdict.scores == frame.score_at(0.5)
