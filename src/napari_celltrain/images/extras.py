"""Libraries for microscopes' own files, which are not installed unless asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from pathlib import Path


def extra_library(name: str, path: Path) -> Any:
    """Import a library of the ``images`` extra.

    Raises
    ------
    CellTrainError
        When it is not installed; the sentence says how to install it.
    """
    try:
        return import_module(name)
    except ImportError:
        raise CellTrainError(
            f"To open {path.suffix} files such as {path.name}, more libraries are needed: "
            "pip install 'napari-celltrain[images]'. Or save the movie as OME-TIFF."
        ) from None
