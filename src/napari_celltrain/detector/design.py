"""What a detector looks like, and how that follows from the cells it is for."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

CELL_WIDTH = 10.0
"""Working pixels across a cell in plane: enough to find it, and no more."""
SPACING_WIDTH = 6.0
"""Working pixels, at least, between close neighbours."""
LEVELS = 3
WIDEST_CELL = 2000
"""Pixels: wider ones are a voxel size in the wrong unit."""

# A detector may come from a stranger: what is far from any cell must not reach the memory.
Length = Annotated[float, Field(gt=1e-6, lt=1e6)]
Stride = Annotated[int, Field(ge=1, le=2)]
Kernel = Literal[1, 3]


Unit = Literal["um", "px"]


def relative_voxel_size(
    voxel_size: tuple[float, float, float], unit: Unit, diameter: float, cell_diameter: float
) -> tuple[float, float, float]:
    """Return the voxel size of an image as if its cells were as wide as others.

    In pixels only the plane is scaled: nothing is known of how far planes are apart.

    Parameters
    ----------
    voxel_size
        (z, y, x) of the image.
    unit
        Of all lengths.
    diameter
        How wide cells are to be.
    cell_diameter
        How wide they are.
    """
    factor = diameter / cell_diameter
    z, y, x = voxel_size
    return (z if unit == "px" else z * factor, y * factor, x * factor)


class Design(BaseModel):
    """Everything needed to build the network and to bring images to it.

    Lengths are in `unit`, which is ``um``, or ``px`` where the voxel size was unknown (the voxel
    size of every image is 1 then). Where the cells of the experiments were not alike, they hold for
    images that are scaled so that their cells are `diameter` wide (`relative`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    unit: Unit
    diameter: Length
    spacing: Length
    """Distance between close neighbours (10 % of the cells have a nearer one)."""
    working_voxel_size: tuple[Length, Length, Length]
    """(z, y, x); a z of 0 planes does not exist: 2D has one plane."""
    flat: bool
    """True when every training image had one plane."""
    width: PositiveInt = Field(le=256)
    strides: tuple[tuple[Stride, Stride, Stride], ...] = Field(min_length=1, max_length=6)
    """(z, y, x) strides of the stem and of each deeper level."""
    kernels: tuple[tuple[Kernel, Kernel, Kernel], ...] = Field(min_length=1, max_length=6)
    """(z, y, x) kernel of each level."""
    time_window: tuple[Annotated[int, Field(ge=-5, le=0)], Annotated[int, Field(ge=0, le=5)]] = (
        0,
        0,
    )
    n_channels: PositiveInt = Field(1, le=64)
    sizes: tuple[Length, Length] | None = None
    """Smallest and largest cell diameter of the experiments, where they were not alike: the
    detector knows cells by their looks and not by their size, and has to be told the size."""

    @model_validator(mode="before")
    @classmethod
    def _read_old(cls, values: Any) -> Any:
        """Leave out what earlier versions wrote and nobody used."""
        if isinstance(values, dict) and "diameters" in values:
            if values["diameters"] is not None:
                raise ValueError(
                    "it is of a trial version that took cells of unlike size in another way; "
                    "train it again"
                )
            return {key: value for key, value in values.items() if key != "diameters"}
        return values

    @model_validator(mode="after")
    def _can_be_built(self) -> Self:
        if len(self.kernels) != len(self.strides):
            raise ValueError("there must be as many kernels as strides")
        finest = min(self.working_voxel_size[1 if self.flat else 0 :])
        if self.diameter > WIDEST_CELL * finest:
            raise ValueError(
                f"cells {self.diameter:.3g} {self.unit} wide can't be looked for with a working "
                f"voxel size of {finest:.3g} {self.unit}"
            )
        return self

    @property
    def n_inputs(self) -> int:
        """Network input channels: time points of the window times image channels."""
        return (self.time_window[1] - self.time_window[0] + 1) * self.n_channels

    @property
    def grid_voxel_size(self) -> tuple[float, float, float]:
        """(z, y, x) size of a voxel of the output grid."""
        z, y, x = (v * s for v, s in zip(self.working_voxel_size, self.strides[0], strict=True))
        return (z, y, x)

    @property
    def total_stride(self) -> tuple[int, int, int]:
        """(z, y, x) working voxels per voxel of the deepest level."""
        z, y, x = (math.prod(axis) for axis in zip(*self.strides, strict=True))
        return (z, y, x)

    def multiples(self, planes: int) -> tuple[int, int, int]:
        """(z, y, x) working voxels that a piece of an image of so many planes is a multiple of.

        A single plane stays one at every level: nothing has to be added to it.
        """
        z, y, x = self.total_stride
        return (1 if planes == 1 else z, y, x)

    @property
    def sigma(self) -> tuple[float, float, float]:
        """(z, y, x) widths of the Gaussian around a centre in the target.

        A sixth of the diameter, less where neighbours are close, and never so narrow that it
        falls between the voxels of the grid.
        """
        wanted = min(self.diameter / 6, self.spacing / 4)
        z, y, x = (max(wanted, 0.75 * g) for g in self.grid_voxel_size)
        return (z, y, x)

    @property
    def suppression_radius(self) -> float:
        """Two detections closer than this are one."""
        return min(0.35 * self.diameter, 0.6 * self.spacing)

    @property
    def size_range(self) -> tuple[float, float]:
        """Smallest and largest diameter of the cells that it was made from."""
        return self.sizes or (self.diameter, self.diameter)

    @property
    def tolerance(self) -> float:
        """How far a detection may lie from a cell's centre: half the diameter."""
        return 0.5 * self.diameter

    def relative(
        self, voxel_size: tuple[float, float, float], cell_diameter: float | None = None
    ) -> tuple[float, float, float]:
        """Return the voxel size of an image as if its cells were `diameter` wide.

        Parameters
        ----------
        voxel_size
            (z, y, x) of the image, in `unit`.
        cell_diameter
            How wide its cells are, in `unit`; None: as wide as `diameter`.
        """
        if cell_diameter is None:
            return voxel_size
        return relative_voxel_size(voxel_size, self.unit, self.diameter, cell_diameter)

    def steps(
        self, voxel_size: tuple[float, float, float], planes: int
    ) -> tuple[float, float, float]:
        """Image voxels per working voxel, (z, y, x), for an image of this voxel size and depth.

        Rounded to 1 where it is within 2 %, so that such images are taken as they are; a flat
        detector takes planes as they are, and a single plane stays one.
        """
        ratios = [w / v for w, v in zip(self.working_voxel_size, voxel_size, strict=True)]
        if self.flat or planes == 1:
            ratios[0] = 1.0
        z, y, x = (1.0 if abs(ratio - 1) < 0.02 else ratio for ratio in ratios)
        return (z, y, x)


def choose_design(
    *,
    diameter: float,
    spacing: float,
    voxel_size: tuple[float, float, float],
    planes: int,
    unit: Unit,
    width: int,
    time_window: tuple[int, int] = (0, 0),
    n_channels: int = 1,
    working_scale: float | None = None,
    sizes: tuple[float, float] | None = None,
) -> Design:
    """Choose working voxel size, strides and kernels for cells of a given width.

    Parameters
    ----------
    diameter, spacing
        Of the cells, in `unit`.
    voxel_size
        (z, y, x) of the finest images.
    planes
        Of the deepest images; 1 is 2D.
    unit
        ``um``, or ``px`` where nobody knows the voxel size.
    width
        Feature maps of the first level.
    time_window, n_channels
        What the network sees besides the plain frame.
    working_scale
        Overrides the choice: working pixels per finest pixel in plane.
    sizes
        Smallest and largest cell diameter, where they are not alike; all else holds for images
        that are scaled so that their cells are `diameter` wide.
    """
    finest = min(voxel_size[1:])
    if working_scale is not None:
        in_plane = finest / working_scale
    else:
        in_plane = min(diameter / CELL_WIDTH, spacing / SPACING_WIDTH)
        # magnifying adds no information, but the grid must separate tiny cells
        in_plane = max(in_plane, finest / 2 if diameter < 6 * finest else finest)
        if in_plane < 1.15 * finest:
            in_plane = max(in_plane, finest) if in_plane > 0.9 * finest else in_plane
    flat = planes == 1
    z = voxel_size[0] if flat else max(voxel_size[0], in_plane)
    working = (z, in_plane, in_plane)
    depth = 1 if flat else max(1, round(planes * voxel_size[0] / z))
    strides, kernels = _pyramid(working, depth)
    return Design(
        unit=unit,
        diameter=diameter,
        spacing=spacing,
        working_voxel_size=working,
        flat=flat,
        width=width,
        strides=strides,
        kernels=kernels,
        time_window=time_window,
        n_channels=n_channels,
        sizes=sizes,
    )


def _pyramid(
    working: tuple[float, float, float], depth: int
) -> tuple[tuple[tuple[int, int, int], ...], tuple[tuple[int, int, int], ...]]:
    """Strides and kernels: an axis takes part once its voxels are comparable with the finest."""
    size = np.array(working)
    strides, kernels = [], []
    for _ in range(LEVELS):
        deep = depth > 1
        pool_z = deep and size[0] <= 1.5 * size[2] and depth >= 6
        stride = (2 if pool_z else 1, 2, 2)
        size = size * stride
        depth = -(-depth // stride[0])
        strides.append(stride)
        kernels.append((3 if depth > 1 and size[0] <= 2.5 * size[2] else 1, 3, 3))
    return tuple(strides), tuple(kernels)
