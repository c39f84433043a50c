"""Files that other programs wrote open with the counts that they hold."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.formats import format_of, read_experiments

# file: format, positions, links, divisions, first and last time point
REAL = {
    "aut/WKS216_xy002_FRAP.aut": ("OrganoidTracker", 592, 585, 0, (0, 90)),
    "csv/trackmate_tracks_with_splitting.csv": ("CSV table", 133, 130, 2, (0, 49)),
    "csv/trackmate_tracks_with_splitting_edges.csv": ("CSV table", 134, 130, 2, (0, 49)),
    "csv/trackmate_tracks_with_splitting_spots.csv": ("CSV table", 134, 130, 2, (0, 49)),
    "ctc/rfs_synthetic_1": ("Cell Tracking Challenge", 5094, 5083, 173, (0, 99)),
    "geff/inTRACKtive_ctc_hela_example.geff": ("GEFF", 8639, 8562, 94, (0, 91)),
    "geff/simplus_zarr_v3.geff": ("GEFF", 1715, 1684, 19, (0, 44)),
    "trackmate/FakeTracks_mastodon.xml": ("TrackMate XML", 84, 82, 2, (0, 49)),
    "trackmate/trackmate_tracks_with_gap_closing.xml": ("TrackMate XML", 134, 128, 0, (0, 49)),
    "trackmate/trackmate_tracks_with_splitting.xml": ("TrackMate XML", 134, 130, 2, (0, 49)),
}

# one known lineage: format, links, whether divisions are in the format, largest error in pixels
MADE = {
    "acetree.xml": ("AceTree", 14, 0.5),
    "acetree.zip": ("AceTree", 14, 0.5),
    "btrack.h5": ("btrack HDF5", 15, 1e-6),
    "ctc": ("Cell Tracking Challenge", 15, 0.08),
    "fl_A.geff": ("GEFF", 15, 1e-9),
    "fl_B.geff": ("GEFF", 15, 1e-9),
    "fl_C.geff": ("GEFF", 15, 1e-9),
    "truth_v2.geff": ("GEFF", 15, 1e-9),
    "truth_v3.geff": ("GEFF", 15, 1e-9),
    "mamut.xml": ("TrackMate XML", 15, 1e-9),
    "trackmate.xml": ("TrackMate XML", 15, 1e-9),
    "trackmate_ultrack_order.xml": ("TrackMate XML", 15, 1e-9),
    "mastodon_import.csv": ("CSV table", 15, 1e-9),
    "napari_points.csv": ("CSV table", 0, 1e-9),
    "trackmate_spots.csv": ("CSV table", 0, 1e-9),
    "truth.csv": ("CSV table", 15, 1e-9),
    "ultrack_tracks.csv": ("CSV table", 15, 1e-9),
    "sample.ims": ("Imaris spots", 15, 1e-5),
    "sample.mastodon": ("Mastodon", 15, 1e-5),
    "sample.trk": ("DeepCell", 15, None),
}
POINTS = [
    ("ctc_fluo_n3dh_cho_02_t00-13", 134, 124),
    ("bordercells_3dt_tiny", 32, 24),
    ("ctc_fluo_n2dh_simplus_01_t00-44", 1715, 1684),
    ("ctc_fluo_n2dl_hela_02_left", 1693, 0),
    ("laptrack_nuclei_crop_2dt", 266, 0),
    ("stardist_img3d_crop", 51, 0),
    ("bbbc039_u2os_2d_a", 3284, 0),
    ("dsb2018_256x256", 790, 0),
]

# the same movies' lists: positions, frames, frame shapes
LISTS = {
    "dev_timelapses.autlist": (
        [134, 32, 1715, 1693, 266],
        [14, 4, 45, 20, 6],
        [(5, 443, 512), (5, 172, 165), (1, 690, 628), (1, 700, 550), (1, 200, 200)],
    ),
    "dev_3d.autlist": ([134, 32], [14, 4], [(5, 443, 512), (5, 172, 165)]),
}
IN_POINTS = {"OrganoidTracker": 5, "CSV table": 8, "GEFF": 1, "Cell Tracking Challenge": 1}
"""How many files of each format the folders of `POINTS` have that a test opens."""


def divisions(annotations):
    return int((np.bincount(annotations.links[:, 0], minlength=1) == 2).sum())


@pytest.mark.parametrize("name", REAL)
def test_real_files_hold_what_they_hold(name, formats_folder):
    format_name, n, n_links, n_divisions, extent = REAL[name]
    found = format_of(formats_folder / name)
    assert found is not None
    assert found.name == format_name
    (experiment,) = read_experiments(formats_folder / name)
    annotations = experiment.annotations
    assert len(annotations) == n
    assert len(annotations.links) == n_links
    assert divisions(annotations) == n_divisions
    assert (annotations.t.min(), annotations.t.max()) == extent


def test_no_file_is_forgotten(formats_folder):
    """Whoever adds a file there adds its counts here."""
    tracked = set(REAL) | {f"made/{name}" for name in MADE} | {"made/cellfinder.xml"}
    there = {
        place.relative_to(formats_folder).as_posix()
        for kind in formats_folder.iterdir()
        if kind.is_dir()
        for place in kind.iterdir()
        if not place.name.startswith("README")
    }
    assert there - tracked == {"trackmate/FakeTracks.tif"}  # the movie of FakeTracks_mastodon.xml


def test_the_movie_of_a_real_file_lies_beside_it(formats_folder):
    (experiment,) = read_experiments(
        formats_folder / "trackmate" / "FakeTracks_mastodon.xml",
        images=formats_folder / "trackmate" / "FakeTracks.tif",
    )
    assert len(experiment.images.time_points) == 50
    assert experiment.images.frame_shape == (1, 128, 128)
    assert "placement" not in [one.code for one in experiment.findings]


@pytest.fixture(scope="module")
def truth(formats_folder):
    (experiment,) = read_experiments(formats_folder / "made" / "truth.csv")
    return experiment.annotations


def _places(annotations, pairs):
    return sorted(
        tuple(np.r_[annotations.t[pair], annotations.positions[pair].ravel()].round(3).tolist())
        for pair in pairs
    )


@pytest.mark.parametrize("name", MADE)
def test_the_known_lineage_is_the_same_in_every_format(name, formats_folder, truth):
    format_name, n_links, tolerance = MADE[name]
    path = formats_folder / "made" / name
    found = format_of(path)
    assert found is not None
    assert found.name == format_name
    (experiment,) = read_experiments(path, voxel_size_um=(2.0, 0.5, 0.5), find_images=False)
    annotations = experiment.annotations
    assert len(annotations) == 19
    assert len(annotations.links) == n_links
    if n_links:
        assert divisions(annotations) == 1
    assert annotations.is_cell.all()
    order = np.lexsort((*annotations.positions.T, annotations.t))
    expected = np.lexsort((*truth.positions.T, truth.t))
    axes = [1, 2] if tolerance is None else [0, 1, 2]  # that one is 2D
    if tolerance is None:
        order = np.lexsort((annotations.positions[:, 1], annotations.t))
        expected = np.lexsort((truth.positions[:, 1], truth.t))
    assert annotations.t[order].tolist() == truth.t[expected].tolist()
    off = annotations.positions[order][:, axes] - truth.positions[expected][:, axes]
    assert np.abs(off).max() <= (tolerance or 0.5)
    number = np.empty(19, int)
    number[order] = expected
    links = set(map(tuple, number[annotations.links].tolist()))
    assert links <= set(map(tuple, truth.links.tolist()))


def test_cellfinder_markers_are_cells_without_time(formats_folder):
    (experiment,) = read_experiments(formats_folder / "made" / "cellfinder.xml")
    assert experiment.annotations.positions.tolist() == [[5, 20, 20], [9, 45, 40]]
    assert experiment.annotations.is_cell.all()


@pytest.mark.parametrize(("folder", "n", "n_links"), POINTS)
def test_tables_of_the_real_movies(folder, n, n_links, data_folder):
    (experiment,) = read_experiments(data_folder / folder / "points.csv")
    assert len(experiment.annotations) == n
    assert len(experiment.annotations.links) == n_links


@pytest.mark.parametrize(("folder", "n", "n_links"), POINTS[:5])
def test_aut_files_of_the_real_movies_say_the_same_as_their_tables(folder, n, n_links, data_folder):
    (experiment,) = read_experiments(data_folder / folder / f"{folder}.aut")
    (table,) = read_experiments(data_folder / folder / "points.csv")
    assert len(experiment.annotations) == n
    assert len(experiment.annotations.links) == n_links
    mine, theirs = (
        one.annotations.positions[np.lexsort((*one.annotations.positions.T, one.annotations.t))]
        for one in (experiment, table)
    )
    np.testing.assert_allclose(mine, theirs, atol=2e-3)


@pytest.mark.parametrize("name", LISTS)
def test_lists_of_the_real_movies_open_with_their_images(name, data_folder):
    positions, frames, shapes = LISTS[name]
    experiments = read_experiments(data_folder / name)
    assert [len(one.annotations) for one in experiments] == positions
    assert [len(one.image_time_points()) for one in experiments] == frames
    assert [one.images.frame_shape for one in experiments] == shapes
    assert not [finding for one in experiments for finding in one.findings]


def test_the_challenge_folder_of_a_real_movie(data_folder):
    folder = data_folder / "ctc_fluo_n2dh_simplus_01_t00-44" / "original"
    (experiment,) = read_experiments(folder)
    assert (len(experiment.annotations), len(experiment.annotations.links)) == (1715, 1684)


def test_a_real_geff_store_says_the_same_as_the_challenge_folder(data_folder):
    folder = data_folder / "ctc_fluo_n2dh_simplus_01_t00-44"
    (experiment,) = read_experiments(folder / f"{folder.name}.geff")
    assert len(experiment.annotations) == 1715


def test_annotations_beyond_the_movie_are_pointed_out(formats_folder):
    (experiment,) = read_experiments(formats_folder / "ctc" / "rfs_synthetic_1")
    assert len(experiment.images.time_points) == 10
    (finding,) = [one for one in experiment.findings if one.code == "no-image"]
    assert finding.time_point == 10
