"""GEFF stores: axes in any unit and order, other writers' habits, damage."""

from __future__ import annotations

import json
import shutil

import numcodecs
import numpy as np
import pytest
import zarr

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import format_named, format_of, read_experiments, write_experiment
from napari_celltrain.images import ArraySource

COLUMNS = {"t": [0, 1, 1], "z": [1.0, 1, 2], "y": [10.0, 11, 12], "x": [20.0, 21, 22]}


def axis(name, **more):
    kind = "time" if name == "t" else "space"
    return {"name": name, "type": kind, "unit": "frame" if name == "t" else "pixel"} | more


def write(
    path,
    columns=COLUMNS,
    axes=None,
    *,
    zarr_format=2,
    version="1.1",
    edges=((0, 1), (0, 2)),
    ids=(0, 1, 2),
    **about,
):
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    group.create_array("nodes/ids", data=np.array(ids, np.uint32))
    group.create_array("edges/ids", data=np.array(edges, np.uint32).reshape(-1, 2))
    for name, values in columns.items():
        group.create_array(f"nodes/props/{name}/values", data=np.array(values))
    axes = [axis(name) for name in "tzyx" if name in columns] if axes is None else axes
    group.attrs["geff"] = {"geff_version": version, "directed": True, "axes": axes} | about
    return path


def read(path, **options):
    (experiment,) = read_experiments(path, **options)
    return experiment


def codes(experiment):
    return [finding.code for finding in experiment.findings]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_both_zarr_formats(tmp_path, zarr_format):
    annotations = read(write(tmp_path / "a.geff", zarr_format=zarr_format)).annotations
    assert annotations.t.tolist() == [0, 1, 1]
    assert annotations.positions.tolist() == [[1, 10, 20], [1, 11, 21], [2, 12, 22]]
    assert annotations.links.tolist() == [[0, 1], [0, 2]]


def test_axes_in_any_order_and_case(tmp_path):
    columns = {"POSITION_X": [20.0], "POSITION_Y": [10.0], "POSITION_Z": [1.0], "FRAME": [3]}
    axes = [
        axis("POSITION_X"),
        axis("POSITION_Y"),
        axis("POSITION_Z"),
        {"name": "FRAME", "type": "time"},
    ]
    annotations = read(write(tmp_path / "a.geff", columns, axes, edges=(), ids=(5,))).annotations
    assert annotations.t.tolist() == [3]
    assert annotations.positions.tolist() == [[1, 10, 20]]


def test_axes_with_names_of_their_own_are_taken_in_order_and_said(tmp_path):
    columns = {"when": [3], "a": [1.0], "b": [10.0], "c": [20.0]}
    axes = [{"name": "when", "type": "time"}, axis("a"), axis("b"), axis("c")]
    experiment = read(write(tmp_path / "a.geff", columns, axes, edges=(), ids=(5,)))
    assert experiment.annotations.positions.tolist() == [[1, 10, 20]]
    assert codes(experiment) == ["axis-names"]


def test_two_dimensions(tmp_path):
    columns = {name: COLUMNS[name] for name in "tyx"}
    annotations = read(write(tmp_path / "a.geff", columns)).annotations
    assert annotations.positions[:, 0].tolist() == [0, 0, 0]


def test_micrometres_need_a_voxel_size(tmp_path):
    axes = [axis("t"), *(axis(name, unit="micrometer") for name in "zyx")]
    path = write(tmp_path / "a.geff", axes=axes)
    assert codes(read(path)) == ["unknown-voxel-size"]
    images = ArraySource(np.zeros((2, 9, 50, 50)), "tzyx", voxel_size_um=(2.0, 0.5, 0.25))
    for options in ({"voxel_size_um": (2.0, 0.5, 0.25)}, {"images": images}):
        experiment = read(path, **options)
        assert experiment.annotations.positions[0].tolist() == [0.5, 20, 80]
        assert experiment.known_voxel_size_um == (2.0, 0.5, 0.25)


def test_scale_and_offset_of_physical_axes_count(tmp_path):
    axes = [
        axis("t"),
        axis("z", unit="millimeter", scale=0.001, offset=1.0),
        axis("y", unit="micrometer"),
        axis("x", unit="micrometer"),
    ]
    experiment = read(write(tmp_path / "a.geff", axes=axes), voxel_size_um=(1.0, 1.0, 1.0))
    assert experiment.annotations.positions[0, 0] == pytest.approx(1001)


SCALED = [
    axis("t", scale=5, scaled_unit="minute"),
    *(
        axis(name, scale=scale, scaled_unit="micrometer")
        for name, scale in zip("zyx", (2.0, 0.5, 0.25), strict=True)
    ),
]


