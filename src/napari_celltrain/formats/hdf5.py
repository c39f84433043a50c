"""Opening HDF5 files that strangers wrote."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.documents import beginning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ALWAYS_READ = 2**26
_MOST_COMPRESSED = 1032


def looks_like_hdf5(path: Path) -> bool:
    """Tell by the first bytes."""
    return beginning(path, 8) == _SIGNATURE


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a file for reading."""
    import h5py

    if not looks_like_hdf5(path):
        raise CellTrainError(f"{path} is no HDF5 file.")
    with h5py.File(path, "r") as file:
        yield file


def dataset(group: Any, name: str, file_size: int) -> NDArray[Any]:
    """Return a data set of a group, unless it claims more than the file can hold.

    Raises
    ------
    CellTrainError
        When it is missing, or claims too much.
    """
    import h5py

    if name not in group or not isinstance(group[name], h5py.Dataset):
        raise CellTrainError(f"It has no data set {name}.")
    found = group[name]
    claimed = int(np.prod(found.shape, dtype=object)) * found.dtype.itemsize
    chunk = int(np.prod(found.chunks or (0,), dtype=object)) * found.dtype.itemsize
    if max(claimed, chunk) > max(_ALWAYS_READ, _MOST_COMPRESSED * file_size):
        raise CellTrainError(f"{name} claims {claimed / 2**30:.1f} GiB; the file is damaged.")
    return np.asarray(found[...])
