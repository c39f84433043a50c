"""Frames too large for memory: decoded once to a scratch file, and read back part by part.

A compressed plane can only be decoded as a whole, so reading a large frame tile by tile from its
own file would decode every plane many times. An uncompressed copy costs its writing once, and a
part of it costs what the part holds.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import TEMPORARY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from napari_celltrain.experiment import FrameSource

BLOCK_BYTES = 64 * 2**20
"""Decoded at once while copying, where chunks are no larger."""


def scratch_folder() -> Path:
    """Return where large temporary files belong: on a disk; ``/tmp`` may be in memory."""
    if "TMPDIR" not in os.environ and os.name == "posix":
        folder = Path("/var/tmp")
        if folder.is_dir() and os.access(folder, os.W_OK):
            return folder
    return Path(tempfile.gettempdir())


class ScratchFrame:
    """A (z, y, x) frame in a file of its own, which is gone when this object is.

    Stands where an array would: it has a shape, a type and slices, and only what is cut out is in
    memory.

    Parameters
    ----------
    source, t, channel
        Which frame.
    folder
        Where to put the file; None: `scratch_folder`.
    given_up
        Asked now and then; when it says so, nobody wants the frame any more.

    Raises
    ------
    CellTrainError
        When the frame can't be read, there is no room for the copy, or it was given up.
    """

    def __init__(
        self,
        source: FrameSource,
        t: int,
        channel: int,
        folder: Path | None = None,
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self.shape = source.frame_shape
        self.dtype = np.dtype(source.dtype)
        self.nbytes = 0
        """Of memory."""
        self._lock = threading.Lock()
        folder = scratch_folder() if folder is None else folder
        _, height, width = self.shape
        self._plane_bytes = height * width * self.dtype.itemsize
        row_bytes = width * self.dtype.itemsize
        try:
            # nameless where the system can do that, so that even a kill leaves nothing behind
            self._file = tempfile.TemporaryFile(dir=folder, prefix=TEMPORARY_PREFIX)  # noqa: SIM115
        except OSError as error:
            raise CellTrainError(_no_room(self, folder, error)) from None
        weakref.finalize(self, self._file.close)
        chunk = getattr(source, "chunk_shape", None)
        for z, y in _blocks(self.shape, chunk, row_bytes):
            if given_up():
                raise CellTrainError(f"Reading time point {t} of {source.name} was given up.")
            part = (slice(*z), slice(*y), slice(None))
            block = np.ascontiguousarray(source.read_crop(t, channel, part), self.dtype)
            try:
                for number, plane in enumerate(block, z[0]):
                    self._file.seek(number * self._plane_bytes + y[0] * row_bytes)
                    self._file.write(plane.data)
            except OSError as error:
                raise CellTrainError(_no_room(self, folder, error)) from None
        try:
            self._file.flush()
        except OSError as error:
            raise CellTrainError(_no_room(self, folder, error)) from None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, cut: Any) -> NDArray[Any]:
        """Return a part: whole planes by their numbers, or three slices with a step of 1."""
        if not isinstance(cut, tuple):
            numbers = np.arange(self.shape[0])[cut]
            return np.stack([self._rows(int(z), 0, self.shape[1]) for z in np.atleast_1d(numbers)])
        (z0, z1, _), (y0, y1, _), (x0, x1, _) = (
            part.indices(size) for part, size in zip(cut, self.shape, strict=True)
        )
        out = np.empty((max(0, z1 - z0), max(0, y1 - y0), max(0, x1 - x0)), self.dtype)
        for z in range(z0, z1):
            out[z - z0] = self._rows(z, y0, y1)[:, x0:x1]
        return out

    def _rows(self, z: int, y0: int, y1: int) -> NDArray[Any]:
        row_bytes = self.shape[2] * self.dtype.itemsize
        with self._lock:  # several tiles are cut out at once
            self._file.seek(z * self._plane_bytes + y0 * row_bytes)
            content = self._file.read((y1 - y0) * row_bytes)
        return np.frombuffer(content, self.dtype).reshape(y1 - y0, self.shape[2])


def _blocks(
    shape: tuple[int, int, int], chunk: tuple[int, int, int] | None, row_bytes: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Cut a frame into (first, last) planes and rows of whole chunks: none is decoded twice."""
    planes, height, _ = shape
    depth, rows = (1, height) if chunk is None else (min(chunk[0], planes), min(chunk[1], height))
    # whole planes where that is little enough, else as many rows as are
    rows *= max(1, min(-(-height // rows), BLOCK_BYTES // max(1, depth * rows * row_bytes)))
    if rows >= height:
        depth *= max(1, BLOCK_BYTES // max(1, depth * height * row_bytes))
    for z in range(0, planes, depth):
        for y in range(0, height, rows):
            yield (z, min(z + depth, planes)), (y, min(y + rows, height))


def _no_room(frame: ScratchFrame, folder: Path, error: OSError) -> str:
    size = np.prod(frame.shape, dtype=np.float64) * frame.dtype.itemsize / 2**30
    return (
        f"A frame of this movie is too large for memory, and its copy of {size:.1f} GiB can't be "
        f"written in {folder}: {error.strerror or error}. Free some room there, or name another "
        "folder in the environment variable TMPDIR."
    )
