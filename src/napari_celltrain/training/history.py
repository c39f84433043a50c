"""The history of a run: one event a line, appended as it happens.

Nothing here imports torch, so a window can follow a run before torch is loaded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
import json
import math
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from napari_celltrain.training import events

if TYPE_CHECKING:
    from pathlib import Path

    from napari_celltrain.training.events import Event
    from napari_celltrain.training.run import RunFolder

_KINDS: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        events.Choice,
        events.FindingEvent,
        events.Step,
        events.Evaluation,
        events.CheckpointSaved,
        events.StateChanged,
        events.Finished,
        events.Preparing,
    )
}
KEPT = (events.Choice, events.FindingEvent, events.Evaluation, events.Finished, events.Step)
"""What the history keeps; progress bars and states are for the moment only."""


@dataclass
class HistoryWriter:
    """Appends events to the history, steps at most once in two seconds.

    What can't be written now (the disk is full) is written with the next event that can.
    """

    run: RunFolder
    every_s: float = 2.0
    _last_step: float = field(default=-math.inf, repr=False)
    _told: set[str] | None = field(default=None, repr=False)
    _pending: list[str] = field(default_factory=list, repr=False)

    def __call__(self, event: Event) -> None:
        """Write one event."""
        if not isinstance(event, KEPT):
            return
        if isinstance(event, events.Step):
            now = time.monotonic()
            if now - self._last_step < self.every_s:
                return
            self._last_step = now
        line = event_to_json(event)
        if isinstance(event, (events.Choice, events.FindingEvent)):
            if self._told is None:
                self._told = {event_to_json(before) for before in self.run.read_history()}
            if line in self._told:
                return  # an earlier sitting has told it
            self._told.add(line)
        self._pending.append(line + "\n")
        with contextlib.suppress(OSError):
            # what a checkpoint knows has to outlast a power cut as it does; a step can be spared
            kept = not isinstance(event, events.Step)
            _append(self.run.history_file, "".join(self._pending).encode(), flush=kept)
            self._pending.clear()


def _append(path: Path, content: bytes, *, flush: bool) -> None:
    """Append all of it or nothing."""
    end = None
    try:
        with open(path, "ab", buffering=0) as file:
            end = file.seek(0, os.SEEK_END)
            if file.write(content) != len(content):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if flush:
                with contextlib.suppress(OSError):  # it is written; some file systems can't flush
                    os.fsync(file.fileno())
    except OSError:  # network file systems may tell only when it is closed
        if end is not None:
            with contextlib.suppress(OSError):
                os.truncate(path, end)
        raise


def event_to_json(event: Event) -> str:
    """One line; a float that is not finite becomes null."""
    values = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in dataclasses.asdict(event).items()
    }
    told = {"event": type(event).__name__, **values}
    line = json.dumps(told, ensure_ascii=False)
    return line if line.isprintable() else json.dumps(told)  # names of files may be no text


@functools.cache
def _checked(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def event_from_json(line: bytes | str) -> Event | None:
    """Inverse of `event_to_json`; None for what is no event."""
    try:
        values = json.loads(line)
        kind = _KINDS[values.pop("event")]
        for key in (
            "loss",
            "f1",
            "precision",
            "recall",
            "localisation_error_um",
            "train_loss",
            "best_f1",
        ):
            if key in values and values[key] is None:
                values[key] = math.nan
        return _checked(kind).validate_python(values)  # type: ignore[no-any-return]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
