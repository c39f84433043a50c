"""Reads ``.lif`` files, in a process of its own (see `apart`), where its time is limited."""

from __future__ import annotations

import math
import struct
from typing import Any


def answer(path: str, index: int | None, frames: list[dict[str, int]]) -> tuple[Any, Any]:
    """Return what the header says of each image, or some planes of one.

    Parameters
    ----------
    path
        The file.
    index
        The image; None for the header of all.
    frames
        For each plane its place on the other axes, by their names in the file.

    Returns
    -------
    values, arrays
        The headers; or ``pixels`` with the planes one after the other.
    """
    import liffile
    import numpy as np

    _refuse_document_type(path)
    with liffile.LifFile(path) as file:
        if file.type is not liffile.LifFileType.LIF:
            raise ValueError("it only names other files")
        if index is not None:
            image: Any = file.images[index]
            return None, {"pixels": np.stack([image.frame(**place) for place in frames])}
        return [_header(image) for image in file.images], {}


def _header(image: Any) -> dict[str, Any]:
    """Return the name, and the rest if the image can be read at all."""
    try:
        if not hasattr(image, "frame"):
            raise ValueError("it holds lifetimes, not frames")
        held = image.memory_block.size
        if math.prod(image.shape) * image.dtype.itemsize > held:
            raise ValueError(f"it claims {image.shape} pixels where there are {held} bytes")
        steps = {}
        for name, values in image.coords.items():
            if len(values) > 1 and values.dtype.kind in "fiu":
                steps[name.lower()] = abs(float(values[1]) - float(values[0]))
        return {
            "name": image.name,
            "dims": list(image.dims),
            "shape": [int(size) for size in image.shape],
            "dtype": image.dtype.str,
            "steps": steps,
        }
    except Exception as error:  # others in the file may be sound
        return {"name": image.name, "error": f"{type(error).__name__} {error}"}


def _refuse_document_type(path: str) -> None:
    """Refuse a header that declares entities, which may expand without end."""
    with open(path, "rb") as file:
        head = file.read(13)
        length = struct.unpack("<IIBI", head)[3] if len(head) == 13 else 0
        if "<!DOCTYPE" in file.read(2 * length).decode("utf-16-le", errors="replace"):
            raise ValueError("its header has a document type")
