"""Frames at the working scale: made once, made anew when they changed, and what a window holds."""

from __future__ import annotations

import os

import numpy as np
import pytest
import tifffile

from napari_celltrain.detector.design import choose_design
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Status
from napari_celltrain.images import ArraySource, open_images
from napari_celltrain.training import prepare as prepare_module
from napari_celltrain.training.empty_frames import beside
from napari_celltrain.training.events import FindingEvent
from napari_celltrain.training.prepare import OpenFrames, prepare, typical_levels


@pytest.fixture
def design():
    return choose_design(
        diameter=10,
        spacing=12,
        voxel_size=(1, 1, 1),
        planes=1,
        unit="um",
        width=8,
        time_window=(-1, 1),
    )


@pytest.fixture
def on_disk(make_blobs, tmp_path):
    experiment = make_blobs(times=4)
    folder = tmp_path / "images"
    folder.mkdir()
    for t in range(4):
        tifffile.imwrite(folder / f"t{t:03}.tif", experiment.images.read_frame(t)[0])
    return experiment.with_(images=open_images(folder))


def _prepare(experiment, design, folder, frames):
    return prepare([experiment], frames, design, [(1.0, 1.0, 1.0)], folder)


def test_a_window_at_the_ends_of_a_movie_repeats_the_nearest_frame(on_disk, design, tmp_path):
    first, last = _prepare(on_disk, design, tmp_path / "prepared", [(0, 0), (0, 3)])
    assert first.files[0] == first.files[1] != first.files[2]
    assert last.files[0] != last.files[1] == last.files[2]


def test_an_unchanged_frame_is_not_read_again(on_disk, design, tmp_path, monkeypatch):
    folder = tmp_path / "prepared"
    _prepare(on_disk, design, folder, [(0, 1)])
    monkeypatch.setattr(
        type(on_disk.images), "read_frame", lambda *args: pytest.fail("it was read again")
    )
    assert _prepare(on_disk, design, folder, [(0, 1)])[0].shape == (1, 96, 96)


def test_stopped_while_a_frame_is_read_it_is_not_resampled(on_disk, design, tmp_path, monkeypatch):
    """Frames of 100 MB take seconds each."""
    stop, resampled = [], []
    read = type(on_disk.images).read_frame

    def stopped_meanwhile(*arguments):
        stop.append(True)
        return read(*arguments)

    monkeypatch.setattr(type(on_disk.images), "read_frame", stopped_meanwhile)
    monkeypatch.setattr(prepare_module, "resample", lambda *arguments: resampled.append(arguments))
    frames = [(0, 1), (0, 2)]
    sizes, folder = [(1.0, 1.0, 1.0)], tmp_path / "prepared"
    stopping = {"stopping": lambda: bool(stop)}
    assert prepare([on_disk], frames, design, sizes, folder, **stopping) == []
    assert resampled == []
    assert typical_levels([on_disk], frames, design, sizes, **stopping) is None


def test_a_changed_frame_is_read_again_and_the_old_one_goes(on_disk, design, tmp_path):
    folder = tmp_path / "prepared"
    before = _prepare(on_disk, design, folder, [(0, 1)])[0]
    path = tmp_path / "images" / "t001.tif"
    image = tifffile.imread(path)
    tifffile.imwrite(path, image[::-1])
    os.utime(path, ns=(1, 1))
    after = _prepare(on_disk, design, folder, [(0, 1)])[0]
    assert before.files[1] != after.files[1]
    assert not before.files[1].exists()
    assert len(list(folder.iterdir())) == 3


def test_dark_and_bright_levels_are_those_of_the_files(on_disk, design):
    low, high = typical_levels([on_disk], [(0, 1), (0, 2)], design, [(1.0, 1.0, 1.0)])
    assert 70 < low < 120
    assert 350 < high < 750


def test_few_frames_are_open_at_once(tmp_path):
    paths = []
    for number in range(6):
        paths.append(tmp_path / f"{number}.npy")
        np.save(paths[-1], np.full((1, 10, 10), number, np.float16))
    frames = OpenFrames(limit=500)
    assert [int(frames.get(path)[0, 0, 0]) for path in paths * 2] == [*range(6)] * 2
    assert len(frames._open) <= 3


# --- frames that show nothing ---


@pytest.fixture
def plain_design():
    return choose_design(
        diameter=10, spacing=12, voxel_size=(1, 1, 1), planes=1, unit="um", width=8
    )


def _spoilt(make_blobs, spoil):
    blobs = make_blobs(times=12)
    movie = blobs.images.array.astype(np.float32)
    spoil(movie)
    return blobs.with_(images=ArraySource(movie, "tzyx", voxel_size_um=(1, 1, 1)))


def _told(experiment, design, folder, times=range(12)):
    told = []
    frames = prepare(
        [experiment], [(0, t) for t in times], design, [(1.0, 1.0, 1.0)], folder, tell=told.append
    )
    return frames, [one.finding for one in told if isinstance(one, FindingEvent)]


def test_nothing_is_said_of_frames_that_show_something(make_blobs, plain_design, tmp_path):
    frames, told = _told(_spoilt(make_blobs, lambda movie: None), plain_design, tmp_path)
    assert len(frames) == 12
    assert told == []


