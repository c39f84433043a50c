"""What was corrected takes the place of what was annotated before, and nothing is learnt twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.dataset import Dataset, Member, split
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.gui.same_movie import corrected, one_for_each_movie
from napari_celltrain.images import ArraySource

times = st.lists(st.integers(0, 6), max_size=12)


def marks(t, z=0.0):
    return Annotations(np.array(t, np.int64), np.full((len(t), 3), z))


@given(times, times)
def test_a_corrected_time_point_is_as_the_corrections_say_all_others_as_before(before, after):
    both = corrected(marks(before), marks(after, 1.0))
    for t in range(7):
        here = both.positions[both.at(t), 0].tolist()
        assert here == ([1.0] * after.count(t) if t in after else [0.0] * before.count(t))


def test_links_stay_where_both_ends_do():
    before = Annotations([0, 1, 2], np.zeros((3, 3)), links=[[0, 1], [1, 2]])
    after = Annotations([2, 3], np.ones((2, 3)), links=[[0, 1]])
    both = corrected(before, after)
    assert both.t.tolist() == [0, 1, 2, 3]
    assert both.links.tolist() == [[0, 1], [2, 3]]


def test_no_frame_is_both_learnt_from_and_held_out():
    array = np.zeros((10, 1, 64, 64), np.uint8)
    many = np.repeat(np.arange(10), 12)
    place = np.tile(np.linspace([0, 5, 5], [0, 60, 60], 12), (10, 1))
    annotated = Experiment("a", Annotations(many, place), ArraySource(array, "tzyx"))
    copy = Experiment(
        "a corrected", Annotations([8, 9], [[0, 5, 5], [0, 6, 6]]), ArraySource(array, "tzyx")
    )
    other = Experiment("b", Annotations(many, place), ArraySource(array.copy(), "tzyx"))
    members = one_for_each_movie([Member(annotated), Member(copy), Member(other)])
    assert [one.experiment.name for one in members] == ["a", "b"]
    assert (members[0].experiment.annotations.t == 9).sum() == 1
    parts = split(Dataset(tuple(members)))
    assert not set(parts.train) & set(parts.held_out)


def test_what_is_used_in_different_ways_stays_apart():
    images = ArraySource(np.zeros((10, 1, 64, 64), np.uint8), "tzyx")
    one = Experiment("a", marks([1, 2]), images, time_range=(0, 1))
    sparse = Experiment("c", marks([3]), images, completeness="sparse")
    tested = Member(Experiment("d", marks([4]), images), role="held-out")
    assert len(one_for_each_movie([Member(one), Member(sparse), tested])) == 3
    later = Experiment("later", marks([2, 5]), images)
    (both,) = one_for_each_movie([Member(one), Member(later)])
    assert both.experiment.annotations.t.tolist() == [1, 2, 5]
    assert both.experiment.image_time_points() == list(range(10))
