"""What somebody who helps needs to know of a run: versions, device, settings, what happened when.

``debug.log`` is text to read, appended by every sitting; nothing is ever read back from it.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import traceback
from importlib import metadata
from typing import TYPE_CHECKING

from napari_celltrain import __version__
from napari_celltrain.errors import CellTrainError, shown
from napari_celltrain.files import write_bytes
from napari_celltrain.training.events import (
    CheckpointSaved,
    Choice,
    Evaluation,
    FindingEvent,
    Finished,
    StateChanged,
)
from napari_celltrain.training.run import time_stamp

if TYPE_CHECKING:
    from napari_celltrain.training.events import Event
    from napari_celltrain.training.run import RunFolder
    from napari_celltrain.training.settings import TrainingSettings

LARGEST = 2 * 2**20
"""Bytes; of a longer log the older half is forgotten when a sitting begins."""
SITTING_BEGINS = "=== napari-celltrain"
"""In the first line of each sitting."""
_PACKAGES = (
    "torch", "numpy", "scipy", "tifffile", "imagecodecs", "zarr", "h5py", "safetensors", "pydantic",
    "napari", "PyQt6", "PySide6",
)  # fmt: skip


class DebugLog:
    """A callback for `train` that keeps a log in the run folder.

    A log that can't be written is no reason to stop: nothing is raised.
    """

    def __init__(self, run: RunFolder) -> None:
        self._file = run.log_file
        self._saved = 0

    def begin(self, settings: TrainingSettings) -> None:
        """Write down with what a sitting begins."""
        self._shorten()
        asked = [line for line in settings.to_toml().splitlines() if line.strip()]
        self._write(
            f"{SITTING_BEGINS} {__version__}, process {os.getpid()}",
            f"Python {platform.python_version()} on {platform.platform()}, "
            f"{os.cpu_count()} processors",
            "versions: " + ", ".join(_versions()),
            f"started by: {' '.join(sys.argv[:2])}",
            "settings:",
            *(f"    {line}" for line in asked),
        )

    def __call__(self, event: Event) -> None:
        """Write one event, if it is more than a step forward."""
        match event:
            case Choice():
                self._write(f"{event.name}: {event.value} ({event.reason})")
            case FindingEvent():
                finding = event.finding
                about = f"{finding.experiment}: " if finding.experiment else ""
                self._write(f"{finding.severity}: {about}{finding.message}")
            case Evaluation():
                self._write(
                    f"step {event.step}: F1 {event.f1:.4f}, precision {event.precision:.4f}, "
                    f"recall {event.recall:.4f}, threshold {event.threshold:.4f}, "
                    f"loss {event.train_loss:.5f}{', best so far' if event.best else ''}"
                )
            case CheckpointSaved():
                self._saved = event.step
            case StateChanged() if event.state != "evaluating":
                self._write(f"{event.state}: {event.sentence}")
            case Finished():
                self._write(
                    f"finished at step {event.step} after {event.seconds:.1f} s, last checkpoint "
                    f"{self._saved}",
                    *(f"    {name}: {value:.6g}" for name, value in event.performance.items()),
                )

    def failed(self, error: BaseException) -> None:
        """Write down what ended the sitting before its end."""
        self._write("ended by an error:", *traceback.format_exception(error))

    def _write(self, *texts: str) -> None:
        now = time_stamp()
        lines = [line for text in texts for line in shown(text).splitlines()]
        with contextlib.suppress(OSError), open(self._file, "a", encoding="utf-8") as file:
            file.write("".join(f"{now} {line}\n" for line in lines))

    def _shorten(self) -> None:
        with contextlib.suppress(OSError, CellTrainError):
            if self._file.stat().st_size > LARGEST:
                kept = self._file.read_bytes()[-LARGEST // 2 :].partition(b"\n")[2]
                write_bytes(self._file, kept)


def _versions() -> list[str]:
    found = []
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found.append(f"{name} {metadata.version(name)}")
    return found
