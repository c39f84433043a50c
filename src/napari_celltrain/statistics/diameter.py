"""How wide a cell is, measured in the image at the annotated places.

The spacing between cells misleads in sparse cultures, so the image is asked first: around each of
a sample of annotated cells the mean brightness at every distance is taken in the cell's plane, and
the scale is sought at which a blob filter answers most strongly. For a disc the scale-normalised
Laplacian of a Gaussian does so at sigma = radius / sqrt(2) (Lindeberg, Int. J. Comput. Vis. 30:79,
1998). At the centre that response depends on the radial profile alone, so all scales cost one small
matrix product. Dark cells answer with the other sign.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.statistics.spacing import nearest_distances

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment, FrameSource

MOST_FRAMES = 6
MOST_CELLS_IN_FRAME = 40
MOST_PIXELS = 24_000_000
"""So many pixels are read at most (one plane always): a second of decoding at worst."""
LARGEST_REACH_PX = 400
N_BINS = 60
WIDER_THAN_A_DISC = 1.1
"""Nuclei are longish and blurred: a disc of their area is so much wider than the filter says
(1.04 to 1.2 on six annotated sets of fluorescent nuclei)."""
DIAMETER_OF_SPACING = 0.75
"""What the diameter is of the distance to the nearest neighbour, in cultures of usual density."""


@dataclass(frozen=True)
class Diameter:
    """An estimate of the cell diameter in plane."""

    diameter: float
    unit: Literal["um", "px"]
    source: Literal["image", "spacing"]
    reason: str
    """A sentence: what it rests on."""


def estimate_diameter(experiment: Experiment) -> Diameter | None:
    """Estimate how wide the annotated cells are.

    The same data gives the same answer; at most some tens of millions of pixels are read.

    Parameters
    ----------
    experiment
        With annotations; without readable images the spacing decides.

    Returns
    -------
    Diameter or None
        In um where the voxel size is known, else in pixels. None when there is nothing to go by:
        neither an image with annotated cells nor two cells in one frame.
    """
    voxel = experiment.known_voxel_size_um
    unit: Literal["um", "px"] = "px" if voxel is None else "um"
    scale = np.asarray(voxel or (1.0, 1.0, 1.0))
    distances = nearest_distances(experiment)
    spacing = float(np.median(distances)) if len(distances) else None
    pixel = math.sqrt(scale[1] * scale[2])
    if experiment.images is not None:
        found = _from_images(experiment, scale, spacing)
        if found is not None:
            diameter, n_cells = found
            return Diameter(
                diameter,
                unit,
                "image",
                f"the width at which the image stands out most at {n_cells} annotated cells "
                f"({diameter / pixel:.0f} pixels)",
            )
    if spacing is None or not spacing > 0:
        return None
    why = "there is no image" if experiment.images is None else "the image shows no clear blobs"
    return Diameter(
        DIAMETER_OF_SPACING * spacing,
        unit,
        "spacing",
        f"{DIAMETER_OF_SPACING:.0%} of the spacing between neighbours, because {why}",
    )


def _from_images(
    experiment: Experiment, scale: NDArray[np.float64], spacing: float | None
) -> tuple[float, int] | None:
    """Return the diameter in the unit of `scale` and the number of cells it rests on."""
    assert experiment.images is not None
    pixel = math.sqrt(scale[1] * scale[2])
    widest = max(experiment.images.frame_shape[1:]) / 2
    most = max(8.0, min(LARGEST_REACH_PX, widest))
    reach = float(np.clip(2 * spacing / pixel if spacing else most / 4, 12, most))
    planes = list(_annotated_planes(experiment))
    while True:
        profiles = [
            profile
            for plane, centres in planes
            for y, x in centres
            if (profile := ring_profile(plane, y, x, reach, scale[1:] / pixel)) is not None
        ]
        if not profiles:
            return None
        radius, undecided = _strongest_radius(np.array(profiles), reach)
        # The answer must not be the end of what was looked at.
        if radius is not None and not undecided:
            return 2 * WIDER_THAN_A_DISC * radius * pixel, len(profiles)
        if reach >= most or not undecided:
            return None
        reach = min(2 * reach, most)


def _annotated_planes(
    experiment: Experiment,
) -> Iterator[tuple[NDArray[Any], NDArray[np.float64]]]:
    """Yield planes of the image with the (y, x) centres of annotated cells in them."""
    assert experiment.images is not None
    for t, z, centres in annotated_places(experiment):
        pixels = read_plane(experiment.images, t, experiment.channels[0], z)
        if pixels is not None:
            yield pixels, centres


def annotated_places(experiment: Experiment) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """Yield a time point, a plane and the (y, x) centres of the annotated cells in it.

    A few frames, the planes with most cells first, and no more than `MOST_PIXELS` in all.
    """
    images = experiment.images
    assert images is not None
    annotations = experiment.usable_annotations()
    in_image = annotations.is_cell & inside(annotations.positions, images.frame_shape)
    annotated = np.unique(annotations.t[in_image])
    times = annotated[np.isin(annotated, np.asarray(images.time_points))]
    chosen = (
        times[np.unique(np.linspace(0, len(times) - 1, MOST_FRAMES).round().astype(int))]
        if len(times)
        else times
    )
    depth, height, width = images.frame_shape
    pixels_left = MOST_PIXELS
    for t in chosen:
        here = annotations.positions[in_image & (annotations.t == t)]
        here = here[
            np.unique(np.linspace(0, len(here) - 1, MOST_CELLS_IN_FRAME).round().astype(int))
        ]
        z = np.clip(np.rint(here[:, 0]), 0, depth - 1).astype(int)
        counts = np.bincount(z, minlength=depth)
        for plane in np.argsort(-counts, kind="stable")[: np.count_nonzero(counts)]:
            if pixels_left < height * width and pixels_left < MOST_PIXELS:
                return
            pixels_left -= height * width
            yield int(t), int(plane), here[z == plane, 1:]


def read_plane(images: FrameSource, t: int, channel: int, z: int) -> NDArray[Any] | None:
    """Return a plane; None when it can't be read."""
    _, height, width = images.frame_shape
    try:
        plane = images.read_crop(t, channel, (slice(z, z + 1), slice(0, height), slice(0, width)))
    except CellTrainError:  # a damaged frame is a finding of its own
        return None
    pixels: NDArray[Any] = plane[0]
    return pixels


