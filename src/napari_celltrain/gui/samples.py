"""File > Open Sample: a synthetic experiment to try everything on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from napari_celltrain.experiment import Experiment
    from napari_celltrain.gui.layers import LayerData


def organoid() -> list[LayerData]:
    """Return a synthetic 3D movie of dividing nuclei with its tracks."""
    return _sample("organoid")


def plane() -> list[LayerData]:
    """Return a synthetic 2D movie of dividing nuclei with its tracks."""
    return _sample("plane")


def _sample(kind: Literal["organoid", "plane"]) -> list[LayerData]:
    from napari_celltrain.gui.layers import experiment_layers
    from napari_celltrain.gui.readers import look_through_depth

    experiment = _experiment(kind)
    look_through_depth([experiment])
    return experiment_layers(experiment)


def _experiment(kind: Literal["organoid", "plane"]) -> Experiment:
    """Return the sample from the cache; written there the first time, so that it has a place.

    What is trained on it can then be trained further after a restart. Where nothing can be
    written, it is there for this session.
    """
    from napari_celltrain import __version__
    from napari_celltrain.dataset import load_dataset
    from napari_celltrain.errors import CellTrainError
    from napari_celltrain.files import cache_folder
    from napari_celltrain.simulation import simulate, write_sample

    folder = cache_folder() / "samples" / __version__ / kind
    try:
        try:
            return load_dataset(folder / "dataset.toml").experiments[0]
        except CellTrainError:  # not there yet, or damaged
            return load_dataset(write_sample(folder, kind=kind)).experiments[0]
    except CellTrainError:
        return simulate(kind)
