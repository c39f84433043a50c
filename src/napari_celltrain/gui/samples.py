"""File > Open Sample: a synthetic experiment to try everything on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
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
    from napari_celltrain.simulation import simulate

    experiment = simulate(kind)
    look_through_depth([experiment])
    return experiment_layers(experiment)
