"""Writing TrackMate's XML."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np

from napari_celltrain.files import replacing
from napari_celltrain.formats.written import (
    cells_of,
    drawn_radius_px,
    frame_interval_s,
    location_of,
)

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Annotations, Experiment

_VERSION = "7.14.0"
_SPOT_FEATURES = (
    ("QUALITY", "QUALITY", "false"),
    ("POSITION_X", "POSITION", "false"),
    ("POSITION_Y", "POSITION", "false"),
    ("POSITION_Z", "POSITION", "false"),
    ("POSITION_T", "TIME", "false"),
    ("FRAME", "NONE", "true"),
    ("RADIUS", "LENGTH", "false"),
    ("VISIBILITY", "NONE", "true"),
)
_EDGE_FEATURES = (
    ("SPOT_SOURCE_ID", "NONE", "true"),
    ("SPOT_TARGET_ID", "NONE", "true"),
    ("LINK_COST", "COST", "false"),
)
_TRACK_FEATURES = (
    ("TRACK_INDEX", "NONE", "true"),
    ("TRACK_ID", "NONE", "true"),
    ("NUMBER_SPOTS", "NONE", "true"),
)


def write_trackmate(path: Path, experiment: Experiment) -> None:
    """Write cells as spots, links as edges; positions in micrometres where the size is known.

    Raises
    ------
    CellTrainError
        When the place can't be written.
    """
    annotations = cells_of(experiment)
    voxel = experiment.known_voxel_size_um or (1.0, 1.0, 1.0)
    unit = "pixel" if experiment.known_voxel_size_um is None else "µm"
    interval = frame_interval_s(experiment)
    with replacing(path) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as out:
        out.write(f'<?xml version="1.0" encoding="UTF-8"?>\n<TrackMate version="{_VERSION}">\n')
        out.write(f' <Model spatialunits="{unit}" timeunits="{"sec" if interval else "frame"}">\n')
        _write_declarations(out)
        _write_spots(out, experiment, annotations, voxel, interval or 1.0)
        _write_tracks(out, annotations)
        out.write(" </Model>\n")
        _write_image(out, experiment, voxel, interval or 1.0)
        out.write("</TrackMate>\n")


def _write_declarations(out: TextIO) -> None:
    out.write("  <FeatureDeclarations>\n")
    for group, features in (
        ("SpotFeatures", _SPOT_FEATURES),
        ("EdgeFeatures", _EDGE_FEATURES),
        ("TrackFeatures", _TRACK_FEATURES),
    ):
        out.write(f"   <{group}>\n")
        for name, dimension, whole in features:
            out.write(
                f'    <Feature feature="{name}" name="{name.capitalize()}" '
                f'shortname="{name.capitalize()}" dimension="{dimension}" isint="{whole}" />\n'
            )
        out.write(f"   </{group}>\n")
    out.write("  </FeatureDeclarations>\n")


def _write_spots(
    out: TextIO,
    experiment: Experiment,
    annotations: Annotations,
    voxel: tuple[float, float, float],
    interval: float,
) -> None:
    n = len(annotations)
    places = annotations.positions * np.array(voxel)
    radius = drawn_radius_px(experiment, annotations) * voxel[2]
    score = annotations.features.get("score")
    quality = np.full(n, -1.0)  # TrackMate's own value for spots made by hand
    if score is not None and score.dtype.kind in "iufb":
        quality = np.where(np.isfinite(score.astype(float)), score, -1.0)
    labels = annotations.features.get("label")
    out.write(f'  <AllSpots nspots="{n}">\n')
    for t in annotations.time_points().tolist():
        out.write(f'   <SpotsInFrame frame="{t}">\n')
        for spot in annotations.at(t).tolist():
            z, y, x = places[spot].tolist()
            name = f"ID{spot}" if labels is None or not labels[spot] else str(labels[spot])
            out.write(
                f'    <Spot ID="{spot}" name={_quoted(name)} QUALITY="{float(quality[spot])!r}" '
                f'POSITION_T="{t * interval!r}" FRAME="{t}" RADIUS="{float(radius[spot])!r}" '
                f'VISIBILITY="1" POSITION_X="{x!r}" POSITION_Y="{y!r}" POSITION_Z="{z!r}" />\n'
            )
        out.write("   </SpotsInFrame>\n")
    out.write("  </AllSpots>\n")


def _write_tracks(out: TextIO, annotations: Annotations) -> None:
    links = annotations.links
    track_of = _lineages(links, len(annotations))
    costs = annotations.link_features.get("link_cost")
    out.write("  <AllTracks>\n")
    numbers = np.unique(track_of[links[:, 0]]) if len(links) else np.empty(0, np.int64)
    of_link = track_of[links[:, 0]] if len(links) else np.empty(0, np.int64)
    order = np.argsort(of_link, kind="stable")
    starts = np.searchsorted(of_link[order], numbers)
    sizes = np.bincount(track_of, minlength=1)
    for index, (number, start, stop) in enumerate(
        zip(numbers.tolist(), starts, [*starts[1:], len(order)][: len(starts)], strict=True)
    ):
        out.write(
            f'   <Track name="Track_{index}" TRACK_ID="{index}" TRACK_INDEX="{index}" '
            f'NUMBER_SPOTS="{sizes[number]}">\n'
        )
        for edge in order[start:stop].tolist():
            source, target = links[edge].tolist()
            cost = -1.0 if costs is None else float(costs[edge])
            out.write(
                f'    <Edge SPOT_SOURCE_ID="{source}" SPOT_TARGET_ID="{target}" '
                f'LINK_COST="{cost!r}" />\n'
            )
        out.write("   </Track>\n")
    out.write("  </AllTracks>\n  <FilteredTracks>\n")
    out.writelines(f'   <TrackID TRACK_ID="{index}" />\n' for index in range(len(numbers)))
    out.write("  </FilteredTracks>\n")


def _write_image(
    out: TextIO, experiment: Experiment, voxel: tuple[float, float, float], interval: float
) -> None:
    images = experiment.images
    place = location_of(images)
    filename = place.name if place is not None and place.is_file() else ""
    folder = f"{place.parent}/" if filename and place is not None else ""
    if images is None:
        highest = np.ceil(experiment.annotations.positions.max(axis=0, initial=0)).astype(int) + 1
        depth, height, width = highest.tolist()
        n_frames = int(experiment.annotations.t.max(initial=0)) + 1
    else:
        depth, height, width = images.frame_shape
        n_frames = len(images.time_points)
    out.write(
        f" <Settings>\n  <ImageData filename={_quoted(filename)} folder={_quoted(folder)} "
        f'width="{width}" height="{height}" nslices="{depth}" nframes="{n_frames}" '
        f'pixelwidth="{voxel[2]!r}" pixelheight="{voxel[1]!r}" voxeldepth="{voxel[0]!r}" '
        f'timeinterval="{interval!r}" />\n'
        f'  <BasicSettings xstart="0" xend="{width - 1}" ystart="0" yend="{height - 1}" '
        f'zstart="0" zend="{depth - 1}" tstart="0" tend="{n_frames - 1}" />\n </Settings>\n'
    )


def _lineages(links: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Return for each position the number of what it is linked with, directly or not."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not n:
        return np.empty(0, np.int64)
    graph = coo_array((np.ones(len(links)), (links[:, 0], links[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _quoted(text: str) -> str:
    """Return an attribute's value; characters that XML can't hold are left out."""
    kept = "".join(
        c
        for c in text
        if c in "\t\n\r" or " " <= c <= "\ud7ff" or "\ue000" <= c <= "�" or c >= "\U00010000"
    )
    return quoteattr(kept)
