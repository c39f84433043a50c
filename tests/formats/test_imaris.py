"""Spots in Imaris files, in both layouts."""

from __future__ import annotations

import h5py
import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import format_of, read_experiments

SPOT = [
    ("ID", "i8"),
    ("PositionX", "f4"),
    ("PositionY", "f4"),
    ("PositionZ", "f4"),
    ("Radius", "f4"),
]
OFFSET = [("ID", "i8"), ("IndexBegin", "i8"), ("IndexEnd", "i8")]


def letters(text):
    return np.array([bytes([one]) for one in text.encode()], "S1")


def image_info(file, unit="um"):
    attributes = file.create_group("DataSetInfo/Image").attrs
    for axis, (low, high) in enumerate([(100, 110), (200, 220), (-8, 8)]):
        attributes[f"ExtMin{axis}"] = letters(str(low))
        attributes[f"ExtMax{axis}"] = letters(str(high))
    for name, size in zip("XYZ", (20, 20, 4), strict=True):
        attributes[name] = letters(str(size))
    attributes["Unit"] = letters(unit)


def new_layout(file, name="Points0", offsets=((0, 0, 1), (1, 1, 3)), edges=((0, 7), (0, 9))):
    points = file.create_group(f"Scene8/Content/{name}")
    points.attrs["Name"] = letters(f"Spots {name[-1]}")
    points["Spot"] = np.array(
        [(0, 100.25, 200.5, -6, 3), (7, 101.25, 200.5, -6, 3), (9, 109.75, 219.5, 6, 3)], SPOT
    )
    points["SpotTimeOffset"] = np.array(list(offsets), OFFSET)
    points["TrackEdge0"] = np.array(list(edges), [("ID_ObjectA", "i8"), ("ID_ObjectB", "i8")])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "made.ims"


def test_the_new_layout(path):
    with h5py.File(path, "w") as file:
        image_info(file)
        new_layout(file)
    assert format_of(path).name == "Imaris spots"
    (experiment,) = read_experiments(path)
    annotations = experiment.annotations
    assert experiment.voxel_size_um == (4.0, 1.0, 0.5)
    assert annotations.t.tolist() == [0, 1, 1]
    assert annotations.positions.tolist() == [[0, 0, 0], [0, 0, 2], [3, 19, 19]]
    assert annotations.links.tolist() == [[0, 1], [0, 2]]
    assert annotations.features["radius_um"].tolist() == [3, 3, 3]


def test_the_origin_is_an_option(path):
    with h5py.File(path, "w") as file:
        image_info(file)
        new_layout(file)
    (experiment,) = read_experiments(path, half_voxel_shift=False)
    assert experiment.annotations.positions[0].tolist() == [0.5, 0.5, 0.5]


def test_the_old_layout(path):
    with h5py.File(path, "w") as file:
        image_info(file)
        points = file.create_group("Scene/Content/Points0")
        points["CoordsXYZR"] = np.array([[100.25, 200.5, -6, 3], [101.25, 200.5, -6, 3]], "f4")
        points["Time"] = np.array([[0], [1]])
        points["Edges"] = np.array([[0, 1]])
    annotations = read_experiments(path)[0].annotations
    assert annotations.positions.tolist() == [[0, 0, 0], [0, 0, 2]]
    assert annotations.links.tolist() == [[0, 1]]


def test_each_spots_object_is_an_experiment(path):
    with h5py.File(path, "w") as file:
        image_info(file)
        new_layout(file)
        new_layout(file, "Points1")
    assert [one.name for one in read_experiments(path)] == ["made Spots 0", "made Spots 1"]


def test_a_file_without_spots_is_an_image(path):
    with h5py.File(path, "w") as file:
        image_info(file)
    assert format_of(path) is None


@pytest.mark.parametrize(
    "offsets", [((0, 0, 1),), ((0, 0, 5),), ((0, 2, 1),), ((0, -1, 3),), ((-4, 0, 3),)]
)
def test_a_table_of_frames_that_makes_no_sense_is_refused(path, offsets):
    with h5py.File(path, "w") as file:
        image_info(file)
        new_layout(file, offsets=offsets)
    with pytest.raises(CellTrainError, match="table of frames"):
        read_experiments(path)


def test_edges_to_spots_that_are_not_there_are_left_out(path):
    with h5py.File(path, "w") as file:
        image_info(file)
        new_layout(file, edges=((0, 7), (0, 4)))
    (experiment,) = read_experiments(path)
    assert len(experiment.annotations.links) == 1
    assert "unknown-spot" in [one.code for one in experiment.findings]


def test_a_file_that_states_no_extents_is_refused(path):
    with h5py.File(path, "w") as file:
        new_layout(file)
    with pytest.raises(CellTrainError, match="extents"):
        read_experiments(path)


def test_other_units_of_length_count(tmp_path):
    positions, sizes, radii = [], [], []
    for unit in ("um", "mm"):
        with h5py.File(tmp_path / f"{unit}.ims", "w") as file:
            image_info(file, unit)
            new_layout(file)
        (read,) = read_experiments(tmp_path / f"{unit}.ims", find_images=False)
        positions.append(read.annotations.positions)
        sizes.append(np.array(read.voxel_size_um))
        radii.append(read.annotations.features["radius_um"])
    np.testing.assert_array_equal(*positions)
    np.testing.assert_allclose(sizes[1], 1000 * sizes[0])
    np.testing.assert_allclose(radii[1], 1000 * radii[0])
