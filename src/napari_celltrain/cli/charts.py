"""Charts as SVG, PNG or PDF, drawn by matplotlib.

Figures are made without pyplot: no window, no state shared with the caller's own plots.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError, shown
from napari_celltrain.files import replacing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, FigureBase

    from napari_celltrain.cli.error_crops import ErrorCrop
    from napari_celltrain.training.events import Evaluation, Event, Step

SUFFIXES = (".svg", ".png", ".pdf")
WIDTH = 7.0
"""Of every figure, in inches."""
_COLOURS = ("#1f6fb4", "#d1495b", "#2e8b57")
"""Told apart in grey and by most people who are colour-blind; dashes help the rest."""
_DASHES = ("-", "--", ":")
_STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#dddddd",
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    # text stays text, and the same figure gives the same file
    "svg.fonttype": "none",
    "svg.hashsalt": "napari-celltrain",
    "savefig.dpi": 150,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in this project's style.

    Raises
    ------
    CellTrainError
        When matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


def require_matplotlib() -> None:
    """Say that an extra is missing, before work is done in vain.

    Raises
    ------
    CellTrainError
        When matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise CellTrainError(
            "Plots need an extra: pip install 'napari-celltrain[plots]'."
        ) from None


def run_figure(
    history: Sequence[Event], errors: Mapping[str, Sequence[ErrorCrop]] | None = None
) -> Figure:
    """Return the curves of a run, and below them pictures of errors.

    Parameters
    ----------
    history
        The events of the run.
    errors
        Pictures for each heading.

    Raises
    ------
    CellTrainError
        When the history tells of no step and no evaluation.
    """
    from matplotlib.figure import Figure

    from napari_celltrain.training.events import Evaluation, Step

    steps = [event for event in history if isinstance(event, Step)]
    found = [event for event in history if isinstance(event, Evaluation)]
    if not steps and not found:
        raise CellTrainError("The run has not begun to train; there is nothing to draw yet.")
    shown = {title: crops for title, crops in (errors or {}).items() if crops}
    # heights in inches: a chart each, then rows of pictures
    heights = [2.4] * (bool(found) + bool(steps))
    heights += [0.4 + 1.55 * -(-len(crops) // _IN_A_ROW) for crops in shown.values()]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    parts = iter(figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    clock = _Clock.of(history)
    if found:
        _draw_scores(next(parts).subplots(), found, clock)
    if steps:
        _draw_loss(next(parts).subplots(), steps, clock)
    for title, crops in shown.items():
        _draw_pictures(next(parts), title, crops)
    return figure


def counts_figure(counts: Mapping[str, Sequence[tuple[int, int]]]) -> Figure:
    """Return for each experiment a bar for each time point.

    Parameters
    ----------
    counts
        (time point, number of cells) of each experiment.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 2.4 * max(1, len(counts))), layout="constrained")
    axes = figure.subplots(max(1, len(counts)), 1, squeeze=False)[:, 0]
    for ax, (name, pairs) in zip(axes, counts.items(), strict=False):
        ax.bar([t for t, _ in pairs], [n for _, n in pairs], width=0.8, color=_COLOURS[0])
        ax.set(xlabel="time point", ylabel="cells")
        ax.set_title(shown(f"{name}: cells found"), parse_math=False)
        ax.locator_params(axis="both", integer=True)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the name's end tells (see `SUFFIXES`)."""
    with replacing(path) as temporary:
        figure.savefig(
            temporary, format=path.suffix[1:].lower(), metadata=_undated(path.suffix.lower())
        )


def as_svg(figure: Figure) -> str:
    """Return a figure as an ``<svg>`` element, to put into a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_undated(".svg"))
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def _undated(suffix: str) -> dict[str, Any]:
    return {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})


@dataclass(frozen=True)
class _Clock:
    """The time that both charts of a run have as their axis.

    Parameters
    ----------
    unit
        ``seconds``, or ``minutes`` or ``hours`` of longer runs.
    length
        Seconds of one unit.
    end
        How long the run has been training, in units.
    """

    unit: str
    length: float
    end: float

    @classmethod
    def of(cls, history: Sequence[Event]) -> _Clock:
        """Choose the unit for a run."""
        seconds = max(getattr(event, "seconds", 0.0) for event in history) or 1.0
        length, unit = next(
            (length, unit)
            for length, unit, least in ((3600, "hours", 3), (60, "minutes", 2), (1, "seconds", 0))
            if seconds >= least * length
        )
        return cls(unit, length, seconds / length)

    def at(self, events: Sequence[Evaluation | Step]) -> list[float]:
        """Return when events happened, in units."""
        return [event.seconds / self.length for event in events]

    def draw(self, ax: Axes) -> None:
        """Label the axis."""
        ax.set(xlabel=self.unit, xlim=(0, 1.02 * self.end))


def _draw_scores(ax: Axes, found: Sequence[Evaluation], clock: _Clock) -> None:
    for name, colour, dash in zip(("F1", "precision", "recall"), _COLOURS, _DASHES, strict=True):
        values = [getattr(event, name.lower()) for event in found]
        ax.plot(clock.at(found), values, dash, color=colour, label=name, marker="o", markersize=3)
    best = next((event for event in reversed(found) if event.best), None)
    if best is not None:
        label = f"best F1: {best.f1:.3f}"
        ax.plot(*clock.at([best]), best.f1, "o", color=_COLOURS[0], markersize=9, mfc="none",
                label=label)  # fmt: skip
    ax.set(title="Held-out frames", ylim=(0, 1.05))
    clock.draw(ax)
    ax.legend(loc="lower right", ncols=4)


def _draw_loss(ax: Axes, steps: Sequence[Step], clock: _Clock) -> None:
    ax.plot(clock.at(steps), [step.loss for step in steps], color=_COLOURS[0])
    ax.set(title="Training loss")
    clock.draw(ax)
    ax.set_ylim(bottom=0)


_IN_A_ROW = 6


def _draw_pictures(part: FigureBase, title: str, crops: Sequence[ErrorCrop]) -> None:
    rows = -(-len(crops) // _IN_A_ROW)
    part.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=9)
    axes = part.subplots(rows, _IN_A_ROW, squeeze=False).ravel()
    for ax in axes:
        ax.axis("off")
    for ax, crop in zip(axes, crops, strict=False):
        ax.imshow(crop.picture, interpolation="nearest")
        place = crop.place.replace(", score", "\nscore")
        ax.set_title(place, fontsize=6, fontweight="normal", loc="center")
