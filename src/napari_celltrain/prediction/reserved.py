"""A place for results, reserved for one process."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import cannot_be_written

if TYPE_CHECKING:
    from typing import Self


class Reserved:
    """A place for results, which no other process can have meanwhile.

    Parameters
    ----------
    path
        Of the file of the results so far; nothing is changed there.

    Raises
    ------
    CellTrainError
        When another process has it, or nothing can be written there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = FileLock(str(path) + ".lock")
        self._closed = False
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except Timeout:
            if not Path(self._lock.lock_file).exists():  # nobody can have it: it can't be made
                raise CellTrainError(f"{path.parent} can't be written to.") from None
            raise CellTrainError(
                f"Another process is predicting into {path.with_suffix('')}. Wait for it, or "
                "choose another file."
            ) from None
        except OSError as error:
            raise CellTrainError(cannot_be_written(path, error)) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others have it."""
        if self._closed:  # the lock may be somebody else's by now
            return
        self._closed = True
        if os.name == "nt":  # which removes no open file
            self._lock.release()
        # else removed while it is held: who waits for it sees that it is gone, and makes a new one
        with contextlib.suppress(OSError):  # where it can't be removed it does no harm
            Path(self._lock.lock_file).unlink()
        self._lock.release()
