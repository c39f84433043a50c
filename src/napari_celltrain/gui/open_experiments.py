"""The experiments that are open in the viewer: which layers belong together, and what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.gui.belonging import likeliest
from napari_celltrain.gui.image_source import movies_in, source_of, voxel_size_of
from napari_celltrain.gui.layer_annotations import (
    about_what_is_left_out,
    annotations_of,
    annotations_of_labels,
    annotations_of_tracks,
    channel_marked,
)
from napari_celltrain.gui.layer_axes import (
    CHANNEL,
    axes_of,
    columns_beside,
    columns_of,
    note_likely_axes,
)
from napari_celltrain.gui.layers import keep_in_note, note, state

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Image, Labels, Layer, Points, Tracks
    from numpy.typing import NDArray

_NOT_ANNOTATIONS = {"detections", "errors", "preview"}
PAIRED = "paired_with"
"""The key in an annotation layer's note for the image layer that a person chose."""
LAID_ON = "laid_on"
"""The key in the note of an annotation opened without its movie for the image it was laid on."""


@dataclass(eq=False)
class OpenExperiment:
    """Layers that are one experiment: images, and points, labels or tracks that mark cells.

    Where there are points, they are the annotation, and the tracks (ours) only show the links.
    Somebody else's tracks without points are the annotation themselves, and so are labels.

    An experiment with two points layers (say, before and after correcting) is two of these with
    the same images. Two are the same experiment when their points layer is (else their labels,
    else their tracks, else their image).
    """

    images: list[Image] = field(default_factory=list)
    points: Points | None = None
    tracks: Tracks | None = None
    labels: Labels | None = None

    @property
    def identity(self) -> int:
        """Stays the same while layers are renamed, moved and hidden."""
        return id(self.layers[-1])

    @property
    def name(self) -> str:
        """What the person sees in the layer list."""
        name = str(self.layers[-1].name)
        return (name.removesuffix(" cells") or name) if self.points is not None else name

    @property
    def annotation(self) -> Points | Tracks | Labels | None:
        """The layer that says where cells are."""
        return next(
            (one for one in (self.points, self.labels, self.tracks) if one is not None), None
        )

    @property
    def is_certain(self) -> bool:
        """True where a person chose the image, or the annotation was opened with it."""
        if self.annotation is None or not self.images:
            return False
        written, key = note(self.annotation), note(self.images[0]).get("key")
        paired = written.get(PAIRED) in [image.unique_id for image in self.images]
        return paired or (key is not None and written.get("key") == key)

    @property
    def layers(self) -> list[Layer]:
        """All of its layers; the last one says what is annotated."""
        said = (self.tracks, self.labels, self.points)
        return [*self.images, *(one for one in said if one is not None)]

    def read(self) -> Experiment:
        """Return what the layers say now.

        Raises
        ------
        CellTrainError
            When an image layer is no movie, or labels are still being counted.
        """
        original = self._original()
        image = self.images[0] if self.images else None
        source = None if image is None else source_of(image)
        channels: tuple[int, ...] = (self._channel(source[1]),) if source is not None else (0,)
        movie = None if source is None else source[0]
        if (
            original is not None
            and original.images is not None
            and movie in (None, original.images)
        ):
            channels = original.channels
        annotations = Annotations()
        marked = self.points if self.points is not None else self.tracks
        left_out = () if marked is None else about_what_is_left_out(marked, self.name)
        if self.points is not None:
            annotations = annotations_of(self.points, image)
        elif self.labels is not None:
            annotations = annotations_of_labels(self.labels, image)
        elif self.tracks is not None:
            annotations = annotations_of_tracks(self.tracks, image)
        if original is not None:
            return original.with_(
                name=self.name,
                annotations=annotations,
                images=original.images if movie is None else movie,
                voxel_size_um=(None if image is None else voxel_size_of(image))
                or original.voxel_size_um,
                channels=channels,
                findings=left_out,
            )
        layer = image if image is not None else self.layers[-1]
        return Experiment(
            name=self.name,
            annotations=annotations,
            images=movie,
            voxel_size_um=voxel_size_of(layer),
            channels=channels,
            findings=left_out,
        )

    def corrected_time_points(self) -> list[int] | None:
        """Return where a copy of detections was changed by hand; None when it is no such copy."""
        copied = None if self.points is None else note(self.points).get("copied")
        if copied is None or self.points is None:
            return None
        image = self.images[0] if self.images else None
        now = annotations_of(self.points, image)
        # what was found lies a little above or below the plane of an image that has no z axis
        columns = columns_of(self.points) if image is None else columns_beside(image, self.points)
        axes = columns if image is None else axes_of(image)
        kept = [number for number, axis in enumerate("zyx") if axis in axes and axis in columns]
        before = {t: _sorted(copied, t, kept) for t in copied.time_points().tolist()}
        after = {t: _sorted(now, t, kept) for t in now.time_points().tolist()}
        return [
            t
            for t in sorted({*before, *after})
            if t not in before
            or t not in after
            or len(before[t]) != len(after[t])
            or not np.allclose(before[t], after[t], atol=1e-3)
        ]

    def align(self) -> bool:
        """Lay an annotation that was opened without its movie onto the movie it belongs to.

        Its data are pixels of that movie, so it only has to be placed as the movie is; once, for
        a person may move the layers afterwards. True when that was done now.

        Raises
        ------
        CellTrainError
            When the image layer is no movie.
        """
        original = self._original()
        if self.points is None or not self.images or original is None or original.images:
            return False
        image = self.images[0]
        if note(self.points).get(LAID_ON) == image.unique_id:
            return False
        axes = axes_of(image)
        keep_in_note(self.points, LAID_ON, image.unique_id)
        for layer in (self.points, self.tracks):
            if layer is None or note(layer).get("experiment") is not original:
                continue
            for name in ("scale", "translate", "units"):
                place = list(getattr(layer, name))
                for column, axis in enumerate(columns_beside(image, layer)):
                    if axis in axes and axis in "zyx":
                        place[column] = getattr(image, name)[axes.index(axis)]
                if list(getattr(layer, name)) != place:
                    setattr(layer, name, tuple(place))
        return True

    def pair_with(self, image: Image) -> None:
        """Let the annotation belong to this image, whatever it is called."""
        layer = self.annotation
        if layer is not None:
            state(layer, PAIRED, image.unique_id)

    def _channel(self, chosen: int) -> int:
        """Return the channel that a person chose, else the one that the cells were marked in."""
        marked = self.points if self.points is not None else self.tracks
        if CHANNEL in note(self.images[0]) or marked is None:
            return chosen
        number = channel_marked(marked, self.images[0])
        return chosen if number is None else number

    def _original(self) -> Experiment | None:
        """Return what was opened, unless the annotation was given to another image since."""
        paired = self.annotation is not None and PAIRED in note(self.annotation)
        for layer in self.images if paired else (self.points, *self.images):
            if layer is not None and "experiment" in note(layer):
                return note(layer)["experiment"]  # type: ignore[no-any-return]
        return None


