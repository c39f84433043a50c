"""``celltrain convert``: tracking data from one program's format to another's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.cli.arguments import add_json, positive_int, voxel_size
from napari_celltrain.cli.output import print_json, say, tell

if TYPE_CHECKING:
    from napari_celltrain.experiment import Finding

SUMMARY = "Convert tracking data from one program's format to another's."
EXAMPLES = """\
examples:
  celltrain convert tracks.xml tracks.aut
  celltrain convert spots.csv spots.geff --voxel-size 2,0.32,0.32
  celltrain convert table.csv cells.aut --column x=Centre_X --column y=Centre_Y --column t=Frame
  celltrain convert list.autlist one.aut --entry 2

Formats are told by content when reading and by suffix when writing (.aut, .autlist, .xml, .geff,
.csv, .tsv, a folder 01_RES); --to names one where a suffix is not enough: "GEFF for Mastodon",
"Mastodon CSV", "napari points CSV". What the written format has no room for is listed.
"""
_READING = (
    "images_pattern",
    "hidden_spots",
    "only_kept_tracks",
    "leave_out_endings",
    "link_labels",
    "first_plane",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("source", type=Path, metavar="IN", help="the file or folder to read")
    parser.add_argument("out", type=Path, metavar="OUT", help="the file or folder to write")
    parser.add_argument(
        "--images", metavar="IMAGES", help="the movie, where positions need it or it is elsewhere"
    )
    parser.add_argument(
        "--images-pattern", metavar="PATTERN", help="its file names, such as t{time:03}.tif"
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
    _add_reading(parser.add_argument_group("how to read"))


def _add_reading(group: argparse._ArgumentGroup) -> None:
    """Add what `ReadOptions` knows besides."""
    group.add_argument(
        "--hidden-spots", action="store_true", help="TrackMate: also spots that were filtered out"
    )
    group.add_argument(
        "--only-kept-tracks",
        action="store_true",
        help="TrackMate: no spots of tracks that were filtered out",
    )
    group.add_argument(
        "--leave-out-endings",
        action="store_true",
        help="OrganoidTracker: cells marked as dead or shed become undecided",
    )
    group.add_argument(
        "--link-labels",
        action="store_true",
        help="label images without a track table: the same label is the same cell",
    )
    group.add_argument(
        "--column",
        action="append",
        type=column,
        metavar="MEANING=NAME",
        help="tables: which column is t, z, y, x, id, track_id, parent_id, parent_track_id, score, "
        "radius or status",
    )
    group.add_argument(
        "--first-plane",
        type=int,
        default=1,
        metavar="N",
        help="AceTree: the number of the first plane (default: 1)",
    )
    group.add_argument(
        "--origin-in-first-voxel",
        action="store_true",
        help="Imaris: the origin is the first voxel's centre, not its corner",
    )


def column(text: str) -> tuple[str, str]:
    """Read ``x=Centre X``."""
    meaning, equals, name = text.partition("=")
    if not (meaning.strip() and equals and name.strip()):
        raise argparse.ArgumentTypeError(f"'{text}' is not like x=Centre_X")
    return meaning.strip(), name.strip()


def run(arguments: argparse.Namespace) -> int:
    """Convert."""
    from napari_celltrain.formats.convert import convert

    done = convert(
        arguments.source,
        arguments.out,
        from_format=arguments.from_format,
        to_format=arguments.to_format,
        entry=arguments.entry,
        images=arguments.images,
        voxel_size_um=arguments.voxel_size,
        columns=dict(arguments.column) if arguments.column else None,
        half_voxel_shift=not arguments.origin_in_first_voxel,
        **{name: getattr(arguments, name) for name in _READING},
    )
    for experiment in done.experiments:
        for finding in experiment.findings:
            say(f": {experiment.name}: {finding.message}", head=finding.severity)
    for finding in done.lost:
        say(f"{finding.severity}: {finding.experiment}: in {done.format_name}: {finding.message}")
    positions = sum(len(experiment.annotations) for experiment in done.experiments)
    links = sum(len(experiment.annotations.links) for experiment in done.experiments)
    if arguments.json:
        print_json(
            {
                "out": str(arguments.out),
                "format": done.format_name,
                "positions": positions,
                "links": links,
                "noticed": [_plain(one) for read in done.experiments for one in read.findings],
                "lost": [_plain(one) for one in done.lost],
            }
        )
    else:
        tell(f"{arguments.out}: {positions} positions, {links} links.")
    return 0


def _plain(finding: Finding) -> dict[str, str]:
    return {"severity": finding.severity, "code": finding.code, "message": finding.message}
