"""What is searched: images as they are, and what says where its images are."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import write_experiment
from napari_celltrain.images import open_images
from napari_celltrain.prediction import asked
from napari_celltrain.prediction.asked import open_asked

FILE, FOLDER = Path("cells.csv"), Path("cells")
ONE = 'images = "01/t{time:03}.tif"\nannotations = "points.csv"\n'


@pytest.fixture
def place(tmp_path):
    """A set of the challenge, with a movie of one file and a tracking file beside it."""
    root = tmp_path / "Fluo-made"
    truth = root / "01_GT" / "TRA"
    truth.mkdir(parents=True)
    (root / "01").mkdir()
    for t in range(3):
        labels = np.zeros((20, 30), np.uint16)
        labels[4:7, 4 + t : 7 + t] = 1
        tifffile.imwrite(truth / f"man_track{t:03}.tif", labels)
        tifffile.imwrite(root / "01" / f"t{t:03}.tif", labels * 9)
    (truth / "man_track.txt").write_text("1 0 2 0\n")
    (root / "points.csv").write_text("t,z,y,x\n0,0,5,5\n", "utf-8")
    movie = open_images(root / "01" / "t{time:03}.tif")
    frames = np.stack([movie.read_frame(t)[0] for t in movie.time_points])
    tifffile.imwrite(root / "movie.ome.tif", frames, metadata={"axes": "TYX"})
    cells = Annotations([0, 1], [[0, 5, 5], [0, 5, 6]], [[0, 1]])
    tracked = Experiment("tracked", cells, open_images(root / "movie.ome.tif"))
    write_experiment(root / "tracked.xml", tracked.with_(voxel_size_um=(1.0, 0.5, 0.5)))
    write_experiment(root / "cells.aut", tracked)
    return root


@pytest.mark.parametrize("name", ["01", "01/t{time:03}.tif", "movie.ome.tif"])
def test_images_stay_what_they_are_and_nothing_else_is_tried(place, monkeypatch, name):
    monkeypatch.setattr(asked, "load_dataset", None)
    monkeypatch.setattr(asked, "format_of", None)
    for out in (FILE, FOLDER):
        found = open_asked(str(place / name), out)
        (movie,) = found.movies
        assert not isinstance(movie, Experiment)
        assert list(movie.time_points) == [0, 1, 2]
        assert not found.into_folder
        assert found.files == ()


@pytest.mark.parametrize("name", ["", "01_GT", "01_GT/TRA", "01_GT/TRA/man_track.txt"])
def test_a_challenge_folder_stands_for_its_movie_not_for_its_labels(place, name):
    (place / "movie.ome.tif").unlink()
    found = open_asked(str(place / name), FILE)
    (experiment,) = found.movies
    assert experiment.images.read_frame(2).max() == 9
    assert not found.into_folder
    assert open_asked(str(place / name), FOLDER).into_folder


def test_a_tracking_file_stands_for_the_movie_that_it_names(place):
    found = open_asked(str(place / "tracked.xml"), FILE)
    (experiment,) = found.movies
    assert experiment.known_voxel_size_um == (1.0, 0.5, 0.5)
    assert list(experiment.images.time_points) == [0, 1, 2]
    assert not found.into_folder
    assert place / "tracked.xml" in found.files


def test_a_folder_with_a_data_set_in_it_stands_for_the_data_set(place):
    """And one that is named itself has its results in a folder, as ever."""
    (place / "dataset.toml").write_text("[[experiment]]\n" + ONE, "utf-8")
    for name, out, into_folder in (
        (".", FOLDER, True), (".", FILE, False), ("dataset.toml", FILE, True),
    ):  # fmt: skip
        found = open_asked(str(place / name), out)
        (experiment,) = found.movies
        assert experiment.source == place / "points.csv"
        assert found.into_folder == into_folder
        assert place / "dataset.toml" in found.files


def test_what_has_several_experiments_is_written_into_a_folder(place):
    (place / "movie.ome.tif").unlink()
    for name in ("01", "01_GT"):
        shutil.copytree(place / name, place / name.replace("01", "02"))
    found = open_asked(str(place), FOLDER)
    assert len(found.movies) == 2
    assert found.into_folder
    with pytest.raises(CellTrainError, match=r"2 experiments, which don't go into one file"):
        open_asked(str(place), FILE)


def test_a_tracking_file_without_images_is_told_what_it_lacks(place):
    with pytest.raises(CellTrainError, match="Nothing says where the images"):
        open_asked(str(place / "cells.aut"), FILE)
    (place / "movie.ome.tif").unlink()
    with pytest.raises(CellTrainError, match=r"movie\.ome\.tif"):
        open_asked(str(place / "tracked.xml"), FILE)


@pytest.mark.parametrize("name", ["nothing.tif", "no\0name", "x" * 5000, "two", "broken.tif"])
def test_what_is_wrong_with_images_is_told_as_ever(place, name):
    (place / "two").mkdir()
    for image in ("mask_1.tif", "mask_2.tif", "raw_1.tif", "raw_2.tif"):
        shutil.copy(place / "01" / "t000.tif", place / "two" / image)
    (place / "broken.tif").write_bytes(b"II*\0nothing")
    with pytest.raises(CellTrainError) as before:
        open_images(str(place / name))
    with pytest.raises(CellTrainError) as now:
        open_asked(str(place / name), FILE)
    assert str(now.value) == str(before.value)


@pytest.mark.parametrize(
    ("name", "pattern"),
    [("01/t*.tif", "t{time:03}.tif"), ("01/*.*", "img_t{time:03}.tif"), ("?.tif", "img_t{time")],
)
def test_a_wildcard_is_answered_with_what_is_written_instead(place, name, pattern):
    with pytest.raises(CellTrainError, match="no such file or folder") as error:
        open_asked(str(place / name), FILE)
    assert f'name the folder, or a pattern such as "{pattern}' in str(error.value)
