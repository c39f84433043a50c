"""A cheap look at a few frames: whether they can be read, and show anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment

MOST_FRAMES = 4
SATURATED = 0.02
"""Share of pixels at the end of the range from which it is worth a word."""


def pixel_findings(experiment: Experiment) -> Iterator[Finding]:
    """Look at the middle plane of a few annotated frames (of any, when none is annotated)."""
    images = experiment.images
    if images is None:
        return
    for channel in experiment.channels:
        if channel >= images.n_channels:
            yield Finding(
                "error",
                "no-channel",
                f"Channel {channel + 1} is asked for, but the images have {images.n_channels}.",
            )
    if images.n_channels > len(set(experiment.channels)):
        yield _about_channels(experiment.channels, images.n_channels)
    if getattr(images, "is_colour", False):
        yield Finding(
            "info",
            "in-colour",
            "The images are in colour; how bright they are is looked at (30 % red, 59 % green, "
            "11 % blue). Where cells show in one colour only, save that as a grey image.",
        )
    channel = experiment.channels[0]
    annotations = experiment.usable_annotations()
    times = np.intersect1d(annotations.t, np.asarray(experiment.image_time_points(), np.int64))
    if not len(times):
        times = np.asarray(experiment.image_time_points(), np.int64)
    if channel >= images.n_channels or not len(times):
        return
    depth, height, width = images.frame_shape
    z = depth // 2
    for t in times[np.unique(np.linspace(0, len(times) - 1, MOST_FRAMES).round().astype(int))]:
        crop = (slice(z, z + 1), slice(0, height), slice(0, width))
        try:
            plane = images.read_crop(int(t), channel, crop)
        except CellTrainError as error:
            yield Finding("error", "damaged-frame", str(error), time_point=int(t))
            continue
        found = _about_plane(plane, int(t))
        if found is not None:
            yield found


def _about_channels(channels: Sequence[int], n_channels: int) -> Finding:
    used = ", ".join(str(channel + 1) for channel in channels)
    which = f"channel {used} is" if len(channels) == 1 else f"channels {used} are"
    return Finding(
        "info",
        "channels-left-out",
        f"The images have {n_channels} channels; only {which} looked at.",
    )


def _about_plane(plane: NDArray[Any], t: int) -> Finding | None:
    if plane.dtype.kind == "f":
        finite = np.isfinite(plane)
        if not finite.all():
            return Finding(
                "warning",
                "not-finite-pixels",
                f"{1 - finite.mean():.2%} of the pixels looked at in time point {t} are no finite "
                "numbers; they are taken for background.",
                time_point=t,
            )
    low, high = plane.min(), plane.max()
    if low == high:
        return Finding(
            "warning",
            "constant-frame",
            f"The middle plane of time point {t} is empty: every pixel is {low}.",
            time_point=t,
        )
    if plane.dtype.kind in "iu":
        share = float((plane == np.iinfo(plane.dtype).max).mean())
        if share > SATURATED:
            return Finding(
                "info",
                "saturated",
                f"{share:.0%} of the pixels looked at in time point {t} are saturated, so cells "
                "that touch there can't be told apart.",
                time_point=t,
            )
    return None
