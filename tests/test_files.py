"""Whatever fails on the way, a file is the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest

from napari_celltrain import files
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import (
    TEMPORARY_PREFIX,
    remove_leftovers,
    replacing,
    temporary_folder,
    write_bytes,
    write_text,
)

ERRORS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EINTR]
CALLS = ["mkdir", "mkdir beside", "write_bytes", "open", "fsync file", "fsync folder", "replace"]


def _leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(TEMPORARY_PREFIX + "*"))


def _fail(monkeypatch: pytest.MonkeyPatch, call: str, number: int, nth: int = 1) -> list[str]:
    """Make the nth system call of a kind fail once; returns the list of failures that happened."""
    failed: list[str] = []
    calls = 0

    def once(original, applies=lambda *args: True):
        def wrapped(*args, **kwargs):
            nonlocal calls
            if applies(*args):
                calls += 1
                if calls == nth and not failed:
                    failed.append(call)
                    raise OSError(number, os.strerror(number))
            return original(*args, **kwargs)

        return wrapped

    def is_folder(handle: int) -> bool:
        import stat

        return stat.S_ISDIR(os.fstat(handle).st_mode)

    if call == "mkdir":
        monkeypatch.setattr(Path, "mkdir", once(Path.mkdir))
    elif call == "mkdir beside":
        beside = once(Path.mkdir, lambda path, *_: path.name.startswith(TEMPORARY_PREFIX))
        monkeypatch.setattr(Path, "mkdir", beside)
    elif call == "write_bytes":
        monkeypatch.setattr(Path, "write_bytes", once(Path.write_bytes))
    elif call == "open":
        monkeypatch.setattr(files, "open", once(open), raising=False)
    elif call == "replace":
        monkeypatch.setattr(os, "replace", once(os.replace))
    elif call == "fsync file":
        monkeypatch.setattr(os, "fsync", once(os.fsync, lambda h: not is_folder(h)))
    elif call == "fsync folder":
        monkeypatch.setattr(os, "fsync", once(os.fsync, is_folder))
    return failed


@pytest.mark.parametrize("number", ERRORS, ids=lambda n: errno.errorcode[n])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("exists", [True, False], ids=["replaced", "new"])
def test_a_failing_system_call_leaves_the_old_or_the_new_file(
    tmp_path, monkeypatch, call, number, exists
):
    path = tmp_path / "folder" / "file.bin"
    path.parent.mkdir()
    if exists:
        path.write_bytes(b"old" * 1000)
    with monkeypatch.context() as patch:
        failed = _fail(patch, call, number)
        with pytest.raises(CellTrainError) as error:
            write_bytes(path, b"new" * 2000)
    assert failed
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    content = path.read_bytes() if path.exists() else None
    assert content in (b"old" * 1000 if exists else None, b"new" * 2000)
    assert not _leftovers(path.parent)
    write_bytes(path, b"again")  # and it works once the disk does
    assert path.read_bytes() == b"again"


def _make_folder(path: Path, text: str) -> None:
    path.mkdir()
    for name in ("a", "b"):
        (path / name).write_text(text)


@pytest.mark.parametrize("number", ERRORS, ids=lambda n: errno.errorcode[n])
@pytest.mark.parametrize(
    ("call", "nth"),
    [
        ("open", 1),
        ("open", 2),
        ("fsync file", 1),
        ("fsync file", 2),
        ("fsync folder", 1),
        ("fsync folder", 2),
        ("fsync folder", 3),
        ("replace", 1),
        ("replace", 2),
    ],
)
def test_a_failing_system_call_leaves_the_old_or_the_new_folder(
    tmp_path, monkeypatch, call, nth, number
):
    path = tmp_path / "folder"
    _make_folder(path, "old")
    failed: list[str] = []
    with (  # noqa: PT012
        monkeypatch.context() as patch,
        pytest.raises(CellTrainError),
        replacing(path) as temporary,
    ):
        _make_folder(temporary, "new")
        failed = _fail(patch, call, number, nth)
    assert failed
    assert {file.read_text() for file in path.iterdir()} in ({"old"}, {"new"})
    assert len(list(path.iterdir())) == 2
    assert not _leftovers(tmp_path)


def test_an_interruption_just_as_the_folder_beside_it_is_made_leaves_nothing(tmp_path, monkeypatch):
    make = os.mkdir

    def make_and_interrupt(*args):
        make(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "mkdir", make_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(tmp_path / "file.bin", b"new")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("raised", [KeyboardInterrupt, SystemExit, MemoryError, ValueError])
@pytest.mark.parametrize("move", [1, 2], ids=["before the old is moved", "before the new is"])
def test_an_interruption_between_the_two_moves_loses_nothing(tmp_path, monkeypatch, raised, move):
    path = tmp_path / "folder"
    _make_folder(path, "old")
    calls = 0
    original = os.replace

    def replace(*args):
        nonlocal calls
        calls += 1
        if calls == move:
            raise raised
        original(*args)

    with (  # noqa: PT012
        monkeypatch.context() as patch,
        pytest.raises(raised),
        replacing(path) as temporary,
    ):
        _make_folder(temporary, "new")
        patch.setattr(os, "replace", replace)
    assert {file.read_text() for file in path.iterdir()} == {"old"}
    assert not _leftovers(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
from napari_celltrain import files
path, move = Path(sys.argv[1]), int(sys.argv[2])
original, calls = os.replace, 0
def replace(*args):
    global calls
    calls += 1
    if calls == move:
        os.kill(os.getpid(), signal.SIGKILL)
    original(*args)
with files.replacing(path) as temporary:
    temporary.mkdir()
    for name in ("a", "b"):
        (temporary / name).write_text("new")
    os.replace = replace
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
@pytest.mark.parametrize(("move", "expected"), [(1, "old"), (2, "new")])
def test_a_folder_survives_a_kill_between_the_two_moves(tmp_path, move, expected):
    path = tmp_path / "folder"
    _make_folder(path, "old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(move)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert _leftovers(tmp_path)
    remove_leftovers(tmp_path)
    assert not _leftovers(tmp_path)
    assert sorted(file.name for file in path.iterdir()) == ["a", "b"]
    assert {file.read_text() for file in path.iterdir()} == {expected}


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
@pytest.mark.parametrize(("move", "expected"), [(1, "old"), (2, "new")])
def test_the_next_writing_clears_what_a_killed_one_left(tmp_path, move, expected):
    path = tmp_path / "folder"
    _make_folder(path, "old")
    subprocess.run([sys.executable, "-c", KILLED, str(path), str(move)], check=False)
    assert _leftovers(tmp_path)
    write_text(tmp_path / "other", "text")
    assert not _leftovers(tmp_path)
    assert {file.read_text() for file in path.iterdir()} == {expected}


def test_what_others_are_writing_is_left_alone(tmp_path):
    with replacing(tmp_path / "mine") as mine:  # this process is alive
        mine.write_text("half")
        write_text(tmp_path / "other", "text")
        assert mine.exists()
        mine.write_text("whole")
    elsewhere = tmp_path / f"{TEMPORARY_PREFIX}x{files._computer()}-999999999-abc"
    unknown = tmp_path / f"{TEMPORARY_PREFIX}abc"
    for folder in (elsewhere, unknown):
        folder.mkdir()
    write_text(tmp_path / "other", "text")
    assert elsewhere.exists()
    assert unknown.exists()
    assert (tmp_path / "mine").read_text() == "whole"


IN_ANOTHER_CONTAINER = """
import os, sys
from pathlib import Path
from napari_celltrain.files import replacing
while str(os.getpid()) in sys.argv[2].split():  # until it has a number that nobody has outside
    child = os.fork()
    if child:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    print("writing", flush=True)
    sys.stdin.readline()
    temporary.write_text("whole")
