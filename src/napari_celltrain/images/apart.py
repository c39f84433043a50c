"""Reading a file in a process of its own, for libraries that crash at damaged ones.

The process is started when it is first needed and lives as long as this one, so that a task costs
milliseconds. A crash there ends that process and no other, and the next task starts a new one.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_S = 120.0
"""A task that has not ended by then is taken to run in a circle."""
SHORTEST_S = 3.0
BYTES_PER_S = 20e6
SMALLEST = 2**29
"""The least processor time and memory that a task may take; more for more bytes."""
_PROGRAM = Path(__file__).with_name("apart_program.py")
NOT_ENDING = "reading it comes to no end"
CRASHED = "the library that reads it crashed"


class ApartError(Exception):
    """Why the other process has no answer, in words for a sentence."""


class _EndedError(ApartError):
    """The process is no more."""


class _Process:
    """The process, and who may speak to it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.running: subprocess.Popen[bytes] | None = None
        self.is_new = True

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, unless it runs."""
        if self.running is not None and self.running.poll() is None:
            return self.running
        self.end()
        self.running = subprocess.Popen(
            [sys.executable, "-P", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self.is_new = True
        return self.running

    def end(self) -> int:
        """End it, if it runs; return its exit code."""
        running, self.running = self.running, None
        if running is None:
            return 0
        running.kill()
        code = running.wait()
        for pipe in (running.stdin, running.stdout):
            with contextlib.suppress(OSError):
                if pipe is not None:
                    pipe.close()
        return code

    def ask(self, task: dict[str, Any]) -> tuple[Any, dict[str, NDArray[Any]]]:
        """Give it a task and wait for the answer."""
        running = self.start()
        assert running.stdin is not None
        assert running.stdout is not None
        late = threading.Event()

        def lose_patience() -> None:
            late.set()
            running.kill()

        timer = threading.Timer(LONGEST_S + task["seconds"], lose_patience)
        timer.daemon = True
        timer.start()
        try:
            running.stdin.write(json.dumps(task).encode() + b"\n")
            running.stdin.flush()
            said = json.loads(running.stdout.readline())
            stream = SimpleNamespace(read=running.stdout.read)  # numpy would take it for a file
            arrays = {
                name: np.lib.format.read_array(stream, allow_pickle=False)
                for name in said.get("arrays", ())
            }
        except (OSError, ValueError, EOFError) as error:
            ended_by = -self.end()
            too_long = late.is_set() or ended_by == getattr(signal, "SIGXCPU", None)
            raise _EndedError(NOT_ENDING if too_long else CRASHED) from error
        finally:
            timer.cancel()
        self.is_new = False
        if "error" in said:
            raise ApartError(said["error"])
        return said["values"], arrays


_process = _Process()
_of_the_parent: list[_Process] = []


def _forget() -> None:
    """In a process that was forked off: the other one speaks to its parent, leave it alone."""
    global _process
    _of_the_parent.append(_process)
    _process = _Process()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
atexit.register(lambda: _process.end())


def read_apart(
    program: Path, *arguments: Any, n_bytes: float
) -> tuple[Any, dict[str, NDArray[Any]]]:
    """Run the function ``answer`` of a Python file in the other process.

    Parameters
    ----------
    program
        A Python file that imports nothing of this package (see `apart_program`).
    arguments
        For the function; what JSON knows.
    n_bytes
        Roughly how much there is to read; time and memory are limited by it.

    Returns
    -------
    values, arrays
        What the function returned.

    Raises
    ------
    ApartError
        When the function fails, the process crashes, or it comes to no end.
    """
    task = {
        "program": str(program),
        "arguments": arguments,
        "seconds": SHORTEST_S + n_bytes / BYTES_PER_S,
        "bytes": SMALLEST + 8 * n_bytes,
    }
    with _process.lock:
        try:
            is_new = _process.is_new
            try:
                return _process.ask(task)
            except _EndedError as ended:
                if is_new or str(ended) == NOT_ENDING:
                    raise
                return _process.ask(task)  # perhaps an earlier file did the damage
        except ApartError:
            raise
        except BaseException:  # Ctrl+C: the answer would come to the next task
            _process.end()
            raise
