"""The network is never asked: not at import, not by commands or their workers, nor the window."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import tifffile

from napari_celltrain.formats.registry import write_experiment

WATCHED = """
import os, sys

ASKING = ("connect", "bind", "sendto", "sendmsg", "getaddrinfo", "gethostbyname", "gethostbyaddr")

def watch(event, arguments):
    if event.startswith("socket.") and event.removeprefix("socket.") in ASKING:
        if getattr(arguments[0], "family", None) == 1:  # AF_UNIX: a window speaks to its display
            return
        with open(os.environ["CELLTRAIN_ASKED"], "a") as told:
            print(event, arguments, sys.argv, file=told)
        os._exit(9)  # whoever would catch an error

sys.addaudithook(watch)
"""
"""What every Python begins with that is started here, workers and what they start included."""
UNHEARD = """
import sys
done = __import__("subprocess").run(sys.argv[1:]).returncode
with open("/proc/net/snmp") as v4, open("/proc/net/snmp6") as v6:
    names, counts = (line.split() for line in v4 if line.startswith("Ip:"))
    counted = dict(zip(names, counts)) | dict(line.split() for line in v6)
asked = [name for name in ("OutNoRoutes", "OutRequests", "Ip6OutNoRoutes", "Ip6OutRequests")
         if int(counted[name])]
sys.exit(f"the network was asked: {asked}" if asked else done)
"""
"""Without any network Linux counts who asked all the same, libraries in other languages, too."""
COMMANDS = """
import sys
from napari_celltrain.cli import main
for words in sys.argv[1:]:
    status = main(words.split())
    assert status == 0, (words, status)
"""
WINDOW = """
import napari, os, sys, time
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


@functools.cache
def without_network() -> list[str]:
    """Return what to put before a command so that it has no network; empty where none may."""
    words = ["unshare", "--map-root-user", "--net"]
    if shutil.which(words[0]) is None:
        return []
    done = subprocess.run([*words, sys.executable, "-c", UNHEARD, "true"], capture_output=True)
    return [*words, sys.executable, "-c", UNHEARD] if done.returncode == 0 else []


def offline(program: str, *arguments: str, cwd: Path, counted: bool = True) -> None:
    """Run a program and fail when it, or any process that it starts, asks the network.

    `counted`: where the system can count it, other languages than Python are watched as well.
    """
    with tempfile.TemporaryDirectory() as place:
        asked = Path(place, "asked")
        Path(place, "sitecustomize.py").write_text(WATCHED)
        path = os.pathsep.join(filter(None, [place, os.environ.get("PYTHONPATH")]))
        done = subprocess.run(
            [*(without_network() if counted else []), sys.executable, "-c", program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": path,
                "CELLTRAIN_ASKED": str(asked),
            },
            cwd=cwd,
        )
        assert not asked.exists(), f"the network was asked: {asked.read_text()}"
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


ASK = {
    "a page": "import urllib.request; urllib.request.urlopen('http://localhost:9')",
    "a name": "import socket\ntry: socket.getaddrinfo('localhost', 80)\nexcept Exception: pass",
    "below": "import _socket; _socket.socket().bind(('127.0.0.1', 0))",
    "a child": """import subprocess, sys
subprocess.run([sys.executable, "-c", "import socket; socket.create_connection(('::1', 9))"])""",
    "a worker": """from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from urllib.request import urlopen
with ProcessPoolExecutor(1, get_context("spawn")) as workers:
    workers.submit(urlopen, "http://127.0.0.1:9").exception()""",
}


@pytest.mark.parametrize("way", ASK)
def test_the_network_would_be_noticed(way, tmp_path):
    with pytest.raises(AssertionError, match="the network was asked"):
        offline(ASK[way], cwd=tmp_path, counted=False)


@pytest.mark.parametrize("address", ["192.0.2.1", "127.0.0.1"])  # the first is nobody's
def test_the_network_would_be_noticed_below_python(address, tmp_path):
    if not without_network() or shutil.which("bash") is None:
        pytest.skip("nobody counts here what other programs ask")
    ask = f"import subprocess; subprocess.run(['bash', '-c', ': < /dev/tcp/{address}/9'])"
    with pytest.raises(AssertionError, match="the network was asked"):
        offline(ask, cwd=tmp_path)


def test_no_command_asks_the_network(folder):
    offline(
        COMMANDS,
        "count dataset.toml",
        "train training.toml --out run --steps 2 --threads 1 --device cpu --set design.width=4",
        "predict small t{time:03}.tif --out found.csv --counts n.csv --voxel-size 1,1,1 "
        "--device cpu --threads 2 --workers 2",
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
