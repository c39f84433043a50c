"""``celltrain doctor``: what the plugin needs, whether it is there, and whether it works.

Every check runs in a process of its own, so that a library that crashes or hangs is one more line
of the report and not its end.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_celltrain import __version__
from napari_celltrain.cli.arguments import add_json
from napari_celltrain.cli.installed import NAME, direct_requirements, installed_packages
from napari_celltrain.cli.output import print_json, tell
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import cannot_be_written

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

SUMMARY = "Check the installation: torch, graphics card, napari, Qt, OpenGL, plugin, disk."
EXAMPLES = """\
examples:
  celltrain doctor            paste its output when you ask for help
  celltrain doctor run        and what happened in this run
  celltrain doctor --licences whose work is installed, and on what conditions
"""

_NOT_THERE = re.compile(r"^ModuleNotFoundError: No module named '([^']+)'")
NOT_INSTALLED = (
    f"{NAME} runs, but pip knows nothing of it, so nobody can tell what it needs: install it with "
    f"pip install {NAME}"
)
LOG_LINES = 300
"""Of a run's log, the last so many are shown, and with what the newest sitting began."""
LOG_BYTES = 2**24
"""Of a log that is longer, nothing before its end is looked at."""
LONGEST_LINE = 1000
Verdict = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Check:
    """One line of the report."""

    name: str
    verdict: Verdict
    sentence: str


_TORCH = """
import time, torch
if torch.cuda.is_available():
    device = "cuda"
    name = torch.cuda.get_device_name(0)
elif torch.backends.mps.is_available():
    device, name = "mps", "Apple GPU"
else:
    device, name = "cpu", f"no graphics card in use, {torch.get_num_threads()} threads"
x = torch.rand(1, 8, 16, 64, 64, device=device)
w = torch.rand(8, 8, 3, 3, 3, device=device)
torch.nn.functional.conv3d(x, w)
begin = time.perf_counter()
for _ in range(3):
    float(torch.nn.functional.conv3d(x, w).sum())
flop = 3 * 2 * 27 * 64 * 14 * 62 * 62
print(f"{torch.__version__} on {device}: {name}; {flop / (time.perf_counter() - begin) / 1e9:.0f} "
      "GFLOP/s in a small convolution")
"""
_QT = """
import sys
try:
    import qtpy
except Exception as error:
    sys.exit("not installed." if "No Qt bindings" in str(error) else str(error))
from qtpy.QtCore import qVersion
print(f"{qtpy.API_NAME}, Qt {qVersion()}")
"""
_OPENGL = """
import os, sys
if sys.platform.startswith("linux") and not os.environ.get("QT_QPA_PLATFORM"):
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        sys.exit("There is no display here (DISPLAY is not set).")
from qtpy.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext
app = QGuiApplication([])
surface = QOffscreenSurface(); surface.create()
context = QOpenGLContext()
assert context.create(), "no OpenGL context could be made"
assert context.makeCurrent(surface), "the OpenGL context can't be used"
form = context.format()
print(f"OpenGL {form.majorVersion()}.{form.minorVersion()}, display by {app.platformName()}")
"""
_NAPARI = "import napari; print(napari.__version__)"
_PLUGIN = """
import importlib.util, sys
if importlib.util.find_spec("napari") is None:
    sys.exit("it is not listed anywhere, because napari is not installed.")
from npe2 import PluginManager
manager = PluginManager.instance()
manager.discover(include_npe1=False)
manifest = manager.get_manifest("napari-celltrain")
widgets = [widget.display_name for widget in manifest.contributions.widgets or []]
assert widgets, "the plugin offers no widgets"
print("found, with " + ", ".join(widgets))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "run_folder",
        nargs="?",
        type=Path,
        metavar="RUN",
        help="also tell what is known of a training run",
    )
    parser.add_argument(
        "--licences",
        "--licenses",
        action="store_true",
        help="list everything that is installed with the plugin, with its licence, instead",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check everything; problems make the exit status 1."""
    if arguments.licences:
        return _tell_licences(as_json=arguments.json)
    checks = []
    log = [] if arguments.run_folder is None else _run_log(arguments.run_folder)
    for make in CHECKS:
        check = make()
        checks.append(check)
        if not arguments.json:
            sign = {"ok": "ok     ", "warning": "warning", "problem": "PROBLEM"}[check.verdict]
            tell(f"  {check.name}: {check.sentence}", head=sign, meaning=check.verdict)
    bad = any(check.verdict == "problem" for check in checks)
    if arguments.json:
        told = {"ok": not bad, "checks": [asdict(check) for check in checks]}
        print_json({**told, "run": log} if log else told)
    elif log:
        tell("\n" + "\n".join(log))
    return 1 if bad else 0


