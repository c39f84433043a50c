"""Lazy image sources: every container is read a frame at a time, behind `FrameSource`."""

from napari_celltrain.images.array import ArraySource
from napari_celltrain.images.combine import AppendedChannels, AppendedTime, SummedChannels
from napari_celltrain.images.opening import open_images

__all__ = ["AppendedChannels", "AppendedTime", "ArraySource", "SummedChannels", "open_images"]
