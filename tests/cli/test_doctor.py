"""``celltrain doctor`` tells what is there and survives what is not."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from napari_celltrain.cli import doctor, installed, main
from napari_celltrain.training.debug_log import DebugLog
from napari_celltrain.training.events import StateChanged
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings


def test_a_crash_is_a_line_of_the_report():
    check = doctor._in_own_process("glass", "import os; os.abort()", "problem", "Get another.")()
    assert check.verdict == "problem"
    assert "Get another." in check.sentence


def test_an_exception_is_told_by_its_last_line():
    check = doctor._in_own_process("x", "raise OSError('no such card')", "warning", "Buy one.")()
    assert check.verdict == "warning"
    assert "no such card" in check.sentence


def test_what_is_not_installed_is_said_in_words():
    check = doctor._in_own_process("x", "import no_such_thing", "warning", "Get it.")()
    assert check.sentence == "no_such_thing is not installed. Get it."


@pytest.mark.parametrize(
    ("code", "words"),
    [(doctor._PLUGIN, "napari is not installed"), (doctor._QT, "not installed.")],
)
def test_without_napari_nobody_is_sent_astray(code, words):
    hidden = f"""
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *given: None if name == "napari" else real(name, *given)
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name == "qtpy":
            raise ImportError("No Qt bindings could be found")
