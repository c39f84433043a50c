"""``celltrain predict``: the cells in a movie, as a file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.cli.arguments import (
    add_device,
    add_json,
    channels,
    share,
    tile,
    time_points,
    voxel_size,
)
from napari_celltrain.cli.output import Progress, print_json, say
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from napari_celltrain.detector.detector import Detections, Detector
    from napari_celltrain.experiment import ZYX, FrameSource

SUMMARY = "Find the cells in a movie."
EXAMPLES = """\
examples:
  celltrain predict run movie.tif --out cells.csv
  celltrain predict run "images/t{time:03}.tif" --out cells.aut --time-points 0:20
  celltrain predict run list.autlist --out cells          one .aut each, and a list of them

The table has the columns t,z,y,x,score: pixels of the image as stored, 0 = centre of the first
pixel; t is the image's own number of the time point.
"""
LISTS = (".toml", ".autlist")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("detector", type=Path, metavar="DETECTOR", help="a run or detector folder")
    parser.add_argument(
        "images",
        metavar="IMAGES",
        help="a TIFF or other image file, a folder, a pattern such as img_t{time:03}.tif, "
        "or a dataset.toml or .autlist",
    )
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE",
        help=".csv, .aut or another tracking format; for a list of experiments a folder",
    )
    parser.add_argument(
        "--time-points", type=time_points, metavar="A:B", help="from A to B, both included"
    )
    parser.add_argument(
        "--channel",
        type=channels,
        metavar="N",
        help="which channel, counted from 1 (several: 1,2); default: as in training",
    )
    parser.add_argument(
        "--voxel-size",
        type=voxel_size,
        metavar="Z,Y,X",
        help="in um; overrides what the file says",
    )
    parser.add_argument(
        "--threshold", type=share, metavar="T", help="lowest score; default: the detector's own"
    )
    parser.add_argument(
        "--tile", type=tile, metavar="Z,Y,X", help="image pixels to compute at once"
    )
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict."""
    began = time.monotonic()
    jobs = _jobs(arguments)

    from napari_celltrain.detector.detector import Detector

    detector = Detector.from_folder(
        arguments.detector, device=arguments.device, threads=arguments.threads
    )
    say(f"Computing on {detector.device} ({detector.device_reason}).")
    threshold = detector.threshold if arguments.threshold is None else arguments.threshold
    n_frames = n_detections = 0
    results = []
    for experiment in jobs:
        result = _found_in(experiment, detector, threshold, arguments)
        n_frames += len(_times(experiment, arguments.time_points))
        n_detections += len(result.annotations)
        results.append(result)
    if _is_list(arguments.images):
        from napari_celltrain.formats.autlist_writing import write_autlist

        write_autlist(arguments.out / f"{arguments.out.name}.autlist", results)
    else:
        write_cells(arguments.out, results[0])
    seconds = time.monotonic() - began
    if arguments.json:
        print_json({"time_points": n_frames, "detections": n_detections, "seconds": seconds})
    else:
        print(f"{arguments.out}: {n_detections} cells in {n_frames} time points.")
    return 0


def _is_list(images: str) -> bool:
    path = Path(images)
    return path.suffix.lower() in LISTS


def _jobs(arguments: argparse.Namespace) -> list[Experiment]:
    """Return what to predict in, before anything slow is loaded."""
    out: Path = arguments.out
    if _is_list(arguments.images):
        from napari_celltrain.dataset import load_dataset

        if out.exists() and not out.is_dir():
            raise CellTrainError(f"{out} is a file; for a list of experiments name a folder.")
        return [
            one.with_(annotations=Annotations())
            for one in load_dataset(arguments.images).experiments
        ]
    if out.is_dir():
        raise CellTrainError(f"{out} is a folder; name a file, such as {out / 'cells.csv'}.")
    _check_suffix(out)
    from napari_celltrain.images import open_images

    source = open_images(arguments.images)
    return [Experiment(source.name, images=source, channels=())]


def _check_suffix(out: Path) -> None:
    from napari_celltrain.formats.registry import formats, is_writable

    suffixes = {".csv", *(s for one in formats() if is_writable(one) for s in one.suffixes if s)}
    if out.suffix.lower() not in suffixes:
        raise CellTrainError(
            f"{out.name}: nothing is written with the suffix '{out.suffix}'; use one of "
            f"{', '.join(sorted(suffixes))}."
        )


def _times(experiment: Experiment, wanted: tuple[int, int] | None) -> list[int]:
    times = experiment.image_time_points()
    if wanted is not None:
        times = [t for t in times if wanted[0] <= t <= wanted[1]]
    if not times:
        source = experiment.images
        has = list(source.time_points) if source is not None else []
        reach = f"it has {has[0]} to {has[-1]}" if has else "it has none"
        raise CellTrainError(f"{experiment.name} has none of these time points; {reach}.")
    return times


def _found_in(
    experiment: Experiment, detector: Detector, threshold: float, arguments: argparse.Namespace
) -> Experiment:
    source = experiment.images
    assert source is not None  # a data set is loaded with its images
    size: ZYX | None = arguments.voxel_size or experiment.known_voxel_size_um
    which = arguments.channel or experiment.channels or detector.info.channels
    times = _times(experiment, arguments.time_points)
    t: list[int] = []
    positions, scores = [np.empty((0, 3))], [np.empty(0)]
    with Progress(f"Predicting {experiment.name}", len(times)) as progress:
        for time_point, found in _frames(detector, source, times, which, size, arguments.tile):
            kept = found.above(threshold)
            t += [time_point] * len(kept)
            positions.append(kept.positions)
            scores.append(kept.scores)
            progress.advance(f"{len(kept)} cells at {time_point}")
    annotations = Annotations(
        np.array(t, np.int64),
        np.concatenate(positions),
        features={"score": np.concatenate(scores)},
    )
    return experiment.with_(
        annotations=annotations,
        voxel_size_um=size,
        channels=tuple(which),
        findings=(),
    )


def _frames(
    detector: Detector,
    source: FrameSource,
    times: Sequence[int],
    which: Sequence[int],
    size: ZYX | None,
    tile_: tuple[int, int, int] | None,
) -> Iterator[tuple[int, Detections]]:
    from napari_celltrain.prediction.frames import read_inputs

    for t in times:
        inputs = read_inputs(detector.design, source, t, which)
        yield t, detector.detect(inputs, size, floor=0.05, tile=tile_)


def write_cells(path: Path, experiment: Experiment) -> None:
    """Write detections by the suffix of the path; ``.csv`` has the columns t,z,y,x,score."""
    if path.suffix.lower() != ".csv":
        from napari_celltrain.formats.registry import write_experiment

        write_experiment(path, experiment)
        return
    from napari_celltrain.files import write_text

    cells = experiment.annotations
    lines = ["t,z,y,x,score"]
    for t, (z, y, x), score in zip(cells.t, cells.positions, cells.features["score"], strict=True):
        lines.append(f"{t},{z:.4f},{y:.4f},{x:.4f},{score:.5f}")
    write_text(path, "\n".join(lines) + "\n")
