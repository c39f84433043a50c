"""What is written here is understood by the libraries of the programs themselves."""

from __future__ import annotations

import warnings
from importlib import metadata

import numpy as np
import pytest

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import format_named, read_experiments, write_experiment

DIVISION = Experiment(
    "made",
    Annotations(
        [0, 1, 2, 2],
        [[1, 10, 20], [1, 11, 20.5], [1, 8, 20], [2, 14, 21]],
        [[0, 1], [1, 2], [1, 3]],
        features={"score": np.array([0.5, 0.75, 1, 0.25])},
    ),
    voxel_size_um=(2.0, 0.5, 0.5),
    frame_interval_s=300.0,
)


@pytest.mark.parametrize("name", ["GEFF", "GEFF for Mastodon"])
def test_geff_validates_and_reads_both_flavours(tmp_path, name):
    geff = pytest.importorskip("geff")
    path = tmp_path / "a.geff"
    format_named(name).write(path, DIVISION)
    geff.validate_structure(path)
    reader = geff.GeffReader(path)
    reader.read_node_props()
    graph = reader.build()
    scale = 1.0 if name == "GEFF" else 0.5
    np.testing.assert_array_equal(
        graph["node_props"]["x"]["values"], DIVISION.annotations.positions[:, 2] * scale
    )
    assert graph["edge_ids"].tolist() == [[0, 1], [1, 2], [1, 3]]
    assert graph["node_props"]["score"]["values"].tolist() == [0.5, 0.75, 1, 0.25]
    assert graph["metadata"].track_node_props == {"tracklet": "tracklet_id"}


def test_geff_validates_tracklets(tmp_path):
    pytest.importorskip("geff")
    from geff.validate.data import ValidationConfig, validate_data

    write_experiment(tmp_path / "a.geff", DIVISION)
    import geff

    reader = geff.GeffReader(tmp_path / "a.geff")
    reader.read_node_props()
    validate_data(reader.build(), ValidationConfig(sphere=False, graph=True, tracklet=True))


def test_geffs_own_converter_reads_the_trackmate_file(tmp_path):
    convert = pytest.importorskip("geff.convert")
    geff = pytest.importorskip("geff")
    write_experiment(tmp_path / "a.xml", DIVISION)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        convert.from_trackmate_xml_to_geff(tmp_path / "a.xml", tmp_path / "a.geff")
        reader = geff.GeffReader(tmp_path / "a.geff")
    assert reader.nodes.shape == (4,)
    assert reader.edges.shape == (3, 2)
    (read,) = read_experiments(
        tmp_path / "a.geff", voxel_size_um=(2.0, 0.5, 0.5), find_images=False
    )
    np.testing.assert_allclose(
        read.annotations.positions[np.argsort(read.annotations.features["id"])],
        DIVISION.annotations.positions,
    )


@pytest.mark.skipif(
    metadata.version("geff").startswith("1.1.0"),
    reason="geff 1.1.0 takes every challenge folder for a flat one (KeyError: 'z')",
)
def test_geffs_own_converter_reads_the_challenge_folder(tmp_path):
    convert = pytest.importorskip("geff.convert")
    geff = pytest.importorskip("geff")
    format_named("Cell Tracking Challenge").write(tmp_path / "01_RES", DIVISION)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        convert.from_ctc_to_geff(tmp_path / "01_RES", tmp_path / "a.geff")
    reader = geff.GeffReader(tmp_path / "a.geff")
    assert reader.nodes.shape == (4,)
    assert reader.edges.shape == (3, 2)


@pytest.mark.filterwarnings("ignore")
def test_traccuracy_reads_the_challenge_folder(tmp_path):
    loaders = pytest.importorskip("traccuracy.loaders")
    format_named("Cell Tracking Challenge").write(tmp_path / "01_RES", DIVISION)
    data = loaders.load_ctc_data(str(tmp_path / "01_RES"), str(tmp_path / "01_RES/res_track.txt"))
    assert data.graph.number_of_nodes() == 4
    assert data.graph.number_of_edges() == 3


@pytest.mark.filterwarnings("ignore")
def test_laptrack_links_the_written_table(tmp_path):
    laptrack = pytest.importorskip("laptrack")
    pandas = pytest.importorskip("pandas")
    write_experiment(tmp_path / "a.csv", DIVISION)
    table = pandas.read_csv(tmp_path / "a.csv")
    tracks, _, _ = laptrack.LapTrack(cutoff=25).predict_dataframe(
        table, coordinate_cols=["z", "y", "x"], frame_col="t", only_coordinate_cols=False
    )
    assert len(tracks) == 4


@pytest.mark.filterwarnings("ignore")
def test_what_btrack_itself_writes_is_read(tmp_path):
    btypes = pytest.importorskip("btrack.btypes")
    handler = pytest.importorskip("btrack.io").HDF5FileHandler
    known = DIVISION.annotations
    cells = [
        btypes.PyTrackObject.from_dict(
            {"ID": number, "t": t, "z": z, "y": y, "x": x, "label": 5, "dummy": False}
        )
        for number, (t, (z, y, x)) in enumerate(zip(known.t, known.positions, strict=True))
    ]
    tracks = [
        btypes.Tracklet(1, cells[:2], parent=1, children=[2, 3]),
        btypes.Tracklet(2, cells[2:3], parent=1),
        btypes.Tracklet(3, cells[3:], parent=1),
    ]
    for generation, track in zip((0, 1, 1), tracks, strict=True):
        track.root, track.generation = 1, generation
    with handler(tmp_path / "a.h5", "w", obj_type="obj_type_1") as file:
        file.write_objects(cells)
        file.write_tracks(tracks)
    (read,) = read_experiments(tmp_path / "a.h5")
    np.testing.assert_array_equal(read.annotations.positions, known.positions)
    assert read.annotations.links.tolist() == known.links.tolist()


def test_napari_opens_the_points_table(tmp_path):
    pytest.importorskip("napari")
    read_csv = pytest.importorskip("napari_builtins.io._read").read_csv

    format_named("napari points CSV").write(tmp_path / "a.csv", DIVISION)
    data, header, kind = read_csv(tmp_path / "a.csv")
    assert kind == "points"
    assert header[1:5] == ["axis-0", "axis-1", "axis-2", "axis-3"]
    assert np.array(data)[0, 1:5].astype(float).tolist() == [0, 1, 10, 20]
