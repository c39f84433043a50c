"""The run folder: where everything of a training run is, and who may write to it.

::

    RUN/
        settings.toml       what was asked for
        dataset.toml        what it trains on
        history.jsonl       one event a line, appended
        run.json            state, dates, the choices made; rewritten whole
        debug.log           versions, device, settings, what happened: to read, for who helps
        checkpoints/        to go on from: the newest two
        best/               the detector with the best held-out F1
        prepared/           images at the working scale; can be deleted at any time
        run.lock            held by the process that trains

Nothing here imports torch, so a window can list runs before torch is loaded.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import os
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 (dataclass fields are looked at)
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import (
    TEMPORARY_PREFIX,
    check_readable,
    content_of,
    remove_leftovers,
    write_text,
)
from napari_celltrain.training import events
from napari_celltrain.training.history import event_from_json, event_to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_celltrain.training.events import Event

LARGEST_STATE = 2**24
LARGEST_HISTORY = 2**30
"""Bytes; a step takes a hundred, and is told twice a second at most."""
LARGEST_NAME = 100
"""Bytes of what names the process that has a run."""


def is_number(value: object) -> bool:
    """Tell whether something out of a file is a number to reckon with: finite, and no truth."""
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < 1e300


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _anything(value: object) -> bool:
    return True


STATE: dict[str, Callable[[object], bool]] = {
    "finished": lambda value: type(value) is bool,
    "fingerprint": _is_text,
    "started": _is_text,
    "ended": _is_text,
    "stopped_because": _is_text,
    "experiments": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "step": lambda value: type(value) is int,
    "seconds": is_number,
    "best_f1": is_number,
    "threshold": is_number,
    "measured": lambda value: isinstance(value, dict),
}
"""What the entries of ``run.json`` have to be; others are passed on as they are."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run, its history and its lock."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """What was asked for."""
        return self.path / "settings.toml"

    @property
    def dataset_file(self) -> Path:
        """What it trains on."""
        return self.path / "dataset.toml"

    @property
    def history_file(self) -> Path:
        """Events as JSON lines."""
        return self.path / "history.jsonl"

    @property
    def state_file(self) -> Path:
        """State, dates and choices."""
        return self.path / "run.json"

    @property
    def log_file(self) -> Path:
        """What somebody who helps wants to read."""
        return self.path / "debug.log"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """Folder of the best detector."""
        return self.path / "best"

    @property
    def prepared(self) -> Path:
        """Folder of the images at the working scale."""
        return self.path / "prepared"

    def is_run(self) -> bool:
        """Tell whether somebody started a run here."""
        return os.path.isfile(self.settings_file)  # also where nobody may look

    def check(self) -> None:
        """Refuse a folder that is none of a run.

        Raises
        ------
        CellTrainError
            Saying what is there instead.
        """
        check_readable(self.path)
        if not self.path.exists():
            raise CellTrainError(f"There is no folder {self.path}.")
        if not self.is_run():
            raise CellTrainError(f"{self.path} is no run folder: there is no settings.toml in it.")

    def check_free(self, *, resume: bool) -> None:
        """Refuse a folder that a run must not be written to.

        Raises
        ------
        CellTrainError
            When it is a file, or holds a run that is not to be resumed, or other things.
        """
        check_readable(self.path)
        if self.path.exists() and not self.path.is_dir():
            raise CellTrainError(f"{self.path} is a file; name a folder for the run.")
        others = self.foreign_files() if self.path.exists() else []
        if self.is_run():
            if not resume:
                raise CellTrainError(
                    f"The folder {self.path} is not empty. Choose another one (--out), or go on "
                    "with the run in it (--resume)."
                )
        elif others:
            raise CellTrainError(
                f"The folder {self.path} is not empty: it holds other things"
                + (", but no run to resume." if resume else ". Choose another one (--out).")
            )

    def foreign_files(self) -> list[Path]:
        """Return what is in the folder besides what a start leaves that was refused or killed."""
        left = ("run.lock", "run.pid", self.log_file.name, self.history_file.name)
        try:
            return [
                path
                for path in self.path.iterdir()
                if path.name not in left and not path.name.startswith(TEMPORARY_PREFIX)
            ]
        except OSError as error:
            raise CellTrainError(f"{self.path} can't be used: {error.strerror}.") from None

    def settings_text(self) -> str:
        """Return the settings file as it is; empty when it can't be read."""
        try:
            return content_of(self.settings_file, LARGEST_STATE).decode("utf-8", errors="replace")
        except OSError:
            return ""

    def is_finished(self) -> bool:
        """Tell whether the run came to its own end."""
        return bool(self.read_state().get("finished", False))

    def read_state(self) -> dict[str, Any]:
        """Return what ``run.json`` says, without what can't be; empty when it is missing."""
        try:
            state = json.loads(content_of(self.state_file, LARGEST_STATE))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(state, dict):
            return {}
        return {key: value for key, value in state.items() if STATE.get(key, _anything)(value)}

    def write_state(self, **changes: Any) -> None:
        """Change entries of ``run.json``."""
        state = {**self.read_state(), **changes}
        write_text(self.state_file, json.dumps(state, indent=1))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only process that writes to this run.

        The lock is the operating system's, so it ends with the process that holds it, however
        that ends; the file only says who it was.

        Raises
        ------
        CellTrainError
            When another process holds it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CellTrainError(f"{self.path} can't be used: {error.strerror}.") from None
        owner = self.path / "run.pid"
        lock = FileLock(self.path / "run.lock")
        try:
            lock.acquire(timeout=1)  # a window that asks `is_locked` holds it for a moment
        except Timeout:
            raise CellTrainError(
                f"Another process{_named_in(owner)} is training in {self.path}. Stop it first, or "
                "choose another folder."
            ) from None
        except OSError as error:
            raise CellTrainError(f"{self.path} can't be locked: {error.strerror}.") from None
        try:
            with contextlib.suppress(OSError):
                owner.write_text(f"process {os.getpid()}", "utf-8")
            for folder in (self.path, self.checkpoints, self.best, self.prepared):
                remove_leftovers(folder)
            yield
        finally:
            lock.release()

    def is_locked(self) -> bool:
        """Tell whether a living process trains here now."""
        if not (self.path / "run.lock").exists():
            return False
        lock = FileLock(self.path / "run.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            return True
        except OSError:
            return False
        lock.release()
        return False

    def read_history(self) -> list[Event]:
        """Return the events kept so far; a last line cut off by a crash is left out."""
        return [event for event, _ in self._history_lines()]

    def _history_lines(self) -> Iterator[tuple[Event, int]]:
        try:
            content = content_of(self.history_file, LARGEST_HISTORY)
        except OSError:
            return
        end = 0
        for line in content.splitlines(keepends=True):
            end += len(line)
            if not line.endswith(b"\n"):
                return
            event = event_from_json(line)
            if event is not None:
                yield event, end

    def truncate_history(self, step: int, evaluated: int) -> None:
        """Forget what a checkpoint doesn't know: the run goes on from it and would tell it twice.

        Parameters
        ----------
        step
            Of the checkpoint.
        evaluated
            The last step whose evaluation it knows. One at the very step of the checkpoint can
            be later than it: the run was killed between the telling and the next checkpoint.
        """

        def is_known(event: Event) -> bool:
            if isinstance(event, events.Evaluation):
                return event.step <= evaluated
            return getattr(event, "step", 0) <= step and not isinstance(event, events.Finished)

        lines = [event_to_json(event) for event in self.read_history() if is_known(event)]
        write_text(self.history_file, "".join(line + "\n" for line in lines))


def _named_in(owner: Path) -> str:
    """Return which process is named in a file, in brackets; nothing where it names none."""
    with contextlib.suppress(OSError, ValueError):  # ValueError: no text
        return f" ({content_of(owner, LARGEST_NAME).decode('utf-8')})"
    return ""


def time_stamp() -> str:
    """Return date and time, with the time zone, as they are kept in runs and detectors."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")
