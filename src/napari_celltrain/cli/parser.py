"""The commands and their options; each command's module adds its own."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from napari_celltrain import __version__
from napari_celltrain.errors import shown

if TYPE_CHECKING:
    from collections.abc import Callable

COMMANDS = (
    "sample",
    "count",
    "preview",
    "train",
    "predict",
    "evaluate",
    "convert",
    "export",
    "export-job",
    "plot",
    "doctor",
    "completion",
)
"""In the order of the help; a dash in a command is an underscore in its module."""

_EXAMPLES = """\
examples:
  celltrain sample demo                                  make a movie to try things with
  celltrain count demo/dataset.toml                      what is annotated, what looks wrong
  celltrain train demo/dataset.toml --out run --minutes 1
  celltrain evaluate run demo/dataset.toml               how good it is on frames it never saw
  celltrain predict run "demo/images/t{time:03}.tif" --out cells.csv

'celltrain COMMAND --help' explains a command.
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Say in one sentence what is wrong, and where the help is."""
        self.exit(2, shown(f"{self.prog}: {message}. See '{self.prog} --help'.\n"))


def _help(parser: argparse.ArgumentParser) -> int:
    """Show what there is to whoever names no command."""
    parser.print_help(sys.stderr)
    return 2


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = _Parser(
        prog="celltrain",
        description="Train a cell-centre detector on your own tracked movies, and use it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=lambda _: _help(parser))
    parser.add_argument("--version", action="version", version=f"celltrain {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"napari_celltrain.cli.{name.replace('-', '_')}")
        add: Callable[..., None] = module.add_arguments
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=module.SUMMARY,
            epilog=module.EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        add(command)
        command.set_defaults(run=module.run)
    return parser