def test_the_scale_of_pixel_axes_is_the_voxel_size(tmp_path):
    experiment = read(write(tmp_path / "a.geff", axes=SCALED))
    assert experiment.annotations.positions[0].tolist() == [1, 10, 20]
    assert experiment.voxel_size_um == (2.0, 0.5, 0.25)
    assert experiment.frame_interval_s == 300


def test_the_images_own_voxel_size_wins_over_the_stores(tmp_path):
    images = ArraySource(np.zeros((2, 9, 50, 50)), "tzyx", voxel_size_um=(2.0, 0.5, 0.5))
    experiment = read(write(tmp_path / "a.geff", axes=SCALED), images=images)
    assert experiment.voxel_size_um == (2.0, 0.5, 0.5)
    assert codes(experiment) == ["voxel-size-differs"]


def test_a_swapped_voxel_size_is_pointed_out(tmp_path):
    axes = [
        axis("t"),
        *(
            axis(name, scale=scale, scaled_unit="micrometer")
            for name, scale in zip("zyx", (0.5, 0.5, 2.0), strict=True)
        ),
    ]
    assert codes(read(write(tmp_path / "a.geff", axes=axes))) == ["voxel-size-swapped"]


def test_times_in_seconds_use_the_frame_numbers_beside_them(tmp_path):
    columns = COLUMNS | {"t": [0.0, 12.5, 12.5], "FRAME": [4, 5, 5]}
    axes = [axis("t", unit="second"), *map(axis, "zyx")]
    experiment = read(write(tmp_path / "a.geff", columns, axes))
    assert experiment.annotations.t.tolist() == [4, 5, 5]
    assert experiment.frame_interval_s == 12.5


def test_times_in_seconds_without_frame_numbers(tmp_path):
    columns = COLUMNS | {"t": [25.0, 37.5, 62.5]}
    axes = [axis("t", unit="second"), *map(axis, "zyx")]
    experiment = read(write(tmp_path / "a.geff", columns, axes))
    assert experiment.annotations.t.tolist() == [2, 3, 5]
    assert codes(experiment) == ["time-in-seconds"]


def test_properties_become_features(tmp_path):
    columns = COLUMNS | {"score": [0.5, 0.25, 1.0], "radius": [4.0, 4, 4], "tracklet_id": [1, 2, 3]}
    path = write(tmp_path / "a.geff", columns, SCALED, sphere="radius")
    zarr.open_group(path, mode="a").create_array(
        "nodes/props/score/missing", data=np.array([False, True, False])
    )
    features = read(path).annotations.features
    assert features["score"][[0, 2]].tolist() == [0.5, 1]
    assert np.isnan(features["score"][1])
    assert features["radius_um"].tolist() == [1, 1, 1]
    assert features["track_id"].tolist() == [1, 2, 3]


def test_any_ids(tmp_path):
    large = 4_000_000_000
    path = write(tmp_path / "a.geff", ids=(large, 7, 8), edges=((large, 8), (7, 99)))
    experiment = read(path)
    assert experiment.annotations.links.tolist() == [[0, 2]]
    assert codes(experiment) == ["unknown-spot"]


def test_edges_backward_in_time_are_turned(tmp_path):
    path = write(tmp_path / "a.geff", edges=((1, 0),))
    assert read(path).annotations.links.tolist() == [[0, 1]]


def test_tracks_within_an_image_store(tmp_path):
    image = zarr.open_group(tmp_path / "movie.zarr", mode="w", zarr_format=2)
    image.attrs["multiscales"] = [{"axes": []}]
    assert format_of(tmp_path / "movie.zarr") is None
    write(tmp_path / "movie.zarr" / "tracks")
    assert format_of(tmp_path / "movie.zarr").name == "GEFF"
    assert len(read(tmp_path / "movie.zarr", find_images=False).annotations) == 3


def test_tracks_within_an_image_store_come_with_the_image(tmp_path):
    image = zarr.open_group(tmp_path / "movie.zarr", mode="w", zarr_format=2)
    image.create_array("0", data=np.zeros((2, 4, 20, 30), np.uint8))
    axes = [{"name": "t", "type": "time"}, *({"name": one, "type": "space"} for one in "zyx")]
    image.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0"}]}]
    write(tmp_path / "movie.zarr" / "tracks")
    experiment = read(tmp_path / "movie.zarr")
    assert experiment.images.frame_shape == (4, 20, 30)
    assert not experiment.findings


