"""What a run costs, in figures that can be compared between machines."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_celltrain.detector.network import Convolution
from napari_celltrain.errors import is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from napari_celltrain.detector.network import CentreNet
    from napari_celltrain.experiment import Experiment
    from napari_celltrain.training.batches import BatchMaker
    from napari_celltrain.training.learner import Learner
    from napari_celltrain.training.plan import Plan


class Meter:
    """Adds up what training steps cost.

    Parameters
    ----------
    image_voxels
        For each group of crops, the voxels of the images, at their own size, of one crop.
    flop
        For each group, of one forward and backward pass of a crop.
    peak_flops
        Operations per second of the largest convolution alone, of one thread where there are
        several; 0 when it was not measured.
    """

    def __init__(
        self, image_voxels: Sequence[float], flop: Sequence[float], peak_flops: float
    ) -> None:
        self._voxels_each, self._flop_each, self.peak_flops = image_voxels, flop, peak_flops
        self.image_voxels = 0.0
        self.flop = 0.0
        self.steps = 0
        self.cpu_s = 0.0
        self.step_s = 0.0
        self.waited_s = 0.0
        self.network_s = 0.0

    def add(
        self,
        group: int,
        crops: int,
        *,
        cpu_s: float,
        step_s: float,
        waited_s: float,
        network_s: float,
    ) -> None:
        """Count one step.

        Parameters
        ----------
        group, crops
            Of which group the crops are, and how many.
        cpu_s
            CPU seconds of all threads.
        step_s, waited_s
            Its wall time, and how much of that was spent waiting for data.
        network_s
            Computing time of forward, backward and optimiser, of all threads together.
        """
        self.steps += 1
        self.image_voxels += crops * self._voxels_each[group]
        self.flop += crops * self._flop_each[group]
        self.cpu_s += cpu_s
        self.step_s += step_s
        self.waited_s += waited_s
        self.network_s += network_s

    def report(self, nonfinite_steps: int) -> dict[str, float]:
        """Return the figures.

        ``image_voxels_per_cpu_s``: voxels of the images learnt from per CPU second, reading and
        augmentation included; ``share_not_network``: share of the time of the steps that is not
        forward, backward and optimiser; ``conv_efficiency``: operations per second of the
        network's steps relative to its largest convolution alone; ``peak_rss_mib``: largest memory
        of the process.
        """
        figures = {"nonfinite_steps": float(nonfinite_steps), "peak_rss_mib": peak_rss_mib()}
        if self.steps:
            figures["image_voxels_per_cpu_s"] = self.image_voxels / self.cpu_s
            figures["share_not_network"] = self.waited_s / self.step_s
            if self.peak_flops:
                speed = self.flop / self.network_s
                figures["conv_efficiency"] = speed / self.peak_flops
        return figures


def meter_for(
    plan: Plan, experiments: Sequence[Experiment], maker: BatchMaker, learner: Learner
) -> Meter:
    """Return a meter for a run; its largest convolution is measured on the way."""
    voxels, flop = [], []
    largest: tuple[float, nn.Conv3d, torch.Size, int] | None = None
    for number, group in enumerate(plan.groups):
        parts = maker.parts(number)
        crops = sum(map(len, parts))
        # of one crop: a batch that does not fit into memory is halved later, not here
        shape = (1, plan.design.n_inputs, *group.shape)
        of_crop, layer, its_input = step_flop(learner.network, shape)
        flop.append(of_crop)
        stretch = [
            math.prod(plan.design.steps(plan.relative_sizes[member], source.frame_shape[0]))
            for member in group.members
            if (source := experiments[member].images) is not None
        ]
        voxels.append(math.prod(group.shape) * sum(stretch) / len(stretch))
        if largest is None or of_crop * crops > largest[0]:
            part = torch.Size((len(parts[0]), *its_input[1:]))
            largest = (of_crop * crops, layer, part, min(plan.threads, len(parts)))
    assert largest is not None
    try:
        peak = measure_flops(*largest[1:3], learner.threads, largest[3])
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        peak = 0.0  # then it is not told
    return Meter(voxels, flop, peak)


def peak_rss_mib() -> float:
    """Largest memory of this process so far, in MiB."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def step_flop(network: CentreNet, shape: tuple[int, ...]) -> tuple[float, nn.Conv3d, torch.Size]:
    """Count the operations of a forward and backward pass.

    Parameters
    ----------
    network
        To be counted.
    shape
        (n, inputs, z, y, x) of a batch.

    Returns
    -------
    Operations (a multiplication and an addition are two), the largest convolution, and the shape
    of its input.
    """
    total = 0.0
    largest: tuple[float, nn.Conv3d, torch.Size] | None = None
    device = next(network.parameters()).device
    hooks = []

    def count(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total, largest
        assert isinstance(layer, nn.Conv3d)
        taps = layer.weight[0].numel()
        if isinstance(layer, Convolution):
            taps = layer.taps(inputs[0].shape[2])
        forward = 2.0 * output.numel() * taps
        # backward: gradients of weights and of the input; the image itself needs none
        total += forward * (2 if layer is network.stem else 3)
        if layer is not network.stem and (largest is None or forward > largest[0]):
            largest = (forward, layer, inputs[0].shape)

    for module in network.modules():
        if isinstance(module, nn.Conv3d):
            hooks.append(module.register_forward_hook(count))
    with torch.inference_mode():
        network(torch.zeros(shape, device=device).to(memory_format=torch.channels_last_3d))
    for hook in hooks:
        hook.remove()
    assert largest is not None
    return total, largest[1], largest[2]


def measure_flops(
    layer: nn.Conv3d,
    shape: torch.Size,
    threads: Executor | None = None,
    at_once: int = 1,
    *,
    repeats: int = 5,
) -> float:
    """Measure operations per second of a convolution alone, forward and backward.

    On a processor they are counted by the computing time of each thread, as those of the steps
    are: what else runs on the machine is no matter of the network.

    Parameters
    ----------
    layer
        The convolution.
    shape
        Of its input.
    threads
        To compute it in; None: in this thread.
    at_once
        Threads that compute it at the same time, as they compute the parts of a step.
    repeats
        The best of so many counts.
    """
    device = layer.weight.device
    image = torch.ones(shape, device=device).to(memory_format=torch.channels_last_3d)
    weight = layer.weight.detach()
    output = nn.functional.conv3d(image, weight, None, layer.stride, layer.padding)
    gradient = torch.ones_like(output)

    def once() -> float:
        begin = clock()
        own, its = image.detach().requires_grad_(), weight.detach().requires_grad_()
        result = nn.functional.conv3d(own, its, None, layer.stride, layer.padding)
        torch.autograd.grad(result, (own, its), gradient)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return clock() - begin

    clock = time.thread_time if device.type == "cpu" else time.perf_counter
    best = math.inf
    for _ in range(repeats):
        if threads is None:
            taken = once()
        else:
            under_way = [threads.submit(once) for _ in range(at_once)]
            taken = sum(future.result() for future in under_way) / at_once
        best = min(best, max(taken, 1e-9))
    return 3 * 2.0 * output.numel() * layer.weight[0].numel() / best
