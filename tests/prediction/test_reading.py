"""Frames are read before they are asked for, several side by side, and none twice."""

from __future__ import annotations

import threading
import types
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.window import window_time_points
from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import ArraySource
from napari_celltrain.images.combine import AppendedChannels, AppendedTime, SummedChannels
from napari_celltrain.prediction import reading
from napari_celltrain.prediction.reading import READERS, read_ahead, readers_for

SHAPE = (2, 3, 4)
FRAME_BYTES = 2 * 3 * 4 * 2


class Noted(ArraySource):
    """Notes what is read and how many of its frames are in use; some can't be read."""

    def __init__(self, n=6, n_channels=1, damaged=()):
        pixels = np.arange(n * n_channels * 24, dtype=np.uint16).reshape(n, n_channels, *SHAPE)
        super().__init__(pixels, "tczyx", time_offset=3)
        self.damaged = damaged
        self.reads: list[tuple[int, int]] = []
        self.in_use = self.most_in_use = 0
        self._lock = threading.RLock()

    def read_frame(self, t, channel=0):
        frame = super().read_frame(t, channel).copy()
        with self._lock:
            self.reads.append((t, channel))
            if t in self.damaged:
                raise CellTrainError(f"Time point {t} is damaged.")
            self.in_use += 1
            self.most_in_use = max(self.most_in_use, self.in_use)
        weakref.finalize(frame, self._gone)
        return frame

    def _gone(self):
        with self._lock:
            self.in_use -= 1


def design_for(window=(0, 0), n_channels=1):
    return choose_design(
        diameter=8.0,
        spacing=9.0,
        voxel_size=(1, 1, 1),
        planes=2,
        unit="px",
        width=4,
        time_window=window,
        n_channels=n_channels,
    )


def expected(source, t, window, channels):
    """What `Inputs` should hold, worked out frame by frame."""
    if t in source.damaged:
        return [], f"Time point {t} is damaged."
    frames, damage = [], None
    for u in window_time_points(source.time_points, t, window):
        if u in source.damaged:
            damage = f"Time point {u} is damaged."
        shown = t if u in source.damaged else u
        frames += [ArraySource.read_frame(source, shown, channel) for channel in channels]
    return frames, damage


@given(
    window=st.tuples(st.integers(-2, 0), st.integers(0, 2)),
    channels=st.sampled_from([(0,), (1,), (1, 0)]),
    times=st.sets(st.integers(3, 8)).map(sorted),
    damaged=st.sets(st.integers(3, 8), max_size=2),
    readers=st.integers(0, 4),
)
def test_every_time_point_gets_its_frames_and_none_is_read_twice(
    window, channels, times, damaged, readers
):
    source = Noted(n_channels=2, damaged=damaged)
    design = design_for(window, len(channels))
    seen = read_ahead(
        design, source, times, channels, readers=max(1, readers), in_line=readers == 0
    )
    for t, inputs in zip(times, seen, strict=True):
        frames, damage = expected(source, t, window, channels)
        assert (inputs.t, inputs.damage) == (t, damage)
        assert len(inputs.frames) == len(frames)
        assert all(map(np.array_equal, inputs.frames, frames))
    wanted = {u for t in times for u in window_time_points(source.time_points, t, window)}
    assert set(source.reads) <= {(u, channel) for u in wanted for channel in channels}
    assert len(source.reads) == len(set(source.reads))


@pytest.mark.parametrize("readers", [1, 2, 4])
def test_so_many_are_read_side_by_side(readers):
    meeting = threading.Barrier(readers)

    class Meets(Noted):
        def read_frame(self, t, channel=0):
            meeting.wait(20)
            return super().read_frame(t, channel)

    times = range(3, 3 + 4 * readers)
    source = Meets(len(times))
    results = read_ahead(design_for(), source, times, [0], readers=readers)
    assert next(results).t == 3
    assert [one.t for one in results] == list(times[1:])


@pytest.mark.parametrize("readers", [0, 1, 2, 4])
@pytest.mark.parametrize("window", [(0, 0), (-1, 1)])
def test_no_more_frames_are_held_than_promised(readers, window):
    source = Noted(40)
    design = design_for(window)
    seen = read_ahead(
        design, source, range(3, 43), [0], readers=max(1, readers), in_line=readers == 0
    )
    for inputs in seen:
        del inputs
    assert source.most_in_use <= design.n_inputs + readers
    assert source.in_use == 0


def test_fewer_are_read_ahead_where_they_are_large():
    source = Noted(40)
    seen = read_ahead(
        design_for(), source, range(3, 43), [0], readers=4, memory_bytes=3 * FRAME_BYTES
    )
    for inputs in seen:
        del inputs
    assert source.most_in_use <= 3


def test_closing_ends_all_readers_and_begins_nothing_more():
    source = Noted(40)
    results = read_ahead(design_for(), source, range(3, 43), [0], readers=4)
    next(results)
    results.close()
    assert len(source.reads) <= 5
    assert not [one for one in threading.enumerate() if "celltrain-read" in one.name]
    del results
    assert source.in_use == 0


def test_a_fault_of_the_program_is_not_taken_for_a_damaged_frame():
    class Faulty(Noted):
        def read_frame(self, t, channel=0):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(read_ahead(design_for(), Faulty(), [3], [0], readers=2))


def test_many_cores_and_graphics_cards_get_several_readers(monkeypatch):
    monkeypatch.setattr(reading, "usable_cores", lambda: 16)
    movie = Noted()

    def readers(threads, device="cpu", source=movie):
        detector = types.SimpleNamespace(threads=threads, device=types.SimpleNamespace(type=device))
        return readers_for(detector, source)

    few, most = READERS
    assert [readers(n) for n in (1, 2, 4, 6, 64)] == [few, few, 2, 3, most]
    assert readers(1, "cuda") == most

    class Foreign:
        """Of an array of another program nobody knows whether threads may share it."""

        shape, dtype = (2, 1, *SHAPE), np.dtype(np.uint16)

        def __getitem__(self, cut):
            return np.zeros(self.shape, self.dtype)[cut]

    foreign = ArraySource(Foreign(), "tczyx")
    assert readers(64, source=foreign) == 1
    for both in (
        AppendedTime([movie, foreign]),
        AppendedChannels([ArraySource(np.zeros((2, *SHAPE)), "tzyx"), foreign]),
        SummedChannels(foreign, [[0]]),
    ):
        assert readers(64, source=both) == 1
    assert readers(64, source=AppendedTime([movie, movie])) == most
