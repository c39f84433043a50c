"""``celltrain convert``: tracking data from one program's format to another's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.cli.arguments import add_json, positive_int, voxel_size
from napari_celltrain.cli.output import print_json, say
from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    import argparse

    from napari_celltrain.experiment import Experiment

SUMMARY = "Convert tracking data from one program's format to another's."
EXAMPLES = """\
examples:
  celltrain convert tracks.xml tracks.aut
  celltrain convert spots.csv spots.geff --voxel-size 2,0.32,0.32
  celltrain convert list.autlist one.aut --entry 2

Formats are told by content when reading and by suffix when writing; --to names one where a suffix
is not enough.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("source", type=Path, metavar="IN", help="the file or folder to read")
    parser.add_argument("out", type=Path, metavar="OUT", help="the file or folder to write")
    parser.add_argument(
        "--images", metavar="IMAGES", help="the movie, where positions need it or it is elsewhere"
    )
    parser.add_argument(
        "--voxel-size",
        type=voxel_size,
        metavar="Z,Y,X",
        help="in um; overrides what the file says",
    )
    parser.add_argument(
        "--entry", type=positive_int, metavar="N", help="which of several experiments, from 1"
    )
    parser.add_argument("--from", dest="from_format", metavar="FORMAT", help="read as this format")
    parser.add_argument("--to", dest="to_format", metavar="FORMAT", help="write as this format")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Convert."""
    from napari_celltrain.formats.registry import read_experiments, write_experiment

    experiments = read_experiments(
        arguments.source,
        format_name=arguments.from_format,
        images=arguments.images,
        voxel_size_um=arguments.voxel_size,
    )
    for experiment in experiments:
        for finding in experiment.findings:
            say(f"{finding.severity}: {experiment.name}: {finding.message}")
    if arguments.entry is None and len(experiments) > 1 and _is_autlist(arguments):
        from napari_celltrain.formats.autlist_writing import write_autlist

        write_autlist(arguments.out, experiments)
    else:
        experiments = [_the_one(experiments, arguments)]
        write_experiment(arguments.out, experiments[0], arguments.to_format)
    positions = sum(len(experiment.annotations) for experiment in experiments)
    links = sum(len(experiment.annotations.links) for experiment in experiments)
    if arguments.json:
        print_json({"out": str(arguments.out), "positions": positions, "links": links})
    else:
        print(f"{arguments.out}: {positions} positions, {links} links.")
    return 0


def _is_autlist(arguments: argparse.Namespace) -> bool:
    return bool(arguments.out.suffix.lower() == ".autlist")


def _the_one(experiments: list[Experiment], arguments: argparse.Namespace) -> Experiment:
    if arguments.entry is None:
        if len(experiments) == 1:
            return experiments[0]
        raise CellTrainError(
            f"{arguments.source} holds {len(experiments)} experiments; say which one with --entry, "
            "or write an .autlist."
        )
    if arguments.entry > len(experiments):
        raise CellTrainError(
            f"{arguments.source} holds {len(experiments)} experiments; there is no entry "
            f"{arguments.entry}."
        )
    chosen: int = arguments.entry - 1
    return experiments[chosen]
