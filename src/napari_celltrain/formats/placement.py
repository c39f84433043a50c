"""Whether the positions lie where the image is; and if not, which other reading would fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment

ENOUGH = 0.99
"""With this share of the positions inside the image nothing is said."""
_SHIFTS = {"counting time points from one less": -1, "counting time points from one more": 1}


def placement_findings(experiment: Experiment) -> list[Finding]:
    """Say so when the positions do not fit the image; nothing is changed.

    Other readings that are tried: positions divided by the voxel size, axes swapped, time points
    one off, and their pairs.
    """
    images, annotations = experiment.images, experiment.annotations
    if images is None or not len(annotations) or not len(images.time_points):
        return []
    frames = np.asarray(images.time_points, np.int64)
    shape = np.asarray(images.frame_shape, np.float64)
    t, positions = annotations.t, annotations.positions
    with_image = np.isin(t, frames)
    share = _share(t, positions, frames, shape)
    one_off = _one_frame_off(t, frames)
    if share >= ENOUGH and not one_off:
        return []
    if with_image.any() and (
        _share(t[with_image], positions[with_image], frames, shape) >= ENOUGH
        and set(np.unique(t)) > set(frames.tolist())
    ):
        # all that has an image fits: the movie is only shorter than the annotation
        without = int((~with_image).sum())
        return [
            Finding(
                "warning",
                "no-image",
                f"{without} positions are at time points without an image, the first at time "
                f"point {int(t[~with_image].min())}; they are not used.",
                time_point=int(t[~with_image].min()),
            )
        ]
    best, best_share = "", share
    for name, new_t, new_positions in _readings(experiment):
        other = _share(new_t, new_positions, frames, shape)
        # a whole movie one frame off: nearly all have an image, and each the wrong one
        if other > best_share + 0.1 or (name == one_off and other > max(best_share, ENOUGH)):
            best, best_share = name, other
    if share >= ENOUGH and not best:
        return []
    shown = f"{share:.0%}" if share < 0.995 else f"{int(share * 1000) / 10:g}%"
    sentence = f"Only {shown} of the positions lie in the image"
    if best:
        sentence += f"; {best} would bring it to {best_share:.0%}. Nothing was changed"
    return [Finding("warning", "placement", f"{sentence}.")]


def _one_frame_off(t: NDArray[np.int64], frames: NDArray[np.int64]) -> str:
    """Return the reading of time points by which they begin and end where the movie does."""
    for name, shift in _SHIFTS.items():
        if t.min() + shift == frames.min() and t.max() + shift == frames.max():
            return name
    return ""


def _share(
    t: NDArray[np.int64],
    positions: NDArray[np.float64],
    frames: NDArray[np.int64],
    shape: NDArray[np.float64],
) -> float:
    inside = (positions >= -0.5).all(axis=1) & (positions <= shape - 0.5).all(axis=1)
    return float((inside & np.isin(t, frames)).mean())


def _readings(
    experiment: Experiment,
) -> list[tuple[str, NDArray[np.int64], NDArray[np.float64]]]:
    """Return other ways to understand the numbers, the simplest first."""
    t, positions = experiment.annotations.t, experiment.annotations.positions
    spaces = [("", positions)]
    voxel = experiment.known_voxel_size_um
    if voxel is not None:
        spaces.append(("dividing them by the voxel size", positions / np.asarray(voxel)))
    for name, order in (("swapping x and y", [0, 2, 1]), ("reading z, y, x as x, y, z", [2, 1, 0])):
        spaces.append((name, positions[:, order]))
        if voxel is not None:
            spaces.append(
                (f"{name} and dividing by the voxel size", positions[:, order] / np.asarray(voxel))
            )
    times = [("", t), *((name, t + shift) for name, shift in _SHIFTS.items())]
    readings = [
        (" and ".join(part for part in (space_name, time_name) if part), new_t, new_positions)
        for time_name, new_t in times
        for space_name, new_positions in spaces
    ]
    return readings[1:]