def test_the_movie_that_the_store_names_is_found(tmp_path):
    zarr.create_array(tmp_path / "movie.zarr", data=np.zeros((2, 4, 20, 30), np.uint8))
    related = [{"type": "labels", "path": "../gone"}, {"type": "image", "path": "../movie.zarr/"}]
    experiment = read(write(tmp_path / "a.geff", related_objects=related))
    assert experiment.images.frame_shape == (4, 20, 30)
    assert not experiment.findings


@pytest.mark.parametrize("unit", [None, ""])
def test_axes_that_state_nothing_are_pixels(tmp_path, unit):
    """As OrganoidTracker and others write them; times are whole numbers in float."""
    nothing = {"unit": unit, "scale": None, "offset": None}
    columns = COLUMNS | {"t": [0.0, 1.0, 1.0]}
    experiment = read(write(tmp_path / "a.geff", columns, [axis(one, **nothing) for one in "tzyx"]))
    assert experiment.annotations.t.tolist() == [0, 1, 1]
    assert experiment.annotations.positions[2].tolist() == [2, 12, 22]
    assert not experiment.findings


def test_axes_of_an_unknown_unit_are_taken_as_pixels_and_said(tmp_path):
    axes = [axis("t"), *(axis(one, unit="furlong") for one in "zyx")]
    experiment = read(write(tmp_path / "a.geff", COLUMNS, axes))
    assert experiment.annotations.positions[2].tolist() == [2, 12, 22]
    (finding,) = [one for one in experiment.findings if one.code == "unknown-unit"]
    assert "'furlong'" in finding.message
    assert "taken as pixels" in finding.message


def test_nodes_without_a_place_are_left_out_and_counted(tmp_path):
    path = write(tmp_path / "a.geff")
    zarr.open_group(path, mode="a").create_array(
        "nodes/props/y/missing", data=np.array([False, True, False])
    )
    experiment = read(path)
    assert experiment.annotations.positions.tolist() == [[1, 10, 20], [2, 12, 22]]
    assert experiment.annotations.links.tolist() == [[0, 1]]
    assert codes(experiment) == ["no-number"]


def test_a_movie_that_the_store_names_but_is_not_there(tmp_path):
    related = [{"type": "image", "path": "../movie.zarr/"}]
    experiment = read(write(tmp_path / "a.geff", related_objects=related))
    assert codes(experiment) == ["images-missing"]


@pytest.mark.parametrize("version", ["0.5", "0.3.0.dev1", ""])
def test_stores_from_before_version_1_are_refused(tmp_path, version):
    with pytest.raises(CellTrainError, match=r"before version 1\.0"):
        read(write(tmp_path / "a.geff", version=version))


def test_the_oldest_layout_is_refused_too(tmp_path):
    group = zarr.open_group(tmp_path / "a.geff", mode="w", zarr_format=2)
    group.attrs["geff_version"] = "0.1"
    with pytest.raises(CellTrainError, match=r"before version 1\.0"):
        read(tmp_path / "a.geff")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda path: shutil.rmtree(path / "nodes"), "damaged"),
        (lambda path: shutil.rmtree(path / "nodes" / "props" / "x"), "axis 'x' has no values"),
        (lambda path: (path / "nodes" / "ids" / "0").write_bytes(b"\x01"), "damaged"),
        (lambda path: (path / ".zattrs").write_text("{"), "no GEFF store"),
    ],
)
def test_damaged_stores_are_refused(tmp_path, change, sentence):
    path = write(tmp_path / "a.geff")
    change(path)
    with pytest.raises(CellTrainError, match=sentence):
        read_experiments(path, format_name="GEFF")


def test_an_array_that_claims_terabytes_is_refused(tmp_path):
    path = write(tmp_path / "a.geff")
    header = path / "nodes" / "ids" / ".zarray"
    content = json.loads(header.read_text())
    header.write_text(json.dumps(content | {"shape": [10**12]}))
    with pytest.raises(CellTrainError, match="claims 3725"):
        read(path)


def test_ids_that_occur_twice_are_refused(tmp_path):
    with pytest.raises(CellTrainError, match="same id"):
        read(write(tmp_path / "a.geff", ids=(1, 1, 2), edges=()))


def test_a_property_of_another_shape_is_left_out(tmp_path):
    experiment = read(write(tmp_path / "a.geff", COLUMNS | {"cov": np.zeros((3, 9))}))
    assert "cov" not in experiment.annotations.features
    assert codes(experiment) == ["geff-property"]


