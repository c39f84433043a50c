"""``celltrain predict``: files by suffix, time points, refusals, going on."""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET

import numpy as np
import psutil
import pytest
import tifffile

from napari_celltrain.cli import main
from napari_celltrain.cli import predict as predict_command
from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.registry import read_experiments
from napari_celltrain.images import open_images
from napari_celltrain.prediction.movie import Applied, Summary


def pattern(sample):
    return sample.parent / "images" / "t{time:03}.tif"


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_csv_in_pixels_with_scores(sample, trained, tmp_path, result):
    out = tmp_path / "cells.csv"
    told = result("predict", trained, pattern(sample), "--out", out)
    assert out.read_text().splitlines()[0] == "t,z,y,x,score"
    found = rows(out)
    assert told["time_points"] == 8
    assert told["detections"] == len(found) > 40
    assert told["seconds"] > 0
    assert {int(row["t"]) for row in found} == set(range(8))
    y = np.array([float(row["y"]) for row in found])
    assert y.min() >= -0.5
    assert y.max() <= 95.5
    assert (y != np.round(y)).any()  # between the pixels


def test_time_points_are_inclusive(sample, trained, tmp_path, result):
    out = tmp_path / "cells.csv"
    told = result("predict", trained, pattern(sample), "--out", out, "--time-points", "2:4")
    assert told["time_points"] == 3
    assert {row["t"] for row in rows(out)} == {"2", "3", "4"}


def test_a_stated_gamma_changes_what_is_found_and_an_impossible_one_is_refused(
    sample, trained, tmp_path, result, capsys
):
    plain, darker = tmp_path / "plain.csv", tmp_path / "darker.csv"
    told = result("predict", trained, pattern(sample), "--out", plain, "--time-points", "0:1")
    (applied,) = told["experiments"]
    assert applied["gamma"] == 1.0
    assert applied["cell_diameter"] is None
    assert 0 < applied["threshold"] < 1
    told = result(
        "predict", trained, pattern(sample), "--out", darker, "--time-points", "0:1", "--gamma",
        "4", "--diameter", "9", "--threshold", "0.25",
    )  # fmt: skip
    (applied,) = told["experiments"]
    assert (applied["gamma"], applied["cell_diameter"], applied["threshold"]) == (4.0, 9.0, 0.25)
    assert rows(plain) != rows(darker)
    refused = ["predict", trained, pattern(sample), "--out", tmp_path / "no.csv", "--gamma", "1e9"]
    assert main([str(one) for one in refused]) == 2
    assert "from 0.1 to 10" in capsys.readouterr().err


def test_a_higher_threshold_finds_fewer_of_the_same(sample, trained, tmp_path, result):
    everything, sure = tmp_path / "all.csv", tmp_path / "sure.csv"
    result("predict", trained, pattern(sample), "--out", everything, "--floor", "0.05")
    result("predict", trained, pattern(sample), "--out", sure, "--threshold", "0.6")
    kept = [row for row in rows(everything) if float(row["score"]) >= 0.6]
    assert kept == rows(sure)
    assert len(kept) < len(rows(everything))


def test_tiles_change_nothing(sample, trained, tmp_path, result):
    whole, tiled = tmp_path / "whole.csv", tmp_path / "tiled.csv"
    result("predict", trained, pattern(sample), "--out", whole)
    result("predict", trained, pattern(sample), "--out", tiled, "--tile", "1,40,40")
    a = np.array([[float(v) for v in row.values()] for row in rows(whole)])
    b = np.array([[float(v) for v in row.values()] for row in rows(tiled)])
    np.testing.assert_allclose(a, b, atol=2e-3)


def test_aut_carries_scores_and_voxel_size(sample, trained, tmp_path, result):
    out = tmp_path / "cells.aut"
    told = result("predict", trained, pattern(sample), "--out", out, "--voxel-size", "1,0.5,0.5")
    (experiment,) = read_experiments(out)
    assert len(experiment.annotations) == told["detections"]
    assert experiment.voxel_size_um == (1, 0.5, 0.5)


def test_a_list_gives_one_file_each_and_a_list(sample, trained, tmp_path, result):
    told = result("predict", trained, sample, "--out", tmp_path / "cells")
    (experiment,) = read_experiments(tmp_path / "cells" / "cells.autlist")
    assert len(experiment.annotations) == told["detections"]
    assert experiment.images is not None


