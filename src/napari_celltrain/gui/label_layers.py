"""Labels layers as annotations: the centre of each label is a cell.

Looking through the pixels of a movie takes seconds to minutes, so it is done in a thread, time
point by time point; after painting, only the time points that were painted in are looked at again.
Until it is known, `centres_in` says so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from qtpy.QtCore import QObject, QTimer, Signal

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.layer_axes import axes_of, shape_of
from napari_celltrain.gui.work import Job

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

DELAY_MS = 300
"""A brush stroke is many changes; they are looked at when it has ended."""


@dataclass(eq=False)
class _Known:
    """What is known of one layer: labels and their centres for each index of its time axis."""

    stale: set[int]
    frames: dict[int, tuple[NDArray[np.int64], NDArray[np.float64]]] = field(default_factory=dict)
    being_read: bool = False
    problem: str = ""


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


class LabelsReader(QObject):
    """Keeps the centres of labels layers up to date."""

    counted = Signal()
    """Centres have become known, or have changed."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._layers: Sequence[Labels] = ()
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
            elif known.stale and not known.problem:
                self._read(layer, known)
                return
        if waiting:
            self._timer.start()

    def _read(self, layer: Labels, known: _Known) -> None:
        self._layer, self._indices = layer, sorted(known.stale)
        known.stale, known.being_read = set(), True
        try:
            array = layer.data[0] if layer.multiscale else layer.data
            work = _centres(array, axes_of(layer), self._indices)
        except CellTrainError as error:
            self._fail(str(error))
            known.being_read = False
            return
        self._job = Job(work, self)
        self._job.returned.connect(self._keep)
        self._job.failed.connect(self._fail)
        self._job.ended.connect(self._end)
        self._job.start()

    def _keep(self, frames: dict[int, Any]) -> None:
        known = None if self._layer is None else _known.get(self._layer)
        if known is not None and known.being_read:  # else it was changed altogether meanwhile
            known.frames.update(frames)

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
        self.counted.emit()
        if self._layers:
            self._look()


def _centres(array: Any, axes: str, indices: Sequence[int]) -> Any:
    """Return work that returns the labels and centres of some indices of the time axis.

    Where the labels have channels, those of the channel with the most of them.
    """

    def work(report: Callable[[Any], None], stop: threading.Event) -> dict[int, Any]:
        from napari_celltrain.formats.label_images import centroids
        from napari_celltrain.images.axes import layout
        from napari_celltrain.images.movie import WHOLE

        arranged = layout(axes, array.shape, where="The layer")
        found = {}
        for index in indices:
            if stop.is_set():
                break
            channels = []
            for channel in range(arranged.n_channels):
                frame = np.asarray(array[arranged.cut(index, channel, WHOLE)])
                channels.append(centroids(arranged.arrange(frame, WHOLE)))
            found[index] = max(channels, key=lambda one: len(one[0]))
        return found

    return work


def _length(layer: Labels) -> int:
    """Return how long the time axis is; 1 without one."""
    try:
        axis = axes_of(layer).find("t")
        return shape_of(layer)[axis] if axis >= 0 else 1
    except CellTrainError:
        return 1
