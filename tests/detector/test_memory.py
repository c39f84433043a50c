"""Memory of feature maps is used again instead of being fetched from the system anew."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch

from napari_celltrain.detector.memory import _free_in_group, free_bytes

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


def test_the_limit_of_a_container_or_a_job_counts(tmp_path):
    """A node of a cluster has 256 GB, and the job may take eight of them."""
    groups, own = tmp_path / "cgroup", tmp_path / "own"

    def put(folder, **files):
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name.replace("__", ".")).write_text(f"{content}\n")

    put(groups / "job", memory__max=8000, memory__current=3000,
        memory__stat="anon 1000\ninactive_file 500")  # fmt: skip
    own.write_text("0::/job\n")
    assert _free_in_group(groups, own) == 5500
    put(groups / "job", memory__max="max")
    assert _free_in_group(groups, own) == math.inf
    put(groups / "memory" / "slurm" / "job_7", memory__limit_in_bytes=4000,
        memory__usage_in_bytes=4500, memory__stat="total_inactive_file 0")  # fmt: skip
    own.write_text("5:cpu:/slurm\n4:memory:/slurm/job_7\n0::/\n")
    assert _free_in_group(groups, own) == 0.0  # never less than nothing
    own.write_text("4:memory:/slurm/job_7/step_0/task_0\n\n")  # the limit is that of the job
    assert _free_in_group(groups, own) == 0.0
    put(groups / "job" / "step", memory__max="max", memory__current=10)
    put(groups / "job", memory__max=8000)
    own.write_text("0::/job/step/user/task_0\n")
    assert _free_in_group(groups, own) == 5500
    assert _free_in_group(groups, tmp_path / "no such file") == math.inf


def test_the_tighter_of_machine_and_group_counts(monkeypatch):
    free = free_bytes(torch.device("cpu"))
    monkeypatch.setattr("napari_celltrain.detector.memory._free_in_group", lambda: 1000.0)
    assert free_bytes(torch.device("cpu")) == 1000.0 < free
