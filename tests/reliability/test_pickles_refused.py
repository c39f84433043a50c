"""A pickle runs what its writer likes when it is opened: under no name is it ever opened."""

from __future__ import annotations

import io
import os
import pickle
import runpy
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.checkpoint import load_newest
from napari_celltrain.training.loop import train

READERS = runpy.run_path(str(Path(__file__).with_name("every_reader.py")))


class Opened:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    """Return the folder that is made when a pickle is opened; at the end it is not there."""
    place = tmp_path / "opened"
    yield place
    assert not place.exists()


def npy(content):
    file = io.BytesIO()
    np.save(file, content, allow_pickle=True)
    return file.getvalue()


def packed(marker):
    """The same pickle, as libraries would write it."""
    once = Opened(marker)
    array = np.empty(1, object)
    array[0] = once
    kinds = {f"protocol {p}": pickle.dumps(once, protocol=p) for p in range(6)}
    kinds["an array of objects"] = npy(array)
    file = io.BytesIO()
    np.savez(file, array=array, tracked=array, raw=array)
    kinds["a zip of arrays of objects"] = file.getvalue()
    file = io.BytesIO()
    torch.save({"weights": once}, file)
    kinds["PyTorch's"] = file.getvalue()
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in ("tracked.npy", "raw.npy", "lineage.json", "lineages.json"):
            content = npy(array) if name.endswith("npy") else b"[{}]"
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    kinds["an archive of arrays of objects"] = file.getvalue()
    return kinds


def test_the_marker_is_made_by_opening(tmp_path):
    """Else the other tests here would show nothing."""
    for number, content in enumerate(packed(tmp_path / "opened").values()):
        if number < 6:
            pickle.loads(content)
            (tmp_path / "opened").rmdir()
    array = packed(tmp_path / "opened")["an array of objects"]
    np.load(io.BytesIO(array), allow_pickle=True)
    (tmp_path / "opened").rmdir()
    torch.load(io.BytesIO(packed(tmp_path / "opened")["PyTorch's"]), weights_only=False)
    assert (tmp_path / "opened").is_dir()


@pytest.mark.parametrize("name", READERS["NAMES"])
def test_a_pickle_of_any_name_is_refused_unread(name, tmp_path, marker):
    folder = tmp_path / "folder"
    folder.mkdir()
    for kind, content in packed(marker).items():
        (folder / name).write_bytes(content)
        for reader, read in READERS["readers"]().items():
            for place in (folder / name, folder):
                with pytest.raises(CellTrainError) as told:
                    read(place)
                assert "\n" not in str(told.value), (kind, reader, place)
                assert not marker.exists(), (kind, reader, place)


@pytest.mark.parametrize(
    "name", ["settings.toml", "run.json", "history.jsonl", "dataset.toml", "checkpoints", "best"]
)
def test_a_pickle_in_a_run_is_refused_unread(name, small_run, tmp_path, marker):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    files = list((run / name).iterdir()) if (run / name).is_dir() else [run / name]
    contents = packed(marker)
    for kind in ("protocol 0", "protocol 5", "an array of objects", "PyTorch's"):
        for file in files:
            file.write_bytes(contents[kind])
        READERS["printed"]("plot", run, "--errors", "0")
        READERS["printed"]("predict", run, run / "no.tif", "--out", tmp_path / "x.csv")
        READERS["printed"]("count", run)
        assert load_newest(run / "checkpoints")[0] is None or name != "checkpoints"
        assert not marker.exists()


def test_a_pickle_among_the_prepared_images_is_made_anew(
    small_run, small_dataset, fast_settings, tmp_path, marker
):
    run = tmp_path / "run"
    shutil.copytree(small_run, run)
    prepared = list((run / "prepared").rglob("*.npy"))
    assert prepared
    for file in prepared:
        file.write_bytes(packed(marker)["an array of objects"])
    finished = train(small_dataset, run, fast_settings.changed(["budget.steps=81"]), resume=True)
    assert finished.step == 81
