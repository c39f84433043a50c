"""Which device, how many threads, which arithmetic: decided by looking, never by belief."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import platform
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import cache_folder, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_celltrain.detector.network import CentreNet

Precision = Literal["float32", "bfloat16"]
Layout = Literal["channels last", "channels first"]
WORTH = 1.33
"""The rounding of bfloat16 has to be paid for by being so much faster."""
LARGEST_ERROR = 0.5
"""Of a layer's gradients in bfloat16, relative to float32; rounding alone makes 0.1 at most."""
BATCH = 2
"""Crops or tiles that one thread computes at a time, as measured."""


@dataclass(frozen=True)
class Arithmetic:
    """How numbers are kept while the network is computed."""

    precision: Precision = "float32"
    layout: Layout = "channels last"

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout as PyTorch calls it."""
        last = self.layout == "channels last"
        return torch.channels_last_3d if last else torch.contiguous_format

    def __str__(self) -> str:
        return f"{self.precision}, {self.layout}"


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
    """Cores this process may use; ``OMP_NUM_THREADS`` is respected, as PyTorch does."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        cores = os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return max(1, min(cores, int(wanted)) if wanted.isdecimal() else cores)


def cores_beside_a_window() -> int:
    """All cores but one: who draws the window needs it."""
    return max(1, usable_cores() - 1)


def choose_arithmetic(device: torch.device, wanted: str = "auto") -> tuple[Arithmetic, str]:
    """Choose precision and memory layout by a short measurement, kept for this machine.

    The network itself is computed there and back in each way on one thread. A single convolution
    would not do: in some shapes it is three times as fast in bfloat16 where the whole network is
    slower.

    Parameters
    ----------
    device
        Where the network will be computed.
    wanted
        ``float32`` or ``bfloat16`` as asked for, or ``auto``.

    Returns
    -------
    What to use, and a sentence on why.
    """
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    if wanted != "auto":
        precisions = ("bfloat16",) if wanted == "bfloat16" else ("float32",)
    elif device.type == "cuda" and torch.cuda.get_device_capability(device) < (8, 0):
        precisions = ("float32",)
    if device.type == "mps":
        return Arithmetic(precisions[0], "channels first"), "the safe choice on this device"
    layouts: tuple[Layout, ...] = ("channels last", "channels first")
    choices = [Arithmetic(p, a) for p, a in itertools.product(precisions, layouts)]
    taken = _measured(device, choices)
    # of two layouts the faster; bfloat16 only where it is clearly faster
    best = {
        p: min((c for c in choices if c.precision == p), key=taken.__getitem__) for p in precisions
    }
    chosen = best[precisions[0]]
    if len(best) > 1 and taken[best["float32"]] > WORTH * taken[best["bfloat16"]]:
        chosen = best["bfloat16"]
    if math.isinf(taken[chosen]):
        return Arithmetic(), "this machine computes wrong gradients in bfloat16"
    why = "measured here: a short training step takes " + ", ".join(
        f"{1000 * taken[choice]:.0f} ms ({choice})"
        for choice in sorted(choices, key=taken.get)  # type: ignore[arg-type]
        if math.isfinite(taken[choice])
    )
    return chosen, why + ("" if wanted == "auto" else "; the precision is as asked")


def _measured(device: torch.device, choices: Sequence[Arithmetic]) -> dict[Arithmetic, float]:
    """Look up or measure the seconds that a short step takes in each way."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    key = f"{name}|torch {torch.__version__}|network 3"
    path = cache_folder() / "arithmetic.json"
    known = _read(path)
    try:
        return {choice: float(known[key][str(choice)]) for choice in choices}
    except (KeyError, TypeError, ValueError):
        pass
    if device.type == "cpu":
        from napari_celltrain.detector.threads import tile_threads

        # in a thread that computes without help, as it will be
        taken = tile_threads().submit(_time_steps, device, choices).result()
    else:
        taken = _time_steps(device, choices)
    with contextlib.suppress(CellTrainError):  # a read-only home only costs the measurement again
        _remember(path, key, taken)
    return taken


def _remember(path: Path, key: str, taken: Mapping[Arithmetic, float]) -> None:
    """Add to what is known, which another process may have added to meanwhile."""
    known = _read(path)
    known[key] = known.get(key, {}) | {str(choice): s for choice, s in taken.items()}
    write_text(path, json.dumps(known))


def _read(path: Path) -> dict[str, dict[str, float]]:
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    good = isinstance(known, dict) and all(isinstance(v, dict) for v in known.values())
    return known if good else {}


def _cpu_name() -> str:
    machine = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            names = (line.split(":")[1] for line in file if line.startswith("model name"))
            return f"{machine} {next(names).strip()}"
    except (OSError, StopIteration, IndexError):
        return machine


def _time_steps(device: torch.device, choices: Sequence[Arithmetic]) -> dict[Arithmetic, float]:
    """Time a small step in each way, side by side, the best of several.

    A way whose gradients are wrong takes forever: libraries and processors have had such faults.
    """
    from napari_celltrain.detector.design import choose_design
    from napari_celltrain.detector.network import CentreNet

    design = choose_design(
        diameter=10, spacing=12, voxel_size=(2.5, 1, 1), planes=8, unit="px", width=16
    )
    networks = {
        choice: CentreNet(design).to(device, memory_format=choice.memory_format)  # type: ignore[call-overload]
        for choice in choices
    }
    side = 64 if device.type == "cpu" else 128
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(BATCH, 1, 8, side, side, generator=generator).to(device)
    weights = next(iter(networks.values())).state_dict()
    for network in networks.values():
        network.load_state_dict(weights)
    best: dict[Arithmetic, float] = {}
    gradients: dict[Arithmetic, tuple[torch.Tensor, ...]] = {}
    for _ in range(4):
        for choice, network in networks.items():
            begin = _seconds(device)
            gradients[choice] = _gradients(network, image, choice)
            taken = max(_seconds(device) - begin, 1e-9)
            best[choice] = round(min(taken, best.get(choice, taken)), 6)
    exact = _gradients(next(iter(networks.values())), image, Arithmetic())
    for choice, found in gradients.items():
        if not _alike(found, exact):
            best[choice] = math.inf
    return best


def _gradients(
    network: CentreNet, image: torch.Tensor, arithmetic: Arithmetic
) -> tuple[torch.Tensor, ...]:
    narrow = arithmetic.precision == "bfloat16"
    with torch.autocast(image.device.type, torch.bfloat16, enabled=narrow):
        output = network(image.contiguous(memory_format=arithmetic.memory_format))
    return torch.autograd.grad(output.float().sum(), list(network.parameters()))


def _alike(found: Sequence[torch.Tensor], exact: Sequence[torch.Tensor]) -> bool:
    """Tell whether the gradients of all layers are right but for their rounding."""
    return all(
        bool((one - right).norm() <= LARGEST_ERROR * right.norm())  # NaN is not
        for one, right in zip(found, exact, strict=True)
    )


def _seconds(device: torch.device) -> float:
    """On a processor the thread's own time: what else runs on the machine must not decide."""
    if device.type == "cpu":
        return time.thread_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()
