"""Which device, how many threads, which precision: decided by looking, never by belief."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F

from napari_celltrain.errors import CellTrainError

Precision = Literal["float32", "bfloat16"]


def choose_device(name: str = "auto") -> tuple[torch.device, str]:
    """Return the device and a sentence on why.

    Raises
    ------
    CellTrainError
        When a device is asked for by name that is not there.
    """
    cuda = torch.cuda.is_available()
    mps = torch.backends.mps.is_available()
    if name == "auto":
        if cuda:
            return torch.device("cuda"), f"graphics card found: {torch.cuda.get_device_name()}"
        if mps:
            return torch.device("mps"), "Apple graphics found"
        return torch.device("cpu"), "no usable graphics card found"
    if (name == "cuda" and not cuda) or (name == "mps" and not mps):
        why = (
            "this PyTorch was installed without support for graphics cards"
            if name == "cuda" and torch.version.cuda is None
            else "PyTorch finds none on this machine"
        )
        raise CellTrainError(f"The device '{name}' is not available: {why}. Use --device auto.")
    return torch.device(name), "as asked"


def usable_cores() -> int:
    """Cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def set_threads(threads: int | None) -> int:
    """Use so many CPU threads; None: all cores but one, which the window keeps."""
    n = threads or max(1, usable_cores() - 1)
    if torch.get_num_threads() != n:
        torch.set_num_threads(n)
    return n


def cache_folder() -> Path:
    """Where what was measured on this machine is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or Path.home() / ".cache") / "napari-celltrain"


def choose_precision(device: torch.device, wanted: str = "auto") -> tuple[Precision, str]:
    """Choose between float32 and bfloat16 by a short measurement, kept for this machine.

    On a processor bfloat16 has to be a third faster to be worth its rounding; many are slower
    with it.
    """
    if wanted != "auto":
        return ("bfloat16" if wanted == "bfloat16" else "float32"), "as asked"
    if device.type == "cuda":
        good = torch.cuda.get_device_capability(device) >= (8, 0)
        return ("bfloat16", "this card computes it natively") if good else ("float32", "older card")
    if device.type == "mps":
        return "float32", "the safe choice on this device"
    machine = platform.processor() or platform.machine()
    key = f"{machine}|{_cpu_name()}|torch {torch.__version__}|one thread, there and back"
    path = cache_folder() / "precision.json"
    try:
        ratio = float(json.loads(path.read_text())[key])
    except (OSError, ValueError, KeyError, TypeError):
        ratio = _bfloat16_speed_up()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({key: ratio}))
        except OSError:
            pass  # a read-only home only costs the measurement again
    text = f"measured here: bfloat16 is {ratio:.1f} times as fast as float32"
    return ("bfloat16" if ratio > 1.33 else "float32"), text


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = (line.split(":")[1] for line in file if line.startswith("model name"))
            return next(names).strip()
    except (OSError, StopIteration, IndexError):
        return platform.machine()


def _bfloat16_speed_up() -> float:
    """Compare the CPU time of one thread: what else runs on the machine must not decide."""
    from napari_celltrain.detector.threads import tile_threads

    return tile_threads().submit(_compare_precisions).result()


def _compare_precisions() -> float:
    """Time a convolution there and back, so that it speaks for training and prediction."""
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        image = torch.ones(1, 32, 8, 32, 32, dtype=dtype).to(memory_format=torch.channels_last_3d)
        weight = torch.ones(32, 32, 3, 3, 3, dtype=dtype).to(memory_format=torch.channels_last_3d)
        inputs = (image.requires_grad_(), weight.requires_grad_())
        times = []
        for _ in range(6):
            begin = time.thread_time()
            output = F.conv3d(image, weight, padding=1)
            torch.autograd.grad(output, inputs, torch.ones_like(output))
            times.append(time.thread_time() - begin)
        best[dtype] = min(times)
    return round(best[torch.float32] / max(best[torch.bfloat16], 1e-9), 2)
