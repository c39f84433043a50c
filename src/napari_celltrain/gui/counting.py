"""What the counts widget shows of an experiment, from `napari_celltrain.statistics`. No Qt."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.gui.layer_annotations import LEFT_OUT
from napari_celltrain.statistics.counts import Counts, Totals, count, total

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment, Finding
    from napari_celltrain.gui.work import Work


@dataclass(frozen=True)
class CloserLook:
    """What takes longer than an instant to find out."""

    spacing: str = ""
    diameter: str = ""
    findings: tuple[Finding, ...] = ()
    enough: str = ""
    """Whether it is enough to start, with the reason."""


@dataclass(eq=False)
class Counted:
    """One row: numbers that are there at once, and those that come a little later."""

    name: str
    counts: Counts | Totals | None = None
    first: int = 0
    """The time point of the first bar."""
    per_time_point: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    closer: CloserLook = CloserLook()
    problem: str = ""

    @classmethod
    def total(cls, counted: Sequence[Counted]) -> Counted:
        """Return the last row."""
        counts = [one.counts for one in counted if isinstance(one.counts, Counts)]
        return cls("Total", total(counts))

    def cells(self) -> tuple[str, ...]:
        """Return the texts of the row."""
        if self.counts is None:
            return (self.name, "–", "–", "–", "–", "–", "–")
        return (
            self.name,
            f"{self.counts.annotated_time_points} / {self.counts.time_points or '?'}",
            str(self.counts.positions),
            str(self.counts.tracks),
            str(self.counts.divisions),
            self.closer.spacing,
            self.closer.diameter,
        )


def quick_counts(experiment: Experiment) -> Counted:
    """Count positions; milliseconds for a hundred thousand."""
    counts = count(experiment, spacing=False)
    times = [*counts.positions_per_time_point, *experiment.image_time_points()]
    if not times:
        return Counted(experiment.name, counts)
    first, last = min(times), max(times)
    bars = np.zeros(last - first + 1, np.int64)
    bars[np.array(list(counts.positions_per_time_point), np.int64) - first] = list(
        counts.positions_per_time_point.values()
    )
    return Counted(experiment.name, counts, first, bars)


def look_closely(experiments: Sequence[tuple[int, Experiment]]) -> Work:
    """Return work that reports (identity, Closer look) for each experiment.

    Of several, whether all of them together are enough is reported first, with None for identity.
    """

    def work(report: Callable[[Any], None], stop: threading.Event) -> None:
        from napari_celltrain.statistics import enough, estimate_diameter, findings

        if len(experiments) > 1:
            together = enough([experiment for _, experiment in experiments])
            report((None, CloserLook(enough=in_words(together))))
        found: list[list[Finding]] = []
        for identity, experiment in experiments:
            if stop.is_set():
                return
            counts = count(experiment)
            spacing = counts.median_spacing
            estimate = estimate_diameter(experiment)
            found.append(findings(experiment))
            look = CloserLook(
                "" if spacing is None else f"{spacing:.3g} {counts.unit}",
                "" if estimate is None else f"{estimate.diameter:.3g} {estimate.unit}",
                (*left_out(experiment), *found[-1]),
                in_words(enough([experiment], found[-1:])),
            )
            report((identity, look))
        if len(experiments) > 1:  # once more, with what the images have shown
            together = enough([experiment for _, experiment in experiments], found)
            report((None, CloserLook(enough=in_words(together))))

    return work


def left_out(experiment: Experiment) -> list[Finding]:
    """Return what is to be said of positions that were not read from a layer.

    What else a reader has noticed was said when the file was opened.
    """
    return [finding for finding in experiment.findings if finding.code == LEFT_OUT]


def in_words(verdict: tuple[bool, str]) -> str:
    """Say whether there is enough to start, with a sign."""
    sufficient, sentence = verdict
    return f"{'✔' if sufficient else '✖'} {sentence}"


def counts_as_csv(counted: Sequence[Counted]) -> str:
    """Return a table: the experiments, their total, and below it the cells per time point."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["experiment", "annotated_time_points", "time_points", "positions", "tracks", "divisions",
         "median_spacing", "estimated_diameter"]
    )  # fmt: skip
    for one in [*counted, Counted.total(counted)]:
        if one.counts is None:
            continue
        writer.writerow(
            [one.name, one.counts.annotated_time_points, one.counts.time_points,
             one.counts.positions, one.counts.tracks, one.counts.divisions,
             one.closer.spacing, one.closer.diameter]
        )  # fmt: skip
    writer.writerow([])
    writer.writerow(["experiment", "time_point", "positions"])
    for one in counted:
        for number, cells in enumerate(one.per_time_point.tolist()):
            writer.writerow([one.name, one.first + number, cells])
    return text.getvalue()
