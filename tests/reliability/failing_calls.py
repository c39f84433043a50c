"""Makes one system call on the files of a folder fail, once.

Whatever opens, writes, flushes, cuts, moves or removes a file below the folder is counted, so that
a test can let the first such call fail, then the second, and so on to the last.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

ERRORS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EINTR]
NAMES = ("open", "mkdir", "replace", "unlink")
HANDLES = ("write", "fsync", "ftruncate", "lseek", "close")
"""Functions of `os` whose first argument is a name, or an open file."""


class Failing:
    """Counts the calls, and lets one of them fail.

    Parameters
    ----------
    patch
        Undoes it.
    folder
        Calls on files elsewhere are let alone.
    nth
        Which call fails, counted from 1; 0: none.
    number
        Of the error. A full disk (ENOSPC) takes the first half of what is to be written.
    """

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path, nth: int, number: int) -> None:
        self.calls = 0
        self.failed = ""
        self._folder, self._nth, self._number = str(folder), nth, number
        self._full = False
        for name in NAMES:
            patch.setattr(os, name, self._watched(name, getattr(os, name), os.fspath))
        for name in HANDLES:
            patch.setattr(os, name, self._watched(name, getattr(os, name), _place_of))
        original = io.open
        for module in (io, builtins):
            patch.setattr(module, "open", self._opening(original))

    def comes(self, name: str, place: object) -> None:
        """Count a call, and fail if it is its turn."""
        if not str(place).startswith(self._folder):
            return
        self.calls += 1
        if self.calls == self._nth:
            self.failed = f"{name} {place}"
            raise OSError(self._number, os.strerror(self._number), str(place))

    def room(self, place: object, data: Any) -> Any:
        """Return as much of some data as there is room for."""
        if self._full:
            self._full = False
            raise OSError(self._number, os.strerror(self._number), str(place))
        try:
            self.comes("write", place)
        except OSError:
            size = len(memoryview(data).cast("B")) // 2
            if self._number != errno.ENOSPC or not size:
                raise
            self._full = True
            return memoryview(data).cast("B")[:size]
        return data

    def _watched(
        self, name: str, original: Callable[..., Any], place_of: Callable[[Any], Any]
    ) -> Callable[..., Any]:
        def call(first: Any, *args: Any, **kwargs: Any) -> Any:
            place = place_of(first) if isinstance(first, (str, os.PathLike, int)) else first
            if name == "write":
                return original(first, self.room(place, args[0]))
            if name == "close":
                is_folder = os.path.isdir(place)  # of which a close can't fail
                original(first)  # one that failed is closed all the same
                return None if is_folder else self.comes(name, place)
            if name != "open" or (args and args[0] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
                self.comes(name, place)
            return original(first, *args, **kwargs)

        return call

    def _opening(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def opened(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: str | None = None,
            errors: str | None = None,
            newline: str | None = None,
            **more: Any,
        ) -> Any:
            here = isinstance(file, (str, os.PathLike)) and str(file).startswith(self._folder)
            if not here or not set(mode) & set("wax+"):
                return original(file, mode, buffering, encoding, errors, newline, **more)
            self.comes("open", file)
            raw = _Raw(os.fspath(file), mode.replace("b", "").replace("t", ""))
            raw.watching = self
            if buffering == 0:
                return raw
            buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffer
            return io.TextIOWrapper(buffer, encoding or "utf-8", errors, newline)

        return opened


class _Raw(io.FileIO):
    watching: Failing

    def write(self, data: Any, /) -> int:
        return super().write(self.watching.room(self.name, data))

    def truncate(self, size: int | None = None, /) -> int:
        self.watching.comes("truncate", self.name)
        return super().truncate(size)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self.watching.comes("close", self.name)


def _place_of(handle: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{handle}")
    except OSError:
        return ""
