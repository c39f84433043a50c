"""What movies in HDF5 files have in common. The file is opened anew for every frame."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.hdf5_chunks import check_stored, read_part
from napari_celltrain.images.movie import Crop, Header, Movie, check_beside, understood

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


class Hdf5Movie(Movie):
    """Reads a data set that is named by time point and channel."""

    def __init__(self, path: Path, header: Header) -> None:
        self._path = path
        self._checked: dict[str, str | None] = {}
        super().__init__(header, path)

    def _data_name(self, t: int, channel: int) -> str:
        raise NotImplementedError

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        with h5py.File(self._path, "r") as file:
            data = data_in(file, self._data_name(t, channel), self._path)
            if any(have < need for have, need in zip(data.shape, self.frame_shape, strict=True)):
                raise CellTrainError(
                    f"Time point {t} in {self._path} has the shape {data.shape} where "
                    f"{self.frame_shape} was expected."
                )
            stamp = self.stamp(t, channel)
            if stamp is None or self._checked.get(data.name) != stamp:
                check_stored(data)
                self._checked[data.name] = stamp
            block = read_part(data, crop)
        if block.dtype == np.int16 and self.dtype == np.uint16:
            block = block.view(np.uint16)  # Java has no unsigned numbers
        return np.asarray(block)


def data_in(file: h5py.File, name: str, path: Path) -> h5py.Dataset:
    """Return a data set of a file, unless its pixels are somewhere else on the machine.

    Links to files in the same folder are followed: BigDataViewer splits movies in that way.

    Raises
    ------
    CellTrainError
        When it is kept in another file, or a link leads out of the folder.
    KeyError
        When there is none.
    """
    group: Any = file
    for part in name.split("/"):
        link = group.get(part, getlink=True)
        if isinstance(link, h5py.SoftLink):
            raise CellTrainError(
                f"'{name}' in {path} is a link within the file; it is not followed."
            )
        if isinstance(link, h5py.ExternalLink):
            check_beside(link.filename, path)
        group = group[part]
    if group.external or group.is_virtual:
        raise CellTrainError(
            f"'{name}' in {path} has its pixels in other files, which are not opened unasked. Save "
            "the movie in one file."
        )
    return group


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
