"""Writing so that a file is either the old one or the new one, never half of either.

The order is the one that survives a power cut: write beside the place, flush the file to the disk,
move it into place, flush the folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import stat
import tempfile
import time
import uuid
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterator

TEMPORARY_PREFIX = ".celltrain-"
"""What the names of unfinished files and folders begin with."""
OLD = "replaced"
"""Beside an unfinished folder: the folder that it takes the place of."""
LONGEST_TOLD = 1000
"""Letters of a path in a sentence."""
SECONDS_UNTIL_DEAD = 24 * 3600
"""No writing takes that long without touching what it writes."""
_LEFT_BY = re.compile(re.escape(TEMPORARY_PREFIX) + r"(.*)-(\d{1,9})-[^-]*")
"""Which computer, as `_computer` names it, and which of its processes made an unfinished folder."""
_NO_FLUSH_OF_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS)
"""How file systems, network ones above all, say that they know no such thing."""

_AWAY = "Is the network drive connected? Try again, or choose another place."
_WHAT_TO_DO = {
    errno.ENOSPC: "Make room there, or choose another place.",
    errno.EDQUOT: "Your share of that disk is used up: make room, or choose another place.",
    errno.EACCES: "Choose a place where you may write, or ask whoever it belongs to.",
    errno.EPERM: "Choose a place where you may write, or ask whoever it belongs to.",
    errno.EROFS: "That disk can only be read: choose another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EFBIG: "That disk, or your account, takes no files as large: choose another place.",
    errno.EIO: "The disk may be failing: choose another place, and have that one looked at.",
    errno.ESTALE: _AWAY,
    errno.ENOTCONN: _AWAY,
    errno.EHOSTDOWN: _AWAY,
    errno.ETIMEDOUT: _AWAY,
}
"""Where writing fails."""
_TEMPORARY = "Make room, or name another folder in the environment variable TMPDIR."
"""TMPDIR is asked first on every system, Windows included."""


def cache_folder() -> Path:
    """Where things are kept that can be made again: samples, what was measured on the machine."""
    base = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(base or Path.home() / ".cache") / "napari-celltrain"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to; moved to `path` when the block ends, removed when it fails.

    Works for a file and for a folder. Two folders can't be exchanged in one step, so there is a
    moment at which neither is at `path`, but both, complete, are beside it: `remove_leftovers`
    puts the new one in its place should the process be killed right then, and so does the next
    writing beside it.

    Raises
    ------
    CellTrainError
        When the place can't be written (no folder, no permission, disk full), or what is written
        names a file whose name is no text.
    """
    path = Path(path)
    if "\0" in str(path):
        raise CellTrainError(f"{_brief(path)} can't be the name of a file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers_of_the_dead(path.parent)
    except OSError as error:
        raise CellTrainError(cannot_be_written(path, error)) from error
    # named before it is made: a signal that comes while it is made must not leave it there
    made_by = f"{TEMPORARY_PREFIX}{_computer()}-{os.getpid()}"
    holder = path.parent / f"{made_by}-{uuid.uuid4().hex[:12]}"
    try:
        holder.mkdir(0o700)
        # in a folder of its own, so that its name can't be that of what is replaced
        (holder / "new").mkdir()
        temporary = holder / "new" / path.name
        yield temporary
        if temporary.is_dir():
            _flush_tree(temporary)
            _flush_folder(holder / "new")
            if path.is_dir() and not path.is_symlink():
                os.replace(path, holder / OLD)
        else:
            _flush(temporary)
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except OSError as error:
        raise CellTrainError(cannot_be_written(path, error)) from error
    except UnicodeEncodeError as error:
        raise CellTrainError(
            f"{path} can't be written: {error.object[:200]!a} holds bytes that are no text in any "
            "language. Rename the file or folder of that name."
        ) from error
    finally:
        # whatever happened, even Ctrl+C between two moves: what was there is there
        if os.path.exists(holder / OLD) and not path.exists():
            os.replace(holder / OLD, path)
        shutil.rmtree(holder, ignore_errors=True)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder for what is needed for a moment; it is gone when the block ends.

    Raises
    ------
    CellTrainError
        When there is no place for it, or no room left in it.
    """
    try:
        holder = tempfile.TemporaryDirectory(prefix="celltrain-", ignore_cleanup_errors=True)
    except OSError as error:
        raise CellTrainError(
            f"There is no place for temporary files: {error.strerror or error}. {_TEMPORARY}"
        ) from None
    with holder as folder:
        try:
            yield Path(folder)
        except OSError as error:
            if error.filename is not None and not Path(error.filename).is_relative_to(folder):
                raise  # it is about something else
            raise CellTrainError(
                f"Temporary files can't be written in {Path(folder).parent}: "
                f"{error.strerror or error}. {_TEMPORARY}"
            ) from None


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file, atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file, atomically, with the line ends as given."""
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode("utf-8"))


