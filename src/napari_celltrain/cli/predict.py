"""``celltrain predict``: the cells in a movie, as a file."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.cli.arguments import (
    add_device,
    add_diameter,
    add_gamma,
    add_json,
    channels,
    positive_int,
    share,
    tile,
    time_points,
    voxel_size,
)
from napari_celltrain.cli.charts import counts_figure, drawing, save
from napari_celltrain.cli.output import Progress, print_json, say, tell
from napari_celltrain.cli.predict_places import check_out, check_outputs
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import write_text

if TYPE_CHECKING:
    from typing import Self

    from napari_celltrain.prediction.asked import Asked
    from napari_celltrain.prediction.movie import Summary
    from napari_celltrain.prediction.predict import FrameResult, Runner

SUMMARY = "Find the cells in a movie."
EXAMPLES = """\
examples:
  celltrain predict run movie.tif --out cells.csv
  celltrain predict run "images/t{time:03}.tif" --out cells.aut --time-points 0:20
  celltrain predict run list.autlist --out cells          one .aut each, and a list of them
  celltrain predict run tracked.xml --out cells.aut       the movie that a tracking file names

The table has the columns t,z,y,x,score: pixels of the image as stored, 0 = centre of the first
pixel; t is the image's own number of the time point.
"""
LOW_FLOOR = 0.05
"""Of weak candidates that are worth a look."""
MOST_NAMED = 8
"""Time points that could not be read, in the last line."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "detector",
        type=Path,
        metavar="DETECTOR",
        help="a run or detector folder, or a .celltrain file",
    )
    parser.add_argument(
        "images",
        metavar="IMAGES",
        help="a TIFF or other image file, a folder, a pattern such as img_t{time:03}.tif; or "
        "what says where its images are: a dataset.toml (or a folder that holds one), an "
        ".autlist, a Cell Tracking Challenge folder, a tracking file",
    )
    # what a shell makes of a wildcard: taken only to say what to write instead
    parser.add_argument("further", nargs="*", default=[], help=argparse.SUPPRESS)
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="FILE",
        help=".csv, .aut or another tracking format; for a dataset.toml, an .autlist, and "
        "whatever has several experiments in it, a folder",
    )
    parser.add_argument(
        "--time-points", type=time_points, metavar="A:B", help="from A to B, both included"
    )
    parser.add_argument(
        "--channel",
        type=channels,
        metavar="N",
        help="which channel, counted from 1 (several: 1,2); default: what the list states, else "
        "as in training",
    )
    parser.add_argument(
        "--voxel-size",
        type=voxel_size,
        metavar="Z,Y,X",
        help="in um; overrides what the file says",
    )
    add_diameter(parser)
    add_gamma(parser)
    parser.add_argument(
        "--threshold", type=share, metavar="T", help="lowest score; default: the detector's own"
    )
    parser.add_argument(
        "--like",
        metavar="NAME",
        help="an experiment of the training that this movie is of the kind of: its threshold is "
        "taken (default: that of the experiment of the same name, else that for all)",
    )
    parser.add_argument(
        "--floor",
        type=share,
        metavar="S",
        help="write candidates down to this score, so that the threshold can be moved later",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with a prediction that was interrupted"
    )
    parser.add_argument(
        "--skip-damaged",
        action="store_true",
        help="leave out time points that can't be read (and name them) instead of stopping",
    )
    parser.add_argument("--counts", type=Path, metavar="FILE", help="cells per time point, as .csv")
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="the same as a chart: .svg, .png or .pdf"
    )
    parser.add_argument(
        "--tile", type=tile, metavar="Z,Y,X", help="image pixels to compute at once"
    )
    spread = parser.add_mutually_exclusive_group()
    spread.add_argument(
        "--workers",
        type=positive_int,
        metavar="N",
        help="spread the time points over N processes; the result is the same (default: this one, "
        "and up to 8 more where a movie of many frames would take long and memory allows)",
    )
    spread.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="spread them over a dask cluster that runs already, such as tcp://node1:8786",
    )
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Predict."""
    from napari_celltrain.cli.interruption import GracefulStop

    check_outputs(arguments)
    asked = _asked(arguments)
    check_out(asked, arguments)
    for movie in asked.movies:
        for finding in getattr(movie, "findings", ()):  # of what names it, such as a list
            say(f": {movie.name}: {finding.message}", head=finding.severity)

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.detector.memory import keep_freed_memory
    from napari_celltrain.prediction.movie import predict_list, predict_to_file
    from napari_celltrain.prediction.options import Options

    keep_freed_memory()
    detector = Detector.from_folder(
        arguments.detector, device=arguments.device, threads=arguments.threads
    )
    say(f"Computing on {detector.device} ({detector.device_reason}).")
    options = Options(
        time_range=arguments.time_points,
        channels=arguments.channel,
        voxel_size_um=arguments.voxel_size,
        cell_diameter=arguments.diameter,
        gamma=arguments.gamma,
        threshold=arguments.threshold,
        like=arguments.like,
        floor=arguments.floor,
        tile=arguments.tile,
        on_damaged="skip" if arguments.skip_damaged else "stop",
        resume=arguments.resume,
    )
    thresholds = {options.threshold_for(detector, movie.name) for movie in asked.movies}
    if arguments.floor is not None and arguments.floor >= max(thresholds):
        say(
            f"The threshold ({_range(thresholds)}) is not above --floor {arguments.floor:g}, so "
            "nothing weaker is written."
        )
    asked_to_stop = threading.Event()
    stop = GracefulStop(asked_to_stop.set, "Stopping: what is done is kept.")
    progress = _Progress()
    with progress, stop.watching():
        how: dict[str, Any] = {
            "tell": lambda finding: say(f": {finding.message}", head=finding.severity),
            "progress": progress,
            "stopping": asked_to_stop.is_set,
            "runner": _runner(arguments),
        }
        if asked.into_folder:
            summary = predict_list(detector, asked.movies, arguments.out, options, **how)
        else:
            (movie,) = asked.movies
            summary = predict_to_file(detector, movie, arguments.out, options, **how)
    if not summary.finished:
        say(f"Unfinished; the same command with --resume goes on ({arguments.out}).")
        return stop.status or 1
    not_written = _write_extras(summary, arguments)
    nothing_read = len(summary.damaged) == summary.time_points
    if nothing_read:
        say("None of the time points could be read, so nothing was looked at.")
    elif not summary.detections:
        say(_advice(arguments, detector.info.threshold))
    if arguments.json:
        print_json(
            {
                "time_points": summary.time_points,
                "detections": summary.detections,
                "seconds": summary.seconds,
                "damaged": len(summary.damaged),
                "experiments": [dataclasses.asdict(one) for one in summary.applied],
            }
        )
    else:
        tell(_outcome(summary, arguments.out, arguments.floor))
    if not_written is not None:
        raise not_written
    return int(nothing_read)  # whatever was asked for at the last moment: the file is whole


def _outcome(summary: Summary, out: Path, floor: float | None) -> str:
    looked_at = summary.time_points - len(summary.damaged)
    found = sum(number or 0 for _, _, number in summary.counts)
    cells = f"{found} cell{'' if found == 1 else 's'}"
    if floor is not None and any(floor < one.threshold for one in summary.applied):
        cells += f" and {_candidates(summary.detections - found, 'weaker ')}"
    told = f"{out}: {cells} in {looked_at} time point{'' if looked_at == 1 else 's'}"
    if not summary.damaged:
        return f"{told}."
    which = ", ".join(str(t) for _, t, _ in summary.damaged[:MOST_NAMED])
    more = ", ..." if len(summary.damaged) > MOST_NAMED else ""
    left_out = "is left out" if len(summary.damaged) == 1 else "are left out"
    return f"{told}; {len(summary.damaged)} could not be read and {left_out} ({which}{more})."


def _candidates(number: int, kind: str = "") -> str:
    return f"{number} {kind}candidate{'' if number == 1 else 's'}"


def _advice(arguments: argparse.Namespace, own_threshold: float) -> str:
    """Say what to look at when nothing was found, first of all what the person has stated."""
    sentences = ["Nothing scored high enough to be a cell."]
    if arguments.threshold is not None:
        sentences = [
            f"Nothing scored as high as --threshold {arguments.threshold:g} (the detector's own: "
            f"{own_threshold:.3g})."
        ]
    if arguments.diameter is not None:
        sentences.append(f"Is --diameter {arguments.diameter:g} right?")
    sentences.append("Are channel and voxel size right?")
    if arguments.floor is None or arguments.floor > LOW_FLOOR:
        sentences.append(f"--floor {LOW_FLOOR} writes weaker candidates too, to look at.")
    return " ".join(sentences)


def _range(thresholds: set[float]) -> str:
    low, high = min(thresholds), max(thresholds)
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _runner(arguments: argparse.Namespace) -> Runner:
    """Return what computes the time points: this process, several, or a cluster."""
    if arguments.workers == 1:
        from napari_celltrain.prediction.predict import predict_request

        return predict_request
    if arguments.workers is not None:
        from napari_celltrain.prediction.workers import predict_with_workers

        return functools.partial(predict_with_workers, workers=arguments.workers)
    if arguments.dask is not None:
        from napari_celltrain.prediction.cluster import predict_with_dask

        return functools.partial(
            predict_with_dask, address=arguments.dask, device=arguments.device or "auto"
        )
    from napari_celltrain.prediction.as_fits import predict_as_fits

    return predict_as_fits


class _Progress:
    """A bar for each experiment."""

    def __init__(self) -> None:
        self._name: str | None = None
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, name: str, result: FrameResult, done: int, of: int) -> None:
        if self._bar is None or done == 1 or name != self._name:
            if self._bar is not None:
                self._bar.close()
            self._bar, self._name = Progress(f"Predicting {name}", of), name
        self._bar.advance(f"{_candidates(len(result))} at {result.t}")


def _asked(arguments: argparse.Namespace) -> Asked:
    from napari_celltrain.prediction.asked import open_asked

    images = arguments.images
    if arguments.dask is not None:
        images = os.path.abspath(images)  # the workers of a cluster run in other folders
    return open_asked(images, arguments.out)


def _write_extras(summary: Summary, arguments: argparse.Namespace) -> CellTrainError | None:
    """Write the counts per time point, as a table and as a plot.

    What can't be written is returned, so that all the rest is there and told before.
    """
    failed: CellTrainError | None = None
    if arguments.counts is not None:
        from napari_celltrain.prediction.output import counts_table

        try:
            write_text(arguments.counts, counts_table(summary.counts))
        except CellTrainError as error:
            failed = error
    if arguments.plot is not None:
        counts: dict[str, list[tuple[int, int]]] = {}
        for name, t, n in summary.counts:
            counts.setdefault(name, []).extend([] if n is None else [(t, n)])
        try:
            with drawing():
                save(counts_figure(counts), arguments.plot)
        except CellTrainError as error:
            failed = failed or error
    return failed
