"""How fast movies are predicted: ratios, from one run.

    python benchmarks/prediction.py [--quick] [--lengths] [--long] [--memory] [--workers] [--growth]

Frames of simulated nuclei are written as zlib-compressed TIFF and predicted to CSV; the figure is
image voxels per CPU second of the whole chain, the median of several runs. It is compared with the
program this one follows (a full-resolution U-Net: 0.0209 million voxels per CPU second on the same
frames) and, in 2D, with a detector that works at full resolution (Spotiflow: 0.104 million pixels
per CPU second). The detectors are trained for some seconds first, so that about as many candidates
come out as in earnest.

The network alone is computed on what the network saw in the chain, frame by frame in the same
thread, after every run of the chain. The whole chain is held against it in three ways: wall time,
which needs two cores that nothing else uses; CPU time of the computing thread, which says what
that thread does besides the network, whatever else runs; CPU time of all threads.

With ``--lengths``, one process predicts movies of several lengths, and a line through their wall
times tells what one more frame takes, and what a movie takes besides. Other programs must not run
meanwhile: Linux shares cores out to sessions, and not to threads, so where another session computes
a process with two threads has one core.

With ``--long``, movies of a minute or more are predicted as the command does it by itself: by two
processes from the fourth time point on, where there are two cores. Their wall time, from the call
to the written file, is held against that of the network alone in one thread.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import tifffile
import torch
from scipy.spatial import cKDTree
from scipy.stats import theilslopes

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.detector.compute import usable_cores
from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import DetectorInfo
from napari_celltrain.detector.memory import keep_freed_memory
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.detector.peaks import find_peaks, suppress
from napari_celltrain.detector.threads import tile_threads
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.images import open_images
from napari_celltrain.prediction.as_fits import predict_as_fits
from napari_celltrain.prediction.movie import predict_to_file
from napari_celltrain.prediction.options import Options
from napari_celltrain.training.loop import train
from napari_celltrain.training.settings import TrainingSettings

BEFORE = {"3D": 0.0209e6, "2D": 0.104e6}
CASES = {
    "32 x 256 x 256, cells 25 px wide": ("3D", (32, 256, 256), 25.0, 500),
    "32 x 256 x 256, cells 10 px wide": ("3D", (32, 256, 256), 10.0, 200),
    "1 x 512 x 512, cells 20 px wide": ("2D", (1, 512, 512), 20.0, 60),
}
VOXEL = (2.5, 1.0, 1.0)


def cells(shape, width, seed):
    """A frame of blurred nuclei on a noisy background, uint16, and their centres (n, 3)."""
    random = np.random.default_rng(seed)
    image = random.normal(300, 40, shape)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    area = shape[1] * shape[2] / (1.6 * width) ** 2
    depth = 1 if shape[0] == 1 else max(1.0, shape[0] * VOXEL[0] / (1.6 * width))
    reach = width
    darts = random.random((20 * int(area * depth), 3)) * shape
    near = cKDTree(darts * VOXEL).query_ball_point(darts * VOXEL, 1.1 * width)
    kept = np.zeros(len(darts), bool)
    for number, others in enumerate(near):  # no nucleus within another
        kept[number] = kept.sum() < int(area * depth) and not kept[others].any()
    centres = darts[kept]
    for centre in centres:
        box = np.array([reach / VOXEL[0], reach, reach])
        low = np.maximum(0, np.floor(centre - box).astype(int))
        high = np.minimum(shape, np.ceil(centre + box).astype(int) + 1)
        cut = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        squared = (
            ((z[cut[0]] - centre[0]) * VOXEL[0]) ** 2
            + (y[:, cut[1]] - centre[1]) ** 2
            + (x[:, :, cut[2]] - centre[2]) ** 2
        )
        image[cut] += 900 / (1 + np.exp((np.sqrt(squared) - width / 2) / 1.5))
    return np.clip(image, 0, 65535).astype(np.uint16), np.clip(centres, 0, np.array(shape) - 1)


def detector_for(shape, width, folder, steps=80, threads=1, callbacks=()):
    """A detector trained briefly on such frames: it finds about as many cells as there are."""
    frames = [cells(shape, width, seed) for seed in range(100, 104)]
    t = np.repeat(np.arange(len(frames)), [len(centres) for _, centres in frames])
    path = Path(folder) / "stack.tif"
    tifffile.imwrite(
        path,
        np.stack([image for image, _ in frames]),
        metadata={"axes": "TZYX"},
        photometric="minisblack",
    )
    experiment = Experiment(
        "simulated",
        Annotations(t, np.concatenate([centres for _, centres in frames])),
        open_images(path, axes="tzyx"),
        voxel_size_um=VOXEL,
    )
    settings = TrainingSettings.from_dict(
        {
            "budget": {"steps": steps},
            "design": {"diameter_um": width, "width": 16},
            "data": {"max_held_out_frames": 1},
            "compute": {"threads": threads, "device": "cpu"},
        }
    )
    train(Dataset((Member(experiment),)), Path(folder) / "run", settings, callbacks)
    return Detector.from_folder(Path(folder) / "run", device="cpu", threads=1)


def movie(folder, shape, width, n_frames):
    """A TIFF series; returns the pattern."""
    folder.mkdir(parents=True)
    for t in range(n_frames):
        image, _ = cells(shape, width, t)
        tifffile.imwrite(
            folder / f"t{t:03}.tif",
            image,
            compression="zlib",
            photometric="minisblack",
            metadata={"axes": "ZYX"},
        )
    return str(folder / "t{time:03}.tif")


def end_to_end(detector, pattern, out):
    """Seconds of the whole chain: wall, CPU of all threads, CPU of the computing thread."""
    computing = tile_threads(1)
    thread = computing.submit(time.thread_time).result()
    wall, cpu = time.perf_counter(), time.process_time()
    predict_to_file(detector, open_images(pattern), out, Options(voxel_size_um=VOXEL))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return np.array([wall, cpu, computing.submit(time.thread_time).result() - thread])


def inputs_of(detector, pattern, out):
    """What the network sees of a movie, tile by tile."""
    seen, forward = [], detector._forward

    def note(image, *between):
        seen.extend(one.clone() for one in image.split(1))  # small frames are computed together
        return forward(image, *between)

    detector._forward = note
    end_to_end(detector, pattern, out)
    del detector._forward
    return seen


def forward_only(detector, inputs):
    """Seconds of the network alone: wall, CPU, CPU; in the thread that the chain uses."""

    def compute():
        wall, cpu = time.perf_counter(), time.thread_time()
        for one in inputs:
            detector._forward(one)
        cpu = time.thread_time() - cpu
        return np.array([time.perf_counter() - wall, cpu, cpu])

    return tile_threads(1).submit(compute).result()


def speed(repeat, n_frames):
    """Compare the three cases."""
    print(f"whole chain, zlib TIFF to CSV, one computing thread, median (range) of {repeat}")
    for name, (kind, shape, width, target) in CASES.items():
        # a frame in 2D is soon done: as many as make the start and the end of a movie short
        n = n_frames if kind == "3D" else 4 * n_frames
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "c.csv"
            pattern = movie(Path(folder) / "images", shape, width, n)
            detector = detector_for(shape, width, folder)
            inputs = inputs_of(detector, pattern, out)
            forward_only(detector, inputs)
            chain, alone = [], []
            for _ in range(repeat):
                chain.append(end_to_end(detector, pattern, out))
                alone.append(forward_only(detector, inputs))
            found = len(out.read_text().splitlines()) - 1
        chain, alone = np.array(chain), np.array(alone)
        rates = n * np.prod(shape) / chain[:, 1]
        wall, cpu, thread = (chain / alone).T
        print(
            f"  {name} ({detector.arithmetic}):\n"
            f"    {_spread(rates / 1e6, 1)} M voxels per CPU s, "
            f"{_spread(rates / BEFORE[kind], 0)} times before (target {target})\n"
            f"    relative to the network alone: {_spread(wall, 2)} in wall time (target 1.25), "
            f"{_spread(thread, 2)} in CPU time of the computing thread, "
            f"{_spread(cpu, 2)} in CPU time of all\n"
            f"    {found / n:.0f} of {len(cells(shape, width, 0)[1])} cells found"
        )


def lengths(repeat=5):
    """What one more frame takes, and what a movie takes besides, in one process.

    The speed of a shared machine changes from minute to minute, so every movie is held against the
    network alone right before and after it, and the slope is the median of those between all
    pairs of movies (Theil 1950, Sen 1968), with the range that holds 95 % of it.
    """
    print(f"one process, one computing thread, zlib TIFF to CSV, a line through {repeat} series")
    for name, (kind, shape, width, _) in CASES.items():
        times = (1 if kind == "3D" else 4) * np.array([8, 24, 48, 96])
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "c.csv"
            few = 8
            pattern = movie(Path(folder) / "images", shape, width, few)
            detector = detector_for(shape, width, folder)
            inputs = inputs_of(detector, pattern, out)
            for t in range(few, max(times)):
                os.link(pattern.format(time=t % few), pattern.format(time=t))

            def alone(detector=detector, inputs=inputs, few=few):
                return statistics.median(forward_only(detector, inputs)[0] / few for _ in range(5))

            relative, networks = [], [alone()]
            for n in (ns := np.tile(times, repeat)):
                options = Options(voxel_size_um=VOXEL, time_range=(0, n - 1))
                wall = time.perf_counter()
                predict_to_file(detector, open_images(pattern), out, options)
                wall = time.perf_counter() - wall
                networks.append(alone())
                relative.append(wall / statistics.mean(networks[-2:]))
        frame, besides, low, high = theilslopes(relative, ns)
        print(
            f"  {name}: one more frame {frame:.2f} ({low:.2f} to {high:.2f}) times the network "
            f"alone ({1000 * statistics.median(networks):.1f} ms; target 1.25), a movie "
            f"{besides:.1f} times besides",
            flush=True,
        )


def long_movies(seconds, repeat=2):
    """Movies that take the network so long, end to end; what is shared by processes is."""
    if usable_cores() < 2:
        raise SystemExit("Only one core may be used (is OMP_NUM_THREADS set?); two are needed.")
    print("long movies, two cores, zlib TIFF to CSV, from the call to the file")
    for name, (_, shape, width, _) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "c.csv"
            few = 16
            pattern = movie(Path(folder) / "images", shape, width, few)
            trained = detector_for(shape, width, folder)
            inputs = inputs_of(trained, pattern, out)
            forward_only(trained, inputs)
            alone = [forward_only(trained, inputs)[0] / few for _ in range(5)]
            n = int(seconds / statistics.median(alone))
            for t in range(few, n):
                os.link(pattern.format(time=t % few), pattern.format(time=t))
            detector = Detector.from_folder(Path(folder) / "run", device="cpu", threads=2)
            ratios = []
            for _ in range(repeat):
                told = []
                wall = time.perf_counter()
                predict_to_file(
                    detector,
                    open_images(pattern),
                    out,
                    Options(voxel_size_um=VOXEL),
                    runner=predict_as_fits,
                    tell=told.append,
                )
                wall = (time.perf_counter() - wall) / n
                alone += [forward_only(trained, inputs)[0] / few for _ in range(5)]
                ratios.append(wall / statistics.median(alone))
            shared = any(finding.code == "processes" for finding in told)
            print(
                f"  {name}: {n} time points, {1000 * wall:.1f} ms each, "
                f"{'shared by processes' if shared else 'in one process'}: "
                f"{_spread(ratios, 2)} times the network alone in one thread, "
                f"{1000 * statistics.median(alone):.1f} ms (target 1.25)",
                flush=True,
            )


def _spread(values, digits):
    middle, low, high = (f"{f(values):.{digits}f}" for f in (np.median, np.min, np.max))
    return f"{middle} ({low} to {high})"


def peaks(repeat=20):
    """Peaks, offsets and suppression for 5000 cells."""
    random = np.random.default_rng(0)
    logits = torch.full((16, 512, 512), -6.0)
    near = list(itertools.product((-1, 0, 1), repeat=3))
    for centre in (random.random((5600, 3)) * [14, 510, 510]).astype(int) + 1:
        for step in near:
            place = tuple(centre + step)
            logits[place] = max(float(logits[place]), 3.0 - sum(map(abs, step)))
    logits += torch.from_numpy(random.normal(0, 0.01, logits.shape).astype(np.float32))
    offsets = torch.from_numpy(random.normal(0, 0.2, (3, *logits.shape)).astype(np.float32))
    torch.set_num_threads(1)
    times = []
    for _ in range(repeat):
        begin = time.thread_time()
        _, positions, scores = find_peaks(logits, offsets, 0.05)
        kept = suppress(positions, scores, 2.0)
        times.append(time.thread_time() - begin)
    print(
        f"peaks, offsets and suppression of {len(positions)} candidates ({len(kept)} kept) on a "
        f"grid of 16 x 512 x 512: {1000 * statistics.median(times):.0f} CPU ms "
        "(target 50 for 5000 cells)"
    )


def growth(n_frames):
    """Time and memory over a factor of 50 in time points and in voxels."""
    print("growth")
    rates = []
    with tempfile.TemporaryDirectory() as folder:
        pattern = movie(Path(folder) / "images", (1, 256, 256), 20.0, 1)
        content = Path(pattern.replace("{time:03}", "000")).read_bytes()
        detector = detector_for((1, 256, 256), 20.0, folder)
        for n in (n_frames, 50 * n_frames):
            for t in range(n):
                (Path(folder) / "images" / f"t{t:03}.tif").write_bytes(content)
            out = Path(folder) / "c.csv"
            cpu = min(end_to_end(detector, pattern, out)[1] for _ in range(2))
            rates.append(cpu / n)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"  {n} time points: {1000 * cpu / n:.1f} CPU ms each, peak {peak:.0f} MiB")
    print(f"  a time point costs {rates[1] / rates[0]:.2f} times as much in 50 times as many")
    rates = []
    for size in (256, 1810):
        image, _ = cells((1, size, size), 20.0, 0)
        times = []
        for _ in range(3):
            cpu = time.process_time()
            detector.detect([image], VOXEL)
            times.append(time.process_time() - cpu)
        rates.append(min(times) / size**2)
        print(f"  {size} x {size} pixels: {1e9 * rates[-1]:.0f} CPU ns a pixel")
    print(f"  a pixel costs {rates[1] / rates[0]:.2f} times as much among 50 times as many")


def memory():
    """Peak memory for a stack of 2048 x 2048 x 200, in a process of its own."""
    script = (
        "import sys, resource; sys.path.insert(0, sys.argv[1]); import prediction as p;"
        "p.large_stack(); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)"
    )
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", script, folder], capture_output=True, text=True, check=True
    )
    print(f"2048 x 2048 x 200 stack: peak {float(done.stdout.split()[-1]):.2f} GiB (target 3)")


def large_stack():
    """Predict one large stack."""
    keep_freed_memory()  # as the command does
    shape = (200, 2048, 2048)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "stack.tif"
        plane = cells((1, 2048, 2048), 40.0, 0)[0][0]
        tifffile.imwrite(
            path,
            (np.roll(plane, z) for z in range(shape[0])),
            shape=shape,
            dtype=np.uint16,
            bigtiff=True,
            compression="zlib",
            compressionargs={"level": 1},
            photometric="minisblack",
            metadata={"axes": "ZYX"},
        )
        design = choose_design(
            diameter=40.0, spacing=48.0, voxel_size=VOXEL, planes=200, unit="um", width=16
        )
        torch.manual_seed(0)
        info = DetectorInfo(design=design)
        detector = Detector(info, CentreNet(design).state_dict(), device="cpu")
        source = open_images(path, axes="zyx")
        predict_to_file(detector, source, Path(folder) / "c.csv", Options(voxel_size_um=VOXEL))


def workers(n_frames):
    """Two processes against one, each with one thread."""
    from functools import partial

    from napari_celltrain.prediction.workers import predict_with_workers

    with tempfile.TemporaryDirectory() as folder:
        shape = (32, 256, 256)
        pattern = movie(Path(folder) / "images", shape, 10.0, n_frames)
        detector = detector_for(shape, 10.0, folder, steps=20)
        walls = {}
        for n in (1, 2):
            times = []
            for _ in range(2):
                began = []
                runner = partial(predict_with_workers, workers=n)

                def note(*_, began=began):
                    began.append(time.perf_counter())

                predict_to_file(
                    detector,
                    open_images(pattern),
                    Path(folder) / "c.csv",
                    Options(voxel_size_um=VOXEL),
                    runner=runner,
                    progress=note,
                )
                # from the first result on: starting a process is no matter of long movies
                times.append((began[-1] - began[n - 1]) / (len(began) - n))
            walls[n] = min(times)
        print(
            f"two workers are {walls[1] / walls[2]:.2f} times one (target 1.7); "
            f"one: {statistics.mean([walls[1]]):.2f} s a frame"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("quick", "lengths", "long", "memory", "workers", "growth"):
        parser.add_argument(f"--{name}", action="store_true")
    chosen = parser.parse_args()
    keep_freed_memory()  # as the command does
    only = chosen.memory or chosen.workers or chosen.growth or chosen.long or chosen.lengths
    if not only:
        speed(2 if chosen.quick else 5, 3 if chosen.quick else 8)
        peaks()
    if chosen.lengths:
        lengths(1 if chosen.quick else 5)
    if chosen.long:
        long_movies(20 if chosen.quick else 90)
    if chosen.growth:
        growth(4)
    if chosen.workers:
        workers(8)
    if chosen.memory:
        memory()


if __name__ == "__main__":
    main()
