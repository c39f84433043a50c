"""Positions that don't belong to the image are noticed, and those that do are left in peace."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.dataset import load_dataset
from napari_celltrain.experiment import Annotations
from napari_celltrain.statistics import findings
from napari_celltrain.statistics.fit import fit_findings


def _codes(experiment) -> list[str]:
    return [finding.code for finding in fit_findings(experiment)]


def _moved(experiment, change=lambda p: p, dt=0):
    annotations = experiment.annotations
    return experiment.with_(
        annotations=Annotations(annotations.t + dt, change(annotations.positions.copy()))
    )


@pytest.fixture
def blobs(make_blobs):
    return make_blobs(times=8, shape=(1, 160, 200), cells=25)


WRONG = {
    "y and x exchanged": lambda p: p[:, [0, 2, 1]],
    "mirrored": lambda p: p * [1, -1, 1] + [0, 159, 0],
    "of half the size": lambda p: p * [1, 0.5, 0.5],
    "of another movie": lambda p: np.random.default_rng(9).uniform(5, 150, p.shape) * [0, 1, 1],
}


def test_good_data_is_left_in_peace(blobs):
    assert _codes(blobs) == []


def test_dark_cells_are_cells_too(blobs):
    images = blobs.images
    assert _codes(blobs.with_(images=type(images)(2000 - images.array, "tzyx"))) == []


@pytest.mark.parametrize("wrong", WRONG)
def test_positions_off_the_cells_are_noticed(blobs, wrong):
    assert "off-cells" in _codes(_moved(blobs, WRONG[wrong]))


def test_exchanged_axes_are_named(blobs):
    (finding,) = fit_findings(_moved(blobs, WRONG["y and x exchanged"]))
    assert "y and x were exchanged" in finding.message
    assert finding.time_point is not None


def test_micrometres_taken_for_pixels_are_named(make_blobs):
    blobs = make_blobs(
        times=6, shape=(1, 160, 160), cells=20, voxel_size_um=(1.0, 0.4, 0.4), width=6.0
    )
    assert _codes(blobs) == []
    found = list(fit_findings(_moved(blobs, lambda p: p * [1, 0.4, 0.4])))
    assert any("if they were in micrometres" in finding.message for finding in found)


@pytest.mark.parametrize(("dt", "word"), [(1, "before"), (-1, "after")])
def test_a_time_shift_is_named(blobs, dt, word):
    (finding,) = fit_findings(_moved(blobs, dt=dt))
    assert finding.code == "time-shift"
    assert f"the time point {word}" in finding.message


@pytest.mark.parametrize("factor", [10.0, 0.1])
def test_a_voxel_size_wrong_by_ten_is_noticed(blobs, factor):
    wrong = blobs.with_(voxel_size_um=(1.0, factor, factor))
    (finding,) = [one for one in fit_findings(wrong) if one.code == "cell-size"]
    assert "voxel size" in finding.message


@pytest.fixture(scope="module")
def stacks(make_blobs):
    """Few cells in many planes, and another movie of the same kind."""
    options = {"times": 4, "shape": (14, 90, 100), "cells": 14, "voxel_size_um": (2.0, 0.6, 0.6)}
    return [make_blobs(**options, width=8.0, seed=seed) for seed in (1, 2)]


def test_good_stacks_are_left_in_peace(stacks):
    first, second = stacks
    assert _codes(first) == []
    assert _codes(second) == []
    assert _codes(_only(first, np.arange(len(first.annotations)) % 3 == 0)) == []


WRONG_STACKS = {
    "if y and x were exchanged": lambda p: p[:, [0, 2, 1]],
    "if z were counted from the other end": lambda p: p * [-1, 1, 1] + [13, 0, 0],
    "if y were counted from the other end": lambda p: p * [1, -1, 1] + [0, 89, 0],
    "if they had been divided by the voxel size once too often": lambda p: p / [2, 0.6, 0.6],
    "if they were in micrometres": lambda p: p * [2, 0.6, 0.6],
}


@pytest.mark.parametrize("words", WRONG_STACKS)
def test_what_is_wrong_with_positions_in_a_stack_is_named(stacks, words):
    (finding,) = fit_findings(_moved(stacks[0], WRONG_STACKS[words]))
    assert finding.code == "off-cells"
    assert words in finding.message


@pytest.mark.parametrize(("dz", "words"), [(1, "plane before"), (-1, "plane after")])
def test_positions_a_plane_off_are_noticed_where_planes_are_far_apart(make_blobs, dz, words):
    for spacing in (2.0, 4.0):
        stack = make_blobs(
            times=4, shape=(12, 90, 100), cells=14, voxel_size_um=(spacing, 0.6, 0.6), width=8.0
        )
        assert _codes(stack) == []
        (finding,) = fit_findings(_moved(stack, lambda p: p + np.array((dz, 0, 0))))
        assert words in finding.message


def test_positions_that_hardly_fit_are_worth_a_word(make_blobs):
    """Every second mark is anywhere."""
    stack = make_blobs(times=8, shape=(1, 200, 200), cells=25)
    rng = np.random.default_rng(3)
    nowhere = rng.uniform(5, 190, (len(stack.annotations), 3)) * [0, 1, 1]
    odd = np.arange(len(nowhere))[:, None] % 5 > 1
    (finding,) = fit_findings(_moved(stack, lambda p: np.where(odd, nowhere, p)))
    assert finding.severity == "info"
    assert "open them over the image" in finding.message


def test_positions_of_another_stack_are_noticed(stacks):
    first, second = stacks
    (finding,) = fit_findings(first.with_(annotations=second.annotations))
    assert "Are they of this movie" in finding.message


def test_the_distance_between_some_marked_cells_is_not_their_size(blobs):
    empty = np.full((4, 1, 300, 300), 9, np.uint8)
    far = Annotations([0, 0, 1, 1], [[0, 40, 40], [0, 260, 260], [0, 50, 250], [0, 250, 50]])
    apart = blobs.with_(
        images=type(blobs.images)(empty, "tzyx"), annotations=far, voxel_size_um=(1.0, 0.5, 0.5)
    )
    assert _codes(apart) == ["cell-size"]
    assert _codes(apart.with_(completeness="sparse")) == []


def test_few_positions_prove_nothing(make_blobs):
    few = make_blobs(times=2, cells=4)
    assert _codes(_moved(few, lambda p: p[:, [0, 2, 1]])) == []


@pytest.mark.parametrize("value", [0, np.nan])
def test_empty_images_prove_nothing(blobs, value):
    empty = np.full(blobs.images.array.shape, value, np.float32)
    assert _codes(blobs.with_(images=type(blobs.images)(empty, "tzyx"))) == []


def test_a_stack_is_looked_at_in_the_plane_of_its_cells(make_blobs):
    stack = make_blobs(times=3, shape=(10, 90, 90), cells=30, voxel_size_um=(2.0, 1.0, 1.0))
    assert _codes(stack) == []
    assert _codes(_moved(stack, lambda p: p * [1, 0.5, 0.5])) in (["off-cells"], [])


def test_real_movies_are_left_in_peace_and_their_shifts_noticed(data_folder):
    dataset = load_dataset(data_folder / "dev_timelapses.autlist")
    for experiment in dataset.experiments:
        assert _codes(experiment) == [], experiment.name
    quick = [e for e in dataset.experiments if "hela" in e.name or "laptrack" in e.name]
    assert len(quick) == 2
    for experiment in quick:
        assert _codes(_moved(experiment, dt=1)) == ["time-shift"], experiment.name
        assert _codes(_moved(experiment, lambda p: p[:, [0, 2, 1]])) == ["off-cells"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
def test_pixels_without_a_value_are_neither_dark_nor_bright(blobs, value):
    movie = blobs.images.array.astype(np.float32) + 30_000
    movie[..., :12] = movie[:, :, 70:80, 90:110] = value
    spoilt = blobs.with_(images=type(blobs.images)(movie, "tzyx"))
    assert _codes(spoilt) == []
    assert {finding.code for finding in findings(spoilt)} <= {"not-finite-pixels"}


def _only(experiment, keep):
    return experiment.with_(annotations=experiment.annotations.select(keep))


@pytest.mark.parametrize("dark", [False, True])
def test_cells_that_are_left_unmarked_are_noticed(blobs, dark):
    """A corner of the movie was annotated, and nobody said so: the rest would be background."""
    if dark:
        blobs = blobs.with_(images=type(blobs.images)(2000 - blobs.images.array, "tzyx"))
    corner = _only(blobs, blobs.annotations.positions[:, 2] < 90)
    (finding,) = fit_findings(corner)
    assert finding.code == "unmarked"
    assert "will be learnt as background" in finding.message
    every_fourth = np.arange(len(blobs.annotations)) % 4 == 0
    assert _codes(_only(blobs, every_fourth)) == ["unmarked"]


def test_unmarked_cells_are_no_news_where_only_some_should_be_marked(blobs):
    some = _only(blobs, np.arange(len(blobs.annotations)) % 4 == 0)
    for completeness in ("box", "region", "sparse"):
        assert _codes(some.with_(completeness=completeness)) == []


def test_marks_that_say_no_cell_are_marks_too(blobs):
    told = blobs.annotations
    status = np.where(np.arange(len(told)) % 2, 1, -1)
    assert _codes(blobs.with_(annotations=Annotations(told.t, told.positions, status=status))) == []


def test_a_few_oversights_are_no_news(blobs):
    assert _codes(_only(blobs, np.arange(len(blobs.annotations)) % 5 > 0)) == []


def test_the_channel_that_was_meant_is_named(blobs):
    """Exchanged channels: the cells are in the second, and the first is used."""
    cells = blobs.images.array
    other = np.random.default_rng(3).normal(200, 20, cells.shape).astype(cells.dtype)
    exchanged = blobs.with_(images=type(blobs.images)(np.stack([other, cells], axis=1), "tczyx"))
    (finding,) = [one for one in fit_findings(exchanged) if one.code == "off-cells"]
    assert "They would in channel 2." in finding.message
    assert _codes(exchanged.with_(channels=(1,))) == []
    nowhere = np.stack([other, other[::-1]], axis=1)
    (finding,) = fit_findings(blobs.with_(images=type(blobs.images)(nowhere, "tczyx")))
    assert "this channel" in finding.message
