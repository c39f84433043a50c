"""``celltrain sample``: a simulated movie with its exact annotation, to try things with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.cli.arguments import add_json
from napari_celltrain.cli.output import print_json, tell
from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    import argparse

SUMMARY = "Write a simulated movie of dividing nuclei with its annotation."
EXAMPLES = """\
examples:
  celltrain sample demo                    3D and time, like an organoid
  celltrain sample demo2 --kind plane      2D and time
  celltrain train demo/dataset.toml --out run --minutes 1
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("out", type=Path, metavar="OUT", help="a new or empty folder")
    parser.add_argument(
        "--kind",
        choices=["organoid", "plane"],
        default="organoid",
        help="stacks (default), or flat images",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another movie for each")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Simulate, and write the files."""
    from napari_celltrain.simulation import write_sample

    out: Path = arguments.out
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CellTrainError(f"{out} exists and is not an empty folder; choose another place.")
    dataset = write_sample(out, kind=arguments.kind, seed=arguments.seed)
    if arguments.json:
        print_json({"dataset": str(dataset)})
    else:
        tell(f"Wrote {dataset}. Train on it with: celltrain train {dataset} --out run --minutes 1")
    return 0
