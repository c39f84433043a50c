"""The two scenes that can be simulated, in physical units."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from napari_celltrain.experiment import ZYX

Kind = Literal["organoid", "plane"]


@dataclass(frozen=True)
class Scene:
    """What is grown, and through which microscope it is seen.

    Parameters
    ----------
    shape, voxel_size_um
        (z, y, x) of a frame; one plane makes it two-dimensional.
    time_points, frame_interval_s
        Length and pace of the movie.
    n_cells
        Nuclei at the beginning.
    diameter_um
        Mean width of a nucleus.
    spacing
        Nuclei keep so many radii sums apart.
    cycle_frames
        Mean number of frames from birth to division.
    drift_um
        How far a nucleus wanders in a frame.
    on_shell
        Nuclei sit on a growing ellipsoid, as in an organoid, else anywhere.
    attenuation_um
        Depth at which a factor e of the light is lost.
    blur_um
        Standard deviations of the point spread function.
    photons
        Of the brightest voxels of a mean nucleus at the surface.
    background_photons, offset, read_noise, gain
        Of the medium, and of the camera (counts).
    """

    name: str
    shape: tuple[int, int, int]
    voxel_size_um: ZYX
    time_points: int
    n_cells: int
    frame_interval_s: float = 600.0
    diameter_um: float = 8.0
    spacing: float = 1.03
    cycle_frames: float = 20.0
    drift_um: float = 0.7
    on_shell: bool = True
    attenuation_um: float = 60.0
    blur_um: ZYX = (1.0, 0.3, 0.3)
    photons: float = 70.0
    background_photons: float = 3.0
    offset: float = 100.0
    read_noise: float = 2.5
    gain: float = 4.0

    @property
    def size_um(self) -> ZYX:
        """(z, y, x) from the centre of the first voxel to that of the last."""
        z, y, x = ((n - 1) * v for n, v in zip(self.shape, self.voxel_size_um, strict=True))
        return z, y, x

    @property
    def flat(self) -> bool:
        """One plane only."""
        return self.shape[0] == 1


SCENES: dict[str, Scene] = {
    "organoid": Scene(
        name="organoid",
        shape=(24, 192, 192),
        voxel_size_um=(2.0, 0.4, 0.4),
        time_points=18,
        n_cells=62,
    ),
    "plane": Scene(
        name="plane",
        shape=(1, 288, 320),
        voxel_size_um=(1.0, 0.5, 0.5),
        time_points=24,
        n_cells=72,
        diameter_um=10.0,
        cycle_frames=30.0,
        drift_um=1.2,
        on_shell=False,
        blur_um=(1.0, 0.5, 0.5),
        photons=50.0,
    ),
}


def scene(
    kind: str,
    *,
    time_points: int | None = None,
    size: tuple[int, int, int] | None = None,
    n_cells: int | None = None,
) -> Scene:
    """Return a scene, with another length, frame size (z, y, x) or number of cells.

    With another size the number of cells follows it, unless it is given too.

    Raises
    ------
    CellTrainError
        When there is no such scene, or no nucleus would fit into it.
    """
    if kind not in SCENES:
        raise CellTrainError(
            f"There is no sample '{kind}'; there are {' and '.join(sorted(SCENES))}."
        )
    chosen = SCENES[kind]
    if time_points is not None:
        if time_points < 1:
            raise CellTrainError("A movie has at least one time point.")
        chosen = replace(chosen, time_points=time_points)
    if size is not None:
        resized = replace(chosen, shape=size)
        needed = [0.0 if n == 1 else 2 * chosen.diameter_um for n in size]
        if any(have < need for have, need in zip(resized.size_um, needed, strict=True)):
            raise CellTrainError(f"A frame of {size} voxels is too small for nuclei.")
        share = (resized.size_um[1] * resized.size_um[2]) / (chosen.size_um[1] * chosen.size_um[2])
        chosen = replace(resized, n_cells=max(2, round(chosen.n_cells * share)))
    if n_cells is not None:
        chosen = replace(chosen, n_cells=n_cells)
    return chosen
