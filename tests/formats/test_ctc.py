"""Folders of the Cell Tracking Challenge, complete and as they are found in the wild."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import format_named, format_of, read_experiments, write_experiment
from napari_celltrain.formats.ctc_writing import draw_markers
from napari_celltrain.images import ArraySource


def write_labels(path, cells, shape=(20, 30)):
    """Write a label image with a 3 x 3 marker for each {label: (y, x)}."""
    image = np.zeros(shape, np.uint16)
    for label, (y, x) in cells.items():
        image[..., y - 1 : y + 2, x - 1 : x + 2] = label
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, image, photometric="minisblack")


def write_truth(root, frames, table, digits=3, tracking="TRA"):
    folder = root / "01_GT" / tracking
    for t, cells in frames.items():
        write_labels(folder / f"man_track{t:0{digits}}.tif", cells)
    (folder / "man_track.txt").write_text(table)


@pytest.fixture
def division(tmp_path):
    """Label 1 divides at t 2 into 2 and 3; the images of t 0 to 2 are there."""
    root = tmp_path / "Fluo-made"
    write_truth(
        root,
        {0: {1: (5, 5)}, 1: {1: (6, 5)}, 2: {2: (5, 4), 3: (8, 9)}},
        "1 0 1 0\n2 2 2 1\n3 2 2 1\n",
    )
    for t in range(3):
        write_labels(root / "01" / f"t{t:03}.tif", {})
    return root


@pytest.mark.parametrize("level", [".", "01_GT", "01_GT/TRA", "01_GT/TRA/man_track.txt"])
def test_a_folder_opens_at_any_of_its_levels(division, level):
    found = format_of(division / level)
    assert found is not None
    assert found.name == "Cell Tracking Challenge"
    (experiment,) = read_experiments(division / level)
    annotations = experiment.annotations
    assert annotations.t.tolist() == [0, 1, 2, 2]
    assert annotations.positions[0].tolist() == [0, 5, 5]
    assert sorted(map(tuple, annotations.links.tolist())) == [(0, 1), (1, 2), (1, 3)]
    assert annotations.features["label"].tolist() == [1, 1, 2, 3]
    assert list(experiment.images.time_points) == [0, 1, 2]
    assert not experiment.findings


def test_every_sequence_of_a_data_set_is_one_experiment(division):
    write_truth(division / "x", {0: {4: (5, 5)}}, "4 0 0 0\n")
    (division / "x" / "01_GT").rename(division / "02_GT")
    assert [one.name for one in read_experiments(division)] == [
        "Fluo-made 01_GT",
        "Fluo-made 02_GT",
    ]


def test_results_open_like_truth(tmp_path):
    for t in range(2):
        write_labels(tmp_path / "01_RES" / f"mask{t:03}.tif", {7: (5, 5 + t)})
    (tmp_path / "01_RES" / "res_track.txt").write_text("7 0 1 0\n")
    for place in (tmp_path, tmp_path / "01_RES", tmp_path / "01_RES" / "res_track.txt"):
        (experiment,) = read_experiments(place)
        assert experiment.annotations.links.tolist() == [[0, 1]]


def test_four_digits(tmp_path):
    write_truth(tmp_path, {999: {1: (5, 5)}, 1000: {1: (5, 6)}}, "1 999 1000 0\n", digits=4)
    assert read_experiments(tmp_path)[0].annotations.t.tolist() == [999, 1000]


def test_results_of_four_digits(tmp_path):
    for t in (0, 1000):
        write_labels(tmp_path / "01_RES" / f"mask{t:04}.tif", {7: (5, 5)})
    (tmp_path / "01_RES" / "res_track.txt").write_text("7 0 1000 0\n")
    assert read_experiments(tmp_path)[0].annotations.t.tolist() == [0, 1000]


def test_a_long_movie_is_written_with_four_digits_for_each(tmp_path):
    annotations = Annotations([0, 1001], [[0, 2, 2]] * 2)
    images = ArraySource(np.zeros((1002, 4, 4), np.uint8), "tyx")
    write_experiment(tmp_path / "01_RES", Experiment("a", annotations, images))
    names = sorted(one.name for one in (tmp_path / "01_RES").glob("mask*.tif"))
    assert (names[0], names[-1], len(names)) == ("mask0000.tif", "mask1001.tif", 1002)
    assert read_experiments(tmp_path / "01_RES")[0].annotations.t.tolist() == [0, 1001]


def test_the_number_in_the_name_is_the_time_and_gaps_stay(tmp_path):
    write_truth(tmp_path, {3: {1: (5, 5)}, 7: {1: (5, 6)}}, "1 3 7 0\n")
    annotations = read_experiments(tmp_path)[0].annotations
    assert annotations.t.tolist() == [3, 7]
    assert annotations.links.tolist() == [[0, 1]]


def test_one_child_after_a_gap_is_the_same_cell_again(tmp_path):
    write_truth(
        tmp_path, {0: {2: (5, 5)}, 1: {2: (5, 5)}, 2: {}, 3: {7: (5, 6)}}, "2 0 1 0\n7 3 3 2\n"
    )
    assert read_experiments(tmp_path)[0].annotations.links.tolist() == [[0, 1], [1, 2]]


def test_a_table_of_one_row_blank_lines_and_tabs(tmp_path):
    write_truth(tmp_path, {0: {1: (5, 5)}, 1: {1: (5, 5)}}, "\n1\t0 1   0\r\n\n")
    assert len(read_experiments(tmp_path)[0].annotations.links) == 1


def test_three_dimensions(tmp_path):
    image = np.zeros((4, 20, 30), np.uint16)
    image[1:4, 4:7, 9:12] = 5
    folder = tmp_path / "01_GT" / "TRA"
    folder.mkdir(parents=True)
    tifffile.imwrite(folder / "man_track000.tif", image, photometric="minisblack")
    (folder / "man_track.txt").write_text("5 0 0 0\n")
    assert read_experiments(tmp_path)[0].annotations.positions.tolist() == [[2, 5, 10]]


@pytest.mark.parametrize("name", ["Fluo-N3DL-DRO", "Fluo-N3DL-TRIC", "Fluo-N3DL-TRIF"])
def test_data_sets_of_which_only_some_cells_are_annotated(tmp_path, name):
    write_truth(tmp_path / name, {0: {1: (5, 5)}}, "1 0 0 0\n")
    (experiment,) = read_experiments(tmp_path / name)
    assert experiment.completeness == "sparse"
    assert [one.code for one in experiment.findings] == ["sparse"]


@pytest.mark.parametrize(
    ("table", "code", "label"),
    [
        ("1 0 1 0\n", "label-not-in-table", "9"),
        ("1 0 1 0\n9 0 1 0\n4 0 0 0\n", "label-not-in-images", "4"),
        ("1 0 0 0\n9 0 1 0\n", "label-other-times", "1"),
        ("1 0 1 77\n9 0 1 0\n", "unknown-mother", ""),
    ],
)
def test_a_table_that_differs_from_the_images_is_pointed_out(tmp_path, table, code, label):
    write_truth(tmp_path, {0: {1: (5, 5), 9: (9, 9)}, 1: {1: (5, 5), 9: (9, 9)}}, table)
    (experiment,) = read_experiments(tmp_path)
    (finding,) = experiment.findings
    assert finding.code == code
    assert label in finding.message
    assert len(experiment.annotations) == 4


@pytest.mark.parametrize("table", ["1 0 1\n", "a b c d\n", "1 0 1 0\n2 0 1e400 0\n"])
def test_a_damaged_table_is_refused_with_its_line(tmp_path, table):
    write_truth(tmp_path, {0: {1: (5, 5)}}, table)
    with pytest.raises(CellTrainError, match=r"man_track.txt, line \d"):
        read_experiments(tmp_path)


def test_a_damaged_image_is_refused_by_name(division):
    (division / "01_GT" / "TRA" / "man_track001.tif").write_bytes(b"II*\0 nothing")
    with pytest.raises(CellTrainError, match=r"man_track001\.tif"):
        read_experiments(division)


def test_an_image_whose_planes_run_in_a_circle_is_refused(division):
    path = division / "01_GT" / "TRA" / "man_track001.tif"
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        end = page.offset + 2 + 12 * len(page.tags)  # where the place of the next plane stands
        first = page.offset
    raw = bytearray(path.read_bytes())
    raw[end : end + 4] = first.to_bytes(4, "little")
    path.write_bytes(raw)
    with pytest.raises(CellTrainError, match="runs in a circle"):
        read_experiments(division)


def test_missing_movies_leave_the_annotations(division):
    for file in (division / "01").iterdir():
        file.unlink()
    (experiment,) = read_experiments(division)
    assert experiment.images is None
    assert [one.code for one in experiment.findings] == ["images-missing"]


def test_segmentations_without_a_track_table_are_label_images(tmp_path):
    for t in range(2):
        write_labels(tmp_path / "SEG" / f"man_seg{t:03}.tif", {1: (5, 5), 2: (9, 9)})
    found = format_of(tmp_path / "SEG")
    assert found is not None
    assert found.name == "Label images"
    (experiment,) = read_experiments(tmp_path / "SEG")
    assert len(experiment.annotations) == 4
    assert not len(experiment.annotations.links)
    (linked,) = read_experiments(tmp_path / "SEG", link_labels=True)
    assert len(linked.annotations.links) == 2


@pytest.mark.parametrize("folder", ["01_GT/SEG", "01_ST/SEG"])
def test_segmentations_beside_the_tracking_truth_change_nothing(division, folder):
    write_labels(division / folder / "man_seg001.tif", {9: (12, 20), 4: (3, 3)})
    (experiment,) = read_experiments(division)
    assert experiment.annotations.features["label"].tolist() == [1, 1, 2, 3]
    assert len(experiment.annotations.links) == 3
    assert list(experiment.images.time_points) == [0, 1, 2]
    assert not experiment.findings


def test_a_movie_of_labels_in_one_file(tmp_path):
    labels = np.zeros((3, 20, 30), np.uint16)
    labels[:, 4:7, 9:12] = 5
    tifffile.imwrite(tmp_path / "labels.tif", labels, imagej=True, metadata={"axes": "TYX"})
    assert format_of(tmp_path / "labels.tif") is None
    (experiment,) = read_experiments(
        tmp_path / "labels.tif", format_name="Label images", link_labels=True
    )
    assert experiment.annotations.t.tolist() == [0, 1, 2]
    assert len(experiment.annotations.links) == 2


def test_folders_of_plain_images_are_declined(division):
    assert format_of(division / "01") is None


def test_touching_markers_share_no_pixel_and_none_vanishes():
    positions = np.array([[0, 5, 5], [0, 5, 6], [0, 5, 5.2], [0, 0, 0], [0, 19, 29]], float)
    labels = np.arange(1, 6)
    image = draw_markers(positions, labels, np.full(5, 8.0), 1.0, (1, 20, 30), np.dtype(np.uint16))
    for label, position in zip(labels, positions, strict=True):
        place = np.argwhere(image == label).mean(axis=0)
        assert np.abs(place - position).max() <= 1.3


def test_a_reappearing_cell_gets_a_new_label_with_the_old_one_as_its_parent(tmp_path):
    annotations = Annotations([0, 1, 3], [[0, 5, 5]] * 3, [[0, 1], [1, 2]])
    format_named("Cell Tracking Challenge").write(tmp_path / "01_RES", Experiment("a", annotations))
    assert (tmp_path / "01_RES" / "res_track.txt").read_text() == "1 0 1 0\n2 3 3 1\n"
    assert len(list((tmp_path / "01_RES").glob("mask*.tif"))) == 4


def test_negative_time_points_can_not_be_written(tmp_path):
    with pytest.raises(CellTrainError, match="time point -1"):
        format_named("Cell Tracking Challenge").write(
            tmp_path / "01_RES", Experiment("a", Annotations([-1], [[0, 5, 5]]))
        )
    assert not (tmp_path / "01_RES").exists()


KILLED = """
import os, signal, sys
import tifffile
from napari_celltrain.formats import read_experiments, format_named
(experiment,) = read_experiments(sys.argv[1])
written = 0
def imwrite(*args, original=tifffile.imwrite, **options):
    global written
    written += 1
    if written == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    original(*args, **options)
tifffile.imwrite = imwrite
format_named("Cell Tracking Challenge").write(__import__("pathlib").Path(sys.argv[2]), experiment)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
def test_a_killed_writer_leaves_the_old_folder_and_the_next_one_clears_up(division):
    out = division / "02_RES"
    (experiment,) = read_experiments(division)
    write_experiment(out, experiment)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    done = subprocess.run([sys.executable, "-c", KILLED, str(division), str(out)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert list(division.glob(".celltrain-*"))
    write_experiment(out, experiment)
    assert not list(division.glob(".celltrain-*"))
    assert {file.name for file in out.iterdir()} == set(before)
