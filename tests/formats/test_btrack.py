"""btrack's HDF5 files."""

from __future__ import annotations

import os
import sys

import h5py
import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import format_of, read_experiments

COORDS = [
    [0, 10, 20, 3, 0],
    [1, 11, 20, 3, 0],
    [3, 12, 21, 3, 0],
    [4, 13, 21, 3, 0],
    [4, 12, 25, 3, 0],
]
# one track over a gap that btrack bridged by a guess, then a division into two
TRACKS = {
    "tracks": [0, 1, -1, 2, 3, 4],
    "map": [[0, 4], [4, 5], [5, 6]],
    "LBEPR": [[1, 0, 3, 0, 1, 0], [2, 4, 4, 1, 1, 1], [3, 4, 4, 1, 1, 1]],
}


@pytest.fixture
def write(tmp_path):
    def write_file(coords=COORDS, tracks=TRACKS, names=("obj_type_1",)):
        path = tmp_path / "made.h5"
        with h5py.File(path, "w") as file:
            for name in names:
                file[f"objects/{name}/coords"] = np.array(coords, np.float32)
                for key, values in (tracks or {}).items():
                    file[f"tracks/{name}/{key}"] = np.array(values, np.int32)
        return path

    return write_file


def test_columns_are_t_x_y_z_and_guesses_are_bridged(write):
    path = write()
    assert format_of(path).name == "btrack HDF5"
    (experiment,) = read_experiments(path)
    annotations = experiment.annotations
    assert annotations.t.tolist() == [0, 1, 3, 4, 4]
    assert annotations.positions[0].tolist() == [3, 20, 10]
    assert sorted(map(tuple, annotations.links.tolist())) == [(0, 1), (1, 2), (2, 3), (2, 4)]
    assert annotations.features["track_id"].tolist() == [1, 1, 1, 2, 3]
    assert [one.code for one in experiment.findings] == ["guessed-positions"]


def test_properties_of_one_number_for_each_object_become_columns(write):
    path = write()
    with h5py.File(path, "r+") as file:
        properties = file.create_group("objects/obj_type_1/properties")
        properties["area"] = np.arange(5.0)
        properties["short"] = np.arange(4.0)
        properties["pairs"] = np.zeros((5, 2))
        properties["name"] = np.array([b"a"] * 5)
    (experiment,) = read_experiments(path)
    assert set(experiment.annotations.features) == {"area", "track_id"}
    assert experiment.annotations.features["area"].tolist() == [0, 1, 2, 3, 4]


def test_objects_without_tracks(write):
    (experiment,) = read_experiments(write(tracks=None))
    assert len(experiment.annotations) == 5
    assert not len(experiment.annotations.links)


def test_each_type_of_object_is_an_experiment(write):
    names = [one.name for one in read_experiments(write(names=("obj_type_1", "obj_type_2")))]
    assert names == ["made obj_type_1", "made obj_type_2"]


@pytest.mark.parametrize(
    "change", [{"map": [[0, 99]]}, {"map": [[3, 1]]}, {"map": [[-1, 2]]}, {"tracks": [77] * 6}]
)
def test_references_to_nothing_are_refused(write, change):
    with pytest.raises(CellTrainError, match="not there"):
        read_experiments(write(tracks=TRACKS | change))


def test_other_hdf5_files_are_declined(tmp_path):
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["data"] = np.zeros(3)
    assert format_of(tmp_path / "image.h5") is None
    (tmp_path / "no.h5").write_text("nothing")
    assert format_of(tmp_path / "no.h5") is None


def test_a_truncated_file_is_refused(write):
    path = write()
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(CellTrainError, match=r"made\.h5"):
        read_experiments(path)


def test_a_crash_of_the_hdf5_library_is_a_sentence(write, monkeypatch):
    import napari_celltrain.formats.hdf5 as hdf5

    path = write()
    program = path.with_name("crash.py")
    program.write_text("import os; os.abort()")
    monkeypatch.setattr(hdf5, "PROGRAM", program)
    with pytest.raises(CellTrainError, match="the library that reads it crashed"):
        read_experiments(path)


@pytest.mark.skipif(sys.platform == "win32", reason="processor time is not limited there")
def test_a_file_in_which_the_library_runs_in_a_circle_is_refused_in_seconds(write, monkeypatch):
    import napari_celltrain.formats.hdf5 as hdf5

    path = write()
    endless = hdf5.PROGRAM.read_text("utf-8")
    program = path.with_name("endless.py")
    program.write_text(endless.replace("import h5py\n", "\n    while True:\n        pass\n", 1))
    monkeypatch.setattr(hdf5, "PROGRAM", program)
    before = os.times()
    with pytest.raises(CellTrainError, match="comes to no end"):
        read_experiments(path)
    after = os.times()
    assert after.children_user - before.children_user < 6
