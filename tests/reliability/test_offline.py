"""The network is never asked: not at import, not by any command, not by the window."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import tifffile

from napari_celltrain.formats.registry import write_experiment

if TYPE_CHECKING:
    from pathlib import Path

OFFLINE = """
import os, socket, sys
def refusing(name):
    original = getattr(socket.socket, name)
    def asked(self, *args, **kwargs):
        if self.family == getattr(socket, "AF_UNIX", None):  # a window speaks to its display
            return original(self, *args, **kwargs)
        print("the network was asked", file=sys.stderr, flush=True)
        os._exit(9)  # whoever would catch an error
    return asked
for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refusing(name))
for name in ("create_connection", "getaddrinfo", "gethostbyname", "gethostbyaddr"):
    setattr(socket, name, lambda *args, **kwargs: socket.socket().connect(("nowhere", 1)))
"""
COMMANDS = """
import napari_celltrain
from napari_celltrain.cli import main
for words in sys.argv[1:]:
    status = main(words.split())
    assert status == 0, (words, status)
"""
WINDOW = """
import napari, time
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer(show=False)
for name in sys.argv[1:]:
    viewer.window.add_plugin_dock_widget("napari-celltrain", name)
viewer.open_sample("napari-celltrain", "plane")
until = time.monotonic() + 3
while time.monotonic() < until:
    QApplication.processEvents()
os._exit(0)  # the end of a window has tests of its own
"""


def offline(program: str, *arguments: str, cwd: Path | None = None) -> None:
    """Run a program that dies when it asks the network."""
    done = subprocess.run(
        [sys.executable, "-c", OFFLINE + program, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture
def folder(make_blobs, small_run, tmp_path):
    """Return a folder with a movie, its data set and a run."""
    experiment = make_blobs(times=4, shape=(1, 48, 48), cells=5)
    for t in range(4):
        tifffile.imwrite(tmp_path / f"t{t:03}.tif", experiment.images.read_frame(t)[0])
    write_experiment(tmp_path / "points.csv", experiment)
    (tmp_path / "dataset.toml").write_text(
        '[[experiment]]\nimages = "t{time:03}.tif"\nannotations = "points.csv"\nname = "e"\n'
        'voxel_size_um = [1.0, 1.0, 1.0]\nrole = "held-out"\n'
    )
    (tmp_path / "training.toml").write_text(
        (tmp_path / "dataset.toml").read_text().replace('role = "held-out"\n', "")
    )
    shutil.copytree(small_run, tmp_path / "small")
    return tmp_path


def test_the_network_would_be_noticed():
    for program in (
        "import urllib.request; urllib.request.urlopen('http://localhost:9')",
        "try: socket.getaddrinfo('localhost', 80)\nexcept Exception: pass",
    ):
        with pytest.raises(AssertionError, match="the network was asked"):
            offline(program)


def test_no_command_asks_the_network(folder):
    offline(
        COMMANDS,
        "count dataset.toml",
        "train training.toml --out run --steps 2 --threads 1 --device cpu --set design.width=4",
        "predict small t{time:03}.tif --out found.csv --counts n.csv --voxel-size 1,1,1 "
        "--device cpu --threads 1",
        "evaluate small dataset.toml --device cpu --threads 1",
        "convert points.csv found.geff",
        "export small --out packed.celltrain --no-screenshot",
        "export-job training.toml --out job",
        "plot small --errors 1",
        "preview training.toml --out crops --count 1",
        "sample movie",
        cwd=folder,
    )
    assert (folder / "found.csv").is_file()


@pytest.mark.slow
def test_the_export_for_the_model_zoo_does_not_ask_the_network(folder):
    pytest.importorskip("bioimageio.spec")
    words = "export small --bioimageio zoo.zip --author A --licence CC-BY-4.0 --title Cells"
    offline(COMMANDS, words, cwd=folder)


def test_the_window_does_not_ask_the_network(tmp_path):
    pytest.importorskip("napari")
    offline(WINDOW, "Annotation counts", "Train detector", "Predict cells", cwd=tmp_path)
