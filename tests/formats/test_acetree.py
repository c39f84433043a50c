"""AceTree archives: numbering from 1, deleted nuclei, damage."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import format_of, read_experiments
from napari_celltrain.images import ArraySource


def row(index, status=1, mother="-1", x=10, y=20, z=5.0, name="ABa"):
    return f"{index}, {status}, {mother}, -1, -1, {x}, {y}, {z}, 12, {name}, 100, 0, 0, 0, ,"


FRAMES = {
    1: [row(1), row(2, status=0, x=50)],
    2: [row(1, status=-1), row(2, mother="1", x=11), row(3, mother="nill", x=60)],
}


@pytest.fixture
def archive(tmp_path):
    def make(frames=FRAMES, resolution='xyRes="0.5" zRes="2.0"'):
        path = tmp_path / "made.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for number, rows in frames.items():
                archive.writestr(f"nuclei/t{number:03}-nuclei", "\n".join(rows))
            archive.writestr("parameters/sample", "")
        if resolution:
            (tmp_path / "made.xml").write_text(
                f'<embryo><nuclei file="made.zip"/><resolution {resolution}/></embryo>'
            )
        return path

    return make


@pytest.mark.parametrize("suffix", [".zip", ".xml"])
def test_time_and_planes_count_from_1_and_deleted_nuclei_are_left_out(archive, suffix):
    path = archive().with_suffix(suffix)
    assert format_of(path).name == "AceTree"
    (experiment,) = read_experiments(path)
    annotations = experiment.annotations
    assert annotations.t.tolist() == [0, 1, 1]
    assert annotations.positions.tolist() == [[4, 20, 10], [4, 20, 11], [4, 20, 60]]
    assert annotations.links.tolist() == [[0, 1]]
    assert annotations.features["radius_um"].tolist() == [3, 3, 3]
    assert experiment.voxel_size_um == (2.0, 0.5, 0.5)


def test_a_movie_that_counts_from_1_itself_keeps_the_numbers(archive):
    images = ArraySource(np.zeros((3, 9, 90, 90), np.uint8), "tzyx", time_offset=1)
    (experiment,) = read_experiments(archive(), images=images)
    assert experiment.annotations.t.tolist() == [1, 2, 2]


def test_the_first_plane_is_an_option(archive):
    (experiment,) = read_experiments(archive(), first_plane=0)
    assert experiment.annotations.positions[0, 0] == 5


def test_without_a_description_nobody_knows_the_voxel_size(archive):
    (experiment,) = read_experiments(archive(resolution=None))
    assert experiment.voxel_size_um is None
    assert experiment.annotations.features["radius_px"].tolist() == [6, 6, 6]


OLD = {
    1: ["  1  10  20  5.0  ABa  12  100  0  0  0  0  0  nill  2  nill", "2 50 60 5.0 ABp 12 1 -1"],
    2: ["1, 60, 61, 5.0, Nuc1, 12, 1, 1, 0, 0, 0, 0, -1, nill, nill",
        "2, 11, 20, 5.0, ABal, 12, 1, 1, 0, 0, 0, 0, 1, nill, nill"],
}  # fmt: skip


@pytest.mark.parametrize("blanks", [True, False])
def test_the_older_order_of_columns(archive, blanks):
    frames = {number: list(rows) for number, rows in OLD.items()}
    frames[1][1] += " 0 0 0 0 nill nill nill"
    if not blanks:
        frames[1] = [", ".join(one.split()) for one in frames[1]]
    (experiment,) = read_experiments(archive(frames))
    annotations = experiment.annotations
    assert annotations.t.tolist() == [0, 1, 1]
    assert annotations.positions.tolist() == [[4, 20, 10], [4, 61, 60], [4, 20, 11]]
    assert annotations.links.tolist() == [[0, 2]]
    assert annotations.features["label"].tolist() == ["ABa", "Nuc1", "ABal"]
    assert annotations.features["radius_um"].tolist() == [3, 3, 3]


def test_a_missing_time_point_breaks_the_links(archive):
    (experiment,) = read_experiments(archive({1: [row(1)], 3: [row(1, mother="1")]}))
    assert not len(experiment.annotations.links)


@pytest.mark.parametrize(
    "bad", ["1, 2", "a, 1, -1, -1, -1, 1, 1, 1, 1", "1, 1, 1, 1, 1, x, 1, 1, 1"]
)
def test_damaged_lines_are_refused_with_their_place(archive, bad):
    with pytest.raises(CellTrainError, match="t001-nuclei, line 2"):
        read_experiments(archive({1: [row(1), bad]}))


def test_a_description_of_an_archive_that_is_gone(archive):
    path = archive()
    path.unlink()
    with pytest.raises(CellTrainError, match="not there"):
        read_experiments(path.with_suffix(".xml"))


def test_other_archives_are_declined(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert format_of(tmp_path / "a.zip") is None
    with pytest.raises(CellTrainError, match=r"a\.zip is no archive of AceTree.* but readme\.txt"):
        read_experiments(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(b"PK nothing")
    assert format_of(tmp_path / "b.zip") is None


def test_paths_in_the_archive_write_nothing_anywhere(archive, tmp_path):
    path = archive()
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("../../t003-nuclei", row(1))
        opened.writestr("/etc/t004-nuclei", row(1))
    before = sorted(tmp_path.rglob("*"))
    (experiment,) = read_experiments(path)
    assert experiment.annotations.t.tolist() == [0, 1, 1, 2, 3]
    assert sorted(tmp_path.rglob("*")) == before
