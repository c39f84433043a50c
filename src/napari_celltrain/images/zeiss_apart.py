"""Reads ``.czi`` files, in a process of its own (see `apart`).

The library crashes at some damaged files.
"""

from __future__ import annotations

from typing import Any


def answer(path: str, planes: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
    """Return what the header says, or some planes.

    Parameters
    ----------
    path
        The file.
    planes
        None for the header; else ``area`` (x, y, width, height), ``scene`` and ``places``, each
        a plane's T, Z, C.

    Returns
    -------
    values, arrays
        The header; or ``pixels`` of shape (planes, y, x, samples).
    """
    import numpy as np
    from pylibCZIrw import czi

    with czi.open_czi(path) as file:
        if planes is not None:
            area, scene = tuple(planes["area"]), planes["scene"]
            read = [file.read(roi=area, plane=one, scene=scene) for one in planes["places"]]
            return None, {"pixels": np.stack(read)}
        box = file.total_bounding_box
        scenes = file.scenes_bounding_rectangle
        whole = file.total_bounding_rectangle
        return {
            "box": {axis: [int(box[axis][0]), int(box[axis][1])] for axis in "TZC" if axis in box},
            "scenes": [[number, *_corners(scenes[number])] for number in sorted(scenes)],
            "whole": _corners(whole),
            "types": sorted(set(file.pixel_types.values())),
            "metadata": str(file.raw_metadata),
        }, {}


def _corners(area: Any) -> list[int]:
    return [int(area.x), int(area.y), int(area.w), int(area.h)]
