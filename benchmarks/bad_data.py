"""How much of what can be wrong with annotated data is noticed, and what is said of right data.

    python benchmarks/bad_data.py [right wrong] [--only cho organoid ...]

Right data are annotated sets of real images and simulated stacks (other microscopes and densities
than those the project trains on), whole and with few or careless marks. Each is spoilt in every way
that makes sense for it. Counted is whether anything is said that is not said of the set as it is;
pairs that are too close follow from careless marks and do not count.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from annotated_sets import DATA, DENSE, SETS, AnnotatedSet, film

from napari_celltrain.experiment import Annotations
from napari_celltrain.images import ArraySource
from napari_celltrain.simulation.scene import SCENES
from napari_celltrain.statistics import estimate_diameter, findings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_celltrain.experiment import Experiment

    Change = Callable[[Experiment], Experiment]

ORGANOID = replace(SCENES["organoid"], time_points=6)
ANYWHERE = replace(ORGANOID, on_shell=False)
STACKS = {
    "organoid": ORGANOID,
    "dense": replace(DENSE, time_points=4),
    "isotropic": replace(ANYWHERE, shape=(64, 128, 128), voxel_size_um=(0.4, 0.4, 0.4), n_cells=25),
    "planes far apart": replace(ORGANOID, shape=(12, 192, 192), voxel_size_um=(5.0, 0.4, 0.4)),
    "long in z": replace(ORGANOID, blur_um=(3.0, 0.4, 0.4)),
    "few planes": replace(ANYWHERE, shape=(6, 256, 256), n_cells=50),
    "small": replace(ANYWHERE, shape=(30, 160, 160), voxel_size_um=(1.0, 0.8, 0.8), n_cells=150),
    "large": replace(
        ANYWHERE,
        shape=(30, 300, 300),
        voxel_size_um=(1.0, 0.15, 0.15),
        diameter_um=10.0,
        n_cells=14,
    ),
    "few cells": replace(ANYWHERE, n_cells=12),
    "dim": replace(ORGANOID, photons=12.0),
}
"""Simulated stacks, with two movies of each."""
OTHERS = (
    AnnotatedSet("border cells", "bordercells_3dt_tiny", None, (0, 0), (0, 0)),
    AnnotatedSet("stardist", "stardist_img3d_crop", None, (0, 0), (0, 0)),
)
OF_AMOUNT = {"one-frame", "few-annotations", "close-pairs"}
"""Follow from taking marks away, or from moving them."""


def sets() -> Iterator[tuple[str, Experiment, Annotations]]:
    """Yield name, experiment and the annotations of another movie."""
    real = [s for s in SETS.values() if s.folder] + list(OTHERS)
    for one in real if DATA.is_dir() else ():
        experiment = one.experiment()
        last = np.array(experiment.images.frame_shape) - 1.0
        turned = experiment.annotations.positions * (1, -1, -1) + last * (0, 1, 1)
        yield one.key, experiment, Annotations(experiment.annotations.t, turned)
    for name, scene in STACKS.items():
        movie, other = (film(scene, np.random.default_rng(seed)) for seed in (5, 6))
        yield name, movie, other.annotations


def moved(experiment: Experiment, positions: np.ndarray, t: int = 0) -> Experiment:
    """Return it with marks elsewhere."""
    return experiment.with_(annotations=Annotations(experiment.annotations.t + t, positions))


def resized(experiment: Experiment, *factors: float) -> Experiment:
    """Return it with another voxel size."""
    size = np.array(experiment.known_voxel_size_um or (1.0, 1.0, 1.0)) * factors
    return experiment.with_(voxel_size_um=tuple(size.tolist()))


def wrong(experiment: Experiment, other: Annotations) -> dict[str, Experiment]:
    """Return name -> the experiment, spoilt."""
    places = experiment.annotations.positions
    last = np.array(experiment.images.frame_shape) - 1.0
    voxel = np.array(experiment.known_voxel_size_um or (1.0, 0.5, 0.5))
    flat = last[0] == 0
    spoilt = {
        "y and x exchanged": moved(experiment, places[:, [0, 2, 1]]),
        "y from the other end": moved(experiment, places * (1, -1, 1) + last * (0, 1, 0)),
        "in um": moved(experiment, places * ([1, *voxel[1:]] if flat else voxel)),
        "half the size": moved(experiment, places * (1, 0.5, 0.5)),
        "of another movie": experiment.with_(annotations=other),
        "voxel size x 10 in y, x": resized(experiment, 1, 10, 10),
        "voxel size / 10 in y, x": resized(experiment, 1, 0.1, 0.1),
    }
    annotations = experiment.annotations
    if len(times := annotations.time_points()) > 1:
        earlier = experiment.with_(annotations=annotations.select(annotations.t < times[-1]))
        spoilt["a time point off"] = moved(earlier, earlier.annotations.positions, t=1)
    if not flat:
        spoilt |= {
            "z from the other end": moved(experiment, places * (-1, 1, 1) + last * (1, 0, 0)),
            "a plane off": moved(experiment, places + np.array((1, 0, 0))),
            "voxel size x 10 in z": resized(experiment, 10, 1, 1),
            "voxel size / 10 in z": resized(experiment, 0.1, 1, 1),
        }
    return spoilt


def right(experiment: Experiment, rng: np.random.Generator) -> Iterator[tuple[str, Experiment]]:
    """Yield the experiment in ways in which it is right: as few marks, or careless ones."""
    annotations = experiment.annotations
    times = np.unique(annotations.t)

    def some(keep: np.ndarray, completeness: str = "time-points") -> Experiment:
        return experiment.with_(annotations=annotations.select(keep), completeness=completeness)

    yield "first half", some(annotations.t <= np.median(times))
    yield "one frame", some(annotations.t == times[0])
    yield "two frames", some(np.isin(annotations.t, times[[0, -1]]))
    half = annotations.positions[:, 2] < experiment.images.frame_shape[2] / 2
    yield "half the field", some(half, "box")
    yield "every fourth", some(np.arange(len(annotations)) % 4 == 0, "sparse")
    for number in (40, 20, 16):
        for _ in range(5):
            yield f"{number} marks", some(rng.permutation(len(annotations))[:number], "sparse")
    yield "whole planes", moved(experiment, np.rint(annotations.positions))
    diameter = estimate_diameter(experiment).diameter
    voxel = np.array(experiment.known_voxel_size_um or (1.0, 1.0, 1.0))
    last = np.array(experiment.images.frame_shape) - 1.0
    for spread in (0.1, 0.2, 0.3):
        noise = rng.normal(0, spread * diameter, annotations.positions.shape) / voxel
        yield (
            f"marks off by {spread} diameters",
            moved(experiment, np.clip(annotations.positions + noise, 0, last)),
        )
    frames = [experiment.images.read_frame(t).astype(np.float32) for t in times]
    if len(times) == times[-1] - times[0] + 1:
        dark = ArraySource(
            max(frame.max() for frame in frames) - np.stack(frames),
            "tzyx",
            time_offset=int(times[0]),
            voxel_size_um=experiment.known_voxel_size_um,
        )
        yield "dark cells", experiment.with_(images=dark)


def said(experiment: Experiment) -> set[str]:
    """Return the codes of what is said, besides the amount of annotation."""
    return {one.code for one in findings(experiment)} - OF_AMOUNT


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", default=["right", "wrong"])
    parser.add_argument("--only", nargs="*", help="sets, by name")
    arguments = parser.parse_args()
    cases, alarms = 0, []
    noticed: dict[str, list[tuple[str, bool]]] = {}
    for name, experiment, other in sets():
        if arguments.only and name not in arguments.only:
            continue
        usual = said(experiment)
        print(f"{name}: {', '.join(sorted(usual)) or 'nothing'} is said as it is", flush=True)
        if "right" in arguments.parts:
            for way, one in right(experiment, np.random.default_rng(0)):
                cases += 1
                alarms += [(name, way, code) for code in said(one) - usual]
        if "wrong" in arguments.parts:
            for way, one in wrong(experiment, other).items():
                noticed.setdefault(way, []).append((name, bool(said(one) - usual)))
    if cases:
        print(f"\nright in another way: {cases}, of which something more is said: {len(alarms)}")
        print("\n".join(map(" - ".join, alarms)))
    if noticed:
        print("\n| what is wrong | noticed | not in |\n|---|---|---|")
    for way, results in noticed.items():
        missed = ", ".join(name for name, found in results if not found)
        print(f"| {way} | {sum(found for _, found in results)} of {len(results)} | {missed} |")


if __name__ == "__main__":
    main()
