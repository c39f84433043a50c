"""Reads ``.nd2`` files, in a process of its own (see `apart`).

The library maps the file into memory, where a file that shrinks meanwhile ends the process; and it
gives black frames for those that are not in the file.
"""

from __future__ import annotations

import math
import os
import struct
from typing import Any

MAGIC = b"\xda\xce\xbe\x0a"
END = b"ND2 CHUNK MAP SIGNATURE 0000001!"
FRAME_BEHIND = 4096
"""Bytes from the beginning of a frame's entry to its pixels."""


def answer(path: str, frames: list[int] | None) -> tuple[Any, dict[str, Any]]:
    """Return what the header says, or some frames.

    Parameters
    ----------
    path
        The file.
    frames
        None for the header, else the numbers of stored frames.

    Returns
    -------
    values, arrays
        The header and ``indices``, each frame's position, time, plane and channel; or ``pixels``
        with the frames one after the other.
    """
    import nd2
    import numpy as np

    _keep_entities_closed()
    with nd2.ND2File(path) as file:
        if frames is not None:
            places = _places(path)
            size = math.prod(file.sizes.get(axis, 1) for axis in "CYXS") * file.dtype.itemsize
            read = []
            for number in frames:
                _check(number, places, size, os.path.getsize(path), file.attributes.compressionType)
                read.append(np.asarray(file.read_frame(number)))
            return None, {"pixels": np.stack(read)}
        n_frames = math.prod(max(0, loop.count) for loop in file.experiment)
        if n_frames > os.path.getsize(path):
            raise ValueError(f"it claims {n_frames} frames")
        indices = [[at.get(axis, 0) for axis in "PTZC"] for at in file.loop_indices]
        try:
            voxel = [float(size) for size in reversed(file.voxel_size())]
        except Exception:  # the library minds more than we do what it says of filters and lamps
            voxel = []
        periods = [getattr(loop.parameters, "periodMs", None) for loop in file.experiment]
        header = {
            "sizes": list(file.sizes.items()),
            "dtype": file.dtype.str,
            "voxel": voxel,
            "periods_ms": [float(period) for period in periods if period is not None],
        }
        return header, {"indices": np.array(indices, np.int64).reshape(-1, 4)}


def _keep_entities_closed() -> None:
    """Old files hold XML, which the library hands to lxml where that is installed."""
    try:
        from lxml import etree  # type: ignore[import-untyped]
    except ImportError:
        return
    etree.set_default_parser(etree.XMLParser(resolve_entities=False, no_network=True))


def _places(path: str) -> dict[int, int] | None:
    """Return where in the file each frame begins, from the map at its end; None for old files."""
    with open(path, "rb") as file:
        if file.read(4) != MAGIC:
            return None
        file.seek(-40, os.SEEK_END)
        signature, at = struct.unpack("<32sQ", file.read(40))
        if signature != END:
            raise ValueError("the list of its frames is missing")
        file.seek(at)
        entries = file.read()
    places: dict[int, int] = {}
    start = entries.find(b"ImageDataSeq|")
    while start >= 0:
        stop = entries.find(b"!", start) + 1
        number = entries[start + 13 : stop - 1]
        if stop and number.isdigit() and stop + 8 <= len(entries):
            places[int(number)] = struct.unpack_from("<Q", entries, stop)[0]
        start = entries.find(b"ImageDataSeq|", start + 1)
    return places


def _check(
    number: int, places: dict[int, int] | None, size: int, file_size: int, compression: str | None
) -> None:
    """Refuse a frame that the library would invent."""
    if places is None:
        return
    if number not in places:
        raise ValueError("it is not in the file")
    needed = 1 if compression == "lossless" else size
    if places[number] + FRAME_BEHIND + needed > file_size:
        raise ValueError("the file ends before it does")
