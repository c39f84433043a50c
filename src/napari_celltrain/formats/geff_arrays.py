"""The arrays of a GEFF store, which together may take no more memory than its files can hold."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.unpacking import UnpacksTooMuchError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ALWAYS_READ = 2**28
MOST_COMPRESSED = 200
"""All arrays together may claim so many bytes, or so many times those on the disk."""
MOST_CHUNKS = 10**5


class Arrays:
    """Reads the arrays of a store.

    Parameters
    ----------
    store
        The folder of the GEFF group.

    Attributes
    ----------
    group
        The group, to look at the names.
    """

    def __init__(self, store: Path) -> None:
        import zarr

        from napari_celltrain.images.zarr_guarded import GuardedStore

        self._store = store
        self.group: Any = zarr.open_group(GuardedStore(store), mode="r")
        on_disk = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
        self._most = max(ALWAYS_READ, MOST_COMPRESSED * on_disk)
        self._left = self._most

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array.

        Raises
        ------
        CellTrainError
            When it is no array.
        """
        node = self.group[name]
        if not hasattr(node, "chunks"):
            raise CellTrainError(f"{name} in it is no array.")
        return tuple(node.shape)

    def read(self, name: str) -> NDArray[Any]:
        """Return an array.

        Raises
        ------
        CellTrainError
            When it, or the arrays read so far together, claim more than the store can hold.
        """
        from napari_celltrain.images.zarr_guarded import open_guarded

        self.shape(name)
        array = open_guarded(self._store, name)
        itemsize = array.dtype.itemsize
        claimed = math.prod(array.shape) * itemsize
        self._left -= claimed
        largest = max(claimed, math.prod(array.chunks) * itemsize)
        if self._left < 0 or largest > self._most:
            raise CellTrainError(
                f"{name} in it claims {largest / 2**30:.1f} GiB, more than its files can hold; it "
                "is damaged."
            )
        grid = zip(array.shape, array.chunks, strict=True)
        if math.prod(-(-length // chunk) for length, chunk in grid) > MOST_CHUNKS:
            raise CellTrainError(f"{name} in it has chunks without number; it is damaged.")
        try:
            return np.asarray(array[...])
        except UnpacksTooMuchError as error:
            raise CellTrainError(f"{name} in it can't be read: {error}.") from error
