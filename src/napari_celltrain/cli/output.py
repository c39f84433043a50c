"""What the commands print: results, progress, and JSON for programs."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from napari_celltrain.errors import counted, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Self

SECONDS_BETWEEN_LINES = 5.0
_COLOURS = {"ok": "32", "warning": "33", "error": "31", "problem": "31"}
"""What a word means, and how terminals are told its colour."""


def say(text: str = "", *, head: str = "", meaning: str = "") -> None:
    """Print a line of progress to standard error, clear of any progress bar.

    Parameters
    ----------
    text
        Shown without codes that steer a terminal, whatever file they come from.
    head
        Goes before it, in the colour of its meaning.
    meaning
        See `coloured`.
    """
    line = _for(sys.stderr, text, head, meaning or head)
    if sys.stderr.isatty():
        from tqdm import tqdm

        tqdm.write(line, file=sys.stderr)
    else:
        print(line, file=sys.stderr, flush=True)


def tell(text: str = "", *, head: str = "", meaning: str = "", end: str = "\n") -> None:
    """Print a result to standard output; otherwise as `say`."""
    print(_for(sys.stdout, text, head, meaning or head), end=end, flush=True)


def _for(stream: TextIO, text: str, head: str, meaning: str) -> str:
    """Return a line as a stream can print it: not all of them know all letters."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    plain = shown(text).encode(encoding, "backslashreplace").decode(encoding)
    return coloured(shown(head), meaning, stream) + plain


def coloured(word: str, meaning: str, stream: TextIO) -> str:
    """Return a word in the colour of its meaning, where it goes to a terminal.

    Files and pipes get the word alone, and so does whoever has set NO_COLOR
    (https://no-color.org).

    Parameters
    ----------
    word
        What is shown.
    meaning
        ``ok``, ``warning``, ``error`` or ``problem``; others have no colour.
    stream
        Where it is going to be printed.
    """
    code = _COLOURS.get(meaning)
    if code is None or not _shows_colours(stream):
        return word
    return f"\x1b[{code}m{word}\x1b[0m"


def _shows_colours(stream: TextIO) -> bool:
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    # an old console of Windows prints the codes; the newer ones name themselves
    named = ("WT_SESSION", "TERM", "ANSICON")
    if os.name == "nt" and not any(os.environ.get(name) for name in named):
        return False
    try:
        return stream.isatty()
    except ValueError:  # a closed one
        return False


def print_json(values: Mapping[str, Any]) -> None:
    """Print one JSON object on one line of standard output; what is not a number becomes null."""
    line = json.dumps(_plain(values), allow_nan=False, ensure_ascii=False)
    if shown(line) != line or not _can_print(sys.stdout, line):
        line = json.dumps(_plain(values), allow_nan=False)
    print(line, flush=True)


def _can_print(stream: TextIO, line: str) -> bool:
    try:
        line.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for reading: the first column to the left, the others to the right."""
    lines = [list(header), *[[shown(cell) for cell in row] for row in rows]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def duration(seconds: float) -> str:
    """Return seconds as ``1:05`` or ``2:00:05``."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def progress_bar(**options: Any) -> Any:
    """Return a bar on standard error that leaves nothing behind when it is closed.

    Parameters
    ----------
    options
        What ``tqdm`` takes.
    """
    from tqdm import tqdm

    try:
        width = os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        width = 0
    # some terminals (containers, remote shells) say that they have no columns; tqdm believes it
    size = {} if width else {"ncols": 80, "nrows": 24}
    options["desc"] = shown(options.get("desc") or "")
    return tqdm(file=sys.stderr, leave=False, **size, **options)


class Progress:
    """A bar on a terminal; elsewhere a plain line now and then.

    Parameters
    ----------
    what
        What is being done, e.g. ``Predicting``.
    total
        How many of it there are.
    unit
        What one of it is called.
    """

    def __init__(self, what: str, total: int, unit: str = "frame") -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._started = self._last_line = time.monotonic()
        self._bar: Any = None
        if sys.stderr.isatty():
            self._bar = progress_bar(total=total, desc=what, unit=unit)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def advance(self, note: str = "") -> None:
        """One more is done."""
        self._done += 1
        if self._bar is not None:
            self._bar.set_postfix_str(shown(note), refresh=False)
            self._bar.update()
            return
        now = time.monotonic()
        if now - self._last_line < SECONDS_BETWEEN_LINES and self._done < self._total:
            return
        self._last_line = now
        left = (now - self._started) / self._done * (self._total - self._done)
        parts = [f"{self._what}: {self._done} of {counted(self._total, self._unit)}"]
        if note:
            parts.append(note)
        if self._done < self._total:
            parts.append(f"{duration(left)} left")
        say(", ".join(parts))