def inside(positions: NDArray[np.float64], shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Tell which positions lie in the image, the outer halves of its outermost pixels included."""
    return np.asarray(
        ((positions > -0.5) & (positions < np.asarray(shape) - 0.5)).all(axis=1), bool
    )


def ring_profile(
    plane: NDArray[Any], y: float, x: float, reach: float, aspect: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the mean brightness in `N_BINS` rings around a centre; None too near to the border."""
    reach_y, reach_x = reach / aspect[0], reach / aspect[1]
    y0, y1 = max(0, math.ceil(y - reach_y)), min(plane.shape[0], math.floor(y + reach_y) + 1)
    x0, x1 = max(0, math.ceil(x - reach_x)), min(plane.shape[1], math.floor(x + reach_x) + 1)
    if (y1 - y0) * (x1 - x0) < 0.5 * (2 * reach_y) * (2 * reach_x):
        return None
    stride = max(1, int(reach // 60))
    crop = plane[y0:y1:stride, x0:x1:stride].astype(np.float64)
    rows = (np.arange(y0, y1, stride) - y) * aspect[0]
    columns = (np.arange(x0, x1, stride) - x) * aspect[1]
    ring = np.hypot(rows[:, None], columns[None, :]) * (N_BINS / reach)
    ring_index = ring.astype(int).ravel()
    values = crop.ravel()
    use = (ring_index < N_BINS) & np.isfinite(values)
    number = np.bincount(ring_index[use], minlength=N_BINS)
    total = np.bincount(ring_index[use], weights=values[use], minlength=N_BINS)
    filled = np.flatnonzero(number)
    if len(filled) < 5:
        return None
    return np.interp(np.arange(N_BINS), filled, total[filled] / number[filled])


def _strongest_radius(profiles: NDArray[np.float64], reach: float) -> tuple[float | None, bool]:
    """Return the typical radius (None when the cells disagree), and whether to look further out."""
    r = (np.arange(N_BINS) + 0.5) * (reach / N_BINS)
    sigmas = np.geomspace(0.7, reach / 2, 48)
    u = r[None, :] ** 2 / (2 * sigmas[:, None] ** 2)
    weight = np.exp(-u) * r / sigmas[:, None] ** 2
    kernel = (1 - u) * weight
    # What the reach cuts off must not make a flat image answer.
    kernel -= weight * (kernel.sum(axis=1) / weight.sum(axis=1))[:, None]
    responses = profiles @ kernel.T
    # Cells count alike, however bright.
    strength = np.abs(responses).max(axis=1)
    answers = strength > 1e-6 * np.abs(profiles).max()  # more than rounding
    responses = responses[answers] / strength[answers, None]
    if not len(responses):
        return None, False
    mean = responses.mean(axis=0)
    sign = 1 if mean[np.argmax(np.abs(mean))] > 0 else -1
    best = np.argmax(sign * responses, axis=1)
    agree = (sign * responses).max(axis=1) > 0.7
    if agree.mean() < 0.7:
        return None, False
    radius = math.sqrt(2) * float(np.exp(np.median(np.log(sigmas[best[agree]]))))
    return radius, radius > 0.5 * reach
