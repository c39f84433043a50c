"""Tasks for another process: what comes back, and what becomes of crashes, circles and noise."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import psutil
import pytest

from napari_celltrain.images import apart
from napari_celltrain.images.apart import ApartError


def read_apart(program, *arguments):
    return apart.read_apart(program, *arguments, n_bytes=1000)


@pytest.fixture
def program(tmp_path):
    """Make a program of the body of its function."""
    made = []

    def make(body):
        path = tmp_path / f"program{len(made)}.py"
        made.append(path)
        path.write_text("def answer(*given):\n" + textwrap.indent(textwrap.dedent(body), "    "))
        return path

    return make


def test_values_and_arrays_come_back(program):
    task = program(
        """
        import numpy as np
        rows = np.array([(1, 2.5)], [("ID", "i8"), ("X", "f4")])
        wide = np.arange(600_000, dtype="u2").reshape(2, 300, 1000)[:, ::2]
        return {"given": given}, {"rows": rows, "wide": wide, "none": np.empty((0, 3))}
        """
    )
    values, arrays = read_apart(task, "a", [1, None])
    assert values == {"given": ["a", [1, None]]}
    assert arrays["rows"].tolist() == [(1, 2.5)]
    assert arrays["rows"].dtype.names == ("ID", "X")
    expected = np.arange(600_000, dtype="u2").reshape(2, 300, 1000)[:, ::2]
    np.testing.assert_array_equal(arrays["wide"], expected)
    assert arrays["none"].shape == (0, 3)


def test_one_process_does_all_tasks(program):
    task = program("import os\nreturn os.getpid(), {}")
    first, second = read_apart(task)[0], read_apart(task)[0]
    assert first == second != os.getpid()


def test_an_error_is_told_in_its_own_words(program):
    with pytest.raises(ApartError, match="ValueError too large"):
        read_apart(program("raise ValueError('too large')"))


def test_what_a_library_prints_does_not_get_between(program):
    task = program(
        """
        import os, sys
        print("hello")
        os.write(1, b"from the library")
        os.write(2, b"x" * 1_000_000)
        sys.stdout.flush()
        return 7, {}
        """
    )
    assert read_apart(task)[0] == 7


def test_after_a_crash_there_is_another_process(program):
    pid = program("import os\nreturn os.getpid(), {}")
    before = read_apart(pid)[0]
    with pytest.raises(ApartError, match="crashed"):
        read_apart(program("import os\nos.abort()"))
    assert read_apart(pid)[0] != before
    assert not psutil.pid_exists(before)


def test_a_file_is_not_blamed_for_what_an_earlier_one_did(program, tmp_path):
    """A damaged file may leave a process behind that crashes at the next, good one."""
    task = program(
        f"""
        import os, pathlib
        mark = pathlib.Path({str(tmp_path / "mark")!r})
        if mark.exists() and mark.read_text() == str(os.getpid()):
            os.abort()
        mark.write_text(str(os.getpid()))
        return "fine", {{}}
        """
    )
    assert read_apart(task)[0] == "fine"
    assert read_apart(task)[0] == "fine"


@pytest.mark.skipif(sys.platform == "win32", reason="processor time is not limited there")
def test_a_circle_ends_by_processor_time(program, monkeypatch):
    monkeypatch.setattr(apart, "SHORTEST_S", 0.2)
    with pytest.raises(ApartError, match="comes to no end"):
        read_apart(program("while True:\n    pass"))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is not limited there")
def test_a_task_gets_no_more_memory_than_it_may_need(program, monkeypatch):
    with pytest.raises(ApartError, match="MemoryError"):
        read_apart(program("return len([0] * 10**8), {}"))
    much = program("import numpy as np\nreturn 1, {'a': np.ones(10**8, np.uint8)}")
    assert len(read_apart(much)[1]["a"]) == 10**8


def test_sleep_without_end_ends_by_the_clock(program, monkeypatch):
    monkeypatch.setattr(apart, "LONGEST_S", 0.5)
    monkeypatch.setattr(apart, "SHORTEST_S", 0.2)
    with pytest.raises(ApartError, match="comes to no end"):
        read_apart(program("import time\ntime.sleep(1000)"))


def test_threads_get_their_own_answers(program):
    task = program(
        "import numpy as np\nreturn given[0], {'n': np.full(10_000 + given[0], given[0])}"
    )
    wrong = []

    def ask(number):
        for _ in range(20):
            value, arrays = read_apart(task, number)
            if value != number or not (arrays["n"] == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_nothing_is_left_when_the_program_ends(program):
    task = program("import os\nreturn os.getpid(), {}")
    code = (
        "import pathlib, sys\nfrom napari_celltrain.images.apart import read_apart\n"
        "print(read_apart(pathlib.Path(sys.argv[1]), n_bytes=1)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(task)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert not psutil.pid_exists(int(done.stdout))


def test_nothing_is_left_when_the_program_is_killed(program):
    task = program("import os\nreturn os.getpid(), {}")
    code = (
        "import pathlib, sys, time\nfrom napari_celltrain.images.apart import read_apart\n"
        "print(read_apart(pathlib.Path(sys.argv[1]), n_bytes=1)[0], flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(task)], stdout=subprocess.PIPE, text=True
    ) as started:
        reader = psutil.Process(int(started.stdout.readline()))
        started.kill()
        psutil.wait_procs([reader], timeout=20)
    assert not reader.is_running() or reader.status() == psutil.STATUS_ZOMBIE


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is forked here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_its_own(program):
    task = program("import os\nreturn os.getpid(), {}")
    mine = read_apart(task)[0]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, str(read_apart(task)[0]).encode())
        finally:
            apart._process.end()
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        theirs = int(answer.read())
    assert theirs not in (mine, os.getpid())
    assert read_apart(task)[0] == mine
