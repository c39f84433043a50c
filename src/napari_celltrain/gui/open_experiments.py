"""The experiments that are open in the viewer: which layers belong together, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.gui.image_source import layer_to_movie, source_of, voxel_size_of
from napari_celltrain.gui.layers import CELL_ID, note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Image, Layer, Points, Tracks
    from numpy.typing import NDArray

_NOT_ANNOTATIONS = {"detections", "errors", "preview"}
_OWN_COLUMNS = {CELL_ID, "status"}


@dataclass(eq=False)
class OpenExperiment:
    """Layers that are one experiment: images, and at most one points and one tracks layer.

    Where there are points, they are the annotation, and the tracks (ours) only show the links.
    Somebody else's tracks without points are the annotation themselves.

    An experiment with two points layers (say, before and after correcting) is two of these with
    the same images. Two are the same experiment when their points layer is (else their tracks,
    else their image).
    """

    images: list[Image] = field(default_factory=list)
    points: Points | None = None
    tracks: Tracks | None = None

    @property
    def identity(self) -> int:
        """Stays the same while layers are renamed, moved and hidden."""
        return id(self.layers[-1])

    @property
    def name(self) -> str:
        """What the person sees in the layer list."""
        if self.points is None:
            return str((self.tracks if self.tracks is not None else self.images[0]).name)
        name = str(self.points.name)
        return name.removesuffix(" cells") or name

    @property
    def layers(self) -> list[Layer]:
        """All of its layers; the last one says what is annotated."""
        return [*self.images, *(one for one in (self.tracks, self.points) if one is not None)]

    def read(self) -> Experiment:
        """Return what the layers say now.

        Raises
        ------
        CellTrainError
            When an image layer is no movie of one channel.
        """
        original = self._original()
        image = self.images[0] if self.images else None
        source = None if image is None else source_of(image)
        channels: tuple[int, ...] = (source[1],) if source is not None else (0,)
        if original is not None and original.images is not None:
            channels = original.channels
        annotations = Annotations()
        if self.points is not None:
            annotations = annotations_of(self.points, image)
        elif self.tracks is not None:
            annotations = annotations_of_tracks(self.tracks, image)
        if original is not None:
            return original.with_(
                name=self.name,
                annotations=annotations,
                images=original.images or (source and source[0]),
                channels=channels,
                findings=(),
            )
        layer = image if image is not None else self.layers[-1]
        return Experiment(
            name=self.name,
            annotations=annotations,
            images=source and source[0],
            voxel_size_um=voxel_size_of(layer),
            channels=channels,
        )

    def corrected_time_points(self) -> list[int] | None:
        """Return where a copy of detections was changed by hand; None when it is no such copy."""
        copied = None if self.points is None else note(self.points).get("copied")
        if copied is None or self.points is None:
            return None
        now = annotations_of(self.points, self.images[0] if self.images else None)
        before = {t: _sorted(copied, t) for t in copied.time_points().tolist()}
        after = {t: _sorted(now, t) for t in now.time_points().tolist()}
        return [
            t
            for t in sorted({*before, *after})
            if t not in before
            or t not in after
            or len(before[t]) != len(after[t])
            or not np.allclose(before[t], after[t], atol=1e-3)
        ]

    def _original(self) -> Experiment | None:
        for layer in (self.points, *self.images):
            if layer is not None and "experiment" in note(layer):
                return note(layer)["experiment"]  # type: ignore[no-any-return]
        return None


def open_experiments(layers: Iterable[Layer]) -> list[OpenExperiment]:
    """Group layers into experiments.

    Layers opened together by this plugin belong together. Another points layer goes with the
    image whose name is most like its own, among those of the same number of axes where there are
    any.
    """
    from napari.layers import Image, Points, Tracks

    ours = [layer for layer in layers if note(layer).get("role") not in _NOT_ANNOTATIONS]
    images = [layer for layer in ours if isinstance(layer, Image)]
    points = [layer for layer in ours if isinstance(layer, Points)]
    tracks = [layer for layer in ours if isinstance(layer, Tracks)]
    of_key = {note(layer)["key"]: layer for layer in tracks if "key" in note(layer)}
    by_key: dict[str, list[Image]] = {}
    for image in images:
        by_key.setdefault(note(image).get("key", f"layer {id(image)}"), []).append(image)
    used: set[str] = set()
    found = []
    for layer in points:
        key = note(layer).get("key")
        if key is None:
            key = _likeliest(layer, by_key)
        if key is not None:
            used.add(key)
        group = by_key.get(key, []) if key is not None else []
        own = of_key.pop(key, None) if key is not None else None
        found.append(OpenExperiment(group, layer, own))
    for line in [*(one for one in tracks if "key" not in note(one)), *of_key.values()]:
        key = note(line).get("key") or _likeliest(line, by_key)
        if key is not None:
            used.add(key)
        found.append(OpenExperiment(by_key.get(key or "", []), None, line))
    found += [OpenExperiment(group) for key, group in by_key.items() if key not in used]
    return found


def annotations_of(points: Points, image: Image | None) -> Annotations:
    """Return the cells in a points layer, with the links of those that are still there.

    Parameters
    ----------
    points
        Of any number of axes; the last ones are the image's.
    image
        The image they lie in; its pixels are the unit. Without one, the layer's own data are
        taken as pixels.
    """
    shown = np.asarray(points.shown, bool)  # hidden ones are candidates below a threshold
    data = np.asarray(points.data, np.float64)[shown]
    movie = _in_movie(points, image, data)
    t = np.round(movie[:, 0]).astype(np.int64)
    features = {
        str(name): column.to_numpy()[shown] for name, column in points.features.items()
    }
    status = features.get("status")
    if status is not None:
        status = np.nan_to_num(status.astype(float), nan=1.0).astype(np.int8)
    original = note(points).get("experiment")
    links = np.empty((0, 2), np.int64)
    link_features: dict[str, NDArray[Any]] = {}
    if original is not None and CELL_ID in features and len(t):
        links, link_features = _surviving_links(original.annotations, features[CELL_ID], t)
    columns = {name: column for name, column in features.items() if name not in _OWN_COLUMNS}
    return Annotations(t, movie[:, 1:], links, status, columns, link_features)


def annotations_of_tracks(tracks: Tracks, image: Image | None) -> Annotations:
    """Return the positions and links in a tracks layer: along each track, and by its graph."""
    rows = np.asarray(tracks.data, np.float64)
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    rows = rows[order]
    movie = _in_movie(tracks, image, rows[:, 1:])
    t = np.round(movie[:, 0]).astype(np.int64)
    ids = rows[:, 0].astype(np.int64)
    along = np.flatnonzero((ids[1:] == ids[:-1]) & (t[1:] > t[:-1]))
    links = [np.column_stack([along, along + 1])]
    first = {number: int(np.argmax(ids == number)) for number in tracks.graph}
    last = {number: int(index) for index, number in enumerate(ids.tolist())}
    for child, parents in tracks.graph.items():
        for parent in np.atleast_1d(parents).tolist():
            if parent in last and child in last and t[last[parent]] < t[first[child]]:
                links.append(np.array([[last[parent], first[child]]]))
    return Annotations(t, movie[:, 1:], np.concatenate(links), features={"track_id": ids})


def _in_movie(layer: Layer, image: Image | None, data: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (t, z, y, x) of a layer's data; without an image, its data are taken as pixels."""
    if image is not None:
        return layer_to_movie(image, layer, data)
    movie = np.zeros((len(data), 4))
    movie[:, 4 - data.shape[1] :] = data
    if data.shape[1] == 3:  # (t, y, x), as for images
        movie[:, :2] = movie[:, 1::-1]
    return movie


