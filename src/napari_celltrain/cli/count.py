"""``celltrain count``: what is annotated, and what looks wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.cli.arguments import add_json
from napari_celltrain.cli.output import print_json, table, tell

if TYPE_CHECKING:
    import argparse

    from napari_celltrain.experiment import Finding
    from napari_celltrain.statistics import Counts, Totals

_MOST_RUNS = 40
SUMMARY = "Count what is annotated, and say what looks wrong."
EXAMPLES = """\
examples:
  celltrain count dataset.toml
  celltrain count *.aut --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a dataset.toml, an .autlist, a CTC folder or another tracking file",
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Count."""
    from napari_celltrain.dataset import load_dataset
    from napari_celltrain.statistics import count, enough, findings, total

    dataset = load_dataset(arguments.paths, require_images=False)
    counts = [count(experiment) for experiment in dataset.experiments]
    found = [_once([*one.findings, *findings(one)]) for one in dataset.experiments]
    totals = total(counts)
    is_enough, why = enough(dataset.experiments, found)
    if arguments.json:
        print_json(
            {
                "experiments": [
                    {**_values(one), "name": experiment.name, "findings": _plain(about)}
                    for experiment, one, about in zip(
                        dataset.experiments, counts, found, strict=True
                    )
                ],
                "total": {**_values(totals), "findings": sum(map(len, found))},
                "enough": is_enough,
                "enough_because": why,
            }
        )
        return 0
    rows = [[one.name, *_cells(one), _spacing(one)] for one in counts]
    if len(counts) > 1:
        rows.append(["total", *_cells(totals), ""])
    tell(table(_HEADER, rows))
    for one in counts:
        tell(f"\n{one.name}, positions per time point: {_per_time_point(one)}")
    for experiment, about in zip(dataset.experiments, found, strict=True):
        for finding in about:
            tell(f": {experiment.name}: {finding.message}", head=finding.severity)
    tell(why)
    return 0


_HEADER = (
    "experiment", "time points", "annotated", "positions", "tracks", "divisions", "spacing",
)  # fmt: skip


def _cells(counts: Counts | Totals) -> list[str]:
    numbers = (counts.annotated_time_points, counts.positions, counts.tracks, counts.divisions)
    return [str(counts.time_points or "-"), *map(str, numbers)]  # none without images


def _spacing(counts: Counts) -> str:
    return "" if counts.median_spacing is None else f"{counts.median_spacing:.3g} {counts.unit}"


def _per_time_point(counts: Counts) -> str:
    """Return runs of equal numbers together: ``0-13: 10, 14: 9``."""
    runs: list[list[int]] = []
    for t, number in counts.positions_per_time_point.items():
        if runs and runs[-1][2] == number and runs[-1][1] == t - 1:
            runs[-1][1] = t
        else:
            runs.append([t, t, number])
    shown = [f"{a if a == b else f'{a}-{b}'}: {number}" for a, b, number in runs[:_MOST_RUNS]]
    if len(runs) > _MOST_RUNS:
        shown.append(f"... up to {runs[-1][1]}")
    return ", ".join(shown) or "none"


def _once(found: list[Finding]) -> list[Finding]:
    """Leave out what the reader and the check have noticed both."""
    return list(dict.fromkeys(found))


def _plain(found: list[Finding]) -> list[dict[str, Any]]:
    return [dataclasses.asdict(finding) for finding in found]


def _values(counts: Counts | Totals) -> dict[str, Any]:
    return {field.name: getattr(counts, field.name) for field in dataclasses.fields(counts)}
