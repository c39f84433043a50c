"""Lists of experiments: all forms of naming images, and paths as people have them."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import format_of, read_experiments, write_experiment
from napari_celltrain.formats.aut import AutFormat
from napari_celltrain.formats.autlist_writing import write_autlist
from napari_celltrain.images import open_images

AUT = {"version": "v2", "positions": [{"time_point": 3, "coords_xyz_px": [[4, 5, 0]]}]}


@pytest.fixture
def folder(tmp_path):
    """A list's folder with an annotation and a movie of two channels at time points 3 to 6."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.aut").write_text(json.dumps(AUT))
    movie = tmp_path / "movie"
    movie.mkdir()
    for t in range(3, 7):
        for channel in (1, 2):
            frame = np.full((2, 10, 12), 10 * t + channel, np.uint8)
            tifffile.imwrite(movie / f"m_t{t:03}_c{channel}.tif", frame, photometric="minisblack")
    return tmp_path


MOVIE = {"images_container": "movie", "images_pattern": "m_t{time:03}_c{channel}.tif"}


def write_list(folder, *entries):
    path = folder / "Dataset.autlist"
    path.write_text(json.dumps(entries))
    return path


def test_a_container_with_a_pattern(folder):
    (experiment,) = read_experiments(
        write_list(
            folder,
            {"experiment_file": "files/a.aut", **MOVIE, "min_time_point": 3, "max_time_point": 5},
        )
    )
    assert len(experiment.annotations) == 1
    assert list(experiment.images.time_points) == [3, 4, 5, 6]
    assert experiment.image_time_points() == [3, 4, 5]
    assert experiment.time_range == (3, 5)
    assert experiment.images.n_channels == 2
    assert experiment.images.frame_shape == (2, 10, 12)
    assert not experiment.findings


def test_summed_channels(folder):
    (experiment,) = read_experiments(
        write_list(
            folder,
            {
                "experiment_file": "files/a.aut",
                "images_original": MOVIE,
                "images_channel_summing": [[1, 2], [2]],
            },
        )
    )
    assert experiment.images.n_channels == 2
    assert experiment.images.read_frame(3, 0).max() == 31 + 32
    assert experiment.images.read_frame(3, 1).max() == 32


def test_appended_channels(folder):
    (experiment,) = read_experiments(
        write_list(
            folder, {"experiment_file": "files/a.aut", "images_channel_appending": [MOVIE, MOVIE]}
        )
    )
    assert experiment.images.n_channels == 4
    assert experiment.images.read_frame(4, 3).max() == 42


def test_appended_time(folder):
    (experiment,) = read_experiments(
        write_list(
            folder, {"experiment_file": "files/a.aut", "images_time_appending": [MOVIE, MOVIE]}
        )
    )
    assert list(experiment.images.time_points) == list(range(3, 11))
    assert experiment.images.read_frame(7, 0).max() == 31


def test_backslashes_and_absolute_paths(folder):
    (experiment,) = read_experiments(
        write_list(
            folder,
            {
                "experiment_file": "files\\a.aut",
                "images_container": str(folder / "movie"),
                "images_pattern": MOVIE["images_pattern"],
            },
        )
    )
    assert len(experiment.images.time_points) == 4


def test_paths_are_relative_to_the_list_not_to_the_program(folder, monkeypatch):
    monkeypatch.chdir("/")
    path = write_list(folder, {"experiment_file": "files/../files/a.aut", **MOVIE})
    assert len(read_experiments(path)[0].images.time_points) == 4


def test_a_series_without_a_time_range_is_taken_as_it_lies_there(folder):
    path = write_list(folder, {"experiment_file": "files/a.aut", **MOVIE})
    (experiment,) = read_experiments(path)
    assert experiment.time_range is None
    assert experiment.image_time_points() == [3, 4, 5, 6]


def test_only_one_end_of_the_time_range(folder):
    (experiment,) = read_experiments(
        write_list(folder, {"experiment_file": "files/a.aut", **MOVIE, "min_time_point": 4})
    )
    assert experiment.image_time_points() == [4, 5, 6]
    assert experiment.time_range == (4, 6)