def test_the_written_flavour_suits_the_other_programs(tmp_path):
    annotations = Annotations([0, 2], [[1, 2, 3], [1, 2, 5]], [[0, 1]])
    experiment = Experiment("a", annotations, voxel_size_um=(2.0, 0.5, 0.5), frame_interval_s=300.0)
    write_experiment(tmp_path / "a.geff", experiment)
    group = zarr.open_group(tmp_path / "a.geff", mode="r")
    assert group.metadata.zarr_format == 2
    about = group.attrs["geff"]
    assert [one["name"] for one in about["axes"]] == list("tzyx")
    assert [one["unit"] for one in about["axes"]] == ["frame", "pixel", "pixel", "pixel"]
    assert about["axes"][0]["scale"] is None  # programs that apply it would move the frames
    assert [(one["min"], one["max"]) for one in about["axes"]] == [(0, 2), (1, 1), (2, 2), (3, 5)]
    assert about["display_hints"]["display_time"] == "t"
    assert about["display_hints"]["display_horizontal"] == "x"
    assert group["nodes/ids"][:].tolist() == [0, 1, 2]  # some take them for places in a list
    assert group["nodes/ids"].dtype == np.uint32
    edges, t = group["edges/ids"][:], group["nodes/props/t/values"][:]
    assert (t[edges[:, 1]] - t[edges[:, 0]] == 1).all()  # some fail at edges that skip
    assert read(tmp_path / "a.geff").annotations.links.tolist() == [[0, 1]]


def test_the_flavour_for_mastodon(tmp_path):
    experiment = Experiment("a", Annotations([0], [[1, 2, 3]]), voxel_size_um=(2.0, 0.5, 0.25))
    format_named("GEFF for Mastodon").write(tmp_path / "a.geff", experiment)
    group = zarr.open_group(tmp_path / "a.geff", mode="r")
    assert [one["name"] for one in group.attrs["geff"]["axes"]] == list("txyz")
    assert group.attrs["geff"]["axes"][1]["unit"] == "micrometer"
    assert group["nodes/props/x/values"][:].tolist() == [0.75]


def test_an_existing_store_is_replaced_whole(tmp_path):
    path = write(tmp_path / "a.geff", COLUMNS | {"old": [1, 2, 3]})
    write_experiment(path, Experiment("a", Annotations([0], [[1, 2, 3]])))
    annotations = read(path).annotations
    assert len(annotations) == 1
    assert "old" not in annotations.features


def packed_anew(folder, content, **about):
    """Give an array other metadata, and one chunk."""
    metadata = json.loads((folder / ".zarray").read_text()) | about
    (folder / ".zarray").write_text(json.dumps(metadata))
    (folder / "0").write_bytes(content)


@pytest.mark.parametrize("name", ["nodes/ids", "nodes/props/x/values"])
@pytest.mark.parametrize("packing", ["zlib", "zstd"])
def test_an_array_that_unpacks_to_more_than_it_claims_is_refused(
    tmp_path, little_memory, name, packing
):
    path = write(tmp_path / "a.geff")
    bomb = numcodecs.get_codec({"id": packing}).encode(bytes(2 * 10**8))
    packed_anew(path / name, bomb, compressor={"id": packing})
    with little_memory(2**26), pytest.raises(CellTrainError, match="more than") as told:
        read(path)
    assert name in str(told.value)


def test_a_list_of_texts_that_claims_billions_is_refused(tmp_path, little_memory):
    path = write(tmp_path / "a.geff", COLUMNS | {"note": ["a", "b", "c"]})
    note = path / "nodes" / "props" / "note" / "values"
    about = {"dtype": "|O", "filters": [{"id": "vlen-utf8"}], "fill_value": "", "compressor": None}
    packed_anew(note, b"\xff\xff\xff\x7f" + bytes(50), **about)
    with little_memory(2**26), pytest.raises(CellTrainError, match="texts"):
        read(path)


def test_many_arrays_that_are_not_stored_are_refused_together(tmp_path, little_memory):
    n = 2_000_000
    path = write(tmp_path / "a.geff")
    for number in range(30):
        shutil.copytree(path / "nodes/props/x", path / f"nodes/props/p{number}")
    for array in (path / "nodes").rglob(".zarray"):
        packed_anew(array.parent, b"", shape=[n], chunks=[n])
        (array.parent / "0").unlink()
    with little_memory(2**29), pytest.raises(CellTrainError, match="more than its files can hold"):
        read(path)


def test_a_column_of_another_length_is_not_read(tmp_path, little_memory):
    path = write(tmp_path / "a.geff", COLUMNS | {"wide": np.zeros(3)})
    wide = path / "nodes" / "props" / "wide" / "values"
    packed_anew(wide, b"", shape=[30_000_000], chunks=[30_000_000])
    (wide / "0").unlink()
    with little_memory(2**26):
        assert "geff-property" in codes(read(path))
