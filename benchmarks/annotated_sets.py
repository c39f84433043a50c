"""The annotated image sets that the benchmarks train and test on, and how each is divided."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import cKDTree

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.formats.registry import read_experiments
from napari_celltrain.images import open_images
from napari_celltrain.simulation.sample import _experiment as film
from napari_celltrain.simulation.scene import SCENES, Scene
from napari_celltrain.statistics import estimate_diameter

if TYPE_CHECKING:
    from napari_celltrain.experiment import ZYX, Experiment

DATA = (
    Path(os.environ.get("CELLTRAIN_TEST_DATA", Path(__file__).resolve().parents[2] / "shared"))
    / "data"
)


@dataclass(frozen=True)
class AnnotatedSet:
    """A folder of ``images`` and ``points.csv``, divided by time point."""

    key: str
    folder: str
    voxel_size_um: ZYX | None
    train: tuple[int, int]
    test: tuple[int, int]
    border_px: int = 0

    def experiment(self) -> Experiment:
        """All of it."""
        folder = DATA / self.folder
        experiment = read_experiments(folder / "points.csv")[0]
        return experiment.with_(
            name=self.key, images=open_images(folder / "images"), voxel_size_um=self.voxel_size_um
        )

    def training_set(self) -> Dataset:
        """What may be learnt from; the test frames are not in it."""
        return Dataset((Member(self.experiment().with_(time_range=self.train)),))

    def test_frames(self) -> list[tuple[int, int]]:
        """(0, time point) of the test frames."""
        return [(0, t) for t in range(self.test[0], self.test[1] + 1)]

    def diameter(self) -> float:
        """Median cell diameter of the training frames, measured at the annotated places."""
        estimate = estimate_diameter(self.training_set().experiments[0])
        assert estimate is not None
        return estimate.diameter

    def half_spacing(self) -> float:
        """Half the median distance of nearest neighbours in the test frames, in um or px."""
        annotations = self.experiment().annotations
        distances = []
        for _, t in self.test_frames():
            points = annotations.positions[annotations.at(t)] * np.array(
                self.voxel_size_um or (1.0, 1.0, 1.0)
            )
            distances.append(cKDTree(points).query(points, k=2)[0][:, 1])
        return float(np.median(np.concatenate(distances))) / 2


@dataclass(frozen=True)
class SimulatedSet(AnnotatedSet):
    """A movie of the simulator, divided by time point; its truth is exact."""

    scene: Scene = SCENES["organoid"]

    def experiment(self) -> Experiment:
        """All of it."""
        return film(self.scene, np.random.default_rng(5)).with_(name=self.key)

    def diameter(self) -> float:
        """As simulated."""
        return self.scene.diameter_um


DENSE = replace(
    SCENES["organoid"],
    name="dense",
    shape=(24, 160, 160),
    time_points=9,
    n_cells=300,
    diameter_um=6.6,
    spacing=0.84,
    on_shell=False,
    photons=25.0,
)
"""Neighbours nearer than a diameter, in low light."""

SPARSE = replace(
    SCENES["plane"],
    name="sparse",
    shape=(1, 1100, 1100),
    time_points=12,
    n_cells=14,
    photons=25.0,
)
"""Few cells in a large image, in low light."""

SETS = {
    s.key: s
    for s in (
        AnnotatedSet(
            "hela", "ctc_fluo_n2dl_hela_02_left", (1, 0.645, 0.645), (0, 14), (16, 19), 25
        ),
        AnnotatedSet("cho", "ctc_fluo_n3dh_cho_02_t00-13", (1, 0.202, 0.202), (0, 9), (11, 13), 40),
        AnnotatedSet(
            "sim+", "ctc_fluo_n2dh_simplus_01_t00-44", (1, 0.125, 0.125), (0, 34), (38, 44)
        ),
        AnnotatedSet("bbbc039", "bbbc039_u2os_2d_a", None, (0, 22), (24, 29)),
        AnnotatedSet("dsb2018", "dsb2018_256x256", None, (0, 22), (24, 29)),
        AnnotatedSet("laptrack", "laptrack_nuclei_crop_2dt", None, (0, 3), (5, 5)),
        SimulatedSet("organoid", "", (2.0, 0.4, 0.4), (0, 13), (15, 17)),
        SimulatedSet("dense", "", (2.0, 0.4, 0.4), (0, 6), (8, 8), scene=DENSE),
        SimulatedSet("sparse", "", (1.0, 0.5, 0.5), (0, 7), (9, 11), scene=SPARSE),
    )
}
"""Fields of one plate or collection are independent; in movies a gap lies before the test block."""
