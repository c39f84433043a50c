"""A real viewer, and small experiments to show in it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field

import numpy as np
import pytest

# before napari is imported: its settings of this machine's user are left alone
os.environ["NAPARI_CONFIG"] = os.path.join(tempfile.mkdtemp(prefix="celltrain-test-"), "s.yaml")

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment


@dataclass
class Movie:
    """A frame source whose pixels say where they come from: 1000 t + 100 channel + z."""

    name: str = "movie"
    time_points: tuple[int, ...] = (37, 38, 40)
    n_channels: int = 1
    frame_shape: tuple[int, int, int] = (3, 32, 40)
    dtype: np.dtype = field(default_factory=lambda: np.dtype(np.uint16))
    voxel_size_um: tuple[float, float, float] | None = (2.0, 0.5, 0.5)
    frame_interval_s: float | None = None
    unreadable: tuple[int, ...] = ()
    reads: list = field(default_factory=list)

    def read_frame(self, t, channel=0):
        self.reads.append((t, channel))
        if t in self.unreadable:
            raise CellTrainError(f"{self.name} t = {t} is cut short.")
        planes = np.arange(self.frame_shape[0], dtype=self.dtype)[:, None, None]
        frame = np.zeros(self.frame_shape, self.dtype) + planes + 1000 * t + 100 * channel
        return frame.astype(self.dtype)

    def read_crop(self, t, channel, crop):
        return self.read_frame(t, channel)[crop]


@pytest.fixture
def movie_class():
    return Movie


@pytest.fixture
def annotations():
    """A cell that divides between 37 and 38, its daughters, and a lone cell."""
    return Annotations(
        t=[37, 38, 38, 40, 40],
        positions=[[1, 10, 10], [1, 8, 10], [1, 14, 10], [0.5, 8.25, 11], [2, 20, 30]],
        links=[[0, 1], [0, 2], [1, 3]],
        features={"score": np.linspace(0.5, 1, 5)},
    )


@pytest.fixture
def experiment(annotations):
    return Experiment("embryo", annotations, Movie())


@pytest.fixture
def viewer(make_napari_viewer):
    """napari, whose clean-up fails the test when a widget is left over."""
    return make_napari_viewer(strict_qt="raise")


@pytest.fixture(autouse=True)
def no_work_left_over(qapp):
    """Every worker thread has ended when a test has."""
    from napari.qt.threading import WorkerBase

    yield
    WorkerBase.await_workers(10_000)
    qapp.processEvents()
    assert not WorkerBase._worker_set


@pytest.fixture
def add_experiment(viewer):
    """Put an experiment's layers into the viewer."""
    from napari_celltrain.gui.layers import experiment_layers

    def add(experiment, **options):
        from napari.layers import Layer

        return [
            viewer.add_layer(Layer.create(*layer))
            for layer in experiment_layers(experiment, **options)
        ]

    return add


@pytest.fixture(scope="session")
def small_movie():
    """A simulated 2D movie that is learnt in seconds."""
    from napari_celltrain.simulation import simulate

    return simulate("plane", time_points=6, size=(1, 96, 96), n_cells=12)


@pytest.fixture(scope="session")
def trained(small_movie, tmp_path_factory):
    """The run folder of a detector that finds the cells of `small_movie`."""
    from napari_celltrain.dataset import Dataset, Member
    from napari_celltrain.training.loop import train
    from napari_celltrain.training.settings import TrainingSettings

    folder = tmp_path_factory.mktemp("runs") / "small detector"
    settings = TrainingSettings().changed(
        ["budget.steps=150", "design.width=8", "optimiser.crop_size=64", "compute.threads=1",
         "optimiser.batch_size=2", "compute.precision='float32'"]
    )  # fmt: skip
    finished = train(Dataset((Member(small_movie),)), folder, settings)
    assert finished.best_f1 > 0.7
    return folder
