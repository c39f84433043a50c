"""What a training step costs: throughput, efficiency, and whether compiling pays.

    python benchmarks/training.py [--steps 120] [--threads 2] [--compile]

Frames of 32 x 256 x 256 simulated nuclei, 10 and 25 pixels wide, as in benchmarks/prediction.py.
Image voxels per CPU second count the data pipeline too; the program this one follows reaches
0.0176 million of them in its training step on the same machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from napari_celltrain.detector.compute import choose_arithmetic
from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.training.events import Finished
from prediction import VOXEL, cells, detector_for

BEFORE = 0.0176e6
TARGETS = {10.0: 60, 25.0: 200}


def throughput(steps: int, threads: int) -> None:
    """Train on cells of two widths."""
    print(
        "| cells | M image voxels per CPU s | times before | not network | conv | peak MiB |\n"
        + "|---" * 6
        + "|"
    )
    for width, target in TARGETS.items():
        ends: list[Finished] = []

        def note(event: object, ends: list[Finished] = ends) -> None:
            if isinstance(event, Finished):
                ends.append(event)

        with tempfile.TemporaryDirectory() as folder:
            detector_for(
                (32, 256, 256), width, Path(folder), steps=steps, threads=threads, callbacks=[note]
            )
        cost = ends[0].performance
        rate = cost["image_voxels_per_cpu_s"]
        print(
            f"| {width:.0f} px ({len(cells((32, 256, 256), width, 0)[1])} a frame) "
            f"| {rate / 1e6:.2f} | {rate / BEFORE:.0f} (target {target}) "
            f"| {cost['share_not_network']:.1%} | {cost['conv_efficiency']:.0%} "
            f"| {cost['peak_rss_mib']:.0f} |",
            flush=True,
        )


def compiled() -> None:
    """Compare a step of the network as it is with one that torch.compile made."""
    torch.set_num_threads(1)
    for name, planes, shape in (("3D", 32, (2, 1, 16, 64, 64)), ("2D", 1, (8, 1, 1, 128, 128))):
        design = choose_design(
            diameter=10,
            spacing=12,
            voxel_size=VOXEL if planes > 1 else (1, 1, 1),
            planes=planes,
            unit="px",
            width=16,
        )
        network = CentreNet(design).to(memory_format=torch.channels_last_3d)
        image = torch.randn(shape).contiguous(memory_format=torch.channels_last_3d)

        def best(run: torch.nn.Module, image: torch.Tensor = image) -> float:
            times = []
            for _ in range(8):
                begin = time.thread_time()
                run(image).sum().backward()
                times.append(time.thread_time() - begin)
            return min(times)

        begin = time.perf_counter()
        made = torch.compile(network)
        made(image).sum().backward()
        took = time.perf_counter() - begin
        print(
            f"torch.compile, {name}: {best(network) / best(made):.2f} times as fast after "
            f"{took:.0f} s of compiling"
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true", help="needs a C++ compiler, and minutes")
    arguments = parser.parse_args()
    arithmetic, why = choose_arithmetic(torch.device("cpu"))
    print(f"arithmetic: {arithmetic}: {why}\n")
    throughput(arguments.steps, arguments.threads)
    if arguments.compile:
        compiled()


if __name__ == "__main__":
    main()
