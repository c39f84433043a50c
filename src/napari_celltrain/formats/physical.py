"""From micrometres to pixels, and what to do when nobody knows the voxel size."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Finding

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX, FrameSource
    from napari_celltrain.formats.options import ReadOptions


def in_pixels(
    positions: NDArray[np.float64],
    unit: str,
    options: ReadOptions,
    images: FrameSource | None,
    findings: list[Finding],
    stated: ZYX | None = None,
) -> tuple[NDArray[np.float64], ZYX | None]:
    """Return positions in pixels, and the voxel size to go with them.

    Parameters
    ----------
    positions
        (z, y, x), shape (N, 3).
    unit
        ``px``, ``um``, or ``unknown`` (taken as pixels).
    options, images, stated
        Where a voxel size may come from: the person, the images, the file.
    findings
        Gets a sentence when the positions have to stay in micrometres.
    """
    voxel_size = options.voxel_size_um or stated
    if unit != "um":
        return positions, voxel_size
    # the file's own size made the micrometres from pixels, so it is what turns them back
    known = stated or voxel_size or (images.voxel_size_um if images is not None else None)
    if known is None:
        findings.append(
            Finding(
                "warning",
                "unknown-voxel-size",
                "The positions are in micrometres and nobody "
                "states the voxel size; they are taken as pixels. State the voxel size, or "
                "the images, to put them right.",
            )
        )
        return positions, None
    return positions / np.asarray(known, np.float64), voxel_size or known
