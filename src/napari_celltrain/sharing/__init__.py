"""Giving a detector to others: one file, or a package for the bioimage.io model zoo."""

from napari_celltrain.sharing.card import About
from napari_celltrain.sharing.packing import pack_detector, unpack_detector

__all__ = ["About", "pack_detector", "unpack_detector"]
