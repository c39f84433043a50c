"""A program of its own that runs other files' functions when it is told to.

It is started by `apart`. A task comes in as a line of JSON, ``{"program": FILE, "arguments": [...],
"seconds": N, "bytes": N}``; FILE is a Python file with a function ``answer``, which returns values
that JSON knows and arrays by name. What goes out is a line of JSON with the values (or the
``error``) and the names, then the arrays in numpy's own format. It ends when nobody is left to tell
it anything.

It imports nothing of the package, to start fast.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from types import SimpleNamespace
from typing import Any, BinaryIO


def serve(tasks: BinaryIO, out: BinaryIO) -> None:
    """Answer one task after the other until there are no more."""
    import numpy as np

    functions: dict[str, Any] = {}
    stream = SimpleNamespace(write=out.write)  # numpy would take a pipe for a file on a disk
    for line in tasks:
        task = json.loads(line)
        arrays: dict[str, Any] = {}
        try:
            limit_time(task["seconds"])
            limit_memory(task["bytes"])
            program = task["program"]
            if program not in functions:
                functions[program] = _load(program)
            values, arrays = functions[program](*task["arguments"])
            said: dict[str, Any] = {"values": values, "arrays": list(arrays)}
        except Exception as error:
            arrays, said = {}, {"error": f"{type(error).__name__} {error}"[:2000]}
        out.write(json.dumps(said).encode() + b"\n")
        for array in arrays.values():
            np.lib.format.write_array(stream, np.asarray(array), allow_pickle=False)
        out.flush()


def limit_time(seconds: float) -> None:
    """End this process when the task takes more processor time, where that can be known."""
    try:
        import resource
    except ImportError:  # Windows: whoever waits loses patience
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(time.process_time() + seconds) + 1
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def limit_memory(n_bytes: float) -> None:
    """Refuse the task more memory than this, besides what is in use; where that can be known."""
    try:
        import resource

        with open("/proc/self/status") as status:
            in_use = next(int(line.split()[1]) for line in status if line.startswith("VmData"))
    except (ImportError, OSError, StopIteration):
        return
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    soft = int(in_use * 1024 + n_bytes)
    if hard == resource.RLIM_INFINITY or soft < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def leave_no_image_of_a_crash() -> None:
    """Write no core file, which may take gigabytes."""
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _load(program: str) -> Any:
    spec = importlib.util.spec_from_file_location("task", program)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.answer


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for whoever gives the tasks
    leave_no_image_of_a_crash()
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)
