"""What is written and read again is what it was, for every format that is written."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import format_named, format_of
from napari_celltrain.formats.autlist_writing import write_autlist
from napari_celltrain.images import open_images

SETTINGS = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@st.composite
def experiments(draw, *, merges=True, links=True, inside=False):
    """Cells on a jittered grid, so that no two are nearer than a pixel; any links forward."""
    cells = draw(
        st.lists(
            st.tuples(st.integers(0, 6), st.integers(0, 3), st.integers(0, 9), st.integers(0, 9)),
            unique=True,
            min_size=1,
            max_size=10,
        )
    )
    jitter = st.floats(0 if inside else -2, 2, width=32)
    positions = np.array(
        [[axis * 5 + draw(jitter) for axis in cell[1:]] for cell in cells], np.float64
    )
    first = 0 if inside else draw(st.sampled_from([0, 0, 1, 37, -5]))
    t = np.array([cell[0] + first for cell in cells])
    pairs = [(i, j) for i in range(len(t)) for j in range(len(t)) if t[i] < t[j]]
    chosen = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=12)) if pairs else []
    if not merges:
        chosen = list({child: (mother, child) for mother, child in chosen}.values())
    features = {}
    if draw(st.booleans()):
        scores = st.floats(0, 1)
        features["score"] = np.array([draw(scores) for _ in cells])
    voxel = draw(st.none() | st.tuples(*[st.floats(0.05, 5)] * 3))
    return Experiment(
        "made",
        Annotations(t, positions, chosen if links else (), features=features),
        voxel_size_um=voxel,
        frame_interval_s=draw(st.none() | st.floats(1, 1e5)),
    )


def read_back(name, path, experiment):
    tracking_format = format_named(name)
    tracking_format.write(path, experiment)
    (read,) = tracking_format.read(path, voxel_size_um=experiment.voxel_size_um, find_images=False)
    return read


def same_cells(written, read, tolerance=1e-6):
    """Return for each written position the number of the read one; asserts one for each."""
    assert len(read) == len(written)
    number = np.full(len(written), -1)
    for index, (t, position) in enumerate(zip(written.t, written.positions, strict=True)):
        off = np.abs(read.positions - position).max(axis=1) + np.where(read.t == t, 0, np.inf)
        number[index] = int(np.argmin(off))
        assert off[number[index]] <= tolerance
    assert len(set(number.tolist())) == len(written)
    return number


def links_of(annotations, number=None):
    links = annotations.links if number is None else number[annotations.links]
    return sorted(map(tuple, links.reshape(-1, 2).tolist()))


EXACT = [
    "OrganoidTracker",
    "OrganoidTracker list",
    "GEFF",
    "GEFF for Mastodon",
    "TrackMate XML",
    "CSV table",
    "Mastodon CSV",
]
SUFFIXES = {
    "OrganoidTracker": ".aut",
    "OrganoidTracker list": ".autlist",
    "GEFF": ".geff",
    "GEFF for Mastodon": ".geff",
    "TrackMate XML": ".xml",
}
ONE_MOTHER_EACH = ("CSV table", "Mastodon CSV")


@pytest.mark.parametrize("name", EXACT)
@SETTINGS
@given(data=st.data())
def test_positions_links_and_scores_survive(name, data, tmp_path_factory):
    experiment = data.draw(experiments(merges=name not in ONE_MOTHER_EACH))
    path = tmp_path_factory.mktemp("round") / f"made{SUFFIXES.get(name, '.csv')}"
    written, read = experiment.annotations, read_back(name, path, experiment).annotations
    number = same_cells(written, read)
    assert links_of(read) == links_of(written, number)
    if "score" in written.features:
        scores = np.asarray(read.features["score"], float)[number]
        np.testing.assert_allclose(scores, written.features["score"], atol=1e-12)
    else:
        assert "score" not in read.features


NAMES = [
    "label", "frame", "FRAME", "timepoint", "time", "particle", "tree_id", "x", "t", "id", "ID",
    "axis-0", "axis-1", "POSITION_X", "POSITION_Y", "Position X", "frame_i", "Cell_ID", "radius",
    "x_centroid", "y_centroid", "ImageNumber", "ObjectNumber", "Location_Center_X",
    "Location_Center_Y", "Object_Center_0", "Object_Center_1", "parent_track_id", "parent",
    "quality", "x [um]", "y (px)", "index", "VISIBILITY", "QUALITY", "name", "tracklet_id",
    "spot_frame", "spot_position_x", "spot_position_y", "source_id", "target_id", "type",
    "child_track_id", "coords_xyz_px", "interpolated", " ", "a,b", "a\nb", 'a"b', "=1+1", "ä µ",
]  # fmt: skip
"""Columns as other programs name theirs, which must not be taken for places in a written file."""


@pytest.mark.parametrize("name", EXACT)
@SETTINGS
@given(data=st.data())
def test_columns_of_any_name_do_not_change_what_is_read(name, data, tmp_path_factory):
    experiment = data.draw(experiments(merges=name not in ONE_MOTHER_EACH))
    annotations = experiment.annotations
    chosen = data.draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=8))
    features = {one: np.arange(len(annotations)) + 1000.0 for one in chosen}
    if data.draw(st.booleans()):
        features = {one: column.astype(str).astype(object) for one, column in features.items()}
    features |= annotations.features
    written = Annotations(annotations.t, annotations.positions, annotations.links, None, features)
    path = tmp_path_factory.mktemp("round") / f"tracks{SUFFIXES.get(name, '.csv')}"
    experiment = experiment.with_(annotations=written)
    format_named(name).write(path, experiment)
    found = format_of(path)
    assert found is not None
    (read,) = found.read(path, voxel_size_um=experiment.voxel_size_um, find_images=False)
    number = same_cells(written, read.annotations)
    assert links_of(read.annotations) == links_of(written, number)


@pytest.mark.parametrize("name", ["OrganoidTracker", "GEFF", "TrackMate XML"])
@SETTINGS
@given(data=st.data())
def test_voxel_size_and_frame_interval_survive(name, data, tmp_path_factory):
    experiment = data.draw(experiments())
    path = tmp_path_factory.mktemp("round") / f"made{SUFFIXES[name]}"
    tracking_format = format_named(name)
    tracking_format.write(path, experiment)
    (read,) = tracking_format.read(path, find_images=False)
    if experiment.voxel_size_um is None:
        assert read.voxel_size_um is None
    else:
        np.testing.assert_allclose(read.voxel_size_um, experiment.voxel_size_um, rtol=1e-9)
    if experiment.voxel_size_um is not None or name != "OrganoidTracker":
        assert read.frame_interval_s == pytest.approx(experiment.frame_interval_s)


@SETTINGS
@given(
    experiment=experiments(),
    offsets=st.dictionaries(
        st.integers(0, 6), st.tuples(*[st.floats(-50, 50, width=32)] * 3), max_size=7
    ),
)
def test_image_offsets_survive_in_aut(experiment, offsets, tmp_path_factory):
    offsets = {t: offset for t, offset in offsets.items() if any(offset)}
    experiment = experiment.with_(image_offsets=offsets)
    path = tmp_path_factory.mktemp("round") / "made.aut"
    read = read_back("OrganoidTracker", path, experiment)
    assert dict(read.image_offsets) == offsets
    number = same_cells(experiment.annotations, read.annotations)
    assert links_of(read.annotations) == links_of(experiment.annotations, number)


@SETTINGS
@given(several=st.lists(experiments(), min_size=1, max_size=4))
def test_lists_keep_each_experiment_in_its_place(several, tmp_path_factory):
    path = tmp_path_factory.mktemp("round") / "made.autlist"
    several = [one.with_(time_range=(-9, 50 + number)) for number, one in enumerate(several)]
    write_autlist(path, several)
    again = format_named("OrganoidTracker list").read(path)
    assert len(again) == len(several)
    for written, read in zip(several, again, strict=True):
        number = same_cells(written.annotations, read.annotations)
        assert links_of(read.annotations) == links_of(written.annotations, number)
        assert read.time_range == written.time_range
        assert (read.voxel_size_um is None) == (written.voxel_size_um is None)


@SETTINGS
@given(experiment=experiments(merges=False, inside=True))
def test_challenge_folders_keep_cells_within_half_a_voxel_and_all_links(
    experiment, tmp_path_factory
):
    path = tmp_path_factory.mktemp("round") / "01_RES"
    read = read_back("Cell Tracking Challenge", path, experiment)
    number = same_cells(experiment.annotations, read.annotations, tolerance=0.5)
    assert links_of(read.annotations) == links_of(experiment.annotations, number)
    assert not [finding.message for finding in read.findings]


@SETTINGS
@given(experiment=experiments(links=False))
def test_napari_points_tables_keep_cells_and_scores(experiment, tmp_path_factory):
    path = tmp_path_factory.mktemp("round") / "made.csv"
    read = read_back("napari points CSV", path, experiment).annotations
    number = same_cells(experiment.annotations, read)
    if "score" in experiment.annotations.features:
        np.testing.assert_array_equal(
            read.features["score"][number], experiment.annotations.features["score"]
        )


@SETTINGS
@given(
    experiment=experiments(),
    kinds=st.lists(st.sampled_from([-1, 0, 1]), min_size=10, max_size=10),
)
def test_plain_tables_keep_what_is_no_cell(experiment, kinds, tmp_path_factory):
    annotations = experiment.annotations
    marked = Annotations(
        annotations.t,
        annotations.positions,
        status=kinds[: len(annotations)],
        features=annotations.features,
    )
    path = tmp_path_factory.mktemp("round") / "made.csv"
    read = read_back("CSV table", path, experiment.with_(annotations=marked)).annotations
    number = same_cells(marked, read)
    assert read.status[number].tolist() == marked.status.tolist()


@pytest.mark.parametrize("name", [*EXACT, "napari points CSV", "Cell Tracking Challenge"])
def test_nothing_at_all_can_be_written(name, tmp_path):
    path = tmp_path / f"none{SUFFIXES.get(name, '.csv')}"
    format_named(name).write(path, Experiment("none"))
    assert path.exists()


@pytest.mark.parametrize("name", [*EXACT, "napari points CSV", "Cell Tracking Challenge"])
def test_what_is_no_cell_is_not_written_as_one(name, tmp_path):
    if name == "CSV table":
        pytest.skip("this one has a column for it")
    annotations = Annotations([0, 0, 0], [[1, 5, 5], [1, 20, 20], [1, 40, 40]], status=[1, 0, -1])
    path = tmp_path / f"some{SUFFIXES.get(name, '.csv')}"
    read = read_back(name, path, Experiment("some", annotations))
    assert len(read.annotations) == 1


@pytest.mark.parametrize("name", [*EXACT, "napari points CSV"])
def test_a_date_and_time_as_the_number_of_a_frame_survives(tmp_path, name):
    t = [20261128203000, 20261128203001, 20261128203059]
    links = () if name == "napari points CSV" else [[0, 1], [1, 2]]
    written = Experiment("made", Annotations(t, [[0, 1, 2], [0, 1, 3], [0, 1, 4]], links))
    read = read_back(name, tmp_path / f"made{SUFFIXES.get(name, '.csv')}", written)
    number = same_cells(written.annotations, read.annotations)
    assert links_of(read.annotations) == links_of(written.annotations, number)


def test_a_date_and_time_as_the_number_of_a_challenges_frame_survives(tmp_path):
    t = [20261128203000, 20261128203001, 20261128203059]
    frames = [np.zeros((1, 9, 9), np.uint8)] * 3
    for number, frame in zip(t, frames, strict=True):
        tifffile.imwrite(tmp_path / f"t{number}.tif", frame)
    cells = Annotations(t, [[0, 1, 2], [0, 1, 3], [0, 1, 4]], [[0, 1], [1, 2]])
    written = Experiment("made", cells, open_images(tmp_path))
    read = read_back("Cell Tracking Challenge", tmp_path / "01_RES", written)
    assert links_of(read.annotations) == links_of(cells, same_cells(cells, read.annotations))