"""


def _unshare() -> list[str]:
    """Return the command that starts a program as in a container; empty where that can't be."""
    for options in (["--pid"], ["--pid", "--user", "--map-root-user"]):
        command = ["unshare", *options, "--fork", "--mount-proc"]
        with contextlib.suppress(OSError):
            if subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
                return command
    return []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="has no such containers")
def test_a_living_writer_in_another_container_is_left_alone(tmp_path):
    """It has the same host's name, and a process number that nobody has here."""
    command = _unshare()
    if not command:
        pytest.skip("containers can't be made here")
    here = " ".join(map(str, psutil.pids()))
    with subprocess.Popen(
        [*command, sys.executable, "-c", IN_ANOTHER_CONTAINER, str(tmp_path / "theirs"), here],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        (theirs,) = _leftovers(tmp_path)
        write_text(tmp_path / "mine", "text")
        assert theirs.is_dir()
        other.communicate("go on\n", timeout=30)
    assert other.returncode == 0
    assert (tmp_path / "theirs").read_text() == "whole"


@pytest.mark.parametrize("is_old", [True, False])
@pytest.mark.parametrize("touched", [".", "new", "new/folder/file"])
def test_what_nobody_here_can_know_of_is_dead_after_a_day(tmp_path, is_old, touched):
    left = tmp_path / f"{TEMPORARY_PREFIX}otherhost-0123456789ab-5-abc"
    (left / "new" / "folder").mkdir(parents=True)
    (left / "new" / "folder" / "file").write_text("half")
    places = [left, *left.rglob("*")]
    day_before = time.time() - 2 * files.SECONDS_UNTIL_DEAD
    for place in places:
        os.utime(place, (day_before, day_before))
    if not is_old:
        os.utime(left / touched)
    write_text(tmp_path / "other", "text")
    assert left.exists() is not is_old


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EBADF])
def test_a_file_system_that_cannot_flush_folders_is_no_failure(tmp_path, monkeypatch, number):
    """Some network file systems: the content is in place, and there is no more to be done."""
    failed = _fail(monkeypatch, "fsync folder", number)
    write_text(tmp_path / "file", "new")
    assert failed
    assert (tmp_path / "file").read_text() == "new"
    monkeypatch.undo()
    failed = _fail(monkeypatch, "fsync folder", number)
    with replacing(tmp_path / "folder") as temporary:
        _make_folder(temporary, "new")
    assert failed
    monkeypatch.undo()
    failed = _fail(monkeypatch, "fsync file", number)
    with pytest.raises(CellTrainError):  # a file's content may be lost: that is told
        write_text(tmp_path / "file", "newer")


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_folder_that_one_may_not_look_into_can_be_written_to(tmp_path):
    place = tmp_path / "drop box"
    place.mkdir()
    place.chmod(0o300)
    try:
        write_text(place / "file", "new")
        assert (place / "file").read_text() == "new"
    finally:
        place.chmod(0o700)