def check_readable(path: Path) -> None:
    """Refuse a place that can't be looked at; one that is missing is left to whoever reads it.

    Raises
    ------
    CellTrainError
        When the name is too long or none that a file can have, or permission is missing.
    """
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            os.scandir(path).close()
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise CellTrainError(
            f"{_brief(path)} can't be opened: {error.strerror or error}."
        ) from None
    except ValueError:
        raise CellTrainError(f"{_brief(path)} can't be the name of a file.") from None


def content_of(path: Path, most_bytes: int) -> bytes:
    """Return the content of an ordinary file.

    Parameters
    ----------
    path
        The file; a pipe, whose end may never come, is refused.
    most_bytes
        A larger file is refused unread.

    Raises
    ------
    OSError
        As reading does, and for what is refused.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is no ordinary file")
    if found.st_size > most_bytes:
        raise OSError(errno.EFBIG, f"it is larger than {most_bytes / 2**20:g} MiB")
    return Path(path).read_bytes()


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left unfinished in a folder that only one process writes to.

    A folder whose replacement was complete but not yet in its place is put there.
    """
    for leftover in folder.glob(TEMPORARY_PREFIX + "*"):
        _remove(leftover)


def _remove_leftovers_of_the_dead(folder: Path) -> None:
    """Remove what processes left unfinished that are certainly no more.

    Others may write to the same folder at this moment, from this computer or another one.
    """
    for leftover in folder.glob(TEMPORARY_PREFIX + "*"):
        made_by = _LEFT_BY.fullmatch(leftover.name)
        if made_by is None or not leftover.is_dir():
            continue
        if made_by[1] == _computer():
            import psutil  # only needed where something was killed

            is_dead = not psutil.pid_exists(int(made_by[2]))
        else:
            # the number of its process means nothing here
            is_dead = _seconds_untouched(leftover) > SECONDS_UNTIL_DEAD
        if is_dead:
            _remove(leftover)


@cache
def _computer() -> str:
    """Return what two processes have in common that can see each other.

    Containers share the name of their host, or all have the same one, and number their processes
    anew; so do computers that were set up from one image.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        there = f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:  # not Linux, or one that tells nothing
        there = f"{uuid.getnode():x}"
    digest = hashlib.sha256(there.encode()).hexdigest()[:12]
    return re.sub(r"[^A-Za-z0-9]", "", platform.node())[:40] + "-" + digest


def _seconds_untouched(folder: Path) -> float:
    """Return how long ago a folder or something in it was last changed; 0 where none can tell."""
    now = youngest = time.time()
    try:
        youngest = folder.stat().st_mtime
        for place in folder.rglob("*"):
            if now - youngest < SECONDS_UNTIL_DEAD:
                break
            youngest = max(youngest, place.lstat().st_mtime)
    except OSError:
        return 0.0
    return now - youngest


def _remove(leftover: Path) -> None:
    if leftover.is_dir():
        with contextlib.suppress(OSError):
            _put_in_place(leftover, leftover.parent)
        shutil.rmtree(leftover, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            leftover.unlink()


def _put_in_place(leftover: Path, folder: Path) -> None:
    if not (leftover / OLD).exists():
        return  # it was killed before the new one was complete, and nothing was moved
    for new in (leftover / "new").iterdir():
        if not (folder / new.name).exists():
            os.replace(new, folder / new.name)


def _flush_tree(folder: Path) -> None:
    for place in folder.rglob("*"):
        if place.is_dir():
            _flush_folder(place)
        elif place.is_file():
            _flush(place)
    _flush_folder(folder)


def _flush(file: Path) -> None:
    with open(file, "rb+") as handle:
        os.fsync(handle.fileno())


def _flush_folder(folder: Path) -> None:
    """Flush the names in a folder, where that can be done: the content of its files is safe."""
    if os.name == "nt":  # a folder can't be opened there, and NTFS journals the move
        return
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # one may write to it, but not look into it
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FLUSH_OF_FOLDERS:
            raise
    finally:
        os.close(handle)


def cannot_be_written(path: Path, error: OSError) -> str:
    """Say why a place can't be written, and for the usual causes what to do."""
    told = f"{_brief(path)} can't be written: {error.strerror or error}."
    advice = _WHAT_TO_DO.get(error.errno or 0)
    return told if advice is None else f"{told} {advice}"


def _brief(path: Path) -> str:
    """Return a path for a sentence; of one that is far too long the beginning."""
    return str(path) if len(str(path)) < LONGEST_TOLD else f"{str(path)[:LONGEST_TOLD]}..."