def open_experiments(layers: Iterable[Layer]) -> list[OpenExperiment]:
    """Group layers into experiments.

    An annotation belongs to the image that was chosen for it, else to the one it was opened with
    by this plugin, else to the likeliest one (see `belonging`).
    """
    from napari.layers import Image, Labels, Points, Tracks

    ours = [layer for layer in layers if note(layer).get("role") not in _NOT_ANNOTATIONS]
    images = movies_in([layer for layer in ours if isinstance(layer, Image)])
    tracks = [layer for layer in ours if isinstance(layer, Tracks)]
    of_key = {note(layer)["key"]: layer for layer in tracks if "key" in note(layer)}
    points = [layer for layer in ours if isinstance(layer, Points)]
    labels = [layer for layer in ours if isinstance(layer, Labels)]
    note_likely_axes([group[0] for group in images.values()], [*points, *tracks, *labels])
    used: set[str | None] = set()

    taken = {note(layer).get("key") for layer in ours if not isinstance(layer, Image)}
    free = {key: group for key, group in images.items() if key not in taken}

    def group(layer: Points | Tracks | Labels) -> tuple[str | None, list[Image]]:
        own = note(layer).get("key")
        key = _chosen(layer, images) or (own if own in images else None)
        if key is None:  # what was opened without its movie goes with one that has no annotation
            key = likeliest(layer, images if own is None else free)
        used.add(key)
        return own, images.get(key or "", [])

    found = []
    for layer in points:
        key, group_images = group(layer)
        found.append(OpenExperiment(group_images, layer, of_key.pop(key or "", None)))
    for line in [*(one for one in tracks if "key" not in note(one)), *of_key.values()]:
        found.append(OpenExperiment(group(line)[1], None, line))
    for painted in labels:
        found.append(OpenExperiment(group(painted)[1], labels=painted))
    found += [OpenExperiment(one) for key, one in images.items() if key not in used]
    return found


def _sorted(annotations: Annotations, t: int, kept: list[int]) -> NDArray[np.float64]:
    """Return some columns of the positions of a time point, in an order that is not theirs."""
    positions = annotations.positions[annotations.at(t)][:, kept]
    return positions[np.lexsort(positions.round(2).T)]


def _chosen(layer: Layer, images: dict[str, list[Image]]) -> str | None:
    """Return the key of the image that a person chose for an annotation, while it is there."""
    wanted = note(layer).get(PAIRED)
    if wanted is None:
        return None
    return next(
        (key for key, group in images.items() if wanted in [one.unique_id for one in group]), None
    )