def test_an_error_while_writing_leaves_the_old_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises(ValueError, match="mine"), replacing(path) as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise ValueError("mine")
    assert path.read_text() == "old"
    assert not _leftovers(tmp_path)


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(CellTrainError), replacing(tmp_path / "file"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_on_the_way_are_made(tmp_path):
    write_text(tmp_path / "a" / "b" / "c.txt", "é\n")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "é\n".encode()


def test_a_file_where_a_folder_should_be_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CellTrainError, match="can't be written"):
        write_text(tmp_path / "file" / "below", "y")


def test_a_folder_where_a_file_should_be_is_a_sentence(tmp_path):
    _make_folder(tmp_path / "folder", "old")
    with pytest.raises(CellTrainError, match="can't be written"):
        write_text(tmp_path / "folder", "y")
    assert (tmp_path / "folder" / "a").read_text() == "old"


@pytest.mark.usefixtures("bound_by_permissions")
def test_a_folder_without_permission_is_a_sentence(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CellTrainError, match="can't be written"):
            write_text(tmp_path / "file", "y")
    finally:
        tmp_path.chmod(0o700)


def test_only_own_leftovers_are_removed(tmp_path):
    mine = tmp_path / (TEMPORARY_PREFIX + "x")
    mine.mkdir()
    (mine / "file").write_text("half")
    (tmp_path / (TEMPORARY_PREFIX + "y")).write_text("half")
    (tmp_path / "precious").write_text("whole")
    remove_leftovers(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["precious"]
    remove_leftovers(tmp_path / "missing")


LIMITED = """
import resource, signal, sys
from pathlib import Path
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import write_bytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    write_bytes(Path(sys.argv[1]), bytes(100_000))
except CellTrainError as error:
    print(error)
"""


@pytest.mark.skipif(os.name == "nt", reason="no such limit there")
def test_a_write_that_the_system_cuts_short_is_a_sentence(tmp_path):
    """The kernel stops the write half-way here, as a full disk or a quota does."""
    path = tmp_path / "file"
    path.write_bytes(b"old")
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(path)], capture_output=True, text=True, check=False
    )
    assert "can't be written: File too large" in done.stdout, done.stderr
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "Make room there"),
        (errno.EDQUOT, "Your share of that disk is used up"),
        (errno.EACCES, "where you may write"),
        (errno.EROFS, "can only be read"),
        (errno.ENAMETOOLONG, "shorter name"),
        (errno.ESTALE, "network drive"),
    ],
)
def test_where_writing_fails_it_is_said_what_to_do(tmp_path, monkeypatch, number, advice):
    def fail(*args, **kwargs):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(CellTrainError) as told:
        write_text(tmp_path / "file", "x")
    assert f"file can't be written: {os.strerror(number)}. " in str(told.value)
    assert advice in str(told.value)


def test_a_name_that_is_too_long_is_said_to_be(tmp_path):
    with pytest.raises(CellTrainError, match="Choose a shorter name"):
        write_text(tmp_path / ("x" * 300), "y")


def test_a_temporary_folder_is_gone_when_it_is_no_longer_needed():
    with temporary_folder() as folder:
        (folder / "file").write_text("x")
    assert not folder.exists()


def test_a_missing_temporary_folder_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with (
        pytest.raises(CellTrainError, match=r"no place for temporary files.*TMPDIR"),
        temporary_folder(),
    ):
        pass


def test_a_full_temporary_folder_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(CellTrainError) as told, temporary_folder():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert f"{tmp_path}: No space left on device. Make room, or name" in str(told.value)
    assert not list(tmp_path.iterdir())


def test_what_fails_elsewhere_is_not_laid_at_the_temporary_folder(tmp_path):
    with pytest.raises(FileNotFoundError), temporary_folder():
        (tmp_path / "missing").read_bytes()