@pytest.mark.parametrize("value", [0, 700, np.nan, np.inf, -np.inf])
def test_a_frame_without_anything_is_left_out_and_told(make_blobs, plain_design, tmp_path, value):
    def spoil(movie):
        movie[[2, 7]] = value

    experiment = _spoilt(make_blobs, spoil)
    for _ in ("read", "found prepared"):
        frames, (finding,) = _told(experiment, plain_design, tmp_path)
        assert [frame.t for frame in frames] == [0, 1, 3, 4, 5, 6, 8, 9, 10, 11]
        assert finding.message.startswith("Time points 2 and 7 show nothing")
        assert finding.time_point == 2


def test_a_neighbour_in_time_may_be_empty(make_blobs, design, tmp_path):
    experiment = _spoilt(make_blobs, lambda movie: movie[2].fill(np.nan))
    frames, told = _told(experiment, design, tmp_path)
    assert [frame.t for frame in frames] == [0, 1, *range(3, 12)]
    assert len(told) == 1
    assert all(np.isfinite(np.load(path)).all() for frame in frames for path in frame.files)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e38])
def test_cells_where_pixels_have_no_value_are_not_learnt(make_blobs, plain_design, tmp_path, value):
    def spoil(movie):
        movie[5, :, :, :48] = value

    experiment = _spoilt(make_blobs, spoil)
    for _ in ("read", "found prepared"):
        frames, (finding,) = _told(experiment, plain_design, tmp_path)
        assert len(frames) == 12
        assert finding.code == "not-finite-pixels"
        assert "Time point 5: 50.00% of the pixels" in finding.message
        frame = frames[5]
        hidden = frame.positions[:, 2] < 47.5
        assert hidden.any()
        assert (frame.status[hidden] == Status.UNKNOWN).all()
        assert (frame.status[~hidden] == Status.CELL).all()
        values = np.load(frame.files[0])
        assert np.isfinite(values).all()
        # levels are those of the pixels that there are
        assert abs(np.percentile(values[..., 48:], 99.8) - 1) < 0.3
    assert len(list(tmp_path.glob("*.npy"))) == 13


def test_nothing_but_empty_frames_are_refused(make_blobs, plain_design, tmp_path):
    experiment = _spoilt(make_blobs, lambda movie: movie.fill(7))
    with pytest.raises(CellTrainError, match="all 12 frames to learn from show nothing"):
        _told(experiment, plain_design, tmp_path)
    with pytest.raises(CellTrainError, match="the only frame to learn from shows nothing"):
        _told(experiment, plain_design, tmp_path, [3])


def test_many_empty_frames_are_one_sentence(make_blobs, plain_design, tmp_path):
    experiment = _spoilt(make_blobs, lambda movie: movie[1:].fill(7))
    _, (finding,) = _told(experiment, plain_design, tmp_path)
    assert "Time points 1, 2, 3, 4, 5, 6, 7, 8 and 3 others show" in finding.message


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:20],
        lambda content: content[:70],
        lambda content: content.replace(b"(1, 96, 96)", b"(1, (((,   "),
        lambda content: content.replace(b"(1, 96, 96)", b"(9, 96, 96)"),
        lambda content: content.replace(b"{", b"["),
        lambda content: content.replace(b"<f2", b"\xff\xfe2"),
        lambda content: content.replace(b"<f2", b"|O "),
        lambda content: content[:-1],
        lambda content: b"",
    ],
)
def test_a_damaged_prepared_frame_is_made_anew(on_disk, design, tmp_path, spoil):
    folder = tmp_path / "prepared"
    (frame,) = _prepare(on_disk, design, folder, [(0, 1)])
    content = frame.files[0].read_bytes()
    assert spoil(content) != content
    frame.files[0].write_bytes(spoil(content))
    _prepare(on_disk, design, folder, [(0, 1)])
    assert frame.files[0].read_bytes() == content


def test_a_damaged_note_of_missing_pixels_is_made_anew(make_blobs, design, tmp_path):
    experiment = make_blobs(times=4)
    for t in range(4):
        frame = experiment.images.read_frame(t)[0].astype(np.float32)
        frame[:10] = np.nan
        tifffile.imwrite(tmp_path / f"t{t:03}.tif", frame)
    experiment = experiment.with_(images=open_images(tmp_path / "t{time:03}.tif"))
    folder = tmp_path / "prepared"
    (frame,) = _prepare(experiment, design, folder, [(0, 1)])
    notes = [beside(path) for path in frame.files if beside(path).exists()]
    assert notes
    content = notes[0].read_bytes()
    notes[0].write_bytes(content[:50])
    _prepare(experiment, design, folder, [(0, 1)])
    assert notes[0].read_bytes() == content


def test_a_note_of_missing_pixels_that_nobody_made_is_not_read(on_disk, design, tmp_path):
    folder = tmp_path / "prepared"
    (frame,) = _prepare(on_disk, design, folder, [(0, 1)])
    for path in frame.files:
        beside(path).write_bytes(b"nonsense")
    (frame,) = _prepare(on_disk, design, folder, [(0, 1)])
    assert not any(beside(path).exists() for path in frame.files)