sys.meta_path.insert(0, Hide())
{code}
"""
    check = doctor._in_own_process("x", hidden, "warning", "Do this.")()
    assert check.verdict == "warning"
    assert words in check.sentence
    assert "Error" not in check.sentence


def test_this_installation_passes(capsys, monkeypatch):
    quick = [check for check in doctor.CHECKS if check in (doctor._system, doctor._packages)]
    torch = doctor._in_own_process("torch", doctor._TORCH, "problem", "")
    monkeypatch.setattr(doctor, "CHECKS", (*quick, torch))
    assert main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["ok"]
    assert {check["name"] for check in told["checks"]} == {"system", "packages", "torch"}
    assert "GFLOP/s" in told["checks"][-1]["sentence"]


def checked(name):
    """Make the check of that name."""
    (make,) = [one for one in doctor.CHECKS if one.__name__ == f"_{name}"]
    return make()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("napari", r"\d+\.\d+"),
        ("qt", r"Py\w+, Qt \d\.\d+"),
        ("opengl", r"OpenGL \d\.\d, display by \w+"),
        ("plugin", "found, with Annotation counts, Train detector, Predict cells"),
    ],
)
def test_what_the_window_needs_is_found(name, words, qapp):
    check = checked(name)
    if name == "opengl" and "no OpenGL context" in check.sentence:
        pytest.skip("nothing can be drawn here")
    assert check.verdict == "ok", check.sentence
    assert re.search(words, check.sentence)


def test_a_disk_is_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check = doctor._disk()
    assert re.search(r"\d+ MiB/s, \d+ GiB free", check.sentence)
    assert str(tmp_path) in check.sentence
    assert not list(tmp_path.iterdir())


def _removed(monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()


def _read_only(monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(doctor.tempfile, "NamedTemporaryFile", fail)


def _slow(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.time, "perf_counter", iter([0.0, 10.0]).__next__)


def _nearly_full(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda place: SimpleNamespace(free=2**30))


def _no_memory(monkeypatch, tmp_path):
    memory = SimpleNamespace(available=2**30, total=2**33)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)


def _package_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "direct_requirements", lambda: ["no-such-package"])


def _itself_missing(monkeypatch, tmp_path):
    monkeypatch.setattr(installed, "NAME", "no-such-plugin")


def _no_processes(monkeypatch, tmp_path):
    def fail(*args, **kwargs):
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    monkeypatch.setattr(doctor.subprocess, "run", fail)


def _hanging(monkeypatch, tmp_path):
    def hang(*args, **kwargs):
        raise subprocess.TimeoutExpired("python", 120)

    monkeypatch.setattr(doctor.subprocess, "run", hang)


@pytest.mark.parametrize(
    ("spoil", "name", "verdict", "words"),
    [
        pytest.param(
            _removed, "disk", "warning", "Go to another one.",
            marks=pytest.mark.skipif(os.name == "nt", reason="a folder in use stays there"),
        ),
        (_read_only, "disk", "warning", "choose another place."),
        (_slow, "disk", "warning", "3 MiB/s.*keep runs on a disk of this computer."),
        (_nearly_full, "disk", "warning", "1 GiB free. Make room"),
        (_no_memory, "memory", "warning", "close other programs"),
        (_package_missing, "packages", "problem", "no-such-package; install them with pip"),
        (_itself_missing, "packages", "problem", "pip install napari-celltrain"),
        (_no_processes, "torch", "problem", "can't be tried: .*. Close other programs."),
        (_hanging, "torch", "problem", "hangs for two minutes. Install it again: pip install"),
        (_hanging, "qt", "problem", "pip install"),
        (_hanging, "opengl", "problem", "graphics drivers"),
        (_hanging, "napari", "problem", "pip install"),
        (_hanging, "plugin", "problem", "install the plugin again"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_what_to_do(monkeypatch, tmp_path, spoil, name, verdict, words):
    with monkeypatch.context() as patch:
        spoil(patch, tmp_path)
        check = checked(name)
    assert check.verdict == verdict
    assert re.search(words, check.sentence), check.sentence


def test_licences_of_what_pip_does_not_know_are_a_sentence(monkeypatch, refused):
    monkeypatch.setattr(installed, "NAME", "no-such-plugin")
    assert "pip install napari-celltrain" in refused("doctor", "--licences")


def test_a_problem_makes_the_exit_status_1(capsys, monkeypatch):
    bad = doctor._in_own_process("torch", "raise ImportError('torch')", "problem", "Install it.")
    monkeypatch.setattr(doctor, "CHECKS", (bad,))
    assert main(["doctor"]) == 1
    assert "PROBLEM  torch" in capsys.readouterr().out


def test_a_run_is_told_with_its_choices(trained, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "CHECKS", (doctor._system,))
    assert main(["doctor", str(trained)]) == 0
    told = capsys.readouterr().out
    for words in ("best_f1", "width = 8", "cell diameter", "Held out", "Evaluation("):
        assert words in told


def test_what_is_no_run_is_refused(tmp_path, refused):
    assert "no run folder" in refused("doctor", tmp_path)


def test_a_run_is_told_with_its_log(trained, capsys, monkeypatch):
    monkeypatch.setattr(doctor, "CHECKS", (doctor._system,))
    assert main(["doctor", str(trained)]) == 0
    told = capsys.readouterr().out
    assert "versions: torch 2" in told
    assert "device: cpu" in told


def test_of_a_long_log_it_is_told_with_what_the_newest_sitting_began(trained, tmp_path):
    """Versions, device and settings are the first things that somebody who helps asks for."""
    run = RunFolder(tmp_path / "run")
    shutil.copytree(trained, run.path)
    log = DebugLog(run)
    log.begin(TrainingSettings.from_dict({"budget": {"steps": 4711}}))
    log(StateChanged("training", "Training."))
    for step in range(3 * doctor.LOG_LINES):
        log(StateChanged("training", f"Step {step}."))
    told = doctor._run_log(run.path)
    text = "\n".join(told)
    for words in ("=== napari-celltrain", "versions: torch 2", "steps = 4711", "  device: cpu"):
        assert words in text
    assert "steps = 150" not in text  # of the sitting before it
    assert told[-1].endswith(f"Step {3 * doctor.LOG_LINES - 1}.")
    assert len(told) < 2 * doctor.LOG_LINES


def test_a_run_of_a_version_without_log_is_told_from_its_history(trained, tmp_path, capsys):
    old = tmp_path / "old"
    shutil.copytree(trained, old)
    (old / "debug.log").unlink()
    told = "\n".join(doctor._run_log(old))
    for words in ("width = 8", "cell diameter", "Held out", "Evaluation("):
        assert words in told


def test_a_folder_that_is_not_there_is_called_that(tmp_path, refused):
    assert "There is no folder" in refused("doctor", tmp_path / "nothing")


def test_no_display_is_said_in_words(monkeypatch):
    if sys.platform != "linux":
        pytest.skip("there is always a display")
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    opengl = doctor._in_own_process("OpenGL", doctor._OPENGL, "warning", "Get one.")()
    assert opengl.verdict == "warning"
    assert opengl.sentence.startswith("There is no display here")


def test_licences_are_listed(capsys):
    assert main(["doctor", "--licences"]) == 0
    out = capsys.readouterr().out.splitlines()
    (line,) = (line for line in out if line.startswith("numpy "))
    assert "BSD" in line  # older versions do not say which
    assert "packages." in out[-1]
    assert main(["doctor", "--licenses", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["packages"]
    assert {"name", "version", "licence"} == set(told[0])
    assert len(told) > 20
