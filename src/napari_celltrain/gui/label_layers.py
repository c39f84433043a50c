"""Labels layers as annotations: the centre of each label is a cell.

Looking through the pixels of a movie takes seconds to minutes, so it is done in a thread, time
point by time point; after painting, only the time points that were painted in are looked at again.
Until it is known, `centres_in` says so. Not every change says where it is: after an undo, every
time point is compared with a checksum of what was looked at.
"""

from __future__ import annotations

import threading
import zlib
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.layer_axes import axes_of, shape_of
from napari_celltrain.gui.work import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

    _Centres = tuple[NDArray[np.int64], NDArray[np.float64]]

DELAY_MS = 300
"""A brush stroke is many changes; they are looked at when it has ended."""


@dataclass(eq=False)
class _Known:
    """What is known of one layer: labels and their centres for each index of its time axis."""

    stale: set[int]
    frames: dict[int, _Centres] = field(default_factory=dict)
    checksums: dict[int, int] = field(default_factory=dict)
    doubted: set[int] = field(default_factory=set)
    """Where something may have changed."""
    version: int = -1
    """Another one each time that something has become known."""
    being_read: bool = False
    problem: str = ""

    def keep(self, found: dict[int, tuple[int, _Centres]]) -> None:
        """Remember what was found at some indices."""
        for index, (checksum, centres) in found.items():
            self.frames[index], self.checksums[index] = centres, checksum
        if found:
            self.version = next(_versions)


_versions = count()
_known: WeakKeyDictionary[Labels, _Known] = WeakKeyDictionary()


def centres_in(layer: Labels) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return (t, z, y, x) indices of the layer's array, shape (N, 4), and the label of each.

    Raises
    ------
    CellTrainError
        While they are not known yet, or when the layer can't be read.
    """
    known = _known.get(layer)
    if known is not None and known.problem:
        raise CellTrainError(known.problem)
    if known is None or len(known.frames) < _length(layer):
        raise CellTrainError(f"The labels of '{layer.name}' are being counted.")
    numbers = [np.full(len(labels), t) for t, (labels, _) in sorted(known.frames.items())]
    frames = [known.frames[t] for t in sorted(known.frames)]
    positions = np.concatenate([centres for _, centres in frames])
    rows = np.column_stack([np.concatenate(numbers), positions]).astype(np.float64)
    return rows, np.concatenate([labels for labels, _ in frames])


def mark_changed(layer: Labels, index: int | None = None) -> None:
    """Have the centres looked for again at an index of the time axis; None: everywhere."""
    known = _known.get(layer)
    if known is None:
        return
    if index is not None and len(known.frames) == _length(layer):
        known.stale.add(index)
    else:
        _known[layer] = _Known(set(range(_length(layer))))


def doubt(layer: Labels, shown: int | None) -> None:
    """Have it looked whether something has changed, at an index that is not known.

    Parameters
    ----------
    layer
        Known already; else it is looked at anyway.
    shown
        The index in sight. What is not in memory is read again there only: all of it may be a
        large file.
    """
    known = _known.get(layer)
    if known is None or len(known.frames) < _length(layer):
        return
    if _in_memory(layer):
        known.doubted.update(range(_length(layer)))
    elif shown is not None:
        known.doubted.add(shown)


def catch_up(layer: Labels) -> None:
    """Look at once at all that has changed, for somebody who can't wait for the reader.

    Raises
    ------
    CellTrainError
        When the layer can't be read.
    """
    known = _known.get(layer)
    if known is None or known.problem or len(known.frames) < _length(layer):
        return  # `centres_in` says so
    doubt(layer, None)
    work = _centres(_finest(layer), axes_of(layer), known.stale | known.doubted, known)
    known.keep(work(lambda _: None, threading.Event()))
    known.stale, known.doubted = set(), set()


class LabelsReader(QObject):
    """Keeps the centres of labels layers up to date."""

    counted = Signal()
    """Centres have become known, or have changed."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._layers: Sequence[Labels] = ()
        self._seen: WeakKeyDictionary[Labels, int] = WeakKeyDictionary()
        self._layer: Labels | None = None
        self._indices: list[int] = []
        self._job: Job | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MS)
        self._timer.timeout.connect(self._look)

    @property
    def busy(self) -> bool:
        """True while something is not known yet."""
        return self._job is not None or self._timer.isActive()

    def look_at(self, layers: Sequence[Labels]) -> None:
        """Look for centres in these layers, where they are not known."""
        self._layers = layers
        if layers and self._job is None:
            self._timer.start()

    def stop(self) -> None:
        """Look no further."""
        self._layers = ()
        self._timer.stop()
        if self._job is not None:
            self._job.stop()
            known = None if self._layer is None else _known.get(self._layer)
            if known is not None:  # somebody else may want to know
                known.stale.update(self._indices)
                known.being_read = False

    def _look(self) -> None:
        waiting = False
        for layer in self._layers:
            known = _known.setdefault(layer, _Known(set(range(_length(layer)))))
            if known.being_read:  # for another dock
                waiting = True
            elif (known.stale or known.doubted) and not known.problem:
                self._read(layer, known)
                return
        self._tell()
        if waiting:
            self._timer.start()

    def _tell(self) -> None:
        """Tell what has become known, be it that another dock has looked."""
        now = {layer: _known[layer].version for layer in self._layers if layer in _known}
        if any(self._seen.get(layer, -1) != version for layer, version in now.items()):
            self._seen.update(now)
            self.counted.emit()

    def _read(self, layer: Labels, known: _Known) -> None:
        self._layer, self._indices = layer, sorted(known.stale | known.doubted)
        try:
            work = _centres(_finest(layer), axes_of(layer), self._indices, known)
            known.stale, known.doubted, known.being_read = set(), set(), True
        except CellTrainError as error:
            self._fail(str(error))
            return
        self._job = Job(work, self)
        self._job.returned.connect(self._keep)
        self._job.failed.connect(self._fail)
        self._job.ended.connect(self._end)
        self._job.start()

    def _keep(self, found: dict[int, Any]) -> None:
        known = None if self._layer is None else _known.get(self._layer)
        if known is not None and known.being_read:  # else it was changed altogether meanwhile
            known.keep(found)

    def _fail(self, sentence: str) -> None:
        if self._layer is not None:
            _known[self._layer].problem = f"The labels of '{self._layer.name}': {sentence}"
            self.counted.emit()

    def _end(self) -> None:
        known = None if self._layer is None else _known.get(self._layer)
        if known is not None:
            known.being_read = False
        self._layer = None
        if self._job is not None:
            self._job.deleteLater()
            self._job = None
        self._look()