def _tell_licences(*, as_json: bool) -> int:
    try:
        packages = installed_packages()
    except metadata.PackageNotFoundError:
        raise CellTrainError(f"{NOT_INSTALLED}.") from None
    if as_json:
        print_json({"packages": [asdict(one) for one in packages]})
        return 0
    name, version = (
        max(len(text) for text in texts)
        for texts in zip(*((one.name, one.version) for one in packages), strict=True)
    )
    for one in packages:
        tell(f"{one.name:{name}}  {one.version:{version}}  {one.licence or 'does not say'}")
    strict = [one.name for one in packages if one.is_under_gpl or one.is_under_lgpl]
    said = (
        f"Parts or all of {', '.join(strict)} are under the GPL or LGPL: that matters to whoever "
        "passes them on, not to whoever uses them."
        if strict
        else "None is under the GPL or LGPL."
    )
    tell(f"\n{len(packages)} packages. {said}")
    return 0


def _run_log(path: Path) -> list[str]:
    """Return what a run folder tells: its state, settings, choices, findings and last events."""
    from napari_celltrain.training.events import Choice, Evaluation, FindingEvent, Step
    from napari_celltrain.training.run import RunFolder

    folder = RunFolder(path)
    folder.check()
    lines = [f"Run {path}" + (" (in use by another process)" if folder.is_locked() else "")]
    lines += [f"  {key}: {value}" for key, value in folder.read_state().items()]
    checkpoints = sorted(file.name for file in folder.checkpoints.glob("*"))
    lines.append(f"  checkpoints: {', '.join(checkpoints) or 'none'}")
    history = folder.read_history()
    for kind in (Step, Evaluation):
        last = [event for event in history if isinstance(event, kind)][-3:]
        lines += [f"  {event}" for event in last]
    began, log = _log(folder.log_file)
    chosen = [event for event in history if isinstance(event, Choice)]
    choices = ["Chosen", *(f"  {one.name}: {one.value} ({one.reason})" for one in chosen)]
    if began:  # choices are in the log once, where the run was begun
        lines += [f"{folder.log_file.name}, where the newest sitting begins", *began, *choices]
    if log:
        return [*lines, f"{folder.log_file.name}, the last {len(log)} lines", *log]
    # a run of an earlier version keeps no log
    settings = folder.settings_text()
    lines += ["Settings", *(f"  {line}" for line in settings.splitlines() if line.strip())]
    lines += choices
    found = [event.finding for event in history if isinstance(event, FindingEvent)]
    lines += ["Noticed", *(f"  {one.severity}: {one.message}" for one in found)]
    return lines


def _log(file: Path) -> tuple[list[str], list[str]]:
    """Return with what the newest sitting begins in a log, if the end does not show it; the end."""
    from napari_celltrain.training.debug_log import SITTING_BEGINS

    try:
        if not file.is_file():  # a pipe would never end
            return [], []
        with open(file, "rb") as opened:
            opened.seek(max(0, file.stat().st_size - LOG_BYTES))
            content = opened.read(LOG_BYTES)
    except OSError:
        return [], []
    text = content.decode("utf-8", errors="replace")
    lines = [line[:LONGEST_LINE] for line in text.splitlines()]
    before, end = lines[:-LOG_LINES], lines[-LOG_LINES:]
    begins = [i for i, line in enumerate(lines) if SITTING_BEGINS in line]
    if not begins:
        return [], end
    newest = before[begins[-1] :]
    trains = (i for i, line in enumerate(newest) if " training: " in line)
    return newest[: next(trains, LOG_LINES)], end


