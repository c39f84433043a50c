"""``celltrain plot``: a run as curves, or as one page that can be mailed to a colleague."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.cli.arguments import add_json
from napari_celltrain.cli.output import print_json
from napari_celltrain.cli.svg_chart import Line, line_chart, stacked
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import write_text

if TYPE_CHECKING:
    import argparse

    from napari_celltrain.training.events import Event

SUMMARY = "Draw the curves of a run, or write a one-page report of it."
EXAMPLES = """\
examples:
  celltrain plot run                        writes run/report.html, one file to mail
  celltrain plot run --out curves.svg       loss and held-out F1 only

The report shows the curves, what was chosen and why, the held-out result, and pictures of missed
cells and false detections.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=".html or .svg; default: report.html in RUN"
    )
    parser.add_argument(
        "--errors",
        type=int,
        default=12,
        metavar="N",
        help="pictures of errors in the report, of each kind at most; 0: none (default: 12)",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Draw."""
    from napari_celltrain.training.run import RunFolder

    folder = RunFolder(arguments.run_folder)
    if not folder.is_run():
        raise CellTrainError(f"{folder.path} is no run folder: there is no settings.toml in it.")
    out: Path = arguments.out or folder.path / "report.html"
    history = folder.read_history()
    if out.suffix.lower() == ".svg":
        write_text(out, curves(history))
    elif out.suffix.lower() in (".html", ".htm"):
        from napari_celltrain.cli.report import report

        write_text(out, report(folder, history, max_errors=arguments.errors))
    else:
        raise CellTrainError(f"{out.name}: only .html and .svg can be written.")
    if arguments.json:
        print_json({"out": str(out)})
    else:
        print(f"Wrote {out}.")
    return 0


def curves(history: list[Event]) -> str:
    """Return training loss and held-out scores against time, one above the other, as SVG.

    Raises
    ------
    CellTrainError
        When the history tells of no step and no evaluation.
    """
    loss, scores = loss_chart(history), f1_chart(history)
    if loss is None and scores is None:
        raise CellTrainError("The run has not begun to train; there is nothing to draw yet.")
    return stacked([chart for chart in (scores, loss) if chart is not None])


def _minutes(history: list[Event]) -> float:
    """How long the run has been training, so that all charts have the same axis."""
    return max(getattr(event, "seconds", 0.0) for event in history) / 60 or 1.0


def loss_chart(history: list[Event]) -> str | None:
    """Return the training loss against time; None without a step."""
    from napari_celltrain.training.events import Step

    steps = [event for event in history if isinstance(event, Step)]
    if not steps:
        return None
    return line_chart(
        [Line("training", [s.seconds / 60 for s in steps], [s.loss for s in steps])],
        title="Training loss",
        x_label="minutes",
        x_range=(0.0, _minutes(history)),
        y_label="loss",
    )


def f1_chart(history: list[Event]) -> str | None:
    """Return held-out F1, precision and recall against time; None without an evaluation."""
    from napari_celltrain.training.events import Evaluation

    found = [event for event in history if isinstance(event, Evaluation)]
    if not found:
        return None
    minutes = [event.seconds / 60 for event in found]
    best = max((i for i, event in enumerate(found) if event.best), default=None)
    return line_chart(
        [
            Line("F1", minutes, [event.f1 for event in found], best),
            Line("precision", minutes, [event.precision for event in found]),
            Line("recall", minutes, [event.recall for event in found]),
        ],
        title="Held-out frames",
        x_label="minutes",
        x_range=(0.0, _minutes(history)),
        y_label="share",
        y_range=(0.0, 1.0),
    )
