"""Where the real test data lies, if it does; movies and runs made of blobs, in seconds."""

from __future__ import annotations

import contextlib
import gc
import os
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.images.array import ArraySource
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_celltrain.detector.detector import Detector

# how long an example takes says nothing on a machine that does something else as well
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

SHARED = Path(os.environ.get("CELLTRAIN_TEST_DATA", Path(__file__).parents[2] / "shared"))


@pytest.fixture(autouse=True, scope="module")
def _little_to_look_through() -> None:
    """Leave what lives already out of Python's search for what nobody needs any more.

    napari's fixture searches after every test; with PyTorch, napari and what other tests left in
    memory that took nearly a second.
    """
    gc.collect()
    gc.freeze()


def _folder(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"the real data is not here: {folder} (set CELLTRAIN_TEST_DATA)")
    return folder


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Real images with cell centres."""
    return _folder("data")


@pytest.fixture(scope="session")
def formats_folder() -> Path:
    """Real files of other programs."""
    return _folder("formats")


@pytest.fixture(scope="session")
def bound_by_permissions(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where a file without permissions can be read all the same: by root, and on Windows."""
    file = tmp_path_factory.mktemp("permissions") / "file"
    file.touch(0o000)
    with contextlib.suppress(PermissionError), open(file):
        pytest.skip("needs a user whom permissions bind")


@contextmanager
def _little_memory(most_bytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most_bytes, f"{peak / 2**20:.0f} MiB were taken"


@pytest.fixture
def little_memory() -> Callable[[int], Any]:
    """A context in which Python and NumPy may take so many bytes at once, and no more."""
    return _little_memory


def _blobs(
    *,
    times: int = 10,
    shape: tuple[int, int, int] = (1, 96, 96),
    cells: int = 14,
    width: float = 9.0,
    seed: int = 0,
    voxel_size_um: tuple[float, float, float] | None = (1.0, 1.0, 1.0),
    name: str = "blobs",
    first: int = 0,
    dtype: str = "uint16",
    **changes: Any,
) -> Experiment:
    """Make a movie of round blobs, and the experiment that knows where they are.

    `width` is in um, or in pixels where the voxel size is None.
    """
    rng = np.random.default_rng(seed)
    size = np.array(voxel_size_um or (1.0, 1.0, 1.0))
    sigma = width / 4 / size
    extent = np.array(shape) - 1
    margin = np.minimum(0.75 * width / size, extent / 2)
    axes = np.meshgrid(*(np.arange(n, dtype=np.float32) for n in shape), indexing="ij")
    frames, t, positions = [], [], []
    for time in range(times):
        chosen: list[np.ndarray] = []
        for _ in range(200 * cells):
            place = rng.uniform(margin, extent - margin)
            if all(np.linalg.norm((place - other) * size) > 1.3 * width for other in chosen):
                chosen.append(place)
            if len(chosen) == cells:
                break
        frame = np.full(shape, 100.0, np.float32)
        for place in chosen:
            squared = sum(
                ((axis - p) / s) ** 2 for axis, p, s in zip(axes, place, sigma, strict=True)
            )
            frame += rng.uniform(350, 600) * np.exp(-0.5 * squared)
        frames.append(frame + rng.normal(0, 12, shape))
        t += [time + first] * len(chosen)
        positions += chosen
    movie = np.clip(np.stack(frames), 0, None).astype(dtype)
    source = ArraySource(movie, "tzyx", name=name, voxel_size_um=voxel_size_um, time_offset=first)
    return Experiment(
        name,
        Annotations(np.array(t), np.array(positions)),
        source,
        voxel_size_um=voxel_size_um,
        **changes,
    )


@pytest.fixture(scope="session")
def make_blobs() -> Callable[..., Experiment]:
    """Return a function that makes an experiment of round blobs (see `_blobs`)."""
    return _blobs


@pytest.fixture(scope="session")
def small_dataset() -> Dataset:
    """Ten frames of 96 x 96 pixels with fourteen blobs each: learnt in seconds."""
    return Dataset((Member(_blobs()),))


@pytest.fixture(scope="session")
def fast_settings() -> TrainingSettings:
    """Settings for a run of a few seconds that is the same on every machine."""
    return TrainingSettings.from_dict(
        {
            "budget": {"steps": 80},
            "design": {"width": 8},
            "optimiser": {
                "crop_size": 48,
                "batch_size": 4,
                "ema": 0.9,
                "learning_rate": 0.006,
            },
            "compute": {
                "device": "cpu",
                "threads": 1,
                "precision": "float32",
                "checkpoint_every_s": 1000,
            },
        }
    )


@pytest.fixture(scope="session")
def small_run(
    small_dataset: Dataset,
    fast_settings: TrainingSettings,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """Return the folder of a finished run on `small_dataset`; nobody may change it."""
    from napari_celltrain.training.loop import train

    folder = tmp_path_factory.mktemp("small") / "run"
    train(small_dataset, folder, fast_settings)
    return folder


@pytest.fixture(scope="session")
def small_detector(small_run: Path) -> Detector:
    """Return a detector that knows the blobs of `small_dataset`."""
    from napari_celltrain.detector.detector import Detector

    return Detector.from_folder(small_run, device="cpu", precision="float32")
