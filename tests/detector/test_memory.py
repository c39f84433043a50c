"""Memory of feature maps is used again instead of being fetched from the system anew."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, threading
import torch
from napari_celltrain.detector.memory import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()

def layers():
    for _ in range(10):
        a = torch.ones(2**23)
        b = torch.ones(2**24)
        del a, b
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    for _ in range(10):
        a = torch.ones(2**23)
        b = torch.ones(2**24)
        del a, b
    print(resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before)

thread = threading.Thread(target=layers)
thread.start()
thread.join()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a matter of the C library of Linux")
def test_freed_memory_is_used_again():
    def faults(how):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True
        )
        return int(done.stdout)

    kept, usual = faults("keep"), faults("usual")
    if usual < 100:
        pytest.skip("the C library here keeps its memory anyway")
    assert kept < usual / 10
