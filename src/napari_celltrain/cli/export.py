"""``celltrain export``: a detector as one file to give to others."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.cli.arguments import add_json
from napari_celltrain.cli.output import print_json, say, tell
from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from napari_celltrain.sharing.screenshot import Screenshot

SUMMARY = "Pack a detector into one file to give to others, or for the bioimage.io model zoo."
EXAMPLES = """\
examples:
  celltrain export run --out nuclei.celltrain --licence CC-BY-4.0 --author "A. Biologist"
  celltrain predict nuclei.celltrain movie.tif --out cells.csv
  celltrain export run --bioimageio nuclei.zip --licence CC-BY-4.0 --author "A. Biologist"

The .celltrain file holds the detector and a card that tells what it was trained on and how good
it is, with a picture: a part of a held-out frame, with the cells found in it.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "detector", type=Path, metavar="DETECTOR", help="a run, detector folder or .celltrain file"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="a .celltrain file")
    parser.add_argument(
        "--bioimageio", type=Path, metavar="ZIP", help="a package for the bioimage.io model zoo"
    )
    parser.add_argument(
        "--title", default="", metavar="TEXT", help="of the card; default: the name of the run"
    )
    parser.add_argument(
        "--licence", default="", metavar="TEXT", help="of the detector, e.g. CC-BY-4.0"
    )
    parser.add_argument(
        "--author", action="append", default=[], metavar="NAME", help="may be given several times"
    )
    parser.add_argument(
        "--description", default="", metavar="TEXT", help="cells, staining, microscope"
    )
    parser.add_argument(
        "--cite",
        action="append",
        default=[],
        type=_citation,
        metavar="DOI",
        help="of your paper, or its address; may be given several times",
    )
    picture = parser.add_mutually_exclusive_group()
    picture.add_argument(
        "--screenshot", type=Path, metavar="PNG", help="a picture of yours for the .celltrain file"
    )
    picture.add_argument(
        "--no-screenshot", action="store_true", help="nothing of the images leaves this machine"
    )
    add_json(parser)


def _citation(text: str) -> str:
    """Read a DOI or an address."""
    text = text.strip()
    if not re.fullmatch(r"(https?://\S+)|((doi:)?10\.\d{4,9}/\S+)", text, re.IGNORECASE):
        raise argparse.ArgumentTypeError(
            f"'{text}' is neither a DOI, such as 10.1234/abcd, nor an address"
        )
    return text


def run(arguments: argparse.Namespace) -> int:
    """Write the files."""
    if arguments.out is None and arguments.bioimageio is None:
        raise CellTrainError("Say what to write: --out FILE.celltrain, or --bioimageio FILE.zip.")
    from napari_celltrain.detector.folder import find_detector
    from napari_celltrain.sharing import About, pack_detector
    from napari_celltrain.sharing.packing import check_name

    find_detector(arguments.detector)  # what is wrong is said before a picture is made
    if arguments.out is not None:
        check_name(arguments.out)
    about = About(
        arguments.title,
        arguments.licence,
        tuple(arguments.author),
        arguments.description,
        tuple(arguments.cite),
    )
    written = []
    if arguments.out is not None:
        file = pack_detector(
            arguments.detector,
            arguments.out,
            None if about == About() else about,
            screenshot=_screenshot(arguments),
        )
        written.append(str(file))
    if arguments.bioimageio is not None:
        from napari_celltrain.sharing.model_zoo import write_bioimageio

        written.append(str(write_bioimageio(arguments.detector, arguments.bioimageio, about)))
    if arguments.json:
        print_json({"written": written})
    else:
        tell("\n".join(f"Wrote {one}." for one in written))
    return 0


def _screenshot(arguments: argparse.Namespace) -> Screenshot | Path | None:
    """Return the picture for the card; one of the user's images is announced."""
    from napari_celltrain.detector.package import is_package
    from napari_celltrain.sharing.screenshot import held_out_screenshot

    if is_package(arguments.detector) and arguments.no_screenshot:
        raise CellTrainError(
            f"{arguments.detector} has its card and its picture already. Export the run again, "
            "with --no-screenshot."
        )
    if arguments.screenshot is not None:
        return Path(arguments.screenshot)
    if arguments.no_screenshot or is_package(arguments.detector):
        return None
    try:
        screenshot = held_out_screenshot(arguments.detector)
    except CellTrainError as error:
        say(f"No picture for the card: {error}")
        return None
    say(f"The card shows a picture; --no-screenshot leaves it out. {screenshot.caption}")
    return screenshot
