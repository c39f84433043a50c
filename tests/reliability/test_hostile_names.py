"""Names out of files may hold anything: nothing that steers a terminal or a browser is printed."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import sys
from pathlib import Path

import pytest
import tifffile

from napari_celltrain.cli import main
from napari_celltrain.cli.output import print_json, say, tell
from napari_celltrain.errors import shown
from napari_celltrain.experiment import Finding
from napari_celltrain.formats import write_experiment
from napari_celltrain.training.events import FindingEvent
from napari_celltrain.training.history import HistoryWriter
from napari_celltrain.training.run import RunFolder

EVIL = "\x1b[2J\x1b]0;gotcha\x07\r\x9b31m\u202egnp\x7f<script>$\\frac$"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
CLI = Path(sys.modules[main.__module__].__file__).parent


def test_what_cannot_be_seen_is_shown_as_its_code():
    assert shown("a\x1b[31mb\r\x9b\x7f\u202e") == "a\\x1b[31mb\\r\\x9b\\x7f\\u202e"
    assert (
        shown("Zellen \u00fc\u03bcm \u2192 \u7d30\u80de\n\tx")
        == "Zellen \u00fc\u03bcm \u2192 \u7d30\u80de\n\tx"
    )
    assert shown(os.fsdecode(b"caf\xe9.tif")) == "caf\\udce9.tif"


def test_a_line_that_the_terminal_has_no_letters_for_is_printed(monkeypatch):
    for encoding in ("ascii", "cp1252", "utf-8"):
        stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        tell(f"\u7d30\u80de {os.fsdecode(bytes([233]))}")
        print_json({"name": "\u7d30\u80de\x9b\udce9"})
        stream.flush()
        first, second = stream.buffer.getvalue().splitlines()
        assert b"\\udce9" in first
        assert json.loads(second) == {"name": "\u7d30\u80de\x9b\udce9"}
        assert b"\x9b" not in second


def test_only_one_place_prints():
    """Else the next one who prints a name forgets what may be in it."""
    may = {"output.py", "completion.py", "interruption.py"}
    for file in CLI.glob("*.py"):
        nodes = ast.walk(ast.parse(file.read_text("utf-8")))
        called = {getattr(node.func, "id", "") for node in nodes if isinstance(node, ast.Call)}
        assert "print" not in called or file.name in may, file


def test_a_head_keeps_its_colour_and_nothing_else_has_one(monkeypatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self):
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    say(f": {EVIL}", head="warning")
    printed = stream.getvalue()
    assert printed.startswith("\x1b[33mwarning\x1b[0m: ")
    assert printed.count("\x1b") == 2
    assert "\\x1b[2J" in printed


@pytest.fixture(scope="module")
def evil(make_blobs, tmp_path_factory):
    """Return a data set and a run whose experiments have such names."""
    folder = tmp_path_factory.mktemp("evil")
    experiment = make_blobs(times=6, shape=(1, 48, 48), cells=6)
    for t in range(6):
        tifffile.imwrite(folder / f"t{t}.tif", experiment.images.read_frame(t)[0])
    write_experiment(folder / "points.csv", experiment)
    name = json.dumps(EVIL).replace("\x7f", "\\u007f")
    entry = (
        f'[[experiment]]\nname = {name}\nimages = "t{{time}}.tif"\nannotations = "points.csv"\n'
        "voxel_size_um = [1.0, 1.0, 1.0]\n"
    )
    (folder / "dataset.toml").write_text(entry, "utf-8")
    status = main(
        ["train", str(folder / "dataset.toml"), "--out", str(folder / "run"), "--steps", "2",
         "--threads", "1", "--device", "cpu", "--set", "design.width=4"]
    )  # fmt: skip
    assert status == 0
    run = RunFolder(folder / "run")
    HistoryWriter(run)(FindingEvent(Finding("warning", "evil", EVIL, EVIL)))
    state = {"experiments": [EVIL], "stopped_because": EVIL}
    run.write_state(**state)
    return folder


COMMANDS = {
    "count": ["count", "dataset.toml"],
    "count as JSON": ["count", "dataset.toml", "--json"],
    "count what is not there": ["count", EVIL.replace("/", "")],
    "predict": ["predict", "run", "t{time}.tif", "--out", "OUT/c.csv", "--like", EVIL,
                "--voxel-size", "1,1,1", "--threshold", "0.1", "--threads", "1"],
    "predict a list": ["predict", "run", "dataset.toml", "--out", "OUT/c", "--threads", "1",
                       "--counts", "OUT/n.csv", "--plot", "OUT/n.svg"],
    "evaluate": ["evaluate", "run", "dataset.toml", "--threads", "1"],
    "convert": ["convert", "dataset.toml", "OUT/all.autlist"],
    "plot": ["plot", "run", "--out", "OUT/report.html"],
    "doctor": ["doctor", "run"],
    "train what is finished": ["train", "--out", "run", "--resume"],
    "an unknown option": ["count", "--" + EVIL, "x"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_what_steers_a_terminal(evil, tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(evil)
    capsys.readouterr()
    main([word.replace("OUT", str(tmp_path)) for word in COMMANDS[command]])
    told = capsys.readouterr()
    assert told.out + told.err
    assert "Traceback" not in told.err
    assert not STEERING.findall(told.out + told.err)


def test_the_log_and_the_page_of_a_run_hold_nothing_that_acts(evil, tmp_path, monkeypatch):
    monkeypatch.chdir(evil)
    assert main(["plot", "run", "--out", str(tmp_path / "report.html")]) == 0
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "&lt;script&gt;" in page
    assert "<script" not in page
    assert not STEERING.findall(page)
    assert not STEERING.findall((evil / "run" / "debug.log").read_text("utf-8"))


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_an_event_with_the_name_of_a_file_that_is_no_text_comes_back(tmp_path):
    run = RunFolder(tmp_path)
    event = FindingEvent(Finding("info", "x", os.fsdecode(b"caf\xe9"), EVIL))
    HistoryWriter(run)(event)
    assert run.read_history() == [event]
    run.truncate_history(10, 10)
    assert run.read_history() == [event]
