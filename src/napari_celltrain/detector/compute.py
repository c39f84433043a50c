"""Which device, how many threads, which precision: decided by looking, never by belief."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Literal

import torch

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


def choose_precision(
    device: torch.device, wanted: str = "auto", *, batch: int = 1
) -> tuple[Precision, str]:
    """Choose between float32 and bfloat16 by a short measurement, kept for this machine.

    On a processor bfloat16 has to be a third faster to be worth its rounding; many are slower
    with it. Prediction computes one tile at a time and training several crops: PyTorch takes
    another way for a batch of one, so each is measured (`batch`).
    """
    if wanted != "auto":
        return ("bfloat16" if wanted == "bfloat16" else "float32"), "as asked"
    if device.type == "cuda":
        good = torch.cuda.get_device_capability(device) >= (8, 0)
        return ("bfloat16", "this card computes it natively") if good else ("float32", "older card")
    if device.type == "mps":
        return "float32", "the safe choice on this device"
    machine = platform.processor() or platform.machine()
    key = f"{machine}|{_cpu_name()}|torch {torch.__version__}|network, batch of {batch}"
    path = cache_folder() / "precision.json"
    try:
        known = dict(json.loads(path.read_text()))
        ratio = float(known[key])
    except (OSError, ValueError, KeyError, TypeError):
        ratio = _bfloat16_speed_up(batch)
        try:
            known = dict(json.loads(path.read_text()))
        except (OSError, ValueError, TypeError):
            known = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(known | {key: ratio}))
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


def _bfloat16_speed_up(batch: int) -> float:
    """Compare the CPU time of one thread: what else runs on the machine must not decide."""
    from napari_celltrain.detector.threads import tile_threads

    return tile_threads().submit(_compare_precisions, batch).result()


def _compare_precisions(batch: int) -> float:
    """Time the network itself, there and back, so that it speaks for training and prediction.

    A single convolution does not: in some shapes it is three times as fast in bfloat16 where the
    whole network is slower.
    """
    from napari_celltrain.detector.design import choose_design
    from napari_celltrain.detector.network import CentreNet

    design = choose_design(
        diameter=10, spacing=12, voxel_size=(2.5, 1, 1), planes=8, unit="px", width=16
    )
    network = CentreNet(design).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    image = torch.ones(batch, 1, 8, 64, 64).to(memory_format=torch.channels_last_3d)
    best: dict[bool, float] = {}
    for _ in range(4):
        for narrow in (False, True):
            begin = time.thread_time()
            with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
                output = network(image)
            torch.autograd.grad(output.float().sum(), list(network.parameters()))
            taken = time.thread_time() - begin
            best[narrow] = min(taken, best.get(narrow, taken))
    return round(best[False] / max(best[True], 1e-9), 2)
