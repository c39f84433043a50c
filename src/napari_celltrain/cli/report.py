"""A run on one page: a single HTML file without anything beside it."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Any

from napari_celltrain import __version__
from napari_celltrain.cli.charts import as_svg, run_figure
from napari_celltrain.cli.error_crops import errors_of
from napari_celltrain.cli.output import duration
from napari_celltrain.detector.package import description_of
from napari_celltrain.errors import CellTrainError, shown
from napari_celltrain.sharing.pictures import png
from napari_celltrain.training.run import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_celltrain.cli.error_crops import ErrorCrop
    from napari_celltrain.training.events import Event
    from napari_celltrain.training.run import RunFolder

_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; color: #222 }
h1, h2 { line-height: 1.2 } h2 { margin-top: 2em }
table { border-collapse: collapse } td, th { padding: .25em 1em .25em 0; text-align: left;
  vertical-align: top; border-bottom: 1px solid #ddd }
figure { display: inline-block; margin: 0 1em 1em 0; font-size: 13px } img { display: block;
  width: 128px; image-rendering: pixelated }
.charts { margin-top: 2em } .charts svg { max-width: 100%; height: auto }
.warning, .error { color: #a02020 }
"""


_F1_IN_WORDS = (
    "<p>Recall is the share of the annotated cells that were found, precision the share of what "
    "was found that is a cell, and F1 both in one number: 1 is perfect, and 0.95 means about one "
    "error, missed or false, for ten cells.</p>"
)


def report(folder: RunFolder, history: list[Event], *, max_errors: int) -> str:
    """Return the page.

    Parameters
    ----------
    folder
        Of the run.
    history
        Its events.
    max_errors
        Pictures of missed cells, and of false detections, at most; 0 leaves them out.
    """
    name = folder.path.absolute().name
    try:
        charts = f'<div class="charts">{as_svg(run_figure(history))}</div>'
    except CellTrainError as error:
        charts = f"<p>{_escaped(str(error))}</p>"
    parts = [
        f"<h1>{_escaped(name)}</h1>",
        _summary(folder),
        charts,
    ]
    if max_errors > 0:
        parts.append(_errors(folder, max_errors))
    parts += [_findings(history), _choices(history)]
    settings = folder.settings_text()
    parts.append(f"<h2>Settings</h2><pre>{_escaped(settings) or 'all by default'}</pre>")
    parts.append(f"<p>napari-celltrain {_escaped(__version__)}</p>")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{_escaped(name)}</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _summary(folder: RunFolder) -> str:
    state = folder.read_state()
    rows = [("Experiments", ", ".join(map(str, state.get("experiments", []))))]
    if "best_f1" in state:
        rows.append(("F1 on held-out frames", f"{state['best_f1']:.3f}"))
        rows.append(("Score threshold", f"{state.get('threshold', 0):.2f}"))
    known = _description(folder.best)
    if known:
        for label, key in (
            ("Precision", "precision"),
            ("Recall", "recall"),
            ("Distance from the annotation", "localisation_error"),
        ):
            if is_number(known.get(key)):
                design = known.get("design")
                unit = design.get("unit", "") if isinstance(design, dict) else ""
                value = f"{known[key]:.3f}"
                rows.append((label, f"{value} {unit}" if key.startswith("loc") else value))
        rows.append(("How it was judged", str(known.get("held_out", ""))))
        if not known.get("trustworthy", False):
            rows.append(("To be trusted?", "No: too little, or nothing independent, was held out."))
    if "started" in state:
        rows.append(("Trained on", _day(str(state["started"]))))
    if "seconds" in state:
        spent = f"{duration(state['seconds'])}, {state.get('step')} steps"
        rows.append(("Trained for", f"{spent} ({state.get('stopped_because', 'unfinished')})"))
    return _table(rows) + (_F1_IN_WORDS if "best_f1" in state else "")


def _description(detector: Path) -> dict[str, Any]:
    """Return what a detector says of itself; empty when it can't be read."""
    try:
        known = json.loads(description_of(detector))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _day(moment: str) -> str:
    """Return the day of a moment as one says it; what is no moment as it is."""
    try:
        day = datetime.fromisoformat(moment)
    except ValueError:
        return moment
    return f"{day.day} {day:%B %Y}"


def _choices(history: list[Event]) -> str:
    from napari_celltrain.training.events import Choice

    rows = [(e.name, e.value, e.reason) for e in history if isinstance(e, Choice)]
    return f"<h2>What was chosen, and why</h2>{_table(rows)}" if rows else ""


def _findings(history: list[Event]) -> str:
    from napari_celltrain.training.events import FindingEvent

    items = "".join(
        f'<li class="{e.finding.severity}">{_escaped(e.finding.experiment)} '
        f"{_escaped(e.finding.message)}</li>"
        for e in history
        if isinstance(e, FindingEvent)
    )
    return f"<h2>What was noticed</h2><ul>{items}</ul>" if items else ""


def _errors(folder: RunFolder, at_most: int) -> str:
    crops = errors_of(folder, at_most)
    if not crops:
        return "<h2>Errors</h2><p>No pictures: the run's images or its detector are not here.</p>"
    return (
        "<h2>Errors on held-out frames</h2><p>Each in the middle of four dots; blue is beyond the "
        "edge of the image.</p>"
    ) + "".join(f"<h3>{title}</h3>{_figures(some)}" for title, some in crops.items())


def _figures(crops: Sequence[ErrorCrop]) -> str:
    if not crops:
        return "<p>None.</p>"
    return "".join(
        f'<figure><img alt="an error" src="data:image/png;base64,'
        f'{base64.b64encode(png(crop.picture)).decode()}">'
        f"<figcaption>{_escaped(crop.experiment)}<br>{_escaped(crop.place)}</figcaption></figure>"
        for crop in crops
    )


def _table(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{_escaped(cell)}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _escaped(text: str) -> str:
    """Return a text for a page: neither its markup nor its control codes do anything."""
    return escape(shown(text))
