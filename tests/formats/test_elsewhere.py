"""What a file names outside its own folder is told, and other computers are not asked."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_celltrain.dataset import load_dataset
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats.attaching import found_path
from napari_celltrain.formats.elsewhere import check_computer, elsewhere, host_of
from napari_celltrain.formats.registry import format_named, read_experiments


@pytest.fixture
def movie(tmp_path):
    path = tmp_path / "far" / "movie.tif"
    path.parent.mkdir()
    tifffile.imwrite(path, np.zeros((2, 1, 20, 20), np.uint8), metadata={"axes": "TZYX"})
    return path


@pytest.fixture
def cells(tmp_path):
    path = tmp_path / "near" / "cells.aut"
    path.parent.mkdir()
    positions = np.array([[0.0, 5.0, 5.0], [0.0, 6.0, 6.0]])
    format_named("OrganoidTracker").write(
        path, Experiment("cells", Annotations(np.array([0, 1]), positions))
    )
    return path


def told(experiments) -> list[str]:
    return [
        finding.message
        for experiment in experiments
        for finding in experiment.findings
        if finding.code == "elsewhere"
    ]


def an_autlist(cells, *movies):
    path = cells.with_name("all.autlist")
    entries = [{"experiment_file": cells.name, "images_container": str(one)} for one in movies]
    path.write_text(json.dumps(entries))
    return path


def a_dataset(cells, *movies):
    path = cells.with_name("dataset.toml")
    path.write_text(
        "".join(
            f"[[experiment]]\nname = 'e{number}'\nimages = '{one}'\nannotations = '{cells.name}'\n"
            for number, one in enumerate(movies)
        )
    )
    return path


def experiments_of(path):
    if path.suffix == ".toml":
        return load_dataset(path).experiments
    return read_experiments(path)


@pytest.mark.parametrize("listing", [an_autlist, a_dataset])
def test_a_list_that_leads_elsewhere_says_where_once(listing, cells, movie):
    other = movie.with_name("other.tif")
    other.write_bytes(movie.read_bytes())
    path = listing(cells, movie, other)
    (message,) = told(experiments_of(path))
    assert message == (
        f"{path.name} leads to files outside its own folder: in {movie.parent.resolve()}."
    )


@pytest.mark.parametrize(
    "images",
    [
        {"images_container": ".", "images_pattern": "../frames/t{time:03}.tif"},
        {"images_container": "../frames", "images_pattern": "t{time:03}.tif"},
        {"images_container": "../frames/t{time:03}.tif"},
        {"images_container": "..\\frames\\t{time:03}.tif"},
        {"images_container": ".", "images_pattern": "t{time:03}/../../frames/t{time:03}.tif"},
        {"images_container": ".", "images_pattern": "../frames/t000.tif"},
    ],
)
def test_a_pattern_that_leads_elsewhere_is_told(tmp_path, cells, images):
    frames = tmp_path / "frames"
    frames.mkdir()
    tifffile.imwrite(frames / "t000.tif", np.zeros((2, 8, 9), np.uint8))
    (cells.parent / "t000").mkdir()
    path = cells.parent / "list.autlist"
    path.write_text(json.dumps([{"experiment_file": cells.name, **images}]))
    experiments = read_experiments(path)
    assert experiments[0].images is not None
    (sentence,) = told(experiments)
    assert sentence.endswith(f"in {frames}.")


def test_a_pattern_beside_the_list_is_not_told(cells):
    tifffile.imwrite(cells.parent / "t000.tif", np.zeros((2, 8, 9), np.uint8))
    images = {"images_container": ".", "images_pattern": "t{time:03}.tif"}
    path = cells.parent / "list.autlist"
    path.write_text(json.dumps([{"experiment_file": cells.name, **images}]))
    assert not told(read_experiments(path))


@pytest.mark.parametrize("listing", [an_autlist, a_dataset])
def test_a_list_of_what_lies_beside_it_says_nothing(listing, cells, movie):
    beside = cells.with_name("movie.tif")
    beside.write_bytes(movie.read_bytes())
    assert told(experiments_of(listing(cells, beside))) == []
    assert told(experiments_of(listing(cells, "movie.tif"))) == []


def test_a_link_that_leads_elsewhere_is_elsewhere(tmp_path, cells, movie):
    link = cells.with_name("linked.tif")
    link.symlink_to(movie)
    assert len(told(read_experiments(an_autlist(cells, "linked.tif")))) == 1


def test_trackmate_says_where_its_movie_is(cells, movie):
    path = cells.with_name("tracks.xml")
    path.write_text(
        '<?xml version="1.0"?><TrackMate version="7.0"><Model spatialunits="pixel" '
        'timeunits="frame"><AllSpots><SpotsInFrame frame="0"><Spot ID="1" POSITION_X="5" '
        'POSITION_Y="5" POSITION_Z="0" FRAME="0" POSITION_T="0"/></SpotsInFrame></AllSpots>'
        f'</Model><Settings><ImageData filename="{movie.name}" folder="{movie.parent}" width="20" '
        'height="20" nslices="1" nframes="2" pixelwidth="1" pixelheight="1" voxeldepth="1" '
        'timeinterval="1"/></Settings></TrackMate>'
    )
    (experiment,) = read_experiments(path)
    assert experiment.images is not None
    assert len(told([experiment])) == 1


def test_many_folders_are_not_all_named(tmp_path):
    places = [tmp_path / str(number) / "movie.tif" for number in range(9)]
    finding = elsewhere(places, tmp_path / "near" / "all.autlist")
    assert finding is not None
    assert finding.message.endswith("and 6 more.")


@pytest.mark.parametrize(
    ("text", "host"),
    [
        (r"\\Server\data\movie.tif", "server"),
        ("//server/data/movie.tif", "server"),
        (r"\\?\UNC\server\data\movie.tif", "server"),
        (r"\\.\pipe\name", "."),
        (r"\\?\C:\data\movie.tif", ""),
        (r"D:\data\movie.tif", ""),
        ("data/movie.tif", ""),
        ("/data/movie.tif", ""),
    ],
)
def test_the_computer_that_a_path_names(text, host):
    assert host_of(text) == host


def test_windows_is_not_made_to_ask_another_computer(monkeypatch):
    monkeypatch.setattr(os, "name", "nt")
    with pytest.raises(CellTrainError, match=r"another computer \(stranger\), .* drive letter"):
        check_computer(r"\\stranger\share\movie.tif", r"C:\lists")
    check_computer(r"\\lab\share\movie.tif", r"\\LAB\lists")
    check_computer(r"D:\movie.tif", r"C:\lists")


def test_what_lies_beside_a_list_is_taken_before_a_computer_is_asked(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        "napari_celltrain.formats.attaching.check_computer",
        lambda text, folder: (_ for _ in ()).throw(CellTrainError("on another computer")),
    )
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: asked.append(str(self)) or exists(self))
    (tmp_path / "movie.tif").write_bytes(b"")
    findings = []
    assert found_path(r"\\stranger\share\movie.tif", tmp_path, findings) == tmp_path / "movie.tif"
    assert findings[0].code == "moved"
    with pytest.raises(CellTrainError, match="another computer"):
        found_path(r"\\stranger\share\none.tif", tmp_path, findings)
    assert all(place.startswith(str(tmp_path)) for place in asked)


def test_a_list_keeps_its_cells_where_a_computer_is_not_asked(monkeypatch, cells):
    def refuse(text, folder):
        if "stranger" in text:
            raise CellTrainError("on another computer (stranger), which is not asked")

    monkeypatch.setattr("napari_celltrain.formats.attaching.check_computer", refuse)
    (experiment,) = read_experiments(an_autlist(cells, r"\\stranger\share\movie.tif"))
    assert len(experiment.annotations) == 2
    (finding,) = [one for one in experiment.findings if one.code == "images-missing"]
    assert "(stranger), which is not asked" in finding.message