@pytest.mark.parametrize(
    ("stated", "written"),
    [
        ({"min_time_point": 4}, (4, 6)),
        ({"max_time_point": 4}, (3, 4)),
        ({"min_time_point": 4, "max_time_point": 10**9}, (4, 6)),
        ({"max_time_point": 1}, (1, 1)),
        ({"min_time_point": 0, "max_time_point": 99}, (0, 99)),
    ],
)
def test_an_open_end_of_the_time_range_is_written_as_the_images_have_it(folder, stated, written):
    (read,) = read_experiments(
        write_list(folder, {"experiment_file": "files/a.aut", **MOVIE, **stated})
    )
    write_experiment(folder / "again.autlist", read)
    (entry,) = json.loads((folder / "again.autlist").read_text("utf-8"))
    assert (entry["min_time_point"], entry["max_time_point"]) == written


def test_an_open_end_without_images_is_left_open(folder):
    entry = {"experiment_file": "files/a.aut", "max_time_point": 3}
    (read,) = read_experiments(write_list(folder, entry))
    write_experiment(folder / "again.autlist", read)
    (entry,) = json.loads((folder / "again.autlist").read_text("utf-8"))
    assert "min_time_point" not in entry
    assert entry["max_time_point"] == 3


def test_images_without_annotations(folder):
    (experiment,) = read_experiments(write_list(folder, MOVIE))
    assert not len(experiment.annotations)
    assert experiment.images.n_channels == 2


@pytest.mark.parametrize(
    "away", ["D:\\project\\", "\\\\server\\share\\project\\", "/home/someone/project/"]
)
def test_a_list_from_another_computer_takes_what_lies_beside_it_and_says_so(folder, away):
    entry = {**MOVIE, "experiment_file": f"{away}files{away[-1]}a.aut"}
    entry["images_container"] = f"{away}movie"
    (experiment,) = read_experiments(write_list(folder, entry))
    assert len(experiment.annotations) == 1
    assert list(experiment.images.time_points) == [3, 4, 5, 6]
    assert [one.code for one in experiment.findings] == ["moved", "moved"]
    for finding in experiment.findings:
        assert away in finding.message
        assert "beside the list" in finding.message


@pytest.mark.skipif(sys.platform == "win32", reason="there such a place is only missing")
@pytest.mark.parametrize("place", ["/" + "a" * 10_000, "/" + "a/" * 100_000])
def test_endless_names_of_places_are_a_sentence(folder, place):
    entry = {"experiment_file": "files/a.aut", "images_pattern": "", "images_container": place}
    with pytest.raises(CellTrainError, match="name too long"):
        read_experiments(write_list(folder, entry))


def test_missing_images_leave_the_annotations_and_say_where_they_were_looked_for(folder):
    (experiment,) = read_experiments(
        write_list(
            folder,
            {"experiment_file": "files/a.aut", "images_container": "gone", "images_pattern": ""},
        )
    )
    assert experiment.images is None
    assert len(experiment.annotations) == 1
    (finding,) = experiment.findings
    assert (finding.severity, finding.code) == ("warning", "images-missing")
    assert str(folder / "gone") in finding.message


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"experiment_file": "gone.aut"}, "entry 1 of Dataset.autlist: there is no file"),
        ({"name": "nothing"}, "names neither"),
        ({"experiment_file": "files/a.aut", "images_pattern": "x"}, "without an images_container"),
        ({"experiment_file": 7}, "experiment_file is no path"),
        ({"experiment_file": "Dataset.autlist"}, "another list"),
        ({"experiment_file": "movie"}, "movie is a folder of images without tracking data"),
        ({"experiment_file": "png.aut"}, r"png\.aut is a PNG image by its content"),
        ({"images_channel_summing": [[1]]}, "without images_original"),
        ({"images_original": MOVIE, "images_channel_summing": [[0]]}, "numbers from 1"),
        ({"images_original": MOVIE, "images_channel_summing": 7}, "numbers from 1"),
        ({"images_original": MOVIE, "images_channel_summing": [[3]]}, "sums channel 3"),
        ({"images_time_appending": {}}, "no list of images"),
        ({**MOVIE, "min_time_point": 5, "max_time_point": 3}, "lies after"),
        ({**MOVIE, "min_time_point": "5"}, "no time point"),
        (7, "no JSON object"),
    ],
)
def test_entries_that_make_no_sense_are_refused_with_their_number(folder, entry, sentence):
    (folder / "png.aut").write_bytes(b"\x89PNG\r\n\x1a\n and so on")
    with pytest.raises(CellTrainError, match=sentence):
        read_experiments(write_list(folder, entry))


