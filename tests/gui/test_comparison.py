"""Detections beside an annotation: the same numbers as the evaluation, and where they are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.evaluation.threshold import ScoredFrame
from napari_celltrain.gui.comparison import compare


def frame(seed, n_found, n_truth):
    random = np.random.default_rng(seed)
    return ScoredFrame(
        found=random.uniform(0, 30, (n_found, 3)),
        scores=random.uniform(0, 1, n_found),
        truth=random.uniform(0, 30, (n_truth, 3)),
        tolerance=4.0,
        scale=(2.0, 0.5, 0.5),
        ignore_found=random.random(n_found) < 0.2,
        ignore_truth=random.random(n_truth) < 0.2,
    )


@given(st.integers(0, 10_000), st.integers(0, 30), st.integers(0, 30), st.floats(0, 1))
def test_places_and_scores_agree(seed, n_found, n_truth, threshold):
    frames = [(3, frame(seed, n_found, n_truth)), (7, frame(seed + 1, n_truth, n_found))]
    comparison = compare(frames, threshold, "um")
    kinds = ("found", "missed", "false")
    counts = {kind: int((comparison.outcome == kind).sum()) for kind in kinds}
    assert counts == {
        "found": comparison.scores.tp,
        "missed": comparison.scores.fn,
        "false": comparison.scores.fp,
    }
    assert set(comparison.t.tolist()) <= {3, 7}


def test_the_words_say_what_there_is_to_say():
    assert "nothing to compare" in compare([], 0.5, "um").in_words
    perfect = ScoredFrame(np.ones((1, 3)), np.ones(1), np.ones((1, 3)), 1.0)
    assert "F1 1.000" in compare([(0, perfect)], 0.5, "um").in_words


def test_figures_on_frames_that_were_learnt_from_say_so():
    place = np.array([[0.0, 5.0, 5.0]])
    frame = ScoredFrame(place, np.array([0.9]), place, 1.0)
    words = compare([(5, frame), (6, frame), (9, frame)], 0.5, "um", seen={5, 6, 7}).in_words
    assert "2 of these 3 time points were trained on" in words
    assert "This time point was trained on" in compare([(0, frame)], 0.5, "um", {0}).in_words
    assert "trained on" not in compare([(7, frame)], 0.5, "um", seen={0}).in_words
