"""The split never lets a frame be learnt from and judged on, and says when it had to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.dataset import Dataset, Member, annotated_time_points, split
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment, Region, Status


@dataclass(frozen=True)
class Movie:
    """A movie of empty frames; splitting never reads one."""

    time_points: tuple[int, ...]
    name: str = "movie"
    n_channels: int = 1
    frame_shape: tuple[int, int, int] = (1, 40, 40)
    dtype: type = np.uint8
    voxel_size_um: None = None
    frame_interval_s: None = None
    location: str | None = None

    def read_frame(self, t, channel=0):
        raise AssertionError("splitting must not read pixels")

    def read_crop(self, t, channel, crop):
        raise AssertionError("splitting must not read pixels")


def experiment(annotated, movie=None, *, cells=5, position=(0.0, 20.0, 20.0), **changes):
    t = np.repeat(np.asarray(list(annotated), np.int64), cells)
    positions = np.tile(position, (len(t), 1))
    movie = Movie(tuple(range(100))) if movie is None else movie
    return Experiment("a movie", Annotations(t, positions), movie, **changes)


def dataset(*experiments, roles=None):
    roles = roles or [None] * len(experiments)
    return Dataset(tuple(Member(e, role) for e, role in zip(experiments, roles, strict=True)))


def test_holds_out_a_block_at_the_end_with_a_gap():
    result = split(dataset(experiment(range(10))), share=0.2)
    assert result.held_out == ((0, 8), (0, 9))
    assert result.train == tuple((0, t) for t in range(7))
    assert result.gap == 1
    assert result.trustworthy
    assert "time points 8 to 9" in result.reason


def test_gap_is_as_wide_as_the_time_window():
    result = split(dataset(experiment(range(20))), share=0.2, window=(-1, 1))
    assert result.held_out[0] == (0, 16)
    assert result.train[-1] == (0, 13)


def test_sparse_time_points_need_no_further_gap():
    result = split(dataset(experiment(range(0, 100, 10))), share=0.2)
    assert len(result.train) + len(result.held_out) == 10


def test_one_frame_is_judged_on_itself_and_says_so():
    result = split(dataset(experiment([3])))
    assert result.train == result.held_out == ((0, 3),)
    assert not result.trustworthy
    assert "one frame" in result.reason


@pytest.mark.parametrize("n", [2, 3])
def test_two_or_three_frames_hold_one_out_without_trust(n):
    result = split(dataset(experiment(range(n))))
    assert len(result.held_out) == 1
    assert len(result.train) == n - 1
    assert not result.trustworthy


def test_every_long_movie_gives_a_block_and_short_ones_are_learnt_from():
    long, short = experiment(range(10)), experiment([0, 1], Movie((0, 1)))
    result = split(dataset(long, short, experiment(range(5))), share=0.2)
    assert {index for index, _ in result.held_out} == {0, 2}
    assert {(1, 0), (1, 1)} <= set(result.train)


def test_many_single_frames_are_held_out_by_experiment():
    fields = [experiment([0], Movie((0,), location=f"field {i}")) for i in range(10)]
    result = split(dataset(*fields), share=0.2)
    assert result.held_out == ((8, 0), (9, 0))
    assert len(result.train) == 8
    assert result.trustworthy


def test_two_annotations_of_one_movie_are_divided_together():
    movie = Movie(tuple(range(20)), location="movie.tif")
    parts = dataset(experiment(range(0, 20, 2), movie), experiment(range(1, 20, 2), movie))
    result = split(parts, share=0.2)
    learnt, judged = {t for _, t in result.train}, {t for _, t in result.held_out}
    assert {index for index, _ in result.held_out} == {0, 1}
    assert max(learnt) < min(judged) - 1
    assert result.trustworthy


def test_two_positions_of_one_file_are_two_movies():
    class Series(Movie):
        series = 0

    class Other(Movie):
        series = 1

    parts = dataset(
        experiment(range(10), Series(tuple(range(10)), location="plate.lif")),
        experiment(range(5, 15), Other(tuple(range(5, 15)), location="plate.lif")),
    )
    assert {index for index, _ in split(parts).held_out} == {0, 1}


def test_roles_win():
    train, held = experiment(range(5)), experiment(range(30, 33), Movie(tuple(range(100))))
    result = split(dataset(train, held, roles=["train", "held-out"]))
    assert result.train == tuple((0, t) for t in range(5))
    assert result.held_out == ((1, 30), (1, 31), (1, 32))
    assert result.trustworthy


def test_a_frame_in_both_roles_is_noticed():
    movie = Movie(tuple(range(10)), location="one movie")
    both = dataset(
        experiment(range(5), movie), experiment(range(4, 8), movie), roles=["train", "held-out"]
    )
    result = split(both)
    assert not result.trustworthy
    assert "1 held-out frames are also learnt from" in result.reason


def test_few_held_out_cells_are_not_trusted():
    result = split(dataset(experiment(range(5), cells=1)))
    assert not result.trustworthy
    assert "1 cell only" in result.reason


def test_only_sparse_marks_are_not_trusted():
    result = split(dataset(experiment(range(10), completeness="sparse", cells=20)))
    assert not result.trustworthy
    assert "false detections" in result.reason


def test_a_time_point_counts_when_it_has_image_range_and_cell():
    movie = Movie((0, 1, 2, 3, 5))
    found = annotated_time_points(experiment([1, 2, 3, 4, 5], movie, time_range=(2, 5)))
    assert found == (2, 3, 5)


def test_marks_outside_the_image_do_not_count():
    assert annotated_time_points(experiment([1], position=(0.0, 20.0, 40.0))) == ()


def test_hard_negatives_count_only_where_annotation_is_sparse():
    one = experiment([4], cells=1)
    negative = Annotations(
        one.annotations.t, one.annotations.positions, status=np.array([Status.NOT_A_CELL])
    )
    assert annotated_time_points(one.with_(annotations=negative)) == ()
    sparse = one.with_(annotations=negative, completeness="sparse")
    assert annotated_time_points(sparse) == (4,)


def test_regions_limit_the_time_points():
    region = Region(((0, 0), (0, 9), (9, 9)), first=2, last=3)
    found = annotated_time_points(experiment(range(6), completeness="region", regions=(region,)))
    assert found == (2, 3)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (experiment([]), "no positions"),
        (experiment([1]).with_(images=None), "missing"),
        (experiment([200]), "images at 0 to 99"),
        (experiment([1], position=(0.0, 900.0, 900.0)), "micrometres"),
        (experiment([1], time_range=(500, 600)), "range of time points"),
    ],
)
def test_nothing_to_learn_from_is_said(made, words):
    with pytest.raises(CellTrainError, match="nothing to learn from") as error:
        split(dataset(made))
    assert words in str(error.value)


def test_everything_held_out_is_refused():
    with pytest.raises(CellTrainError, match="nothing to learn from"):
        split(dataset(experiment([1, 2]), roles=["held-out"]))


def test_nothing_held_out_although_asked_for_is_refused():
    both = dataset(experiment([1, 2]), experiment([]), roles=["train", "held-out"])
    with pytest.raises(CellTrainError, match="held-out"):
        split(both)


@given(
    movies=st.lists(st.sets(st.integers(0, 60), max_size=30), min_size=1, max_size=4),
    share=st.floats(0.01, 0.89),
    before=st.integers(-5, 0),
    after=st.integers(0, 5),
)
def test_train_and_held_out_never_meet(movies, share, before, after):
    movie_of = [Movie(tuple(range(61)), location=str(i)) for i in range(len(movies))]
    data = dataset(*[experiment(sorted(t), m) for t, m in zip(movies, movie_of, strict=True)])
    n_frames = sum(len(times) for times in movies)
    if n_frames == 0:
        with pytest.raises(CellTrainError):
            split(data, share, (before, after))
        return
    result = split(data, share, (before, after))
    assert result.train
    assert result.held_out
    if n_frames > 1:
        assert not set(result.train) & set(result.held_out)
    for member, held in result.held_out:
        for other, trained in result.train:
            if member == other and n_frames > 3:
                assert trained < held
                assert held - trained > result.gap
                if result.trustworthy:
                    assert held - trained > max(1, after - before)


def test_what_was_learnt_before_is_not_held_out():
    """A movie whose range was widened: the end of what was learnt is no test any more."""
    result = split(dataset(experiment(range(20))), learnt={(0, t) for t in range(10, 17)})
    assert result.held_out == ((0, 18), (0, 19))  # and a gap after time point 16
    assert result.train == tuple((0, t) for t in range(17))
    assert result.trustworthy


def test_where_all_was_learnt_before_that_is_said():
    result = split(dataset(experiment(range(10))), learnt={(0, t) for t in range(10)})
    assert result.held_out == ((0, 8), (0, 9))
    assert not result.trustworthy
    assert "learnt from before" in result.reason


def test_a_movie_that_was_not_learnt_before_is_the_test_for_all():
    known, new = experiment(range(10)), experiment(range(10), Movie(tuple(range(100)), "new"))
    result = split(dataset(known, new), learnt={(0, t) for t in range(10)})
    assert {member for member, _ in result.held_out} == {1}
    assert result.trustworthy


def test_whole_experiments_that_were_not_learnt_before_are_held_out():
    movies = [experiment([0], Movie((0,), str(i)), cells=20) for i in range(4)]
    result = split(dataset(*movies), learnt={(3, 0), (2, 0)})
    assert result.held_out == ((1, 0),)
    assert result.train == ((0, 0), (2, 0), (3, 0))
    assert result.trustworthy
    everything = split(dataset(*movies), learnt={(i, 0) for i in range(4)})
    assert not everything.trustworthy


def test_held_out_by_role_although_learnt_before_is_said():
    data = dataset(experiment(range(5)), experiment(range(5), Movie((0, 1, 2, 3, 4), "b")),
                   roles=[None, "held-out"])  # fmt: skip
    result = split(data, learnt={(1, 3)})
    assert not result.trustworthy
    assert "time point 3" in result.reason
    assert split(data, learnt={(0, 3)}).trustworthy


@given(
    st.lists(st.sets(st.integers(0, 30), min_size=1), min_size=1, max_size=3),
    st.sampled_from([(0, 0), (-1, 1), (-2, 0)]),
    st.sets(st.tuples(st.integers(0, 2), st.integers(0, 30))),
)
def test_a_run_that_goes_on_divides_as_before_and_never_tests_on_what_it_learnt(
    movies, window, learnt
):
    data = dataset(*(experiment(sorted(times), Movie(tuple(range(31)), str(i)))
                     for i, times in enumerate(movies)))  # fmt: skip
    first = split(data, window=window)
    assert split(data, window=window, learnt=set(first.train)) == first or not first.trustworthy
    later = split(data, window=window, learnt=learnt)
    assert not later.trustworthy or not set(later.held_out) & (learnt | set(later.train))
