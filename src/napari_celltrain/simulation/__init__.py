"""Synthetic movies of dividing nuclei with exact annotation, to try and to test everything on."""

from napari_celltrain.simulation.sample import simulate, write_sample
from napari_celltrain.simulation.scene import SCENES, Kind, Scene

__all__ = ["SCENES", "Kind", "Scene", "simulate", "write_sample"]
