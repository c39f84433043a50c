"""Ordinary files open as if this plugin were not there; tracking data of any name opens too."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
import tifffile
from napari import current_viewer
from napari._app_model import get_app_model
from napari.errors import MultipleReaderError, ReaderPluginError
from napari.layers import Image, Points
from napari.plugins.utils import get_preferred_reader
from napari.settings import get_settings
from napari.utils.notifications import notification_manager
from qtpy.QtWidgets import QFileDialog

from napari_celltrain.gui import reader_preferences
from napari_celltrain.gui.reader_preferences import FOLDERS, OURS

if TYPE_CHECKING:
    from pathlib import Path

SPOTS = """LABEL,ID,TRACK_ID,QUALITY,POSITION_X,POSITION_Y,POSITION_Z,POSITION_T,FRAME,VISIBILITY
Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,Visibility
Label,Spot ID,Track ID,Quality,X,Y,Z,T,Frame,Visibility
,,,(quality),(micron),(micron),(micron),(sec),,
ID1,1,0,3.5,10,12,0,0,0,1
ID2,2,0,4.5,11,12,0,1,1,1
"""


@pytest.fixture(autouse=True)
def no_preferences():
    get_settings().plugins.extension2reader = {}
    yield
    get_settings().plugins.extension2reader = {}


def run(command):
    get_app_model().commands.execute_command(f"napari-celltrain.{command}").result()


def drop(viewer, place):
    """Open a file or folder as napari does when it is dropped into the window."""
    return viewer.open(str(place), plugin=None)


def told():
    return [one.message for one in notification_manager.records]


@pytest.fixture
def opened(viewer, monkeypatch, qtbot):
    """Open a place through the menu, and wait for its layers or for a problem."""

    def do(place: Path):
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(place), ""))
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(place))
        before, said = len(viewer.layers), len(notification_manager.records)
        run("open_folder" if place.is_dir() else "open_file")
        qtbot.waitUntil(
            lambda: len(viewer.layers) > before or len(notification_manager.records) > said + 1,
            timeout=20_000,
        )
        qtbot.wait(100)
        return list(viewer.layers)[before:]

    return do


@pytest.fixture
def challenge(tmp_path):
    """A challenge folder with a cell that moves."""
    tracks = tmp_path / "set" / "01_GT" / "TRA"
    tracks.mkdir(parents=True)
    (tmp_path / "set" / "01").mkdir()
    for t in range(2):
        labels = np.zeros((20, 30), np.uint16)
        labels[5:8, 5 + t : 8 + t] = 1
        tifffile.imwrite(tracks / f"man_track{t:03}.tif", labels)
        tifffile.imwrite(tmp_path / "set" / "01" / f"t{t:03}.tif", labels * 50)
    (tracks / "man_track.txt").write_text("1 0 1 0\n")
    return tmp_path / "set"


def ordinary_points(place: Path) -> Path:
    place.write_text("index,axis-0,axis-1\n0,3,4\n1,5,6\n")
    return place


def folder_of_images(place: Path) -> Path:
    place.mkdir(parents=True)
    for number in range(3):
        tifffile.imwrite(place / f"scan{number}.tif", np.full((8, 9), number, np.uint8))
    return place


def test_an_ordinary_table_opens_without_a_question(viewer, tmp_path):
    (layer,) = drop(viewer, ordinary_points(tmp_path / "places.csv"))
    assert isinstance(layer, Points)
    assert layer.source.reader_plugin == "napari"
    assert layer.data.tolist() == [[3, 4], [5, 6]]


def test_an_ordinary_image_opens_without_a_question(viewer, tmp_path):
    tifffile.imwrite(tmp_path / "tracks.tif", np.zeros((8, 8), np.uint8))
    (layer,) = drop(viewer, tmp_path / "tracks.tif")
    assert isinstance(layer, Image)


@pytest.mark.parametrize("suffix", ["h5", "hdf5", "hdf"])
def test_an_ordinary_hdf5_file_is_left_to_napari(viewer, tmp_path, suffix):
    place = tmp_path / f"measurements.{suffix}"
    with h5py.File(place, "w") as file:
        file["data"] = np.zeros((4, 4))
    with pytest.raises(ReaderPluginError) as problem:  # which can't read it, with or without us
        drop(viewer, place)
    assert problem.value.reader_plugin == "napari"


@pytest.mark.parametrize(
    "name",
    ["All Spots statistics.csv", "b_edges.csv", "Tracks.csv", "fly_Position.csv", "cells.csv",
     "acdc_output.csv", "MyExpt_Nuclei.csv", "Detections 3.csv", "lineage.csv", "tracks.h5"],
)  # fmt: skip
def test_names_that_tracking_programs_give_are_claimed(viewer, tmp_path, name):
    (tmp_path / name).write_text("nothing")
    with pytest.raises(MultipleReaderError) as question:
        drop(viewer, tmp_path / name)
    assert OURS in question.value.available_plugins


def test_a_tracking_table_of_any_name_opens_through_the_menu(opened, tmp_path):
    (tmp_path / "export.csv").write_text(SPOTS)
    layers = opened(tmp_path / "export.csv")
    assert {type(layer).__name__ for layer in layers} == {"Points", "Tracks"}
    assert len(layers[-1].data) == 2
    assert "Opening export.csv." in told()


def test_a_challenge_folder_opens_through_the_menu(opened, challenge):
    layers = opened(challenge)
    assert [type(layer).__name__ for layer in layers] == ["Image", "Tracks", "Points"]
    assert len(layers[-1].data) == 2


def test_what_is_no_tracking_data_is_a_sentence(opened, tmp_path):
    assert not opened(folder_of_images(tmp_path / "scans"))
    assert "folder of images without tracking data" in told()[-1]
    (tmp_path / "wages.csv").write_text("name,euros\nAnna,3\n")
    assert not opened(tmp_path / "wages.csv")
    assert "no columns for x and y" in told()[-1]


def test_a_detector_opens_through_the_menu(viewer, trained, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(trained))
    run("open_folder")
    assert "Predict cells (napari-celltrain)" in viewer.window.dock_widgets


def test_nothing_is_opened_when_the_dialog_is_cancelled(viewer, monkeypatch):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    run("open_file")
    assert not viewer.layers


def test_reading_does_not_hold_the_window_up(viewer, tmp_path, monkeypatch, qtbot):
    import threading

    from napari_celltrain.gui import readers

    threads = []
    real = readers.read_experiments
    monkeypatch.setattr(
        readers, "read_experiments",
        lambda place: threads.append(threading.current_thread()) or time.sleep(0.5) or real(place),
    )  # fmt: skip
    (tmp_path / "export.csv").write_text(SPOTS)
    monkeypatch.setattr(
        QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "export.csv"), "")
    )
    run("open_file")
    assert not viewer.layers
    qtbot.waitUntil(lambda: len(viewer.layers) == 2, timeout=20_000)
    assert threads[0] is not threading.main_thread()


def test_asking_no_more_opens_ours_here_and_the_others_as_before(viewer, tmp_path, challenge):
    get_settings().plugins.extension2reader = {"*.tif": "napari"}
    run("ask_no_more")
    assert "opened by CellTrain without a question" in told()[-1]
    (tmp_path / "a_spots.csv").write_text(SPOTS)
    layers = drop(viewer, tmp_path / "a_spots.csv")
    assert layers[0].source.reader_plugin == OURS
    assert [type(layer).__name__ for layer in drop(viewer, challenge)] == [
        "Image", "Tracks", "Points",
    ]  # fmt: skip
    said = len(told())
    (stack,) = drop(viewer, folder_of_images(tmp_path / "tracks" / "scans"))
    assert stack.data.shape == (3, 8, 9)
    (points,) = drop(viewer, ordinary_points(tmp_path / "tracks" / "places.csv"))
    assert points.source.reader_plugin == "napari"
    (flat,) = drop(viewer, ordinary_points(tmp_path / "cells.csv"))  # called so, without times
    assert flat.data.tolist() == [[3, 4], [5, 6]]
    assert len(told()) == said
    run("ask_no_more")
    assert "asks again" in told()[-1]
    assert get_settings().plugins.extension2reader == {"*.tif": "napari"}
    with pytest.raises(MultipleReaderError):
        drop(viewer, challenge)


def test_a_choice_of_the_users_own_stays(viewer):
    get_settings().plugins.extension2reader = {FOLDERS: "napari", "*.zarr/": "napari"}
    run("ask_no_more")
    assert f"What you had chosen yourself stays: {FOLDERS} with napari" in told()[-1]
    run("ask_no_more")
    assert get_settings().plugins.extension2reader == {FOLDERS: "napari", "*.zarr/": "napari"}


def test_remembering_celltrain_for_every_table_means_tables_called_like_ours(viewer, tmp_path):
    (tmp_path / "a_spots.csv").write_text(SPOTS)
    viewer.open(str(tmp_path / "a_spots.csv"), plugin=OURS)
    get_settings().plugins.extension2reader = {"*.csv": OURS, "*.npy": "napari"}  # the dialog does
    assert get_settings().plugins.extension2reader["*.npy"] == "napari"
    assert "*.csv" not in get_settings().plugins.extension2reader
    assert get_preferred_reader(str(tmp_path / "a_spots.csv")) == OURS
    (points,) = drop(viewer, ordinary_points(tmp_path / "places.csv"))
    assert points.source.reader_plugin == "napari"
    get_settings().plugins.extension2reader = {"*.h5": OURS}
    assert get_preferred_reader(str(tmp_path / "tracks.h5")) == OURS
    assert get_preferred_reader(str(tmp_path / "other.h5")) is None


def test_what_is_remembered_fits_names_and_not_the_folders_around(tmp_path):
    assert current_viewer() is None
    folder = tmp_path / "tracks of cells"
    folder.mkdir()
    get_settings().plugins.extension2reader = dict.fromkeys(reader_preferences.patterns(), OURS)
    for name in ("places.csv", "a.csv", "measured.h5"):
        assert get_preferred_reader(str(folder / name)) is None
    for name in ("Spots.csv", "tracks.csv", "cells1.csv", "my_track.csv", "Tracks.h5"):
        assert get_preferred_reader(str(folder / name)) == OURS
    assert FOLDERS.endswith(os.sep)


def test_a_stack_that_was_handed_to_us_is_handed_on(viewer, tmp_path):
    folder = folder_of_images(tmp_path / "scans")
    from napari_celltrain.gui.readers import reader_for

    files = sorted(str(one) for one in folder.iterdir())
    layers = reader_for(files)(files)
    assert np.asarray(layers[0][0]).shape == (3, 8, 9)
    assert reader_for([files[0], "a.csv"]) is None


def test_what_nobody_can_read_is_a_sentence_of_ours(viewer, tmp_path):
    (tmp_path / "cells.csv").write_text("name,euros\nAnna,3\n")
    with pytest.raises(Exception, match="no columns for x and y"):
        viewer.open(str(tmp_path / "cells.csv"), plugin=OURS)


def test_the_commands_are_in_naparis_menus(viewer):
    menus = get_app_model().menus
    for menu in ("napari/file/io_utilities", "napari-celltrain.submenu"):
        there = {item.command.id for item in menus.get_menu(menu) if hasattr(item, "command")}
        assert {f"{OURS}.{one}" for one in ("open_file", "open_folder", "ask_no_more")} <= there
