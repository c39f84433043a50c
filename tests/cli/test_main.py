"""Exit statuses and sentences: what a script and a person can rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

import napari_celltrain
from napari_celltrain.cli import main, parser
from napari_celltrain.errors import CellTrainError

PROGRAM = [sys.executable, "-m", "napari_celltrain"]


@pytest.fixture
def command(monkeypatch):
    """Let 'celltrain count' do something else, in this process."""

    def use(function):
        monkeypatch.setattr("napari_celltrain.cli.count.run", function)

    return use


def test_module_and_version():
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stdout.strip() == f"celltrain {napari_celltrain.__version__}"


@pytest.mark.parametrize("name", ["", *parser.COMMANDS])
def test_help_has_examples(name, capsys):
    assert main([*([name] if name else []), "--help"]) == 0
    assert "examples:" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["train"],
        ["train", "x", "--out", "y", "--minutes", "-1"],
        ["train", "x", "--out", "y", "--minutes", "1", "--steps", "2"],
        ["train", "x", "--out", "y", "--device", "abacus"],
        ["predict", "x", "y", "--out", "z.csv", "--time-points", "5:1"],
        ["predict", "x", "y", "--out", "z.csv", "--voxel-size", "1,2"],
        ["predict", "x", "y", "--out", "z.csv", "--voxel-size", "1,nan,2"],
        ["predict", "x", "y", "--out", "z.csv", "--threshold", "2"],
        ["predict", "x", "y", "--out", "z.csv", "--channel", "0"],
        ["evaluate", "x", "y", "--border", "-3"],
    ],
)
def test_wrong_options_are_one_sentence(arguments, capsys):
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert "--help" in told.err


def test_bad_input_is_one_sentence(capsys, tmp_path):
    assert main(["count", str(tmp_path / "nothing.aut")]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert len(told.err.splitlines()) == 1
    assert "nothing.aut" in told.err


def test_user_errors_are_told_and_bugs_are_not_hidden(command, capsys):
    def fails(_):
        raise CellTrainError("The moon is in the way.")

    command(fails)
    assert main(["count", "x"]) == 2
    assert capsys.readouterr().err == "celltrain: The moon is in the way.\n"

    def breaks(_):
        raise ValueError("a bug")

    command(breaks)
    with pytest.raises(ValueError, match="a bug"):
        main(["count", "x"])


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_end_a_command_with_their_status(command, number, status, capsys):
    def slow(_):
        os.kill(os.getpid(), number)
        time.sleep(20)
        return 0

    before = signal.getsignal(number)
    if before is signal.SIG_IGN:
        pytest.skip("these tests were started with nohup, and what it starts shall go on as well")
    command(slow)
    assert main(["count", "x"]) == status
    assert signal.getsignal(number) is before
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX systems")
def test_a_reader_that_went_away_is_no_error():
    script = (
        "import sys\nfrom napari_celltrain.cli import main, count\n"
        "def talk(_):\n    for _ in range(100000):\n        print('words')\n    return 0\n"
        "count.run = talk\nsys.exit(main(['count', 'x']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()


def test_the_name_alone_shows_what_there_is(capsys):
    assert main([]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert "examples:" in told.err


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("std::bad_alloc")], ids=str)
def test_memory_that_ran_out_is_a_sentence(command, capsys, error):
    def run(arguments):
        raise error

    command(run)
    assert main(["count", "x"]) == 2
    assert "the memory of this machine is not enough" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo terminals")
@pytest.mark.parametrize("wish", ["", "1"])
def test_a_terminal_sees_colours_and_a_pipe_sees_none(tmp_path, wish):
    """The program itself, once on a terminal and once piped."""
    import pty

    environment = {**os.environ, "NO_COLOR": wish, "TERM": "xterm"}
    arguments = [*PROGRAM, "count", str(tmp_path / "nothing.toml")]
    piped = subprocess.run(arguments, capture_output=True, env=environment, timeout=60)
    ours, theirs = pty.openpty()
    subprocess.run(arguments, stderr=theirs, stdout=theirs, env=environment, timeout=60)
    os.close(theirs)
    told = os.read(ours, 65536)
    os.close(ours)
    assert b"\x1b" not in piped.stderr + piped.stdout
    assert (b"\x1b[31m" in told) == (wish == "")
    assert b"nothing.toml" in told
