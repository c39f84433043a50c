"""``celltrain count``: what is annotated, and what looks wrong."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.cli.arguments import add_json
from napari_celltrain.cli.output import print_json

if TYPE_CHECKING:
    import argparse

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
    from napari_celltrain.statistics import count, findings, total

    dataset = load_dataset(arguments.paths, require_images=False)
    counts = [count(experiment) for experiment in dataset.experiments]
    found = [[*one.findings, *findings(one)] for one in dataset.experiments]
    totals = total(counts)
    if arguments.json:
        print_json(
            {
                "experiments": [
                    {
                        "name": experiment.name,
                        **_values(one),
                        "findings": [dataclasses.asdict(finding) for finding in about],
                    }
                    for experiment, one, about in zip(
                        dataset.experiments, counts, found, strict=True
                    )
                ],
                "total": {**_values(totals), "findings": sum(map(len, found))},
            }
        )
        return 0
    return 0


def _values(counts: Any) -> dict[str, Any]:
    return {field.name: getattr(counts, field.name) for field in dataclasses.fields(counts)}
