"""Precision and recall mean what a person means by them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from napari_celltrain.evaluation.scores import Scores, judge_frame


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
    scores = judge_frame([], [], 1).scores
    assert math.isnan(scores.f1)
    assert math.isnan(scores.precision)
    assert math.isnan(scores.recall)
    assert math.isnan(scores.localisation_error)


@pytest.mark.parametrize(("found", "truth"), [([], [[0, 0, 0]]), ([[0, 0, 0]], [])])
def test_finding_nothing_and_finding_noise_are_never_good(found, truth):
    scores = judge_frame(found, truth, 1).scores
    assert (scores.f1, scores.precision, scores.recall) == (0.0, 0.0, 0.0)


def test_two_detections_on_one_cell_are_one_false_positive():
    scores = judge_frame([[0, 0, 0], [0, 0, 0.5]], [[0, 0, 0.1]], 1).scores
    assert (scores.tp, scores.fp, scores.fn) == (1, 1, 0)
    assert scores.localisation_error == pytest.approx(0.1)


def test_an_ignored_cell_counts_for_nobody_found_or_not():
    truth = [[0, 0, 0], [0, 0, 10]]
    ignore = np.array([False, True])
    found_both = judge_frame([[0, 0, 0], [0, 0, 10]], truth, 1, ignore_truth=ignore).scores
    found_one = judge_frame([[0, 0, 0]], truth, 1, ignore_truth=ignore).scores
    assert found_both == found_one == Scores(tp=1)


def test_a_detection_in_the_border_is_no_error_but_may_be_right():
    found = [[0, 0, 0], [0, 0, 10]]
    border = np.array([True, True])
    scores = judge_frame(found, [[0, 0, 0.5]], 1, ignore_found=border).scores
    assert (scores.tp, scores.fp, scores.fn) == (1, 0, 0)


def test_an_ignored_cell_takes_no_detection_from_one_that_counts():
    ignore = np.array([True, False])
    scores = judge_frame([[0, 0, 0]], [[0, 0, 0], [0, 0, 0.9]], 1, ignore_truth=ignore).scores
    assert (scores.tp, scores.fp, scores.fn) == (1, 0, 0)


def test_each_position_is_right_false_missed_or_nobodys():
    found = [[0, 0, 0.9], [0, 0, 20], [0, 0, 30], [0, 0, 40]]
    truth = [[0, 0, 0], [0, 0, 1.8], [0, 0, 20], [0, 0, 60]]
    verdict = judge_frame(
        found,
        truth,
        1,
        ignore_found=np.array([False, False, True, False]),
        ignore_truth=np.array([True, False, True, False]),
    )
    # the first is nearer to nobody: it belongs to the cell that counts, as in the figures
    assert verdict.right.tolist() == [True, False, False, False]
    assert verdict.false.tolist() == [False, False, False, True]
    assert verdict.missed.tolist() == [False, False, False, True]
    assert (verdict.scores.tp, verdict.scores.fp, verdict.scores.fn) == (1, 1, 1)
