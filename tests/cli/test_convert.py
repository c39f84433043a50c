"""``celltrain convert``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from napari_celltrain.cli import main
from napari_celltrain.formats.csv_presets import GENERIC
from napari_celltrain.formats.registry import read_experiments

TABLE = "t,z,y,x,track_id\n0,1,5.25,6,1\n1,1,5.5,7,1\n1,2,9,9.75,2\n"


def test_table_to_aut_and_back(tmp_path, capsys):
    (tmp_path / "in.csv").write_text(TABLE, "utf-8")
    source, out = str(tmp_path / "in.csv"), str(tmp_path / "out.aut")
    assert main(["convert", source, out, "--voxel-size", "2,0.5,0.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == {
        "out": out,
        "format": "OrganoidTracker",
        "positions": 3,
        "links": 1,
        "noticed": [],
        "lost": [],
    }
    (experiment,) = read_experiments(out)
    assert experiment.voxel_size_um == (2, 0.5, 0.5)
    order = np.lexsort((experiment.annotations.positions[:, 0], experiment.annotations.t))
    np.testing.assert_allclose(
        experiment.annotations.positions[order], [[1, 5.25, 6], [1, 5.5, 7], [2, 9, 9.75]]
    )


def test_images_by_pattern_give_the_voxel_size_and_are_named_in_a_list(tmp_path, capsys):
    for t in range(3):
        for channel in (1, 2):
            tifffile.imwrite(
                tmp_path / f"a{t:02}_{channel}.tif",
                np.full((4, 20, 30), 10 * t + channel, np.uint16),
                imagej=True,
                resolution=(2, 2),
                metadata={"axes": "ZYX", "spacing": 2.0, "unit": "um"},
            )
    um = "POSITION_X,POSITION_Y,POSITION_Z,FRAME,ID\n5,3.5,4,0,1\n5.5,3,2,2,2\n"
    (tmp_path / "spots.csv").write_text(um, "utf-8")
    out = tmp_path / "sub" / "out.autlist"
    arguments = ["convert", str(tmp_path / "spots.csv"), str(out), "--images", str(tmp_path)]
    assert main([*arguments, "--images-pattern", "a{time:02}_{channel}.tif"]) == 0
    assert "warning" not in capsys.readouterr().err
    (read,) = read_experiments(out)
    assert read.annotations.positions.tolist() == [[2, 7, 10], [1, 6, 11]]
    assert read.voxel_size_um == (2, 0.5, 0.5)
    assert (list(read.images.time_points), read.images.n_channels) == ([0, 1, 2], 2)
    assert read.images.read_frame(2, 1).max() == 22
    (entry,) = json.loads(out.read_text("utf-8"))
    assert (entry["images_container"], entry["images_pattern"]) == (
        "..",
        "a{time:02}_{channel}.tif",
    )


def test_images_that_are_not_there_are_refused(tmp_path, capsys):
    (tmp_path / "in.csv").write_text(TABLE, "utf-8")
    arguments = ["convert", str(tmp_path / "in.csv"), str(tmp_path / "out.aut")]
    assert main([*arguments, "--images", str(tmp_path / "gone.tif")]) == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "out.aut").exists()


def test_all_forms_of_images_survive_a_conversion(tmp_path):
    movie = tmp_path / "movie"
    movie.mkdir()
    for t in range(3, 6):
        for channel in (1, 2):
            frame = np.full((2, 10, 12), 10 * t + channel, np.uint8)
            tifffile.imwrite(movie / f"m_t{t:03}_c{channel}.tif", frame, photometric="minisblack")
    (tmp_path / "a.csv").write_text("t,z,y,x\n3,1,5,6\n4,1,5,7\n", "utf-8")
    plain = {"images_container": "movie", "images_pattern": "m_t{time:03}_c{channel}.tif"}
    forms = [
        plain,
        {"images_original": plain, "images_channel_summing": [[1, 2], [2]]},
        {"images_channel_appending": [plain, plain]},
        {"images_time_appending": [plain, {"images_channel_appending": [plain]}]},
    ]
    source, out = tmp_path / "in.autlist", tmp_path / "elsewhere" / "out.autlist"
    entries = [{"experiment_file": "a.csv", "max_time_point": 4} | form for form in forms]
    source.write_text(json.dumps(entries), "utf-8")
    assert main(["convert", str(source), str(out)]) == 0
    before, after = read_experiments(source), read_experiments(out)
    assert len(after) == len(forms)
    for one, again in zip(before, after, strict=True):
        assert again.time_range[1] == one.time_range[1] == 4
        assert again.annotations.positions.tolist() == one.annotations.positions.tolist()
        assert list(again.images.time_points) == list(one.images.time_points)
        for t in one.images.time_points:
            for channel in range(one.images.n_channels):
                np.testing.assert_array_equal(
                    again.images.read_frame(t, channel), one.images.read_frame(t, channel)
                )


def test_one_of_several_has_to_be_named(data_folder, tmp_path, capsys):
    source = str(data_folder / "dev_3d.autlist")
    assert main(["convert", source, str(tmp_path / "out.aut")]) == 2
    assert "--entry" in capsys.readouterr().err
    assert main(["convert", source, str(tmp_path / "out.aut"), "--entry", "3"]) == 2
    assert "2 experiments" in capsys.readouterr().err
    assert main(["convert", source, str(tmp_path / "out.aut"), "--entry", "2"]) == 0
    assert len(read_experiments(tmp_path / "out.aut")[0].annotations) == 32


def test_a_list_keeps_all(data_folder, tmp_path):
    out = tmp_path / "copy.autlist"
    assert main(["convert", str(data_folder / "dev_3d.autlist"), str(out)]) == 0
    assert [len(one.annotations) for one in read_experiments(out)] == [134, 32]


@pytest.mark.parametrize("out", ["out.xyz", "out"])
def test_unknown_suffix_is_refused(tmp_path, capsys, out):
    (tmp_path / "in.csv").write_text(TABLE, "utf-8")
    assert main(["convert", str(tmp_path / "in.csv"), str(tmp_path / out)]) == 2
    assert ".aut" in capsys.readouterr().err
    assert not (tmp_path / out).exists()


def test_what_the_written_format_has_no_room_for_is_printed(tmp_path, capsys):
    (tmp_path / "in.csv").write_text(TABLE, "utf-8")
    arguments = ["convert", str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), "--json"]
    assert main([*arguments, "--to", "napari points CSV"]) == 0
    told = capsys.readouterr()
    assert "warning: in: in napari points CSV: 1 link is left out." in told.err
    assert [one["code"] for one in json.loads(told.out)["lost"]] == ["no-links"]


def test_the_columns_of_a_table_can_be_named(tmp_path, capsys):
    (tmp_path / "in.csv").write_text("Zeit,Ort 1,Ort 2\n0,5,6\n1,5,7\n", "utf-8")
    arguments = ["convert", str(tmp_path / "in.csv"), str(tmp_path / "out.aut")]
    assert main(arguments) == 2
    assert "its columns are Zeit" in capsys.readouterr().err
    named = ["--column", "t=Zeit", "--column", "y=Ort 1", "--column", "x=Ort 2"]
    assert main([*arguments, *named]) == 0
    (read,) = read_experiments(tmp_path / "out.aut")
    assert read.annotations.positions.tolist() == [[0, 5, 6], [0, 5, 7]]
    capsys.readouterr()
    assert main([*arguments, *named, "--column", "z=Ort 3"]) == 2
    assert "no column 'Ort 3'" in capsys.readouterr().err


def test_hidden_spots_and_rejected_tracks_are_a_choice(formats_folder, tmp_path):
    source = str(formats_folder / "made" / "mamut.xml")
    counts = []
    for options in ([], ["--only-kept-tracks"]):
        out = str(tmp_path / f"out{len(counts)}.csv")
        arguments = ["convert", source, out, "--voxel-size", "2,0.5,0.5", *options]
        assert main(arguments) == 0
        counts.append(len(read_experiments(out)[0].annotations))
    assert counts == [19, 14]


@pytest.mark.parametrize("text", ["x", "=a", "x=", "="])
def test_a_column_without_meaning_is_refused(capsys, text):
    assert main(["convert", "a.csv", "b.aut", "--column", text]) == 2
    assert "is not like x=Centre_X" in capsys.readouterr().err


def test_the_help_names_all_that_a_column_can_be(capsys):
    assert main(["convert", "--help"]) == 0
    words = capsys.readouterr().out.replace(",", " ").split()
    assert not set(GENERIC) - set(words)