def _sorted(annotations: Annotations, t: int) -> NDArray[np.float64]:
    """Return the positions of a time point in an order that does not depend on theirs."""
    positions = annotations.positions[annotations.at(t)]
    return positions[np.lexsort(positions.round(2).T)]


def _surviving_links(
    original: Annotations, cell_ids: NDArray[Any], t: NDArray[np.int64]
) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]]:
    """Return the original links between points that are still there, in the new numbering.

    A point that napari made as a copy of a selected one has its id too; the first one counts.
    """
    row_of = np.full(len(original), -1, np.int64)
    known = np.flatnonzero(~np.isnan(cell_ids.astype(float)))
    ids = cell_ids[known].astype(np.int64)
    valid = (ids >= 0) & (ids < len(original))
    row_of[ids[valid][::-1]] = known[valid][::-1]
    links = row_of[original.links]
    kept = (links >= 0).all(axis=1) & (t[links[:, 0]] < t[links[:, 1]])
    return links[kept], {name: column[kept] for name, column in original.link_features.items()}


def _likeliest(layer: Layer, images: dict[str, list[Image]]) -> str | None:
    axes = layer.data.shape[1] - (type(layer).__name__ == "Tracks")  # its ndim counts the track

    def likeness(key: str) -> tuple[bool, float]:
        image = images[key][0]
        alike = SequenceMatcher(None, layer.name.lower(), image.name.lower()).ratio()
        return image.ndim == axes, alike

    return max(images, key=likeness, default=None)
