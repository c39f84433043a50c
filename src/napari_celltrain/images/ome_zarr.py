"""OME-Zarr 0.4 and 0.5 (the finest level), and plain zarr arrays."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.axes import layout
from napari_celltrain.images.movie import WHOLE, Crop, Header, Movie, chosen, understood
from napari_celltrain.images.tiff_metadata import positive, voxel_size
from napari_celltrain.images.units import seconds_per_unit, um_per_unit
from napari_celltrain.images.unpacking import check_claim
from napari_celltrain.images.zarr_codecs import check_codecs
from napari_celltrain.images.zarr_guarded import MOST_PIECES, GuardedStore, open_guarded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

AXES_BY_RANK = {2: "yx", 3: "tyx", 4: "tzyx", 5: "tczyx"}
"""For arrays that name no axes, as OrganoidTracker reads them."""


class ZarrMovie(Movie):
    """A movie in a zarr array or the finest level of an OME-Zarr image; time counts from 0.

    Parameters
    ----------
    folder
        The array, the image group, or a group of several images.
    series
        Which image of a group of several, counted from 1; default: the first.
    axes
        What the axes are, e.g. "tzyx", when the file does not say or says it wrongly.

    Raises
    ------
    CellTrainError
        When it holds no image.
    """

    def __init__(
        self, folder: Path, *, series: str | int | None = None, axes: str | None = None
    ) -> None:
        self._folder = folder
        with understood(folder, "zarr"):
            node = zarr.open(store=GuardedStore(folder), mode="r")
            array, letters, voxel, interval = _finest(node, folder, series)
        check_codecs(array, folder)
        self._inner = array.path
        self._stored = tuple(array.shards or array.chunks)
        self._layout = layout(axes or letters, array.shape, where=str(folder))
        self._array: Any = None
        if voxel is not None:
            voxel = voxel_size(*voxel, n_planes=self._layout.size("z"))
        super().__init__(
            Header(
                name=_name(folder),
                time_points=range(self._layout.size("t")),
                n_channels=self._layout.n_channels,
                frame_shape=self._layout.frame_shape,
                dtype=np.dtype(array.dtype),
                voxel_size_um=voxel,
                frame_interval_s=interval,
                chunk_shape=self._layout.chunk_shape(array.chunks),
            ),
            folder,
        )
        n_pieces = math.prod(map(len, self._parts(0, 0, array.chunks)))
        if n_pieces > MOST_PIECES:  # the list of them would fill the memory
            raise CellTrainError(
                f"{folder} has its frames in {n_pieces} pieces each; it is damaged, or has to be "
                "written again with larger chunks."
            )
        if series not in (None, "", "0"):
            self.series = int(str(series))

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_array": None}

    def stamp(self, t: int, channel: int) -> str | None:
        """Return a text that changes when any of the files that hold the frame does."""
        place = str((self._folder.absolute(), self._inner))
        digest = hashlib.sha256(place.encode("utf-8", "surrogatepass"))
        for file in self._files_of(t, channel):
            try:
                state = os.stat(file)
            except FileNotFoundError:
                digest.update(b"empty\n")  # all of it has one value, and is not stored
            except OSError:
                return None
            else:
                line = f"{file}|{state.st_size}|{state.st_mtime_ns}\n"
                digest.update(line.encode("utf-8", "surrogatepass"))  # names of any bytes
        return f"{type(self).__name__}|{t}|{channel}|{digest.hexdigest()}"

    def share_stored(self, t: int, channel: int) -> float:
        """Return how much of a frame is stored; the rest has one value, or was never written."""
        files = self._files_of(t, channel)
        return sum(map(os.path.exists, files)) / len(files)

    def _files_of(self, t: int, channel: int) -> Sequence[str]:
        parts = self._parts(t, channel, self._stored)
        name_of = self._opened().metadata.encode_chunk_key
        folder = os.path.join(self._folder, self._inner)
        return [os.path.join(folder, name_of(place)) for place in itertools.product(*parts)]

    def _parts(self, t: int, channel: int, size_of_one: Sequence[int]) -> list[range]:
        """Return the numbers, along each axis, of the pieces that a frame lies in."""
        cut = self._layout.cut(t, channel, WHOLE)
        within = [
            range(part, part + 1) if isinstance(part, int) else range(*part.indices(length))
            for part, length in zip(cut, self._layout.shape, strict=True)
        ]
        return [
            range(one.start // size, (one.stop - 1) // size + 1)
            for one, size in zip(within, size_of_one, strict=True)
        ]

    def _n_stored(self, t: int, channel: int) -> int:
        """Return how many bytes the files of a frame have."""
        files = map(Path, self._files_of(t, channel))
        return sum(file.stat().st_size for file in files if file.is_file())

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        claimed = math.prod(part.stop - part.start for part in crop) * self.dtype.itemsize
        check_claim(claimed, partial(self._n_stored, t, channel))
        block = np.asarray(self._opened()[self._layout.cut(t, channel, crop)])
        return self._layout.arrange(block, crop)

    def _opened(self) -> Any:
        if self._array is None:
            self._array = open_guarded(self._folder, self._inner)
        return self._array


def _finest(
    node: Any, folder: Path, series: str | int | None
) -> tuple[Any, str, Any, float | None]:
    """Return the array, its axes, its (z, y, x) scale in um and its time step in s."""
    if isinstance(node, zarr.Array):
        names = getattr(node.metadata, "dimension_names", None)
        if names and all(names):
            return node, "".join(_letter(str(name), None) for name in names), None, None
        return node, _by_rank(node, folder), None, None
    attributes = dict(node.attrs)
    attributes = attributes.get("ome", attributes)
    multiscales = attributes.get("multiscales")
    if not multiscales:
        return _of_several(node, attributes, folder, series)
    image = multiscales[0]
    level = image["datasets"][0]
    array = node[level["path"]]
    if not isinstance(array, zarr.Array):
        raise CellTrainError(f"{folder} says that '{level['path']}' is its image, but it is none.")
    if "axes" not in image:
        return array, _by_rank(array, folder), None, None
    letters, units = _axes(image["axes"])
    scale = np.ones(len(letters))
    for source in (level, image):  # the whole image may be scaled once more
        for transformation in source.get("coordinateTransformations", ()):
            if transformation.get("type") == "scale":
                scale *= np.asarray(transformation["scale"], np.float64)
    sizes: dict[str, float | None] = {}
    for letter, unit, step in zip(letters, units, scale, strict=True):
        factor = (seconds_per_unit if letter == "t" else um_per_unit)(unit or "")
        sizes[letter] = None if factor is None else factor * float(step)
    voxel: tuple[float | None, ...] = tuple(sizes.get(letter) for letter in "zyx")
    return array, letters, voxel, positive(sizes.get("t"))


def _of_several(
    node: Any, attributes: dict[str, Any], folder: Path, series: str | int | None
) -> tuple[Any, str, Any, float | None]:
    """Choose an image from a group that is none itself."""
    if "plate" in attributes or "well" in attributes:
        raise CellTrainError(
            f"{folder} is a plate of many images; open one of them, such as {folder}/A/1/0."
        )
    members = sorted(node.members(), key=lambda member: (len(member[0]), member[0]))
    images = [
        member
        for name, member in members
        if name != "labels"
        and (
            isinstance(member, zarr.Array)
            or "multiscales" in dict(member.attrs).get("ome", member.attrs)
        )
    ]
    if not images:
        raise CellTrainError(f"{folder} is a zarr group without an image in it.")
    # OrganoidTracker writes "0" for every zarr.
    index = chosen(None if series == "0" else series, len(images), folder)
    return _finest(images[index], folder, None)


def _axes(axes: list[Any]) -> tuple[str, list[str | None]]:
    letters, units = "", []
    for axis in axes:
        if isinstance(axis, str):  # version 0.3
            axis = {"name": axis}
        letters += _letter(str(axis.get("name", "")), axis.get("type"))
        units.append(axis.get("unit"))
    return letters, units


def _letter(name: str, kind: str | None) -> str:
    first = name.lower()[:1]
    if kind in ("time", "channel"):
        return kind[0]
    return first if first in "tczyx" and first else "?"


def _by_rank(array: Any, folder: Path) -> str:
    if array.ndim not in AXES_BY_RANK:
        raise CellTrainError(f"{folder} has {array.ndim} dimensions; an image has 2 to 5.")
    return AXES_BY_RANK[array.ndim]


def _name(folder: Path) -> str:
    return folder.name or str(Path(folder).resolve().name)
