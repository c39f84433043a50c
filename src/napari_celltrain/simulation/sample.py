"""The samples: a simulated movie in memory, or as files like those of a real experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tifffile

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.files import replacing, write_text
from napari_celltrain.images import ArraySource
from napari_celltrain.simulation.microscope import image
from napari_celltrain.simulation.population import grow
from napari_celltrain.simulation.scene import Kind, Scene, scene

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

PATTERN = "t{time:03}.tif"


def simulate(
    kind: Kind = "organoid",
    *,
    seed: int = 0,
    time_points: int | None = None,
    size: tuple[int, int, int] | None = None,
    n_cells: int | None = None,
) -> Experiment:
    """Simulate a movie in memory.

    Parameters
    ----------
    kind
        "organoid": 3D, a layer of nuclei on a closed shell; "plane": 2D, a culture.
    seed
        The same seed gives the same movie.
    time_points, size, n_cells
        Other than the sample's: length, (z, y, x) voxels of a frame, nuclei at the beginning.

    Returns
    -------
    Experiment
        With every nucleus annotated and linked.
    """
    chosen = scene(kind, time_points=time_points, size=size, n_cells=n_cells)
    return _experiment(chosen, np.random.default_rng(seed))


def write_sample(
    folder: Path,
    *,
    kind: Kind = "organoid",
    seed: int = 0,
    time_points: int | None = None,
    size: tuple[int, int, int] | None = None,
    n_cells: int | None = None,
) -> Path:
    """Simulate a movie and write it as a TIFF series, an ``.aut`` and a ``dataset.toml``.

    Parameters
    ----------
    folder
        Made when it is not there; files of the same names are replaced.
    kind, seed, time_points, size, n_cells
        As in `simulate`.

    Returns
    -------
    Path
        Of the ``dataset.toml``.

    Raises
    ------
    CellTrainError
        When the folder can't be written.
    """
    from napari_celltrain.formats import write_experiment

    experiment = simulate(kind, seed=seed, time_points=time_points, size=size, n_cells=n_cells)
    images = experiment.images
    assert images is not None
    assert images.voxel_size_um is not None
    z, y, x = images.voxel_size_um
    with replacing(folder / "images") as unfinished:
        unfinished.mkdir()
        for t in images.time_points:
            tifffile.imwrite(
                unfinished / PATTERN.format(time=t),
                images.read_frame(t),
                imagej=True,
                compression="zlib",
                resolution=(1 / x, 1 / y),
                metadata={
                    "axes": "ZYX",
                    "spacing": z,
                    "unit": "um",
                    "finterval": images.frame_interval_s,
                },
            )
    write_experiment(folder / f"{kind}.aut", experiment)
    dataset = folder / "dataset.toml"
    write_text(
        dataset,
        f"""\
# A simulated movie ({kind}, seed {seed}): every nucleus is annotated exactly.
# Without an experiment whose role is "held-out", a block of time is kept for the test.
[[experiment]]
name = "{experiment.name}"
images = "images/{PATTERN}"
annotations = "{kind}.aut"
voxel_size_um = [{z}, {y}, {x}]
annotated = "time-points"
""",
    )
    return dataset


def _experiment(chosen: Scene, rng: np.random.Generator) -> Experiment:
    movie = np.empty((chosen.time_points, *chosen.shape), np.uint16)
    t: list[NDArray[Any]] = []
    positions: list[NDArray[Any]] = []
    links: list[NDArray[Any]] = []
    first = 0
    for time, nuclei in enumerate(grow(chosen, rng)):
        movie[time] = image(nuclei, chosen, rng)
        if time:
            before = first - len(t[-1])
            links.append(np.stack([before + nuclei.mother, first + np.arange(len(nuclei))], axis=1))
        t.append(np.full(len(nuclei), time))
        positions.append(nuclei.centre / np.asarray(chosen.voxel_size_um))
        first += len(nuclei)
    movie.setflags(write=False)
    source = ArraySource(
        movie,
        "tzyx",
        name=f"sample {chosen.name}",
        voxel_size_um=chosen.voxel_size_um,
        frame_interval_s=chosen.frame_interval_s,
    )
    return Experiment(
        name=f"sample {chosen.name}",
        annotations=Annotations(
            np.concatenate(t),
            np.concatenate(positions),
            np.concatenate([np.empty((0, 2), np.int64), *links]),
        ),
        images=source,
        voxel_size_um=chosen.voxel_size_um,
        frame_interval_s=chosen.frame_interval_s,
    )
