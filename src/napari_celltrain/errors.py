"""The one exception type whose message is meant for the person at the microscope."""

from __future__ import annotations

import re

_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""All but tab and line end: what steers a terminal, turns the order of letters around, or stands
for a byte of a file's name that is no text."""


_OUT_OF_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate",
    "bad_alloc",
    "could not create a primitive",  # what oneDNN says where there was no room for a convolution
    "could not create a memory",
)


class CellTrainError(Exception):
    """Something the user can understand and mend.

    The message is one or two plain sentences: what is wrong, where (file, line, time point,
    setting), and what to do about it. The command line prints it and exits with 2; the widgets
    show it in their status line. Anything else that is raised is a bug.
    """


def shown(text: str) -> str:
    """Return a text as it can be printed, with codes in place of what can't be seen.

    Names come out of files, and files from strangers: printed as it is, an escape code in a name
    could overwrite what a terminal shows, or worse.
    """
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error of Python or of PyTorch says that memory has run out.

    PyTorch has an own kind of error for graphics cards only.
    """
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and any(text in str(error).lower() for text in _OUT_OF_MEMORY)
    )


def counted(count: int, thing: str) -> str:
    """Return a number with its noun: ``1 cell``, ``2 cells``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
