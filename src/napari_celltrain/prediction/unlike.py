"""Telling a person, in words, where an image is unlike what a detector learned from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.detector.intensity import HIGH, LOW
from napari_celltrain.detector.resample import LARGEST, sampled_planes, typical_value, without_value
from napari_celltrain.experiment import Annotations, Experiment, Finding
from napari_celltrain.images import ArraySource
from napari_celltrain.prediction.contrast import brightness_at
from napari_celltrain.statistics.diameter import estimate_diameter
from napari_celltrain.statistics.pixels import looks_wrapped, wrapped_finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.detections import Detections
    from napari_celltrain.detector.folder import DetectorInfo
    from napari_celltrain.detector.intensity import IntensityRange
    from napari_celltrain.experiment import ZYX, FrameSource

BRIGHTNESS_FACTOR = 10.0
"""Every frame is normalised by its own levels, so only a very different range is worth a word."""
VOXEL_FACTOR = 4.0
"""Images are brought to the detector's voxel size; beyond this factor too little is left."""
NO_FRACTIONS = 1e6
"""Beyond this a step of 1, the smallest of a camera, is lost."""
BRIGHT_GROUND = 0.8
"""Half of the pixels are brighter: in images of bright cells it is 0.3 at most, even where cells
touch; in the same inverted 0.65 to 1."""
AS_BRIGHT = 0.1
SIZE_FACTOR = 1.5
CELLS_TO_MEASURE = 10


def unlike_before(info: DetectorInfo, source: FrameSource, voxel_size: ZYX) -> list[Finding]:
    """What can be said before a pixel is read: voxel size and number of planes.

    Parameters
    ----------
    info
        Of the detector.
    source
        The movie.
    voxel_size
        (z, y, x) of the movie in the detector's unit.
    """
    found = []

    def warn(code: str, message: str) -> None:
        found.append(Finding("warning", code, message, source.name))

    design, planes = info.design, source.frame_shape[0]
    if design.flat and planes > 1:
        warn(
            "unlike-planes",
            f"The detector learned from single planes, and this movie has {planes}: every plane "
            "is looked at by itself, and a cell seen in several planes may be found several times.",
        )
    if not design.flat and planes == 1:
        warn(
            "unlike-planes",
            "The detector learned from stacks, and this movie has a single plane: what it knows "
            "of the planes above and below is of no use here.",
        )
    if design.unit == "um":
        seen = [size.voxel_size_um for size in info.trained_on if size.voxel_size_um is not None]
        finest = min((size[2] for size in seen), default=design.working_voxel_size[2])
        coarsest = max((size[2] for size in seen), default=design.working_voxel_size[2])
        widths = " to ".join(dict.fromkeys((f"{finest:.3g}", f"{coarsest:.3g}")))
        x = voxel_size[2]
        if x > VOXEL_FACTOR * coarsest or x < finest / VOXEL_FACTOR:
            warn(
                "unlike-voxel-size",
                f"A pixel of this movie is {x:.3g} um wide, far from the {widths} um of the "
                "training images. Is the voxel size right? If not, give the right one.",
            )
        elif x > design.diameter / 3:
            warn(
                "unlike-voxel-size",
                f"A cell of {design.diameter:.3g} um would be less than three pixels wide in this "
                f"movie ({x:.3g} um a pixel). Is the voxel size right?",
            )
    else:
        stated = source.voxel_size_um
        if stated is not None:
            found.append(
                Finding(
                    "info",
                    "voxel-size-unused",
                    "The detector was trained without a voxel size, so that of this movie is not "
                    "used: how many pixels wide its cells are is measured.",
                    source.name,
                )
            )
    return found


def unlike_intensity(
    info: DetectorInfo,
    name: str,
    t: int,
    frames: Sequence[NDArray[Any]],
    levels: Sequence[IntensityRange],
) -> list[Finding]:
    """What the levels of its channels say: no contrast at all, or a very different brightness.

    Parameters
    ----------
    info
        Of the detector.
    name, t, frames
        As in `unlike_pixels`.
    levels
        Of each of the frames.
    """
    for frame, level in zip(frames, levels, strict=True):
        if level.constant:
            why = _why_constant(frame, level)
            message = f"Time point {t} has no contrast: {why}."
            return [Finding("warning", "no-contrast", message, name, t)]
    if info.intensity is None or len(levels) != 1:
        return []
    dark, bright = info.intensity
    ratio = (levels[0].high - levels[0].low) / max(bright - dark, 1e-12)
    if 1 / BRIGHTNESS_FACTOR <= ratio <= BRIGHTNESS_FACTOR:
        return []
    amount, word = (ratio, "stronger") if ratio > 1 else (1 / ratio, "weaker")
    return [
        Finding(
            "warning",
            "unlike-intensity",
            f"The contrast at time point {t} ({levels[0].low:.4g} to {levels[0].high:.4g}) is "
            f"{amount:.0f} times {word} than in the training images ({dark:.4g} to {bright:.4g}). "
            "Look at a few time points before trusting the result.",
            name,
            t,
        )
    ]