def test_images_within_images_without_end_are_refused(folder):
    entry = MOVIE
    for _ in range(50):
        entry = {"images_time_appending": [entry]}
    with pytest.raises(CellTrainError, match="images within images"):
        read_experiments(write_list(folder, entry))


def test_a_list_may_name_other_kinds_of_tracking_files(folder):
    (folder / "b.csv").write_text("t,z,y,x\n3,0,1,2\n4,0,1,2\n")
    (experiment,) = read_experiments(write_list(folder, {"experiment_file": "b.csv", **MOVIE}))
    assert experiment.annotations.t.tolist() == [3, 4]


@pytest.mark.parametrize(
    "name", ["b.json", "b.xml", "b.geff", "01_GT/TRA/man_track.txt", "01_GT/TRA"]
)
def test_every_kind_of_tracking_file_may_stand_in_a_list(folder, name):
    cells = Experiment("b", Annotations([3, 4], [[0, 5, 6], [0, 5, 7]], [[0, 1]]))
    if name == "b.json":
        (folder / name).write_text('{"3": [[6, 5, 0]], "4": [[7, 5, 0]]}')
    elif name.startswith("01"):
        write_experiment(folder / "x_RES", cells)
        tracks = folder / "01_GT" / "TRA"
        tracks.mkdir(parents=True)
        for file in (folder / "x_RES").glob("mask*.tif"):
            file.rename(tracks / file.name.replace("mask", "man_track"))
        (folder / "x_RES" / "res_track.txt").rename(tracks / "man_track.txt")
    else:
        write_experiment(folder / name, cells)
    (experiment,) = read_experiments(write_list(folder, {"experiment_file": name, **MOVIE}))
    assert experiment.annotations.t.tolist() == [3, 4]
    np.testing.assert_allclose(experiment.annotations.positions, [[0, 5, 6], [0, 5, 7]])
    assert list(experiment.images.time_points) == [3, 4, 5, 6]


def test_micrometres_of_a_listed_file_use_the_voxel_size_of_its_images(folder):
    frames = np.zeros((2, 3, 10, 12), np.uint8)
    about = {"axes": "TZYX", "spacing": 2.0, "unit": "um"}
    tifffile.imwrite(folder / "m.tif", frames, imagej=True, resolution=(2, 2), metadata=about)
    (folder / "b.csv").write_text("timepoint,x,y,z,radius\n0,4,3,2,2\n")
    entry = {"experiment_file": "b.csv", "images_container": "m.tif", "images_pattern": ""}
    (experiment,) = read_experiments(write_list(folder, entry))
    assert experiment.annotations.positions.tolist() == [[1, 6, 8]]


def test_a_pattern_without_a_time_is_one_time_point(folder):
    entry = {"images_container": "movie", "images_pattern": "m_t005_c{channel}.tif"}
    (experiment,) = read_experiments(write_list(folder, entry))
    assert list(experiment.images.time_points) == [0]
    assert experiment.images.n_channels == 2
    assert experiment.images.read_frame(0, 1).max() == 52


@pytest.mark.parametrize("name", ["one.tiff", "one.TIF"])
def test_a_container_whose_suffix_is_spelled_otherwise(folder, name):
    frames = np.zeros((3, 8, 9), np.uint8)
    tifffile.imwrite(folder / name, frames, photometric="minisblack", metadata={"axes": "TYX"})
    entry = {"experiment_file": "files/a.aut", "images_container": name, "images_pattern": ""}
    (experiment,) = read_experiments(write_list(folder, entry))
    assert list(experiment.images.time_points) == [0, 1, 2]