def test_counts_and_plot(sample, trained, tmp_path, result):
    told = result(
        "predict", trained, pattern(sample), "--out", tmp_path / "cells.csv",
        "--counts", tmp_path / "counts.csv", "--plot", tmp_path / "counts.svg",
    )  # fmt: skip
    counted = rows(tmp_path / "counts.csv")
    assert sum(int(row["cells"]) for row in counted) == told["detections"]
    assert ET.parse(tmp_path / "counts.svg").getroot().tag.endswith("svg")


def test_same_command_same_file(sample, trained, tmp_path, result):
    for name in ("a.csv", "b.csv"):
        result("predict", trained, pattern(sample), "--out", tmp_path / name)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_workers_change_nothing(sample, trained, tmp_path, result):
    alone, together = tmp_path / "alone.csv", tmp_path / "together.csv"
    result("predict", trained, pattern(sample), "--out", alone)
    result("predict", trained, pattern(sample), "--out", together, "--workers", "2")
    assert alone.read_bytes() == together.read_bytes()


def test_a_cluster_that_is_not_there(sample, trained, tmp_path, refused, monkeypatch):
    pytest.importorskip("distributed", reason="'distributed' is not installed")
    monkeypatch.setattr("napari_celltrain.prediction.cluster.CONNECT_SECONDS", 2)
    out = tmp_path / "cells.csv"
    address = "tcp://127.0.0.1:9"
    told = refused("predict", trained, pattern(sample), "--out", out, "--dask", address)
    assert address in told


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_ctrl_c_keeps_what_is_done(sample, trained, tmp_path, result, monkeypatch, capsys):
    whole, out = tmp_path / "whole.csv", tmp_path / "cells.csv"
    result("predict", trained, pattern(sample), "--out", whole)
    shown = predict_command._Progress.__call__
    done = []

    def press(self, name, frame, number, of):
        shown(self, name, frame, number, of)
        done.append(frame.t)
        if len(done) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(predict_command._Progress, "__call__", press)
    command = ["predict", str(trained), str(pattern(sample)), "--out", str(out)]
    assert main(command) == 130
    assert "--resume" in capsys.readouterr().err
    assert not out.exists()  # nothing that looks finished
    assert done == [0, 1, 2]
    monkeypatch.undo()
    told = result(*command[:1], trained, pattern(sample), "--out", out, "--resume")
    assert told["time_points"] == 8
    assert out.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells.csv", "whole.csv"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_a_prediction_that_is_done_when_it_is_asked_to_end_has_not_failed(
    sample, trained, tmp_path, monkeypatch
):
    """A cluster would start it again."""
    out = tmp_path / "cells.csv"

    def press(_progress, _name, _frame, number, of):
        if number == of:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(predict_command._Progress, "__call__", press)
    assert main(["predict", str(trained), str(pattern(sample)), "--out", str(out)]) == 0
    assert out.exists()


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
@pytest.mark.parametrize("later", [0.0, 0.1, 0.5])
def test_ctrl_c_while_processes_start_is_heard_once(sample, trained, tmp_path, later):
    """A terminal sends it to all of them; only the first may answer."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        pytest.skip("these tests were started with nohup")
    out = tmp_path / "cells.csv"
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_celltrain", "predict", str(trained), str(pattern(sample)),
         "--out", str(out), "--workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )  # fmt: skip

    def children():
        """Those that are to compute; libraries start others for a moment when they are loaded."""
        found = []
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "multiprocessing" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    end = time.monotonic() + 90
    while not (workers := children()) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.01)
    assert workers
    time.sleep(later)
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert "Traceback" not in told
    assert "KeyboardInterrupt" not in told
    assert told.count("--resume") == 1
    assert process.returncode == 130
    assert not out.exists()
    assert psutil.wait_procs(workers, timeout=10)[1] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--out", "cells.docx"], ".csv"),
        (["--out", "cells.csv", "--time-points", "50:60"], "0 to 7"),
        (["--out", "cells.csv", "--channel", "2"], "channel"),
        (["--out", "cells.csv", "--plot", "counts.docx"], ".svg"),
        (["--out", "cells.csv", "--counts", "counts.xls"], ".csv"),
        (["--out", "."], "folder"),
    ],
)
def test_refusals(sample, trained, tmp_path, refused, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused("predict", trained, pattern(sample), *arguments)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_detector(sample, tmp_path, refused):
    out = tmp_path / "cells.csv"
    assert "nowhere" in refused("predict", tmp_path / "nowhere", pattern(sample), "--out", out)
    assert str(tmp_path) in refused("predict", tmp_path, pattern(sample), "--out", out)
    (tmp_path / "detector.json").write_text(json.dumps({"format_version": 1}))
    assert "detector.json" in refused("predict", tmp_path, pattern(sample), "--out", out)
    assert not out.exists()


def test_missing_images_are_named(trained, tmp_path, refused):
    sentence = refused("predict", trained, tmp_path / "no.tif", "--out", tmp_path / "cells.csv")
    assert "no.tif" in sentence


def test_text_for_a_person(sample, trained, tmp_path, capsys):
    out = tmp_path / "cells.csv"
    assert main(["predict", str(trained), str(pattern(sample)), "--out", str(out)]) == 0
    told = capsys.readouterr()
    assert "cells in 8 time points" in told.out
    assert "cpu" in told.err  # the device in use is always said


@pytest.mark.parametrize("skip", [False, True])
def test_a_damaged_time_point_stops_or_is_named_at_the_end(sample, trained, tmp_path, capfd, skip):
    shutil.copytree(sample.parent / "images", tmp_path / "images")
    broken = tmp_path / "images" / "t003.tif"
    broken.write_bytes(broken.read_bytes()[:600])
    images, out = str(tmp_path / "images" / "t{time:03}.tif"), tmp_path / "cells.csv"
    arguments = [
        "predict",
        str(trained),
        images,
        "--out",
        str(out),
        "--counts",
        f"{tmp_path}/n.csv",
    ]
    status = main(arguments + ["--skip-damaged"] * skip)
    told = capfd.readouterr()
    assert "t003.tif" in told.err
    assert "<tifffile" not in told.err  # the library's own notes tell nobody anything
    if not skip:
        assert status == 2
        assert "--skip-damaged" in told.err
        assert not out.exists()
        return
    assert status == 0
    assert "in 7 time points; 1 could not be read and is left out (3)." in told.out
    assert {row["t"] for row in rows(out)} == {"0", "1", "2", "4", "5", "6", "7"}
    assert [row["t"] for row in rows(tmp_path / "n.csv") if not row["cells"]] == ["3"]


def test_where_nothing_can_be_read_it_is_no_success(trained, sample, tmp_path, capfd):
    folder = tmp_path / "images"
    shutil.copytree(sample.parent / "images", folder)
    for path in sorted(folder.glob("*.tif"))[1:]:
        path.unlink()
    (broken,) = folder.glob("*.tif")
    broken.write_bytes(broken.read_bytes()[:600])
    out = str(tmp_path / "cells.csv")
    command = ["predict", str(trained), str(folder / "t{time:03}.tif"), "--out", out]
    assert main([*command, "--skip-damaged"]) == 1
    assert "None of the time points could be read" in capfd.readouterr().err


def test_a_cluster_is_told_the_whole_place_of_the_images(sample, tmp_path, monkeypatch):
    monkeypatch.chdir(sample.parent)
    arguments = argparse.Namespace(
        images="images/t{time:03}.tif", dask="tcp://node1:8786", out=tmp_path / "cells.csv"
    )
    (source,) = predict_command._asked(arguments).movies
    monkeypatch.chdir(tmp_path)  # as a worker that was started elsewhere
    assert source.read_frame(0, 0).shape == (1, 96, 96)


def test_finding_nothing_is_told_with_what_to_do(sample, trained, tmp_path, capsys):
    out = tmp_path / "cells.csv"
    command = ["predict", str(trained), str(pattern(sample)), "--out", str(out)]
    assert main([*command, "--threshold", "1", "--time-points", "0:0"]) == 0
    told = capsys.readouterr()
    assert "0 cells in 1 time point." in told.out
    advice = told.err.splitlines()[-1]
    assert advice.startswith("Nothing scored as high as --threshold 1 (the detector's own: 0.")
    assert "--diameter" not in advice
    assert "--floor" in advice
    assert main([*command, "--diameter", "400", "--time-points", "0:0"]) == 0
    advice = capsys.readouterr().err.splitlines()[-1]
    assert advice.startswith("Nothing scored high enough to be a cell. Is --diameter 400 right?")


def test_results_do_not_take_the_place_of_each_other_or_of_what_was_asked_about(
    sample, trained, tmp_path, refused
):
    images, out = pattern(sample), tmp_path / "cells.csv"
    assert "--out" in refused("predict", trained, images, "--out", out, "--counts", out)
    movie = sample.parent / "images" / "t000.tif"
    before = movie.read_bytes()
    assert "images" in refused("predict", trained, movie, "--out", movie)
    assert movie.read_bytes() == before
    assert not out.exists()


def test_places_below_a_file_are_refused_before_anything_is_computed(
    sample, trained, tmp_path, refused
):
    (tmp_path / "file").write_text("precious")
    out = tmp_path / "cells.csv"
    for option in ("--counts", "--plot"):
        place = tmp_path / "file" / ("c.csv" if option == "--counts" else "c.svg")
        assert "is a file" in refused(
            "predict", trained, pattern(sample), "--out", out, option, place
        )
    (tmp_path / "folder.csv").mkdir()
    assert "folder" in refused(
        "predict", trained, pattern(sample), "--out", tmp_path / "folder.csv"
    )
    assert not out.exists()


def test_annotation_is_not_replaced_by_what_is_found(sample, trained, tmp_path, result, refused):
    folder = tmp_path / "data"
    result("predict", trained, sample, "--out", folder)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert "another folder" in refused("predict", trained, folder / "data.autlist", "--out", folder)
    (tmp_path / "work.aut").write_text("precious")
    assert "work.aut" in refused(
        "predict", trained, pattern(sample), "--out", tmp_path / "work.autlist"
    )
    assert (tmp_path / "work.aut").read_text() == "precious"
    assert files == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_weaker_candidates_are_not_called_cells(sample, trained, tmp_path, capsys):
    """And a floor above the threshold takes no cell away."""
    said = []
    for floor in ([], ["--floor", "0.05"], ["--floor", "0.95"]):
        out = tmp_path / "cells.csv"
        command = ["predict", str(trained), str(pattern(sample)), "--out", str(out), *floor]
        assert main([*command, "--threshold", "0.4"]) == 0
        told = capsys.readouterr()
        said.append((told.out.split(": ")[-1], len(rows(out))))
        lower = "The threshold (0.4) is not above --floor 0.95, so nothing weaker is written."
        assert (lower in told.err) == ("0.95" in floor)
    (plain, cells), (with_weaker, all_of_them), (above, kept) = said
    assert plain.startswith(f"{cells} cells in ")
    assert with_weaker.startswith(f"{cells} cells and {all_of_them - cells} weaker candidates in")
    assert all_of_them > cells == kept
    assert above == plain


def tracked(sample, out):
    """A copy of the sample's annotation, which has tracks."""
    (annotated,) = sample.parent.glob("*.aut")
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(annotated, out)
    return out


