"""A movie is known again by its pixels, whatever it is called."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.detector.learnt import (
    FrameSample,
    Recognition,
    TrainedOn,
    seen_through,
    trained_on,
)
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.images import ArraySource


def movie(seed=0, *, name="movie", dtype="uint16", times=4, **changes):
    pixels = np.random.default_rng(seed).integers(0, 200, (times, 3, 16, 16)).astype(dtype)
    return Experiment(name, Annotations(), ArraySource(pixels, "tzyx", name="x"), **changes)


def learnt(experiment, *times):
    return trained_on([experiment], [(0, t) for t in times])


def test_by_its_pixels_under_another_name_and_in_another_type():
    parts = learnt(movie(name="one"), 1, 2)
    assert Recognition(parts).time_points(movie(name="two", dtype="float32")) == {1, 2}


def test_another_movie_of_the_same_name_is_another():
    assert Recognition(learnt(movie(0), 1)).time_points(movie(1)) == set()


def test_frames_of_several_experiments():
    one, two = movie(0, name="one"), movie(1, name="two")
    parts = trained_on([one, two], [(0, 0), (1, 2), (1, 3)])
    assert Recognition(parts).frames([two, movie(2), one]) == {(0, 2), (0, 3), (2, 0)}


@pytest.mark.parametrize("blank", [0, 7])
def test_where_pixels_tell_nothing_the_name_has_to_do(blank):
    images = ArraySource(np.full((4, 1, 8, 8), blank, np.uint8), "tzyx", name="x")
    blank_movie = Experiment("blank", Annotations(), images)
    (part,) = learnt(blank_movie, 0, 1)
    assert part.sample is None
    known = Recognition([part])
    assert known.time_points(Experiment("blank", Annotations(), images)) == {0, 1}
    assert known.time_points(Experiment("other", Annotations(), images)) == set()


def test_a_detector_that_keeps_no_sample_goes_by_the_name():
    known = Recognition([TrainedOn(experiment="movie", time_points=(3,))])
    assert known.time_points(movie(1)) == {3}
    assert known.time_points(movie(1, name="other")) == set()


def test_a_part_of_the_movie_without_the_sample_goes_by_the_name():
    parts = learnt(movie(times=4), 3)
    assert Recognition(parts).time_points(movie(1, times=2)) == {3}


def test_a_channel_that_is_not_there_is_another_movie():
    sample = FrameSample(t=0, channel=5, sha256="0" * 32)
    part = TrainedOn(experiment="movie", time_points=(0,), sample=sample)
    assert Recognition([part]).time_points(movie()) == set()


def test_what_was_learnt_twice_is_named_once_and_nothing_is_forgotten():
    one, other = movie(0, name="one"), movie(1, name="other")
    before = trained_on([one, other], [(0, 0), (0, 1), (1, 0)])
    first, second = trained_on([movie(0, name="renamed")], [(0, 2), (0, 3)], before)
    assert (first.experiment, first.time_points) == ("renamed", (0, 1, 2, 3))
    assert second == before[1]


def test_a_time_window_sees_the_neighbours():
    assert seen_through((-1, 1), [4, 8]) == {3, 4, 5, 7, 8, 9}
    assert seen_through((0, 0), [4]) == {4}