def test_the_images_of_a_lif_were_once_named_and_not_numbered(folder):
    pytest.importorskip("liffile")
    made = runpy.run_path(str(Path(__file__).parents[1] / "images" / "microscope_files.py"))
    movie = np.zeros((2, 1, 1, 8, 9), np.uint16)
    images = {"snap": movie[:1], "Series 7": movie + 7}
    made["write_lif"](folder / "m.lif", images, dict.fromkeys("xyzt", 1e-6))
    entry = {"images_container": "m.lif", "images_pattern": "Series 7"}
    (experiment,) = read_experiments(write_list(folder, entry))
    assert experiment.images.read_frame(1).max() == 7


def test_a_written_list_opens_again(folder):
    annotations = Annotations([3, 4], [[0, 1, 2], [0, 2, 3]], [[0, 1]])
    (with_images,) = read_experiments(
        write_list(folder, {"experiment_file": "files/a.aut", **MOVIE, "max_time_point": 5})
    )
    path = folder / "sub" / "written.autlist"
    write_experiment(path, with_images.with_(annotations=annotations))
    assert sorted(p.name for p in path.parent.iterdir()) == ["written.aut", "written.autlist"]
    (experiment,) = read_experiments(path)
    assert experiment.annotations.links.tolist() == [[0, 1]]
    (entry,) = json.loads(path.read_text("utf-8"))
    assert entry["experiment_file"] == "written.aut"
    assert entry["max_time_point"] == 5


def test_a_written_list_names_its_images(folder):
    (read,) = read_experiments(write_list(folder, {"experiment_file": "files/a.aut", **MOVIE}))
    path = folder / "sub" / "written.autlist"
    write_experiment(path, read)
    (entry,) = json.loads(path.read_text("utf-8"))
    assert entry["images_container"] == "../movie"
    assert entry["images_pattern"] == MOVIE["images_pattern"]
    assert list(read_experiments(path)[0].images.time_points) == [3, 4, 5, 6]


def test_the_image_of_a_file_that_holds_several_is_named(folder):
    with tifffile.TiffWriter(folder / "two.ome.tif", ome=True) as writer:
        for value in (1, 2):
            frames = np.full((3, 8, 9), value, np.uint8)
            writer.write(frames, photometric="minisblack", metadata={"axes": "TYX"})
    images = open_images(folder / "two.ome.tif", series=2)
    path = folder / "sub" / "written.autlist"
    write_experiment(path, Experiment("second", Annotations([0], [[0, 1, 2]]), images))
    (read,) = read_experiments(path)
    assert read.images.read_frame(0).max() == 2


@pytest.mark.parametrize("pattern", ["", "0", "1", None, "anything"])
def test_the_pattern_of_a_single_movie_does_not_matter(folder, pattern):
    tifffile.imwrite(
        folder / "one.tif",
        np.zeros((3, 8, 9), np.uint8),
        photometric="minisblack",
        metadata={"axes": "TYX"},
    )
    entry = {"experiment_file": "files/a.aut", "images_container": "one.tif"}
    entry |= {} if pattern is None else {"images_pattern": pattern}
    (experiment,) = read_experiments(write_list(folder, entry))
    assert list(experiment.images.time_points) == [0, 1, 2]


@pytest.mark.parametrize("pattern", ["0", "", None])
def test_a_zarr_movie_of_a_list(folder, pattern):
    zarr.create_array(folder / "movie.zarr", data=np.zeros((3, 2, 8, 9), np.uint8))
    entry = {"images_container": "movie.zarr"} | (
        {} if pattern is None else {"images_pattern": pattern}
    )
    (experiment,) = read_experiments(write_list(folder, entry))
    assert experiment.images.frame_shape == (2, 8, 9)


