"""The one exception type whose message is meant for the person at the microscope."""

from __future__ import annotations


class CellTrainError(Exception):
    """Something the user can understand and mend.

    The message is one or two plain sentences: what is wrong, where (file, line, time point,
    setting), and what to do about it. The command line prints it and exits with 2; the widgets
    show it in their status line. Anything else that is raised is a bug.
    """


def counted(count: int, thing: str) -> str:
    """Return a number with its noun: ``1 cell``, ``2 cells``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
