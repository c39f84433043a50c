"""A cheap look at a few frames: whether they can be read, and show anything."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment

FEW_FRAMES, MOST_FRAMES = 4, 24
MOST_PIXELS = 8_000_000
"""So many are looked at, at most (`FEW_FRAMES` planes always)."""
SATURATED = 0.02
"""Share of pixels at the end of the range from which it is worth a word."""
JUMP = 0.75
"""Of the range of a type: blurred images don't change so much from one pixel to the next."""
FEWEST_JUMPS, SHARE_OF_JUMPS = 20, 1e-5


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
    frames = int(np.clip(MOST_PIXELS // (height * width), FEW_FRAMES, MOST_FRAMES))
    chosen = times[np.unique(np.linspace(0, len(times) - 1, frames).round().astype(int))]
    found: dict[str, list[Finding]] = {}
    for t in chosen.tolist():
        crop = (slice(z, z + 1), slice(0, height), slice(0, width))
        try:
            one = _about_plane(images.read_crop(t, channel, crop), t)
        except CellTrainError as error:
            one = Finding("error", "damaged-frame", str(error), time_point=t)
        if one is not None:
            found.setdefault(one.code, []).append(one)
    for alike in found.values():
        yield _together(alike, len(chosen))


def _together(alike: Sequence[Finding], looked_at: int) -> Finding:
    """Return one finding for several time points of which the same is to be said."""
    first, others = alike[0], len(alike) - 1
    if not others:
        return first
    are = "time point is" if others == 1 else "time points are"
    more = f"{first.message} {others} more of the {looked_at} {are} like that."
    return replace(first, message=more)


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
    if looks_wrapped(plane):
        return wrapped_finding(t, plane.dtype)
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


def looks_wrapped(image: NDArray[Any]) -> bool:
    """Tell whether a signed image was an unsigned one, whose bright pixels became negative.

    Where brightness passes the middle of the unsigned range, the greatest number is next to the
    least. In an image that is signed by right, dark and bright have a rim between them, however
    dark the dark is. Single hot pixels don't count.

    Parameters
    ----------
    image
        (..., y, x).
    """
    if image.dtype.kind != "i" or image.dtype.itemsize > 2 or image.shape[-1] < 4:
        return False
    half = -float(np.iinfo(image.dtype).min)
    if image.min() > -half / 2 or image.max() < half / 2:
        return False
    values = image.astype(np.int32)
    before, here, there, beyond = (values[..., k : k - 3 or None] for k in range(4))
    jump = JUMP * 2 * half
    jumps = np.abs(there - here) > jump
    jumps &= (np.abs(there - before) > jump) & (np.abs(beyond - here) > jump)
    return int(np.count_nonzero(jumps)) >= max(FEWEST_JUMPS, SHARE_OF_JUMPS * values.size)


def wrapped_finding(t: int, dtype: np.dtype[Any], name: str = "") -> Finding:
    """Say that an image looks wrapped (`looks_wrapped`).

    Parameters
    ----------
    t, dtype, name
        The time point, the type of its pixels, and the movie's name.
    """
    most = np.iinfo(dtype).max
    return Finding(
        "warning",
        "wrapped-pixels",
        f"In time point {t} pixels of about {most} are next to others of about {-most - 1}: it "
        f"looks as if all that was brighter than {most} had become negative when unsigned pixels "
        f"(u{dtype.name}) were saved as signed ones ({dtype.name}). Bright cells are black then; "
        f"save the images as u{dtype.name}.",
        name,
        t,
    )