def _why_constant(frame: NDArray[Any], level: IntensityRange) -> str:
    """Say what it is about the pixels of a frame that they are all the same to a detector."""
    pixels = np.asarray(frame[sampled_planes(len(frame))]).ravel()
    missing = without_value(pixels[None])
    if missing is not None and missing.mean() > HIGH / 100:
        return f"nearly all its pixels are no finite numbers, or larger than {LARGEST:.0e}"
    if missing is None:
        low, high = np.quantile(pixels.astype(np.float64), (LOW / 100, HIGH / 100))
        if high > low and abs(level.low) > NO_FRACTIONS:
            return (
                f"nearly all its pixels are {level.low:.4g} to within a millionth. Take a constant "
                "off the pixels of the movie, so that they begin near 0"
            )
    return f"nearly all its pixels are {level.low:.4g}"


def unlike_pixels(name: str, t: int, frames: Sequence[NDArray[Any]]) -> list[Finding]:
    """What pixels without a value say.

    Parameters
    ----------
    name, t, frames
        The movie's name, the time point and its (z, y, x) pixels, of each channel.
    """
    missing = 0.0
    for frame in frames:
        if frame.dtype.kind == "f":
            # of a frame that is too large for memory a few planes
            pixels = frame if isinstance(frame, np.ndarray) else frame[sampled_planes(len(frame))]
            without = without_value(pixels)
            missing = max(missing, 0.0 if without is None else float(without.mean()))
    if not missing:
        return []
    return [
        Finding(
            "warning",
            "not-finite-pixels",
            f"{max(missing, 0.0001):.2%} of the pixels of time point {t} are no finite numbers "
            f"(or larger than {LARGEST:.0e}); they are taken for background.",
            name,
            t,
        )
    ]


def unlike_sign(name: str, t: int, frames: Sequence[NDArray[Any]]) -> list[Finding]:
    """What it says that bright pixels are negative.

    Parameters
    ----------
    name, t, frames
        As in `unlike_pixels`.
    """
    for frame in frames:
        if frame.dtype.kind == "i" and looks_wrapped(frame[sampled_planes(len(frame))]):
            return [wrapped_finding(t, frame.dtype, name)]
    return []


def not_stored(name: str, t: int, share: float) -> list[Finding]:
    """What it says that only a share of a frame's pieces is stored.

    Parameters
    ----------
    name, t, share
        The movie's name, the time point and the share, 0 to 1.
    """
    if share >= 1:
        return []
    return [
        Finding(
            "warning",
            "not-stored",
            f"{1 - share:.0%} of the pieces that time point {t} of {name} is stored in are not "
            "there, and taken for empty: nothing is found in them. Was the movie copied to the "
            "end? Other time points may lack some too.",
            name,
            t,
        )
    ]


def unlike_size(
    info: DetectorInfo,
    name: str,
    t: int,
    frame: NDArray[Any],
    found: Detections,
    voxel_size: ZYX,
    cell_diameter: float | None = None,
) -> list[Finding] | None:
    """What the width of the cells found says; None when there are too few to measure.

    Parameters
    ----------
    info
        Of the detector.
    name, t, frame
        The movie's name, the time point and its (z, y, x) pixels.
    found
        Cells above the threshold.
    voxel_size
        (z, y, x) in the detector's unit.
    cell_diameter
        How wide the cells were taken to be; None: as those of the training.
    """
    if len(found) < CELLS_TO_MEASURE:
        return None
    experiment = Experiment(
        name,
        Annotations(np.zeros(len(found), np.int64), found.positions),
        ArraySource(frame, "zyx", name=name),
        voxel_size_um=voxel_size,
    )
    estimate = estimate_diameter(experiment)
    if estimate is None or estimate.source != "image":
        return []
    unit, expected = info.design.unit, cell_diameter or info.design.diameter
    if expected / SIZE_FACTOR <= estimate.diameter <= expected * SIZE_FACTOR:
        return []
    mend = " Is the voxel size right?" if unit == "um" else ""
    return [
        Finding(
            "warning",
            "unlike-size",
            f"The cells found at time point {t} look about {estimate.diameter:.3g} {unit} wide, "
            f"and cells {expected:.3g} {unit} wide were looked for.{mend} Look at a few time "
            "points before trusting the result.",
            name,
            t,
        )
    ]


def unlike_ground(
    info: DetectorInfo,
    name: str,
    t: int,
    frame: NDArray[Any],
    level: IntensityRange,
    found: Detections,
) -> list[Finding] | None:
    """What it says that the ground is bright; None when there are too few cells to tell.

    A detector of bright cells finds the bright spots between dark ones. Then most of the image is
    brighter than cells were in training, and what is found as bright as the rest. A detector that
    learnt dark cells finds what is darker than the rest.

    Parameters
    ----------
    info
        Of the detector.
    name, t, frame, level
        The movie's name, the time point, its (z, y, x) pixels and their levels.
    found
        Cells above the threshold.
    """
    if len(found) < CELLS_TO_MEASURE:
        return None
    usual = info.brightness
    if usual is None or level.constant:
        return []
    ground = (typical_value(frame) - level.low) / (level.high - level.low)
    cells = float(np.median(brightness_at(frame, found.positions, level)))
    if not (ground > BRIGHT_GROUND and ground - usual > AS_BRIGHT > ground - cells):
        return []
    return [
        Finding(
            "warning",
            "unlike-ground",
            f"Most of time point {t} is brighter than cells were in the training images, and what "
            "is found is no brighter than the rest of it. Are its cells dark on a bright ground, "
            "and those of the training bright? Then invert the movie.",
            name,
            t,
        )
    ]
