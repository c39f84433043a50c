"""What a person may say about a tracking file when it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from napari_celltrain.experiment import ZYX, FrameSource


@dataclass(frozen=True)
class ReadOptions:
    """The keywords that every reader takes; a reader ignores what means nothing for its format.

    Parameters
    ----------
    images
        The movie that belongs to the positions, or where it is; wins over what the file says.
    images_pattern
        File name pattern of the movie, such as ``t{time:03}.tif``.
    voxel_size_um
        (z, y, x); wins over what the file says.
    find_images
        Look for the movie where the file says it is; False never opens an image.
    hidden_spots
        Also take spots that were filtered out in TrackMate.
    only_kept_tracks
        Leave out the spots of tracks that TrackMate's track filters rejected; spots without a track
        stay.
    leave_out_endings
        Make positions marked as dead or shed neither cell nor background.
    link_labels
        In label images without a track file: the same label is the same cell.
    columns
        For tables: which column is which, e.g. ``{"x": "Centroid X"}``.
    half_voxel_shift
        In Imaris files: the first voxel's corner, not its centre, is the origin.
    first_plane
        In AceTree files: the number of the first plane.
    """

    images: FrameSource | str | Path | None = None
    images_pattern: str | None = None
    voxel_size_um: ZYX | None = None
    find_images: bool = True
    hidden_spots: bool = False
    only_kept_tracks: bool = False
    leave_out_endings: bool = False
    link_labels: bool = False
    columns: dict[str, str] | None = None
    half_voxel_shift: bool = True
    first_plane: int = 1