@pytest.mark.parametrize(
    ("suffix", "library"), [("nd2", "nd2"), ("lif", "liffile"), ("czi", "pylibCZIrw")]
)
def test_the_pattern_of_a_microscopes_file_is_the_series(folder, suffix, library):
    pytest.importorskip(library)
    made = runpy.run_path(str(Path(__file__).parents[1] / "images" / "microscope_files.py"))
    movie = np.arange(2 * 3 * 8 * 9, dtype=np.uint16).reshape(2, 3, 8, 9)  # series, t, y, x
    if suffix == "nd2":
        made["write_nd2"](folder / "m.nd2", movie.swapaxes(0, 1)[:, :, None, None])
    elif suffix == "lif":
        steps = dict.fromkeys("xyzt", 1e-6)
        images = {f"s{at}": one[:, None, None] for at, one in enumerate(movie)}
        made["write_lif"](folder / "m.lif", images, steps)
    else:
        from pylibCZIrw import czi

        with czi.create_czi(str(folder / "m.czi")) as writer:
            for scene in range(2):
                for t in range(3):
                    pixels, at = movie[scene, t, :, :, None], (scene * 20, 0)
                    plane = {"T": t, "C": 0, "Z": 0}
                    writer.write(np.ascontiguousarray(pixels), at, plane=plane, scene=scene)
    entry = {"images_container": f"m.{suffix}", "images_pattern": "2"}
    (read,) = read_experiments(write_list(folder, entry))
    np.testing.assert_array_equal(read.images.read_frame(2)[0], movie[1, 2])
    path = folder / "sub" / "again.autlist"
    write_experiment(path, read)
    (entry,) = json.loads(path.read_text("utf-8"))
    assert (entry["images_container"], entry["images_pattern"]) == (f"../m.{suffix}", "2")
    again = read_experiments(path)[0].images
    np.testing.assert_array_equal(again.read_frame(2)[0], movie[1, 2])


def test_several_experiments_with_odd_names_stay_in_their_folder(folder):
    names = ["../../outside", "a/b", "CON", "", "..", "x" * 300, "\U00020000" * 80]
    experiments = [Experiment(name, Annotations([0], [[0, 0, 0]])) for name in names]
    path = folder / "new" / "all.autlist"
    write_autlist(path, experiments)
    written = [p for p in folder.rglob("*.aut") if p.name != "a.aut"]
    assert len(written) == len(names)
    assert {p.parent for p in written} == {folder / "new" / "all files"}
    assert len(read_experiments(path)) == len(names)


def test_only_lists_are_recognised(tmp_path):
    for name, content, ours in (
        ("a.autlist", "[]", True),
        ("a.autlist", "{}", False),
        ("a.json", "[]", False),
    ):
        (tmp_path / name).write_text(content)
        found = format_of(tmp_path / name)
        assert (found is not None) == ours


def test_entries_that_are_repeated_are_taken_once_and_told(folder):
    entry = {"experiment_file": "files/a.aut"} | MOVIE
    (experiment,) = read_experiments(write_list(folder, entry, *[entry] * 7))
    (finding,) = [one for one in experiment.findings if one.code == "repeated-entry"]
    assert "2, 3, 4, 5, 6, ..." in finding.message


def test_a_file_that_thousands_of_entries_name_is_read_once(folder, monkeypatch):
    """A list of 100 kB took half a minute."""
    calls = []
    read = AutFormat.read
    monkeypatch.setattr(AutFormat, "read", lambda *a, **k: calls.append(a) or read(*a, **k))
    entries = [
        {"experiment_file": "files/a.aut", "max_time_point": number} for number in range(3, 3003)
    ]
    experiments = read_experiments(write_list(folder, *entries))
    assert len(calls) == 1
    assert [one.time_range[1] for one in experiments] == list(range(3, 3003))


def test_a_file_that_two_entries_name_with_other_images_has_its_own_each(folder):
    entries = [{"experiment_file": "files/a.aut"} | more for more in (MOVIE, {})]
    with_images, without = read_experiments(write_list(folder, *entries))
    assert with_images.images is not None
    assert without.images is None
