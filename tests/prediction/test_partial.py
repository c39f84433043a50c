"""The file of the results so far: nothing lost, nothing twice, nothing of somebody else's."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction import partial as partial_module
from napari_celltrain.prediction import partial_lines
from napari_celltrain.prediction.partial import PartialResults, measured_before, weights_digest
from napari_celltrain.prediction.predict import FrameResult
from napari_celltrain.prediction.reserved import Reserved

SHAPE = (9, 300, 400)
HEADER = {
    "celltrain_partial": 1,
    "shape": list(SHAPE),
    "detector": "abc",
    "movie": "m",
    "floor": 0.05,
}


def frame(t, n=3, damage=None):
    random = np.random.default_rng(t)
    return FrameResult(t, random.random((n, 3)) * SHAPE - 0.5, random.random(n), 0.5, damage)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "cells.csv.partial"


def fill(path, results, *, resume=False):
    with PartialResults(Reserved(path), HEADER, resume=resume) as partial:
        for one in results:
            partial.add(one, "stamp")


def test_numbers_come_back_with_all_their_digits(path):
    fill(path, [frame(0), frame(7, 0)])
    with PartialResults(Reserved(path), HEADER, resume=True) as partial:
        for t in (0, 7):
            expected = frame(t, 3 if t == 0 else 0)
            assert np.array_equal(partial.result(t).positions, expected.positions)
        assert len(partial.result(7)) == 0  # a time point without cells is known
        assert partial.result(1) is None


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 2000))
def test_cut_anywhere_loses_the_last_time_point_at_most(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "x.partial"
    ends = []
    with PartialResults(Reserved(path), HEADER, resume=False) as partial:
        for t in range(6):
            partial.add(frame(t))
            ends.append(path.stat().st_size)
    content = path.read_bytes()[:cut]
    path.write_bytes(content)
    complete = [t for t, end in enumerate(ends) if end <= len(content)]
    with PartialResults(Reserved(path), HEADER, resume=True) as partial:
        assert [t for t in range(6) if partial.result(t) is not None] == complete
        for t in range(6):
            if t not in complete:
                partial.add(frame(t))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["t"] for line in lines[1:]] == list(range(6))


def test_without_resume_what_was_found_is_kept_and_it_is_said_how_to_go_on(path):
    fill(path, [frame(0), frame(4, 0), frame(5, 0, "Time point 5 can't be read.")])
    before = path.read_bytes()
    with pytest.raises(CellTrainError, match=r"2 time points .*, or remove that file"):
        PartialResults(Reserved(path), {**HEADER, "movie": "other"}, resume=False)
    assert path.read_bytes() == before
    fill(path, [], resume=True)  # and it is not locked


def test_the_same_is_gone_on_with_although_nobody_asks_for_it(path):
    """It comes to the same, and takes less time."""
    fill(path, [frame(0), frame(4, 0)])
    with PartialResults(Reserved(path), HEADER, resume=False) as partial:
        assert len(partial) == 2
        assert partial.result(4) is not None


@pytest.mark.parametrize("results", [[], [frame(0, 0, "Time point 0 can't be read.")]])
def test_without_resume_it_starts_anew_where_nothing_was_found(path, results):
    fill(path, results)
    with PartialResults(Reserved(path), {**HEADER, "movie": "other"}, resume=False) as partial:
        assert partial.result(0) is None
    assert json.loads(path.read_text())["movie"] == "other"


@pytest.mark.parametrize(
    ("key", "words"), [("detector", "another detector"), ("movie", "movie"), ("floor", "floor")]
)
def test_what_belongs_to_something_else_is_refused_and_kept(path, key, words):
    fill(path, [frame(0)])
    before = path.read_bytes()
    with pytest.raises(CellTrainError, match=words):
        PartialResults(Reserved(path), {**HEADER, key: "other"}, resume=True)
    assert path.read_bytes() == before
    fill(path, [], resume=True)  # and it is not locked


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    "content",
    ["my diary\nof cells\n", "a line without an end", '["celltrain_partial"]\n', "3\n", "\n"],
)
def test_a_foreign_file_is_refused_and_kept(path, content, resume):
    path.write_text(content)
    with pytest.raises(CellTrainError, match="no unfinished prediction"):
        PartialResults(Reserved(path), HEADER, resume=resume)
    assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]  # it is not locked


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("content", ["", "{", '{"celltrain_partial": 1, "de'])
def test_what_a_kill_left_of_the_first_line_is_begun_anew(path, content, resume):
    path.write_text(content)
    fill(path, [frame(0)], resume=resume)
    assert len(path.read_text().splitlines()) == 2


@pytest.mark.skipif(os.name == "nt", reason="there a link needs permission")
@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("content", ["my diary\n", None])
def test_a_link_is_refused_and_what_it_leads_to_is_kept(path, content, resume):
    other = path.with_name("other.txt")
    if content is not None:
        other.write_text(content)
    path.symlink_to(other.name)
    with pytest.raises(CellTrainError, match="is a link"):
        PartialResults(Reserved(path), HEADER, resume=resume)
    assert path.is_symlink()
    assert (other.read_text() if other.exists() else None) == content


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="no such choice on this system")
def test_a_link_that_is_put_there_at_the_last_moment_is_not_followed(path, monkeypatch):
    other = path.with_name("other.txt")
    other.write_text("my diary")
    path.symlink_to(other.name)
    monkeypatch.setattr(Path, "is_symlink", lambda self: False)
    monkeypatch.setattr(partial_lines, "content_of", lambda *_: b"")
    with pytest.raises(CellTrainError, match="can't be written"):
        PartialResults(Reserved(path), HEADER, resume=False)
    assert other.read_text() == "my diary"


def test_changed_images_and_damaged_time_points_are_done_again(path):
    fill(path, [frame(0), frame(1, 0, "Time point 1 can't be read.")])
    with PartialResults(Reserved(path), HEADER, resume=True) as partial:
        assert partial.result(0, "stamp") is not None
        assert partial.result(0, "another stamp") is None
        assert partial.result(1, "stamp") is None


def test_only_one_process_at_a_time(path):
    with (
        PartialResults(Reserved(path), HEADER, resume=False),
        pytest.raises(CellTrainError, match="Another process"),
    ):
        PartialResults(Reserved(path), HEADER, resume=True)


@pytest.mark.skipif(os.name == "nt", reason="there an open file can't be removed")
def test_who_comes_while_it_is_closed_is_not_joined_by_another(path):
    first, taken = PartialResults(Reserved(path), HEADER, resume=False), []

    def comes_now(force=False, release=first._place._lock.release):
        release(force=force)
        if not taken:
            taken.append(PartialResults(Reserved(path), HEADER, resume=True))

    first._place._lock.release = comes_now
    first.close()
    with pytest.raises(CellTrainError, match="Another process"):
        PartialResults(Reserved(path), HEADER, resume=True)
    taken[0].close()
    assert not list(path.parent.glob("*.lock"))


def test_closing_twice_leaves_the_lock_of_another_alone(path):
    with PartialResults(Reserved(path), HEADER, resume=False) as first:
        first.remove([])
        second = PartialResults(Reserved(path), HEADER, resume=False)
    with pytest.raises(CellTrainError, match="Another process"):
        PartialResults(Reserved(path), HEADER, resume=True)
    second.close()


def test_what_was_not_written_elsewhere_is_not_removed(path):
    fill(path, [frame(3), frame(4)])
    with PartialResults(Reserved(path), HEADER, resume=True) as partial:
        assert not partial.remove([3])
    with PartialResults(Reserved(path), HEADER, resume=True) as partial:
        assert partial.result(4, "stamp") is not None
        assert partial.remove([3, 4])
    assert not list(path.parent.iterdir())


def test_full_disk_keeps_what_was_done(path, monkeypatch):
    room = [900]
    write = os.write

    def full(file, content):
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(file, content[: room[0]])
        room[0] -= written
        return written

    monkeypatch.setattr(partial_module.os, "write", full)
    with pytest.raises(CellTrainError, match=r"No space left.*--resume"):
        fill(path, [frame(t) for t in range(50)])
    monkeypatch.undo()
    with PartialResults(Reserved(path), HEADER, resume=True) as partial:
        done = [t for t in range(50) if partial.result(t) is not None]
        assert done == list(range(len(done)))
        assert len(done) > 0


def test_nothing_is_left_when_it_is_removed(path):
    with PartialResults(Reserved(path), HEADER, resume=False) as partial:
        assert partial.remove([3, 4])
    assert list(path.parent.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no such place on this system")
def test_a_place_where_nothing_can_be_made_is_not_taken_for_one_in_use():
    # which of the two it is depends on how filelock meets it
    with pytest.raises(CellTrainError, match=r"^/proc(/cells\.csv\.partial)? can't be written"):
        PartialResults(Reserved(Path("/proc/cells.csv.partial")), {}, resume=False)


@pytest.mark.parametrize(
    "line",
    [
        '{"t": Infinity, "seconds": 1, "zyx": [], "score": []}',
        '{"t": 0.7, "seconds": 1, "zyx": [], "score": []}',
        '{"t": true, "seconds": 1, "zyx": [], "score": []}',
        '{"t": 1, "seconds": NaN, "zyx": [], "score": []}',
        '{"t": 1, "seconds": 1}',
        '{"t": 1, "seconds": 1, "zyx": [[NaN, 1, 1]], "score": [0.5]}',
        '{"t": 1, "seconds": 1, "zyx": [[999, 1, 1]], "score": [0.5]}',
        '{"t": 1, "seconds": 1, "zyx": [[1, 1, 1]], "score": [7]}',
        '{"t": 1, "seconds": 1, "zyx": [[1, 1, 1]], "score": [[0.5]]}',
        '{"t": 1, "seconds": 1, "zyx": [[1, 1, 1]], "score": [0.5, 0.5]}',
        "[" * 100_000,
        "3",
    ],
)
def test_a_line_that_is_not_as_they_are_written_is_done_again(path, line):
    fill(path, [frame(0)])
    with open(path, "a") as file:
        file.write(line + "\n")
    with PartialResults(Reserved(path), HEADER, resume=True) as partial:
        assert len(partial.result(0)) == len(frame(0))
        assert partial.result(1) is None
        partial.add(frame(1))
    with PartialResults(Reserved(path), HEADER, resume=True) as partial:
        assert np.array_equal(partial.result(1).positions, frame(1).positions)


def test_a_header_that_goes_too_deep_is_no_prediction(path):
    path.write_text("[" * 100_000 + "\n")
    with pytest.raises(CellTrainError, match="no unfinished prediction"):
        PartialResults(Reserved(path), HEADER, resume=True)


def test_a_movie_of_the_same_name_elsewhere_is_another_one(path):
    here = {**HEADER, "place": "/data/a/movie"}
    with PartialResults(Reserved(path), here, resume=False) as partial:
        partial.add(frame(0))
    with pytest.raises(CellTrainError, match="/data/a/movie"):
        PartialResults(Reserved(path), {**HEADER, "place": "/data/b/movie"}, resume=True)
    with PartialResults(Reserved(path), here, resume=True) as partial:
        assert partial.result(0) is not None


def test_an_earlier_version_did_not_say_what_was_stated(path, detector):
    header = {**HEADER, "detector": weights_digest(detector), "gamma": 0.8, "cell_diameter": 9.0}
    with PartialResults(Reserved(path), header, resume=False) as partial:
        partial.add(frame(0))
    assert measured_before(path, detector) == (9.0, 0.8)
    with PartialResults(Reserved(path), {**header, "stated": ["gamma"]}, resume=True) as partial:
        assert partial.result(0) is not None
