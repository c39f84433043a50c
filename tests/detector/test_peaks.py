"""Local maxima and suppression, against what a few lines of brute force say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_celltrain.detector.peaks import find_peaks, suppress


def _find(logits, floor=0.05, offsets=None):
    logits = torch.as_tensor(logits, dtype=torch.float32)
    if offsets is None:
        offsets = torch.zeros(3, *logits.shape)
    return find_peaks(logits, offsets, floor)


def _brute_force(logits: np.ndarray, level: float) -> set[tuple[int, ...]]:
    peaks = set()
    for place in np.ndindex(*logits.shape):
        value = logits[place]
        if not value >= level:
            continue
        best = True
        for step in np.ndindex(3, 3, 3):
            other = tuple(p + s - 1 for p, s in zip(place, step, strict=True))
            if other == place or any(
                not 0 <= o < n for o, n in zip(other, logits.shape, strict=True)
            ):
                continue
            # the first of equals wins
            if logits[other] > value or (logits[other] == value and other < place):
                best = False
        if best:
            peaks.add(place)
    return peaks


@settings(max_examples=80, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 7), st.integers(1, 7)),
    seed=st.integers(0, 10_000),
    levels=st.integers(2, 6),
)
def test_peaks_are_those_of_brute_force(shape, seed, levels):
    # few different values, so that plateaus are common
    logits = np.random.default_rng(seed).integers(-4, levels - 4, shape).astype(np.float32)
    grid, position, scores = _find(logits)
    assert {tuple(row) for row in grid.tolist()} == _brute_force(logits, np.log(0.05 / 0.95))
    np.testing.assert_array_equal(position, grid)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-logits[tuple(grid.T)].astype(float))))


def test_a_plateau_gives_one_peak():
    logits = np.full((3, 9, 9), -5.0)
    logits[1, 3:6, 3:6] = 2.0
    assert len(_find(logits)[0]) == 1


def test_what_lies_below_the_floor_is_no_candidate():
    logits = np.full((1, 5, 5), -9.0)
    logits[0, 2, 2] = np.log(0.04 / 0.96)
    assert len(_find(logits)[0]) == 0
    assert len(_find(logits, floor=0.03)[0]) == 1


def test_offsets_are_added_and_limited():
    logits = np.full((1, 5, 5), -9.0)
    logits[0, 2, 2] = 3.0
    offsets = torch.zeros(3, 1, 5, 5)
    offsets[:, 0, 2, 2] = torch.tensor([0.25, -0.5, 90.0])
    np.testing.assert_allclose(_find(logits, offsets=offsets)[1], [[0.25, 1.5, 4.0]])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_never_become_places(bad):
    logits = np.full((1, 5, 5), -9.0)
    logits[0, 2, 2] = 3.0
    logits[0, 0, 0] = bad
    offsets = torch.full((3, 1, 5, 5), float(bad))
    _, position, scores = _find(logits, offsets=offsets)
    assert np.isfinite(position).all()
    assert np.isfinite(scores).all()


def _suppress_slowly(positions: np.ndarray, scores: np.ndarray, radius: float) -> list[int]:
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], *positions[i]))
    kept: list[int] = []
    for i in order:
        if all(np.linalg.norm(positions[i] - positions[k]) > radius for k in kept):
            kept.append(i)
    return sorted(kept)


@settings(max_examples=150, deadline=None)
@given(
    n=st.integers(0, 40),
    seed=st.integers(0, 10_000),
    radius=st.floats(0.01, 12),
    equal=st.booleans(),
)
def test_suppression_is_that_of_brute_force(n, seed, radius, equal):
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 20, (n, 3))
    scores = rng.integers(1, 4, n) / 4.0 if equal else rng.random(n)
    got = suppress(positions, scores, radius).tolist()
    assert got == _suppress_slowly(positions, scores, radius)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(2, 30), seed=st.integers(0, 1000))
def test_the_order_of_candidates_changes_nothing(n, seed):
    rng = np.random.default_rng(seed)
    positions, scores = rng.uniform(0, 10, (n, 3)), rng.integers(1, 4, n) / 4.0
    shuffled = rng.permutation(n)
    a = positions[suppress(positions, scores, 3.0)]
    b = positions[shuffled][suppress(positions[shuffled], scores[shuffled], 3.0)]
    assert sorted(map(tuple, a)) == sorted(map(tuple, b))
