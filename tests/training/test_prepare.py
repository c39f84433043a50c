"""Frames at the working scale: made once, made anew when they changed, and what a window holds."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile

from napari_celltrain.detector.design import choose_design
from napari_celltrain.images import open_images
from napari_celltrain.training import prepare as prepare_module
from napari_celltrain.training.prepare import OpenFrames, prepare, typical_levels


@pytest.fixture
def design():
    return choose_design(
        diameter=10,
        spacing=12,
        voxel_size=(1, 1, 1),
        planes=1,
        unit="um",
        width=8,
        time_window=(-1, 1),
    )


@pytest.fixture
def on_disk(make_blobs, tmp_path):
    experiment = make_blobs(times=4)
    folder = tmp_path / "images"
    folder.mkdir()
    for t in range(4):
        tifffile.imwrite(folder / f"t{t:03}.tif", experiment.images.read_frame(t)[0])
    return experiment.with_(images=open_images(folder))


def _prepare(experiment, design, folder, frames):
    return prepare([experiment], frames, design, [(1.0, 1.0, 1.0)], folder)


def test_a_window_at_the_ends_of_a_movie_repeats_the_nearest_frame(on_disk, design, tmp_path):
    first, last = _prepare(on_disk, design, tmp_path / "prepared", [(0, 0), (0, 3)])
    assert first.files[0] == first.files[1] != first.files[2]
    assert last.files[0] != last.files[1] == last.files[2]


def test_an_unchanged_frame_is_not_read_again(on_disk, design, tmp_path, monkeypatch):
    folder = tmp_path / "prepared"
    _prepare(on_disk, design, folder, [(0, 1)])
    monkeypatch.setattr(
        type(on_disk.images), "read_frame", lambda *args: pytest.fail("it was read again")
    )
    assert _prepare(on_disk, design, folder, [(0, 1)])[0].shape == (1, 96, 96)


def test_stopped_while_a_frame_is_read_it_is_not_resampled(on_disk, design, tmp_path, monkeypatch):
    """Frames of 100 MB take seconds each."""
    stop, resampled = [], []
    read = type(on_disk.images).read_frame

    def stopped_meanwhile(*arguments):
        stop.append(True)
        return read(*arguments)

    monkeypatch.setattr(type(on_disk.images), "read_frame", stopped_meanwhile)
    monkeypatch.setattr(prepare_module, "resample", lambda *arguments: resampled.append(arguments))
    frames = [(0, 1), (0, 2)]
    sizes, folder = [(1.0, 1.0, 1.0)], tmp_path / "prepared"
    stopping = {"stopping": lambda: bool(stop)}
    assert prepare([on_disk], frames, design, sizes, folder, **stopping) == []
    assert resampled == []
    assert typical_levels([on_disk], frames, design, sizes, **stopping) is None


def test_a_changed_frame_is_read_again_and_the_old_one_goes(on_disk, design, tmp_path):
    folder = tmp_path / "prepared"
    before = _prepare(on_disk, design, folder, [(0, 1)])[0]
    path = tmp_path / "images" / "t001.tif"
    image = tifffile.imread(path)
    tifffile.imwrite(path, image[::-1])
    os.utime(path, ns=(1, 1))
    after = _prepare(on_disk, design, folder, [(0, 1)])[0]
    assert before.files[1] != after.files[1]
    assert not before.files[1].exists()
    assert len(list(folder.iterdir())) == 3


def test_dark_and_bright_levels_are_those_of_the_files(on_disk, design):
    low, high = typical_levels([on_disk], [(0, 1), (0, 2)], design, [(1.0, 1.0, 1.0)])
    assert 70 < low < 120
    assert 350 < high < 750


def test_few_frames_are_open_at_once(tmp_path):
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"{number}.npy")
        np.save(paths[-1], np.full((1, 10, 10), number, np.float16))
    frames = OpenFrames(limit=500)
    assert [int(frames.get(path)[0, 0, 0]) for path in paths * 2] == [*range(6)] * 2
    assert len(frames._open) <= 3
