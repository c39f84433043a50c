"""What is printed: JSON that any program reads, and progress that does not flood a log."""

from __future__ import annotations

import io
import json
import os

import numpy as np
import pytest

from napari_celltrain.cli import output
from napari_celltrain.cli.output import Progress, coloured, duration, print_json, table


def test_json_is_one_line_and_valid(capsys):
    print_json(
        {"a": float("nan"), "b": np.float32(0.5), "c": (np.int64(1), [None]), "d": np.arange(2),
         "e": "Zelle µ\n"}
    )  # fmt: skip
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) == {"a": None, "b": 0.5, "c": [1, [None]], "d": [0, 1], "e": "Zelle µ\n"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (65.4, "1:05"), (7205, "2:00:05"), (-1, "0:00")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_table_lines_columns_up():
    lines = table(["name", "cells"], [["a", "5"], ["longer", "1234"]]).splitlines()
    assert lines == ["name    cells", "a           5", "longer   1234"]


def test_progress_tells_the_end_and_little_else(capsys):
    with Progress("Predicting", 500) as progress:
        for _ in range(500):
            progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == "Predicting: 500 of 500 frames"
    assert len(lines) <= 2


def test_a_single_frame_is_one(capsys):
    with Progress("Predicting", 1) as progress:
        progress.advance()
    assert capsys.readouterr().err == "Predicting: 1 of 1 frame\n"


def test_progress_goes_to_standard_error_only(capsys, monkeypatch):
    monkeypatch.setattr(output, "SECONDS_BETWEEN_LINES", 0.0)
    with Progress("Predicting", 3) as progress:
        for t in range(3):
            progress.advance(f"{t} cells")
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.splitlines()[0].startswith("Predicting: 1 of 3 frames, 0 cells, ")


def test_a_terminal_gets_a_bar(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress("Predicting", 3) as progress:
        for _ in range(3):
            progress.advance()
    assert "Predicting" in capsys.readouterr().err


def test_a_terminal_that_says_it_has_no_columns_gets_a_bar_too(capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.fileno", lambda: 2, raising=False)
    monkeypatch.setattr("os.get_terminal_size", lambda *_: os.terminal_size((0, 0)))
    with Progress("Predicting", 3) as progress:
        progress.advance()
    assert "Predicting" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def no_wishes(monkeypatch):
    """A terminal that shows colours, and a person who said nothing of them."""
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WT_SESSION", "1")  # asked for on Windows only


def test_only_terminals_get_colours(no_wishes):
    assert coloured("warning", "warning", Terminal()) == "\x1b[33mwarning\x1b[0m"
    assert coloured("warning", "warning", io.StringIO()) == "warning"
    assert coloured("info", "info", Terminal()) == "info"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_who_wants_no_colours_gets_none(no_wishes, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert coloured("warning", "warning", Terminal()) == "warning"


def test_a_closed_stream_has_no_colours(no_wishes):
    closed = io.StringIO()
    closed.close()
    assert coloured("error", "error", closed) == "error"
