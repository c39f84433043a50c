"""``celltrain completion``, in the shells themselves."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time

import pytest

from napari_celltrain.cli import main, parser

SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
STAND_IN = {
    "bash": "celltrain() { printf 'with'; printf ' <%s>' \"$@\"; printf ' done\\n'; }",
    "fish": "function celltrain; printf 'with'; printf ' <%s>' $argv; printf ' done\\n'; end",
}
"""Instead of the program: tells what it is called with."""


@pytest.fixture(params=sorted(SHELLS))
def shell(request):
    if shutil.which(request.param) is None or sys.platform == "win32":
        pytest.skip(f"there is no {request.param} here")
    return request.param


@pytest.fixture
def script(shell, tmp_path, capsys):
    """The file that a person would have the shell read."""
    assert main(["completion", shell]) == 0
    script = tmp_path / f"completion.{shell}"
    script.write_text(capsys.readouterr().out, "utf-8")
    return script


def typed(shell, script, keys, folder):
    """Type into an interactive shell, and return the arguments that the program gets."""
    import pty

    pid, terminal = pty.fork()
    if pid == 0:  # the shell's own process
        os.chdir(folder)
        os.environ.update(TERM="xterm", HOME=str(folder))
        os.execvp(SHELLS[shell][0], SHELLS[shell])
    try:
        for line in (STAND_IN.get(shell, STAND_IN["bash"]), f"source '{script}'", keys):
            os.write(terminal, f"{line}\n".encode())
        told, patience = "", time.monotonic() + 60
        while time.monotonic() < patience:
            if not select.select([terminal], [], [], 1)[0]:
                continue
            told += os.read(terminal, 65536).decode(errors="replace")
            called = re.search(r"with((?: <[^<>]*>)+) done\r?\n", told)
            if called:
                return re.findall(r"<([^>]*)>", called[1])
        raise AssertionError(told)
    finally:
        os.close(terminal)  # a shell without its terminal ends
        os.waitpid(pid, 0)


@pytest.mark.parametrize(
    ("keys", "arguments"),
    [
        ("celltrain tr\t", ["train"]),
        ("celltrain train --resu\t", ["train", "--resume"]),
        ("celltrain train --device cu\t", ["train", "--device", "cuda"]),
        ("celltrain sample --kind pl\t", ["sample", "--kind", "plane"]),
        ("celltrain completion f\t", ["completion", "fish"]),
        ("celltrain count my\t", ["count", "my movie.tif"]),
        ("celltrain train --out last\t", ["train", "--out", "last_run/"]),
    ],
)
def test_a_tab_completes(shell, script, keys, arguments, tmp_path):
    (tmp_path / "my movie.tif").touch()
    (tmp_path / "last_run").mkdir()
    found = typed(shell, script, keys, tmp_path)
    assert [one.rstrip("/") for one in found] == [one.rstrip("/") for one in arguments]


def test_the_script_is_read_without_a_complaint(shell, script):
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("shell_s_name", sorted(SHELLS))
def test_every_shell_knows_every_command_and_nothing_unfinished(shell_s_name, capsys):
    assert main(["completion", shell_s_name]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in parser.COMMANDS)
    assert "%(" not in out
