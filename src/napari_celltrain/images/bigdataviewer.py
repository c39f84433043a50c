"""BigDataViewer's data sets: an XML and an HDF5 file."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import h5py
import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.hdf5 import Hdf5Movie, opened
from napari_celltrain.images.movie import Header, check_beside
from napari_celltrain.images.tiff_metadata import positive, voxel_size
from napari_celltrain.images.units import um_per_unit

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from napari_celltrain.experiment import ZYX


class BigDataViewerMovie(Hdf5Movie):
    """A BigDataViewer data set (XML and HDF5), at full resolution.

    Its view setups of the first one's size are the channels; other setups (other sizes) are left
    out. Time points keep their numbers.

    Parameters
    ----------
    path
        The ``.xml``, or the ``.h5`` (then the XML of the same name beside it is used if there).

    Raises
    ------
    CellTrainError
        When it is no such data set.
    """

    def __init__(self, path: Path) -> None:
        xml = path if path.suffix.lower() == ".xml" else path.with_suffix(".xml")
        data = _data_file(xml) if path == xml else path
        # longer by a letter, it may be no name that a file can have
        voxel = _bdv_voxel(xml) if os.path.isfile(xml) else None
        with opened(data) as file:
            views = [name for name in file if re.fullmatch(r"t\d{5,}", name)]
            if not views:
                raise CellTrainError(f"{data} is an HDF5 file, but not one of BigDataViewer.")
            first = file[min(views, key=_number)]
            setups = sorted((name for name in first if re.fullmatch(r"s\d{2,}", name)), key=_number)
            cells = [first[setup].get("0/cells") for setup in setups]
            if not setups or not isinstance(cells[0], h5py.Dataset) or cells[0].ndim != 3:
                raise CellTrainError(f"{data} has no pixels at its first time point.")
            shape, dtype, chunks = cells[0].shape, cells[0].dtype, cells[0].chunks
            self._setups = [
                setup
                for setup, one in zip(setups, cells, strict=True)
                if isinstance(one, h5py.Dataset) and one.shape == shape
            ]
        self._time_names = {_number(name): name for name in views}
        times = sorted(self._time_names)
        contiguous = range(times[0], times[-1] + 1)
        super().__init__(
            data,
            Header(
                name=path.name,
                time_points=contiguous if len(contiguous) == len(times) else tuple(times),
                n_channels=len(self._setups),
                frame_shape=shape,
                dtype=np.dtype(np.uint16) if dtype == np.int16 else dtype,
                voxel_size_um=voxel,
                chunk_shape=chunks,
            ),
        )

    def _data_name(self, t: int, channel: int) -> str:
        return f"{self._time_names[t]}/{self._setups[channel]}/0/cells"


def _number(name: str) -> int:
    return int(name[1:])


def _data_file(xml: Path) -> Path:
    """Return the HDF5 file that a BigDataViewer XML speaks of."""
    root = _tree(xml)
    loader = root.find("./SequenceDescription/ImageLoader")
    if loader is None:
        raise CellTrainError(f"{xml} is no BigDataViewer file: it names no image.")
    kind = loader.get("format", "")
    name = (loader.findtext("hdf5") or "").strip()
    if kind != "bdv.hdf5" or not name:
        raise CellTrainError(
            f"{xml} keeps its images as '{kind}', which can't be opened; save them as HDF5 or "
            "OME-Zarr."
        )
    name = name.replace("\\", "/")
    check_beside(name, xml)
    return xml.parent / name


def _bdv_voxel(xml: Path) -> ZYX | None:
    """Return the voxel size that a BigDataViewer XML states.

    The affine map counts, where it is one; files with an identity map have it as ``voxelSize``.
    """
    from napari_celltrain.formats.bdv import read_world

    size = _tree(xml).find("./SequenceDescription/ViewSetups/ViewSetup/voxelSize")
    unit = None if size is None else um_per_unit(size.findtext("unit") or "")
    if size is None or unit is None:
        return None
    try:
        mapped = read_world(xml).voxel_size_um
    except CellTrainError:
        mapped = None
    if mapped is not None and not np.allclose(mapped, unit, rtol=0.01):
        return mapped
    numbers = [positive(text) for text in (size.findtext("size") or "").split()]
    if len(numbers) != 3:
        return mapped
    x, y, z = (None if number is None else number * unit for number in numbers)
    return voxel_size(z, y, x, n_planes=2)


def _tree(xml: Path) -> Element:
    from napari_celltrain.formats.xml_reading import read_tree

    try:
        with open(xml, "rb") as handle:
            return read_tree(handle)
    except Exception as error:  # a damaged file can make the parser raise anything
        reason = str(error).rstrip(".")
        raise CellTrainError(f"{xml} can't be read as BigDataViewer XML: {reason}.") from error
