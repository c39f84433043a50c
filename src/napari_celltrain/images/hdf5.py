"""What movies in HDF5 files have in common. The file is opened anew for every frame."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.movie import Crop, Header, Movie, understood

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


class Hdf5Movie(Movie):
    """Reads a data set that is named by time point and channel."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        super().__init__(header, path)

    def _data_name(self, t: int, channel: int) -> str:
        raise NotImplementedError

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        with h5py.File(self._path, "r") as file:
            data = file[self._data_name(t, channel)]
            if any(have < need for have, need in zip(data.shape, self.frame_shape, strict=True)):
                raise CellTrainError(
                    f"Time point {t} in {self._path} has the shape {data.shape} where "
                    f"{self.frame_shape} was expected."
                )
            block = data[crop]
        if block.dtype == np.int16 and self.dtype == np.uint16:
            block = block.view(np.uint16)  # Java has no unsigned numbers
        return np.asarray(block)


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to look at its header.

    Raises
    ------
    CellTrainError
        When it is missing or no HDF5, and for whatever goes wrong while looking.
    """
    if not path.is_file():
        raise CellTrainError(f"There is no image file {path}.")
    with understood(path, "HDF5"), h5py.File(path, "r") as file:
        yield file
