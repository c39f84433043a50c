"""The ``celltrain`` command: everything the widgets do, without a window.

Standard output carries results, standard error progress and complaints. With ``--json`` the last
line of standard output is one JSON object.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError, is_out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD_INPUT = 2
INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv
        Without the program's name; None takes the process's own.

    Returns
    -------
    The exit status: 0, 2 for bad input (with a sentence on standard error), 130 after Ctrl+C, 143
    after a request to end.
    """
    from napari_celltrain.cli.interruption import Hangup, Termination, ending_signals
    from napari_celltrain.cli.parser import make_parser

    try:
        arguments = make_parser().parse_args(argv)
    except SystemExit as exit_:  # argparse has said what is wrong, or printed the help
        return int(exit_.code or 0) if not isinstance(exit_.code, str) else BAD_INPUT
    try:
        with ending_signals():
            status: int = arguments.run(arguments)
            sys.stdout.flush()
        return status
    except CellTrainError as error:
        _complain(f"celltrain: {error}")
        return BAD_INPUT
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        _complain(
            "celltrain: the memory of this machine is not enough. Close other programs, or use a "
            "smaller --tile, batch or crop size."
        )
        return BAD_INPUT
    except Termination:
        _complain("celltrain: asked to end.")
        return 143
    except Hangup:
        return 129
    except KeyboardInterrupt:
        _complain("celltrain: interrupted.")
        return INTERRUPTED
    except BrokenPipeError:
        # the reader of our output went away (`celltrain count ... | head`): no complaint, and
        # none either when Python flushes standard output at its end
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # of a disk or a place that nobody asked before
        where = "" if error.filename is None else f"{error.filename!s:.1000}: "
        _complain(f"celltrain: {where}{error.strerror or error}.")
        return BAD_INPUT


def _complain(sentence: str) -> None:
    from napari_celltrain.cli.output import say

    program, colon, what = sentence.partition(":")
    # a closed terminal must not hide why we end
    with contextlib.suppress(OSError, ValueError):
        say(what, head=program + colon, meaning="error")
