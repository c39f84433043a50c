"""Arrays as movies: what stands behind an open layer, or what a program has made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.images.axes import layout
from napari_celltrain.images.movie import Crop, Header, Movie

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX


class ArraySource(Movie):
    """A numpy, dask or zarr array as a `FrameSource`; nothing is read before it is asked for.

    Parameters
    ----------
    array
        Anything with ``shape``, ``dtype`` and slicing. Of a multiscale image, the finest level.
        Pickling the source pickles the array, which is cheap for dask and zarr.
    axes
        What each axis is, of ``tczyx`` and ``s`` for colour: "tzyx", "cyx", ...
    time_offset
        The time point number of the first frame.
    name
        For messages and layers.
    voxel_size_um, frame_interval_s
        What is known of the scale.

    Raises
    ------
    CellTrainError
        When the axes do not fit the array.
    """

    def __init__(
        self,
        array: Any,
        axes: str,
        *,
        time_offset: int = 0,
        name: str = "image",
        voxel_size_um: ZYX | None = None,
        frame_interval_s: float | None = None,
    ) -> None:
        self._array = array
        self._layout = layout(axes, array.shape, where=f"The image '{name}'")
        self._time_offset = time_offset
        super().__init__(
            Header(
                name=name,
                time_points=range(time_offset, time_offset + self._layout.size("t")),
                n_channels=self._layout.n_channels,
                frame_shape=self._layout.frame_shape,
                dtype=np.dtype(array.dtype),
                voxel_size_um=voxel_size_um,
                frame_interval_s=frame_interval_s,
                is_colour=self._layout.is_colour,
                chunk_shape=self._layout.chunk_shape(_chunks(array)),
                # of an array of another program nobody knows
                reads_side_by_side=isinstance(array, np.ndarray)
                or hasattr(array, "__dask_graph__"),
            )
        )

    @property
    def array(self) -> Any:
        """The array itself."""
        return self._array

    def _read(self, t: int, channel: int, crop: Crop) -> NDArray[Any]:
        block = np.asarray(self._array[self._layout.cut(t - self._time_offset, channel, crop)])
        return self._layout.arrange(block, crop)


def _chunks(array: Any) -> tuple[int, ...] | None:
    """Return the chunks of a zarr, HDF5 or dask array."""
    chunks = getattr(array, "chunksize", getattr(array, "chunks", None))  # dask has both
    if not isinstance(chunks, tuple) or len(chunks) != len(array.shape):
        return None
    return chunks if all(isinstance(one, int) for one in chunks) else None
