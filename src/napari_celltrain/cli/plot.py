"""``celltrain plot``: a run as curves, or as one page that can be mailed to a colleague."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.cli.arguments import add_json
from napari_celltrain.cli.charts import SUFFIXES, drawing, run_figure, save
from napari_celltrain.cli.error_crops import errors_of
from napari_celltrain.cli.output import print_json, tell
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import write_text

if TYPE_CHECKING:
    import argparse

SUMMARY = "Draw the curves of a run, or write a one-page report of it."
EXAMPLES = """\
examples:
  celltrain plot run                        writes run/report.html, one file to mail
  celltrain plot run --out run.png          curves and pictures of errors
  celltrain plot run --out curves.svg --errors 0

Loss and held-out F1 against time, and pictures of missed cells and false detections. The report
also tells what was chosen and why, the held-out result, and what was noticed.
"""

_PAGES = (".html", ".htm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=".html, .svg, .png or .pdf; default: report.html in RUN",
    )
    parser.add_argument(
        "--errors",
        type=int,
        default=12,
        metavar="N",
        help="pictures of errors, of each kind at most; 0: none (default: 12)",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw."""
    from napari_celltrain.training.run import RunFolder

    folder = RunFolder(arguments.run_folder)
    folder.check()
    out: Path = arguments.out or folder.path / "report.html"
    suffix = out.suffix.lower()
    if suffix not in (*_PAGES, *SUFFIXES):
        endings = ", ".join((_PAGES[0], *SUFFIXES))
        raise CellTrainError(f"{out.name}: only {endings} can be written.")
    history = folder.read_history()
    with drawing():
        if suffix in _PAGES:
            from napari_celltrain.cli.report import report

            write_text(out, report(folder, history, max_errors=arguments.errors))
        else:
            figure = run_figure(history, errors_of(folder, arguments.errors))
            save(figure, out)
    if arguments.json:
        print_json({"out": str(out)})
    else:
        tell(f"Wrote {out}.")
    return 0