def _centres(array: Any, axes: str, indices: Collection[int], known: _Known) -> Any:
    """Return work that returns a checksum, labels and centres of indices of the time axis.

    Those that are as they were, by their checksum, are left out. Where the labels have channels,
    the centres are those of the channel with the most of them.
    """
    before = {index: known.checksums.get(index) for index in indices}

    def work(
        report: Callable[[Any], None], stop: threading.Event
    ) -> dict[int, tuple[int, _Centres]]:
        from napari_celltrain.formats.label_images import centroids
        from napari_celltrain.images.axes import layout
        from napari_celltrain.images.movie import WHOLE

        arranged = layout(axes, array.shape, where="The layer")
        found = {}
        for index in sorted(indices):
            if stop.is_set():
                break
            cuts = [arranged.cut(index, channel, WHOLE) for channel in range(arranged.n_channels)]
            frames = [np.asarray(array[cut]) for cut in cuts]
            checksum = 0
            for frame in frames:
                checksum = zlib.crc32(np.ascontiguousarray(frame).data, checksum)
            if checksum == before[index]:
                continue
            channels = [centroids(arranged.arrange(frame, WHOLE)) for frame in frames]
            found[index] = (checksum, max(channels, key=lambda one: len(one[0])))
        return found

    return work


def _finest(layer: Labels) -> Any:
    """Return the array, of several levels the finest one."""
    return layer.data[0] if layer.multiscale else layer.data


def _in_memory(layer: Labels) -> bool:
    """Tell whether all of the array can be read again in an instant."""
    array = _finest(layer)
    return isinstance(array, np.ndarray) and not isinstance(array, np.memmap)


def _length(layer: Labels) -> int:
    """Return how long the time axis is; 1 without one."""
    try:
        axis = axes_of(layer).find("t")
        return shape_of(layer)[axis] if axis >= 0 else 1
    except CellTrainError:
        return 1
