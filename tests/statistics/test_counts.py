from __future__ import annotations

import dataclasses
import json
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import read_experiments
from napari_celltrain.images import ArraySource
from napari_celltrain.statistics import count, total


def experiment(t, links=(), *, positions=None, **options):
    if positions is None:
        positions = np.stack([np.zeros(len(t)), np.arange(len(t)), np.arange(len(t))], axis=1) * 10
    status = options.pop("status", None)
    return Experiment("made", Annotations(t, positions, links, status), **options)


def test_a_division_ends_one_track_and_begins_two():
    counts = count(experiment([0, 1, 2, 2, 3, 3], [[0, 1], [1, 2], [1, 3], [2, 4], [3, 5]]))
    assert (counts.tracks, counts.divisions, counts.merges) == (3, 1, 0)


def test_a_merge_begins_a_track():
    counts = count(experiment([0, 0, 1, 2], [[0, 2], [1, 2], [2, 3]]))
    assert (counts.tracks, counts.divisions, counts.merges) == (3, 0, 1)


def test_a_cell_without_links_is_no_track():
    counts = count(experiment([0, 0, 1], [[0, 2]]))
    assert (counts.positions, counts.tracks) == (3, 1)


def test_a_link_that_skips_a_frame_is_one_track():
    assert count(experiment([0, 2, 3], [[0, 1], [1, 2]])).tracks == 1


def test_a_link_that_is_there_twice_is_no_division():
    assert count(experiment([0, 1], [[0, 1], [0, 1]])).divisions == 0


def test_marks_that_are_no_cells_are_counted_apart():
    counts = count(experiment([0, 0, 1, 2], [[0, 2]], status=[1, 0, -1, 1]))
    assert (counts.positions, counts.unknown, counts.not_cells) == (2, 1, 1)
    assert (counts.annotated_time_points, counts.tracks) == (2, 0)
    assert counts.positions_per_time_point == {0: 1, 2: 1}


def test_only_the_time_range_counts():
    movie = ArraySource(np.zeros((9, 4, 4)), "tyx", time_offset=1)
    counts = count(experiment([1, 5, 9], time_range=(4, 9), images=movie))
    assert (counts.time_points, counts.positions, counts.annotated_time_points) == (6, 2, 2)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 30), st.integers(0, 30)), max_size=40),
    st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39)), max_size=60),
)
def test_tracks_are_the_paths_left_when_branching_links_are_cut(points, pairs):
    points = np.array(points or np.empty((0, 3)), int)
    t = points[:, 0] if len(points) else np.empty(0, int)
    links = {(a, b) for a, b in pairs if max(a, b) < len(t) and t[a] < t[b]}
    later = {a: [y for x, y in links if x == a] for a, _ in links}
    earlier = {b: [x for x, y in links if y == b] for _, b in links}
    parent = {cell: cell for pair in links for cell in pair}

    def root(cell):
        return cell if parent[cell] == cell else root(parent[cell])

    for a, b in links:
        if len(later[a]) == 1 and len(earlier[b]) == 1:
            parent[root(a)] = root(b)
    counts = count(experiment(t, sorted(links) or np.empty((0, 2))))
    assert counts.tracks == len({root(cell) for cell in parent})
    assert counts.divisions == sum(len(children) > 1 for children in later.values())
    assert sum(counts.positions_per_time_point.values()) == counts.positions == len(t)


def test_spacing_is_physical_where_the_voxel_size_is_known():
    positions = [[0, 0, 0], [0, 0, 10], [2, 0, 10], [0, 50, 50]]
    known = count(experiment([0, 0, 0, 1], positions=positions, voxel_size_um=(3, 0.5, 0.5)))
    assert (known.median_spacing, known.unit, known.median_spacing_px) == (5.0, "um", 10.0)
    unknown = count(experiment([0, 0, 0, 1], positions=positions))
    assert (unknown.median_spacing, unknown.unit) == (2.0, "px")


def test_a_cell_marked_twice_is_no_neighbour():
    positions = [[0, 0, 0], [0, 0, 0], [0, 0, 8]]
    assert count(experiment([0, 0, 0], positions=positions)).median_spacing == 8
    assert count(experiment([0, 0], positions=positions[:2])).median_spacing is None


def test_no_annotations_are_counted_too():
    counts = count(Experiment("empty"))
    assert (counts.positions, counts.tracks, counts.median_spacing) == (0, 0, None)
    assert total([]).positions == 0


def test_the_total_is_the_sum_of_everything():
    one = count(experiment([0, 1, 1], [[0, 1], [0, 2]]))
    both = total([one, count(experiment([0, 0]))])
    assert both.experiments == 2
    assert (both.positions, both.tracks, both.divisions) == (5, 3, 1)
    assert both.annotated_time_points == 3


def test_counts_can_be_written_as_json():
    assert json.loads(json.dumps(dataclasses.asdict(count(experiment([4, 5])))))["positions"] == 2


@pytest.mark.parametrize(
    "file", ["ctc_fluo_n2dh_simplus_01_t00-44.aut", "points.csv", "original/01_GT/TRA"]
)
def test_a_real_lineage_counts_the_same_in_every_format(data_folder, file):
    path = data_folder / "ctc_fluo_n2dh_simplus_01_t00-44" / file
    (read,) = read_experiments(path, find_images=False)
    counts = count(read)
    # The ground truth has 71 labels; two of them only continue another one in the next frame.
    assert (counts.positions, counts.tracks, counts.divisions) == (1715, 69, 19)


def test_two_hundred_thousand_positions_count_quickly():
    rng = np.random.default_rng(0)
    t = np.repeat(np.arange(200), 1000)
    links = np.stack([np.arange(199_000), np.arange(1000, 200_000)], axis=1)
    made = experiment(t, links, positions=rng.uniform(0, 1, (200_000, 3)) * (60, 999, 999))
    start = time.perf_counter()
    assert count(made).tracks == 1000
    assert time.perf_counter() - start < 1  # 0.07 on an idle core
