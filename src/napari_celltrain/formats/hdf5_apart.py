"""Reads groups of an HDF5 file, in a process of its own (see `images.apart`).

The HDF5 library can be made to write where it must not by damaged files.
"""

from __future__ import annotations

import os
from typing import Any

ALWAYS_READ = 2**26
MOST_COMPRESSED = 1032


def answer(path: str, groups: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes and the data sets in some groups, by their whole names.

    Raises
    ------
    ValueError
        When they claim more than the file can hold.
    """
    import h5py
    import numpy as np

    arrays: dict[str, Any] = {}
    attributes: dict[str, dict[str, str]] = {}
    most = max(ALWAYS_READ, MOST_COMPRESSED * os.path.getsize(path))
    total = 0

    def visit(name: str, found: Any) -> None:
        nonlocal total
        place = f"{group}/{name}" if name else group
        texts = {}
        for key in found.attrs:
            value = found.attrs[key]
            if isinstance(value, np.ndarray) and value.dtype.kind == "S":
                texts[key] = b"".join(value.reshape(-1).tolist()).decode("latin-1").strip()
            else:
                texts[key] = value.decode("latin-1") if isinstance(value, bytes) else str(value)
        attributes[place] = texts
        if not isinstance(found, h5py.Dataset) or found.dtype.hasobject:
            return
        if found.external or found.is_virtual:
            raise ValueError(f"{place} has its values in another file")
        size = int(np.prod(found.shape or (1,), dtype=object)) * found.dtype.itemsize
        chunk = int(np.prod(found.chunks or (0,), dtype=object)) * found.dtype.itemsize
        total += size
        if max(total, chunk) > most:
            raise ValueError(f"{place} claims more than the file can hold")
        arrays[place] = found[...]

    with h5py.File(path, "r") as file:
        for group in groups:
            if group in file and isinstance(file.get(group, getlink=True), h5py.HardLink):
                visit("", file[group])
                if isinstance(file[group], h5py.Group):
                    file[group].visititems(visit)
    return attributes, arrays
