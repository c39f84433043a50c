"""BigDataViewer's world coordinates: the affine maps of an image's XML, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.documents import sentences
from napari_celltrain.formats.xml_reading import floats_in, read_tree
from napari_celltrain.images.units import um_per_unit

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

    from napari_celltrain.experiment import ZYX


@dataclass(frozen=True, eq=False)
class World:
    """Where the voxels of the first view are in the world, for each time point.

    Parameters
    ----------
    affines
        4 x 4 matrices from (x, y, z, 1) pixels to the world, by time point.
    um
        Micrometres of a world unit; None when the file does not say.
    """

    affines: dict[int, NDArray[np.float64]]
    um: float | None

    def to_pixels(self, t: NDArray[np.int64], world: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (z, y, x) pixels of (x, y, z) world positions, shape (N, 3)."""
        pixels = np.empty_like(world)
        first = self.affines[min(self.affines)]
        for time_point in np.unique(t).tolist():
            at = t == time_point
            affine = self.affines.get(time_point, first)
            moved = world[at] - affine[:3, 3]
            pixels[at] = np.linalg.solve(affine[:3, :3], moved.T).T
        return pixels[:, ::-1]

    @property
    def voxel_size_um(self) -> ZYX | None:
        """(z, y, x) in um, from the first map."""
        if self.um is None:
            return None
        first = self.affines[min(self.affines)]
        x, y, z = (float(np.linalg.norm(first[:3, axis])) * self.um for axis in range(3))
        return (z, y, x) if all(1e-9 < size < 1e9 for size in (z, y, x)) else None


def read_world(path: Path) -> World:
    """Read the maps of the first view setup from BigDataViewer's XML.

    The affine is used, never ``voxelSize``: the two differ in files of some writers.

    Raises
    ------
    CellTrainError
        When the file has no usable map.
    """
    with sentences(path, "BigDataViewer XML"):
        with open(path, "rb") as handle:
            root = read_tree(handle)
        registrations = root.findall("./ViewRegistrations/ViewRegistration")
        if not registrations:
            raise CellTrainError(f"{path} has no ViewRegistrations.")
        setup = min(int(one.get("setup", "0")) for one in registrations)
        affines = {
            int(one.get("timepoint", "0")): _affine(one)
            for one in registrations
            if int(one.get("setup", "0")) == setup
        }
        for affine in affines.values():
            if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
                raise CellTrainError(f"{path} has a map that can't be inverted.")
        unit = root.findtext("./SequenceDescription/ViewSetups/ViewSetup/voxelSize/unit")
        return World(affines, um_per_unit(unit or ""))


def _affine(registration: Element) -> NDArray[np.float64]:
    """Multiply a view's transformations in the order in which they are listed."""
    total = np.eye(4)
    for transform in registration.findall("ViewTransform"):
        numbers = floats_in(transform.findtext("affine"))
        if len(numbers) != 12:
            raise CellTrainError("an affine map has not 12 numbers.")
        matrix = np.eye(4)
        matrix[:3] = np.array(numbers).reshape(3, 4)
        total = total @ matrix
    return total
