"""A program of its own that reads data sets from an HDF5 file: ``hdf5_apart.py FILE GROUP ...``.

The HDF5 library can be made to write where it must not by damaged files. Here that ends this
process and no other. It imports nothing of the package, to start fast, and answers with a numpy
archive: the data sets by name, and the attributes as JSON under ``attributes``.
"""

from __future__ import annotations

import io
import json
import sys
from typing import Any

ALWAYS_READ = 2**26
MOST_COMPRESSED = 1032


def read(path: str, groups: list[str], file_size: int) -> bytes:
    """Return everything in some groups, unless it claims more than the file can hold."""
    import h5py
    import numpy as np

    arrays: dict[str, Any] = {}
    attributes: dict[str, dict[str, str]] = {}
    most = max(ALWAYS_READ, MOST_COMPRESSED * file_size)
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
        size = int(np.prod(found.shape or (1,), dtype=object)) * found.dtype.itemsize
        chunk = int(np.prod(found.chunks or (0,), dtype=object)) * found.dtype.itemsize
        total += size
        if max(total, chunk) > most:
            raise ValueError(f"{place} claims more than the file can hold")
        arrays[place] = found[...]

    with h5py.File(path, "r") as file:
        for group in groups:
            if group in file:
                visit("", file[group])
                if isinstance(file[group], h5py.Group):
                    file[group].visititems(visit)
    out = io.BytesIO()
    text = np.frombuffer(json.dumps(attributes).encode(), np.uint8)
    np.savez(out, attributes=text, **{f"data {place}": array for place, array in arrays.items()})
    return out.getvalue()


def limit_time(file_size: int) -> None:
    """End this process when the library runs in a circle; by processor time, where that is known.

    Four seconds, and one more for every 20 MB that there may be to unpack.
    """
    try:
        import resource
    except ImportError:  # Windows: whoever waits loses patience
        return
    most = 4 + file_size // 20_000_000
    resource.setrlimit(resource.RLIMIT_CPU, (most, most + 1))


if __name__ == "__main__":
    import os

    try:
        limit_time(os.path.getsize(sys.argv[1]))
        sys.stdout.buffer.write(read(sys.argv[1], sys.argv[2:], os.path.getsize(sys.argv[1])))
    except Exception as error:
        sys.exit(f"{type(error).__name__} {error}")
