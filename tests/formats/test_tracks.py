"""Between links and tracks."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations
from napari_celltrain.formats.cleaning import clean_annotations, column, plain
from napari_celltrain.formats.tracks import in_between, track_numbers, tracks_of, without_in_between


def test_tracks_end_at_divisions_and_merges():
    # 0-1 divides into 2 and 3, these merge into 4; 5 is alone
    annotations = Annotations(
        [0, 1, 2, 2, 3, 7], np.zeros((6, 3)), [[0, 1], [1, 2], [1, 3], [2, 4], [3, 4]]
    )
    tracks = tracks_of(annotations)
    assert [track.points.tolist() for track in tracks] == [[0, 1], [2], [3], [4], [5]]
    assert [track.links.tolist() for track in tracks] == [[0], [], [], [], []]
    assert [track.parent_links.tolist() for track in tracks] == [[], [1], [2], [3, 4], []]
    assert [track.has_children for track in tracks] == [True, True, True, False, False]
    assert track_numbers(annotations, tracks).tolist() == [0, 0, 1, 2, 3, 4]


def test_tracks_of_nothing():
    assert tracks_of(Annotations()) == []


def test_positions_in_between_lie_on_the_line_and_keep_the_links_columns():
    annotations = Annotations(
        [0, 3],
        [[0, 0, 0], [3, 6, 9]],
        [[0, 1]],
        features={"score": np.array([0.5, 1])},
        link_features={"p": np.array([0.25])},
    )
    filled = in_between(annotations)
    assert filled.t.tolist() == [0, 3, 1, 2]
    assert filled.positions[2:].tolist() == [[1, 2, 3], [2, 4, 6]]
    assert filled.links.tolist() == [[0, 2], [2, 3], [3, 1]]
    assert filled.link_features["p"].tolist() == [0.25] * 3
    assert np.isnan(filled.features["score"][2:]).all()
    back = without_in_between(filled, [])
    assert back.links.tolist() == [[0, 1]]
    assert back.features["score"].tolist() == [0.5, 1]
    assert "interpolated" not in back.features


def test_a_position_in_between_never_falls_onto_a_cell():
    annotations = Annotations([0, 2, 1], [[0, 0, 0], [0, 0, 10], [0, 0, 5]], [[0, 1]])
    filled = in_between(annotations)
    assert np.abs(filled.positions[3] - filled.positions[2]).max() > 0.01
    assert len(without_in_between(filled, [])) == 3


def test_endless_gaps_are_refused():
    with pytest.raises(CellTrainError, match="too many to fill"):
        in_between(Annotations([0, 10**9], np.zeros((2, 3)), [[0, 1]]))
    n = 20_000  # so many that their sum is no 64-bit number any more
    ends = np.repeat([-(10**15), 10**15], n)
    pairs = np.column_stack([np.arange(n), np.arange(n, 2 * n)])
    with pytest.raises(CellTrainError, match="too many to fill"):
        in_between(Annotations(ends, np.zeros((2 * n, 3)), pairs))


def test_cleaning_keeps_columns_beside_their_links():
    findings = []
    annotations = clean_annotations(
        [0, 1, 1],
        np.zeros((3, 3)),
        [[1, 0], [0, 1], [1, 2], [0, 2]],
        link_features={"p": np.array([1, 2, 3, 4])},
        findings=findings,
    )
    assert annotations.links.tolist() == [[0, 1], [0, 2]]
    assert annotations.link_features["p"].tolist() == [1, 4]
    assert [one.code for one in findings] == ["link-within-time-point", "repeated-link"]


@pytest.mark.parametrize(
    "values",
    [
        [1.5, None, 2.0],
        [1, 2, 3],
        ["a", None, "b"],
        [True, False],
        [True, None],
        [None, None],
        [[1], None],
        [10**400, 1],
    ],
)
def test_columns_give_back_what_went_in(values):
    assert [plain(value) for value in column(values)] == values