def _system() -> Check:
    return Check(
        "system",
        "ok",
        f"napari-celltrain {__version__}, Python {platform.python_version()}, "
        f"{platform.platform()}, {os.cpu_count()} processors",
    )


def _memory() -> Check:
    import psutil

    memory = psutil.virtual_memory()
    free, whole = memory.available / 2**30, memory.total / 2**30
    verdict: Verdict = "ok" if free > 2 else "warning"
    hint = "" if free > 2 else "; training needs about 2 GiB: close other programs"
    return Check("memory", verdict, f"{free:.1f} of {whole:.1f} GiB free{hint}")


def _packages() -> Check:
    missing, versions = [], []
    try:
        needed = direct_requirements()
    except metadata.PackageNotFoundError:
        return Check("packages", "problem", f"{NOT_INSTALLED}.")
    for name in needed:
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            missing.append(name)
    if missing:
        return Check("packages", "problem", f"missing: {', '.join(missing)}; install them with pip")
    return Check("packages", "ok", ", ".join(versions))


def _disk() -> Check:
    try:
        folder = Path.cwd()
    except OSError:
        return Check("disk", "warning", "This folder was removed. Go to another one.")
    block = os.urandom(2**20)
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            begin = time.perf_counter()
            for _ in range(32):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            speed = 32 / (time.perf_counter() - begin)
    except OSError as error:
        return Check("disk", "warning", cannot_be_written(folder, error))
    free = shutil.disk_usage(folder).free / 2**30
    told, advice = f"{folder}: {speed:.0f} MiB/s, {free:.0f} GiB free", []
    if speed <= 20:
        advice.append("That is slow: keep runs on a disk of this computer.")
    if free <= 5:
        advice.append("Make room before you train or predict.")
    if advice:
        return Check("disk", "warning", f"{told}. {' '.join(advice)}")
    return Check("disk", "ok", told)


def _in_own_process(name: str, code: str, on_failure: Verdict, advice: str) -> Callable[[], Check]:
    def check() -> Check:
        try:
            done = subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, timeout=120
            )
        except subprocess.TimeoutExpired:
            return Check(name, "problem", f"hangs for two minutes. {advice}")
        except OSError as error:  # no memory for another process, for example
            why = error.strerror or error
            return Check(name, "problem", f"can't be tried: {why}. Close other programs.")
        if done.returncode == 0 and done.stdout.strip():
            return Check(name, "ok", done.stdout.strip().splitlines()[-1])
        last = (done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"])[-1]
        last = _NOT_THERE.sub(r"\1 is not installed", last).removeprefix("AssertionError: ")
        if last[-1] not in ".!?":
            last += "."
        return Check(name, on_failure, f"{last} {advice}")

    check.__name__ = f"_{name.lower()}"  # as the others are called
    return check


CHECKS: tuple[Callable[[], Check], ...] = (
    _system,
    _memory,
    _packages,
    _in_own_process("torch", _TORCH, "problem", "Install it again: pip install torch"),
    _in_own_process(
        "napari",
        _NAPARI,
        "warning",
        "The command line works without; for the window: pip install 'napari-celltrain[all]'",
    ),
    _in_own_process("Qt", _QT, "warning", "For the window: pip install 'napari-celltrain[all]'"),
    _in_own_process(
        "OpenGL",
        _OPENGL,
        "warning",
        "napari can't draw here; the command line works without. For the window: is there a "
        "display, and are the graphics drivers installed?",
    ),
    _in_own_process(
        "plugin",
        _PLUGIN,
        "warning",
        "Where napari is there: install the plugin again, in the same environment.",
    ),
    _disk,
)
