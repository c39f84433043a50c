"""Handing a file to a process of its own, for libraries that crash at damaged ones."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from pathlib import Path

LONGEST_S = 120


def run_apart(path: Path, *arguments: str) -> bytes:
    """Run Python with some arguments; return what it printed.

    A crash there ends that process and no other.

    Parameters
    ----------
    path
        The file that it reads, for the sentence.
    arguments
        A program's file and its arguments, or ``-c`` and a program.

    Raises
    ------
    CellTrainError
        When the process fails, crashes, or comes to no end.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", *arguments],
            capture_output=True,
            timeout=LONGEST_S,
            check=False,
            stdin=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except subprocess.TimeoutExpired as error:
        raise CellTrainError(f"{path} is damaged: reading it comes to no end.") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        reason = " ".join(said[-1].split())[:200] if said else "the library that reads it crashed"
        raise CellTrainError(f"{path} is damaged: {reason.rstrip('.')}.")
    return done.stdout
