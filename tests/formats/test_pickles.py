"""Pickles are never opened."""

from __future__ import annotations

import pickle

import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import read_experiments


@pytest.mark.parametrize("name", ["a.p", "a.pkl", "a.pickle"])
def test_pickles_are_refused_with_the_reason(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(CellTrainError, match="run any program"):
        read_experiments(tmp_path / name)


def test_folders_of_pickled_tracks_are_refused_with_the_reason(tmp_path):
    for name in ("track_00000.p", "lineages.p"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(CellTrainError, match="run any program"):
        read_experiments(tmp_path)