def own_list(sample, annotated, place):
    """A data set of the sample's images and one annotation file."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(
        f"[[experiment]]\nimages = '{pattern(sample)}'\nannotations = '{annotated}'\n", "utf-8"
    )
    return place


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_annotation_that_a_data_set_names_is_never_replaced(
    sample, tmp_path, refused, monkeypatch, more
):
    """Before a detector is even looked for."""
    cells = tmp_path / "cells"
    annotated = tracked(sample, cells / "cells.aut")
    before = annotated.read_bytes()
    place = own_list(sample, annotated, tmp_path / "data" / "dataset.toml")
    told = refused("predict", "no detector", place, "--out", cells, *more)
    assert "cells.aut" in told
    assert "another folder" in told
    monkeypatch.chdir(cells)
    assert "cells.aut" in refused("predict", "no detector", place, "--out", ".", *more)
    points = tmp_path / "points.csv"
    points.write_text("t,z,y,x\n0,0,5,6\n", "utf-8")
    place = own_list(sample, points, tmp_path / "data" / "dataset.toml")
    told = refused("predict", "no", place, "--out", tmp_path / "new", "--counts", points, *more)
    assert "points.csv" in told
    assert "--counts" in told
    assert points.read_text("utf-8") == "t,z,y,x\n0,0,5,6\n"
    assert annotated.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cells", "data", "points.csv"]


def test_annotation_of_a_list_within_a_data_set_is_never_replaced(sample, tmp_path, refused):
    from napari_celltrain.formats.autlist_writing import write_autlist

    (experiment,) = read_experiments(next(sample.parent.glob("*.aut")))
    cells = tmp_path / "cells"
    write_autlist(cells / "cells.autlist", [experiment.with_(name=name) for name in ("a", "b")])
    files = {path: path.read_bytes() for path in cells.rglob("*") if path.is_file()}
    assert len(files) == 3
    place = tmp_path / "dataset.toml"
    entry = (
        f"[[experiment]]\nimages = '{pattern(sample)}'\nannotations = 'cells/cells.autlist'\n"
        "entry = "
    )
    place.write_text(f"{entry}1\n{entry}2\n", "utf-8")
    assert "another folder" in refused("predict", "no detector", place, "--out", cells)
    assert files == {path: path.read_bytes() for path in cells.rglob("*") if path.is_file()}
    # and under another list's name the files that it would write
    (cells / "cells.autlist").rename(tmp_path / "other.autlist")
    place = own_list(sample, tracked(sample, tmp_path / "x.aut"), tmp_path / "dataset.toml")
    text = place.read_text("utf-8")
    place.write_text(f"{text}\n{text}\ntime_points = [0, 3]\n", "utf-8")
    assert "1. a.aut holds" in refused("predict", "no detector", place, "--out", cells)


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_tracks_are_not_replaced_by_a_prediction_which_has_none(sample, tmp_path, refused, more):
    out = tracked(sample, tmp_path / "organoid.aut")
    before = out.read_bytes()
    told = refused("predict", "no detector", pattern(sample), "--out", out, *more)
    assert "organoid.aut holds " in told
    assert "tracks, which a prediction would replace. Name another file, or remove it." in told
    assert out.read_bytes() == before
    table = tmp_path / "one.csv"
    table.write_text("t,z,y,x,id,parent_id\n0,0,5,6,1,-1\n1,0,5,6,2,1\n", "utf-8")
    told = refused("predict", "no detector", pattern(sample), "--out", table, *more)
    assert "holds 1 track, which" in told
    listed = own_list(sample, out, tmp_path / "dataset.toml")
    tracked(sample, tmp_path / "cells" / "cells.aut")
    told = refused("predict", "no detector", listed, "--out", tmp_path / "cells", *more)
    assert "Name another folder, or remove it." in told


@pytest.mark.parametrize("more", [[], ["--resume"]])
def test_an_earlier_prediction_and_what_nobody_can_read_are_replaced(
    sample, trained, tmp_path, result, more
):
    for name in ("cells.csv", "cells.aut"):
        out = tmp_path / name
        out.write_text("nothing that can be read", "utf-8")
        for times in ("0:1", "0:2"):
            result("predict", trained, pattern(sample), "--out", out, "--time-points", times, *more)
        (found,) = read_experiments(out)
        assert set(found.annotations.t.tolist()) == {0, 1, 2}
    for _ in range(2):
        result("predict", trained, sample, "--out", tmp_path / "list", "--time-points", "0", *more)


def test_a_tracking_file_is_searched_and_never_replaced(sample, trained, tmp_path, result, refused):
    from napari_celltrain.dataset import load_dataset
    from napari_celltrain.formats import write_experiment

    (experiment,) = load_dataset(sample).experiments
    tifffile.imwrite(
        tmp_path / "movie.tif",
        np.stack([experiment.images.read_frame(t)[0] for t in range(2)]),
        imagej=True,
        metadata={"axes": "TYX"},
    )
    tracked_there = experiment.with_(images=open_images(tmp_path / "movie.tif"))
    write_experiment(tmp_path / "tracked.xml", tracked_there)
    before = (tmp_path / "tracked.xml").read_bytes()
    told = result("predict", trained, tmp_path / "tracked.xml", "--out", tmp_path / "cells.csv")
    assert told["detections"] == len(rows(tmp_path / "cells.csv")) > 0
    told = result("predict", trained, tmp_path / "tracked.xml", "--out", tmp_path / "cells")
    assert (tmp_path / "cells" / "cells.autlist").is_file()
    out = tmp_path / "copy.xml"
    out.symlink_to(tmp_path / "tracked.xml")
    for place in (tmp_path / "tracked.xml", out):
        refused("predict", trained, tmp_path / "tracked.xml", "--out", place)
    assert (tmp_path / "tracked.xml").read_bytes() == before
    told = result("predict", trained, sample.parent, "--out", tmp_path / "all")
    assert told["time_points"] == 8


def test_movies_that_nobody_has_annotated_are_listed_with_what_is_known_of_them(
    sample, trained, tmp_path, result, refused
):
    place = tmp_path / "dataset.toml"
    place.write_text(
        f"[[experiment]]\nname = 'new'\nimages = '{pattern(sample)}'\ntime_points = [2, 3]\n"
        "voxel_size_um = [1.0, 0.5, 0.5]\n",
        "utf-8",
    )
    told = result("predict", trained, place, "--out", tmp_path / "cells")
    assert told["time_points"] == 2
    assert [one["experiment"] for one in told["experiments"]] == ["new"]
    (experiment,) = read_experiments(tmp_path / "cells" / "cells.autlist")
    assert experiment.known_voxel_size_um == (1.0, 0.5, 0.5)
    for command in (
        ["count", place], ["train", place, "--out", tmp_path / "run"], ["evaluate", trained, place],
    ):  # fmt: skip
        told = refused(*command)
        assert told.endswith("experiment 1 ('new'): the key 'annotations' is missing.")


def test_a_place_that_nothing_can_be_written_to_is_refused_before_a_detector_is_loaded(
    sample, tmp_path, refused
):
    (tmp_path / "file").write_text("precious", "utf-8")
    told = refused("predict", "no detector", pattern(sample), "--out", tmp_path / "cells.docx")
    assert ".csv" in told
    told = refused("predict", "no detector", sample, "--out", tmp_path / "file")
    assert "name a folder" in told


def test_the_files_that_a_shell_makes_of_a_wildcard_are_answered_with_a_pattern(
    sample, tmp_path, refused
):
    files = sorted((sample.parent / "images").glob("*.tif"))
    out = tmp_path / "cells.csv"
    told = refused("predict", "no detector", *files, "--out", out)
    assert "8 are named: t000.tif, t001.tif and more. For" in told
    assert '"img_t{time:03}.tif"' in told
    told = refused("predict", "--out", out, "no detector", *files[:2])
    assert "2 are named: t000.tif, t001.tif. For" in told
    for command in (
        ["predict", "--out", out, "no detector", files[0]],
        ["predict", "no detector", "--out", out, files[0]],
    ):
        assert "no detector" in refused(*command)


def test_the_help_names_what_can_be_given(capsys):
    assert main(["predict", "--help"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "DETECTOR IMAGES" in told
    assert ".celltrain file" in told
    assert "further" not in told
    assert main(["predict", "--out", "cells.csv"]) == 2
    assert "required: DETECTOR, IMAGES. See" in capsys.readouterr().err


def test_one_candidate_is_told_in_the_singular(tmp_path):
    applied = (Applied("a movie", 0.5, 1.0, None),)
    for number, word in ((0, "candidates"), (1, "candidate"), (2, "candidates")):
        summary = Summary(1, 1 + number, counts=(("a movie", 0, 1),), applied=applied)
        told = predict_command._outcome(summary, tmp_path, 0.05)
        assert told.endswith(f"1 cell and {number} weaker {word} in 1 time point.")


def test_what_a_list_leads_to_is_told(sample, trained, tmp_path, capsys):
    text = sample.read_text("utf-8").replace('"images/', f'"{sample.parent / "images"}/')
    text = text.replace(next(sample.parent.glob("*.aut")).name, "")
    lines = [line for line in text.splitlines() if not line.startswith("annotations")]
    (tmp_path / "list.toml").write_text("\n".join(lines) + "\n", "utf-8")
    out = tmp_path / "cells"
    assert main(["predict", str(trained), str(tmp_path / "list.toml"), "--out", str(out)]) == 0
    assert "leads to files outside its own folder" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--counts", "--plot"])
def test_a_name_that_is_too_long_is_refused_before_anything_is_computed(
    sample, trained, tmp_path, refused, option
):
    long = tmp_path / ("x" * 300 + (".csv" if option == "--counts" else ".svg"))
    out = tmp_path / "cells.csv"
    sentence = refused("predict", trained, pattern(sample), "--out", out, option, long)
    assert "can't be written" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_folder_in_which_nothing_can_be_made_is_refused_first(sample, trained, tmp_path, refused):
    shut = tmp_path / "shut"
    shut.mkdir(0o500)
    sentence = refused("predict", trained, pattern(sample), "--out", shut / "cells.csv")
    assert "nothing can be made in" in sentence


def test_counts_that_cannot_be_written_keep_nothing_else_back(
    sample, trained, tmp_path, capsys, monkeypatch
):
    def full(path, text):
        raise CellTrainError(f"{path} can't be written: the disk is full.")

    monkeypatch.setattr(predict_command, "write_text", full)
    out, plot = tmp_path / "cells.csv", tmp_path / "counts.svg"
    command = ["predict", str(trained), str(pattern(sample)), "--out", str(out), "--json"]
    assert main([*command, "--counts", str(tmp_path / "n.csv"), "--plot", str(plot)]) == 2
    told = capsys.readouterr()
    assert out.exists()
    assert plot.exists()
    assert json.loads(told.out.splitlines()[-1])["time_points"] == 8
    assert "the disk is full" in told.err
