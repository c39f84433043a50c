"""Who reads what: finding the format, refusing the rest, writing by suffix."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import (
    format_named,
    format_of,
    formats,
    is_writable,
    read_experiments,
    write_experiment,
)
from napari_celltrain.formats.convert import convert

SOME = Experiment("a", Annotations([0, 1], [[0, 1, 2], [0, 1, 3]], [[0, 1]]))
SUFFIXES = {
    ".aut",
    ".json",
    ".autlist",
    ".xml",
    ".geff",
    ".zarr",
    ".mastodon",
    ".csv",
    ".tsv",
    ".txt",
    ".zip",
    ".ims",
    ".h5",
    ".hdf5",
    ".hdf",
    ".trk",
    ".trks",
    ".p",
    ".pkl",
    ".tif",
    ".png",
    ".npy",
    "",
}


def test_names_are_unique():
    names = [one.name for one in formats()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 50,
        b"hello",
        b"{",
        b"[",
        b"<",
        b"<a>",
        b"PK\x03\x04",
        b"\x89HDF\r\n\x1a\n",
        b"\xff\xfe",
        b"\x1f\x8b",
        b"a,b\n1,2\n",
        b"{" * 5000,
    ],
)
def test_recognising_never_raises_and_takes_no_files_of_others(tmp_path, suffix, content):
    path = tmp_path / f"other{suffix}"
    path.write_bytes(content)
    found = format_of(path)
    # these suffixes are nobody else's
    assert found is None or suffix in (".aut", ".autlist", ".mastodon", ".trk", ".trks")


def test_nothing_is_recognised_where_nothing_is(tmp_path):
    assert format_of(tmp_path / "gone.aut") is None
    assert format_of("\0") is None
    assert format_of("x" * 5000) is None


@pytest.mark.parametrize("suffix", [".zarr", ".geff", "", ".aut", ".csv"])
def test_folders_of_others_are_declined(tmp_path, suffix):
    folder = tmp_path / f"folder{suffix}"
    folder.mkdir()
    (folder / ".zattrs").write_text('{"multiscales": []}')
    (folder / "image_001.tif").write_bytes(b"II*\0")
    assert format_of(folder) is None


def shortest(do):
    """Return the seconds that something takes when nothing else is in its way."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        do()
        times.append(time.perf_counter() - start)
    return min(times)


def test_recognising_a_large_file_takes_milliseconds(tmp_path):
    for suffix in sorted(SUFFIXES):
        path = tmp_path / f"large{suffix}"
        with open(path, "wb") as out:
            out.truncate(10**9)
        format_of(path)  # the first time modules are loaded
        assert shortest(lambda path=path: format_of(path)) < 0.1


def test_declining_a_folder_of_many_images_takes_milliseconds(tmp_path):
    for number in range(5000):
        (tmp_path / f"img_{number:06}.tif").touch()
    assert format_of(tmp_path) is None
    assert shortest(lambda: format_of(tmp_path)) < 0.05


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.tif", b"II*\0", "is an image without tracking data"),
        ("a.csv", b"a,b\n1,2\n", "no columns for x and y; its columns are a, b"),
        ("a.xml", b"<svg/>", "no TrackMate file: its root is 'svg'"),
        ("a.json", b"{}", "states no version"),
        ("a.json", b"[]", "holds no JSON object"),
        ("a.zip", b"PK", "no complete zip archive"),
        ("a.h5", b"x", "no HDF5 file"),
        ("a.ims", b"x", "no HDF5 file"),
        ("a.mastodon", b"x", "no complete zip archive"),
        ("a.trk", b"x", "no tar archive"),
        ("a.autlist", b"{}", "no list of experiments"),
        ("a.csv", b"0,1,2\n0,1,3\n", "no table with a header.*line has to name the columns"),
        ("a.aut", b"\x89PNG\r\n\x1a\n\0", "a PNG image by its content, and no .* '.aut'"),
        ("a.csv", b"\xff\xd8\xff\xe0", "a JPEG image by its content"),
        ("a.xml", b"PK\x03\x04", "a zip archive by its content"),
        ("a.csv", b"<?xml version='1.0'?><TrackMate/>", "an XML file by its content"),
        ("a.json", b"%PDF-1.7", "a PDF document by its content"),
        ("a.aut", b"{\xff", "no text .*damaged, or has the name of another kind"),
        ("a.csv", b"t,x,y\0\1\2", "no text table: it holds binary data"),
        ("a.json", b'{"name": 1}', "states no version.* export the tracks as CSV or GEFF"),
        ("a.docx", b"PK\x03\x04", "no tracking data of a kind known here"),
        ("a.p", b"", "run any program"),
        ("a.png", b"\x89PNG\r\n\x1a\n", "is an image .* save them as TIFF"),
        ("a.xlsx", b"PK\x03\x04", "is a spreadsheet. Save the sheet .* as CSV"),
        ("a.toml", b"x = 1\n", "one of the annotation files that it names"),
    ],
)
def test_files_of_others_are_refused_with_a_reason(tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CellTrainError, match=sentence) as caught:
        read_experiments(tmp_path / name)
    assert name in str(caught.value)


@pytest.mark.parametrize("suffix", sorted(SUFFIXES - {".p", ".pkl"}))
def test_an_empty_file_is_said_to_be_empty(tmp_path, suffix):
    (tmp_path / f"a{suffix}").touch()
    with pytest.raises(CellTrainError, match=r"is empty \(0 bytes\).* again\."):
        read_experiments(tmp_path / f"a{suffix}")


def test_a_folder_of_pictures_says_that_they_have_to_be_tiffs(tmp_path):
    (tmp_path / "img1.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(CellTrainError, match=r"folder of images .*'\.jpg'.* save them as TIFF"):
        read_experiments(tmp_path)


def test_a_folder_of_images_says_what_to_open_instead(tmp_path):
    (tmp_path / "Stack-1.tif").write_bytes(b"")
    with pytest.raises(CellTrainError, match="folder of images without tracking data"):
        read_experiments(tmp_path)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(CellTrainError, match=r"no file or folder .*gone\.aut"):
        read_experiments(tmp_path / "gone.aut")


def test_an_unknown_format_name_lists_the_known(tmp_path):
    with pytest.raises(CellTrainError, match="TrackMate XML"):
        format_named("TrackMat")


def test_a_misspelled_option_is_the_programmers_mistake(tmp_path):
    with pytest.raises(TypeError):
        read_experiments(tmp_path, voxelsize=1)


@pytest.mark.parametrize(
    ("name", "format_name"),
    [
        ("a.aut", "OrganoidTracker"),
        ("a.autlist", "OrganoidTracker list"),
        ("a.XML", "TrackMate XML"),
        ("a.geff", "GEFF"),
        ("a.csv", "CSV table"),
        ("a.tsv", "CSV table"),
        ("01_RES", "Cell Tracking Challenge"),
    ],
)
def test_the_suffix_picks_the_format_that_is_written(tmp_path, name, format_name):
    write_experiment(tmp_path / name, SOME)
    found = format_of(tmp_path / name)
    assert found is not None
    assert found.name == format_name
    (read,) = read_experiments(tmp_path / name)
    assert read.annotations.links.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("a.tif", "no tracking format is written"),
        ("a", "the end of the name says how it is written"),
        ("a.mastodon", "no tracking format is written"),
    ],
)
def test_other_suffixes_can_not_be_written(tmp_path, name, sentence):
    with pytest.raises(CellTrainError, match=sentence):
        write_experiment(tmp_path / name, SOME)
    assert not list(tmp_path.iterdir())


def test_what_is_only_read_is_not_written(tmp_path):
    with pytest.raises(CellTrainError, match="can be read, but not written"):
        write_experiment(tmp_path / "a.mastodon", SOME, "Mastodon")


OWN_FILE = {
    "GEFF": ".zgroup",
    "GEFF for Mastodon": ".zgroup",
    "Cell Tracking Challenge": "mask000.tif",
}
WRITABLE = [one.name for one in formats() if is_writable(one)]


@pytest.mark.parametrize("name", WRITABLE)
def test_an_existing_file_survives_a_failing_write(tmp_path, name, monkeypatch):
    path = tmp_path / "old.xml"
    old = path / OWN_FILE[name] if name in OWN_FILE else path
    old.parent.mkdir(exist_ok=True)
    old.write_text("old")

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(CellTrainError, match="No space left"):
        format_named(name).write(path, SOME)
    assert old.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["old.xml"]


@pytest.mark.parametrize("name", OWN_FILE)
@pytest.mark.parametrize("stranger", ["thesis.docx", "0/.zarray", "t000.tif"])
def test_a_folder_of_other_things_is_never_replaced(tmp_path, name, stranger):
    path = tmp_path / "movie.zarr"
    format_named(name).write(path, SOME)
    (path / stranger).parent.mkdir(exist_ok=True)
    (path / stranger).write_text("precious")
    before = sorted(one.relative_to(path) for one in path.rglob("*"))
    with pytest.raises(CellTrainError, match="holds something else"):
        format_named(name).write(path, SOME)
    assert sorted(one.relative_to(path) for one in path.rglob("*")) == before
    assert (path / stranger).read_text() == "precious"


@pytest.mark.parametrize("name", WRITABLE)
def test_a_place_that_can_not_be_written_is_said(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(CellTrainError, match="can't be written"):
        format_named(name).write(tmp_path / "file" / "below", SOME)


def test_converting_says_what_is_lost(tmp_path):
    marked = Annotations([0, 0], [[0, 1, 2], [0, 9, 9]], status=[1, -1])
    write_experiment(tmp_path / "in.csv", Experiment("a", marked))
    done = convert(tmp_path / "in.csv", tmp_path / "out.aut", voxel_size_um=(2.0, 0.5, 0.5))
    assert [one.code for one in done.lost] == ["not-cells"]
    (read,) = read_experiments(tmp_path / "out.aut")
    assert len(read.annotations) == 1
    assert read.voxel_size_um == (2.0, 0.5, 0.5)


def test_several_experiments_go_into_a_list_or_one_is_chosen(tmp_path):
    from napari_celltrain.formats.autlist_writing import write_autlist

    write_autlist(tmp_path / "in.autlist", [SOME, SOME])
    with pytest.raises(CellTrainError, match="holds 2 experiments; say which one"):
        convert(tmp_path / "in.autlist", tmp_path / "all.csv")
    convert(tmp_path / "in.autlist", tmp_path / "one.csv", entry=2)
    assert len(read_experiments(tmp_path / "one.csv")) == 1
    convert(tmp_path / "in.autlist", tmp_path / "list" / "all.autlist")
    assert len(read_experiments(tmp_path / "list" / "all.autlist")) == 2


@pytest.mark.parametrize(("source", "out"), [("a.aut", "a.aut"), ("a.aut", "a.autlist")])
def test_converting_never_overwrites_its_source(tmp_path, source, out):
    write_experiment(tmp_path / source, SOME)
    before = (tmp_path / source).read_bytes()
    with pytest.raises(CellTrainError, match=r"a\.aut would be overwritten"):
        convert(tmp_path / source, tmp_path / out)
    assert (tmp_path / source).read_bytes() == before


@pytest.mark.parametrize("out", ["a.aut", "m.autlist"])
def test_converting_never_overwrites_what_its_source_lists(tmp_path, out):
    listed = ["a.aut", "m files/1. a.aut"]
    for name in listed:
        write_experiment(tmp_path / name, SOME)
    entries = [{"experiment_file": name} for name in listed]
    (tmp_path / "l.autlist").write_text(json.dumps(entries))
    before = {name: (tmp_path / name).read_bytes() for name in listed}
    with pytest.raises(CellTrainError, match=r"a\.aut would be overwritten"):
        # of the file that is not taken too
        convert(tmp_path / "l.autlist", tmp_path / out, entry=2 if out == "a.aut" else None)
    assert {name: (tmp_path / name).read_bytes() for name in listed} == before
    assert not (tmp_path / "m.autlist").exists()


def test_converting_never_overwrites_a_table_that_is_read_with_its_source(tmp_path):
    (tmp_path / "a_spots.csv").write_text("id,t,z,y,x\n1,0,0,1,2\n2,1,0,1,2\n")
    (tmp_path / "a_edges.csv").write_text("source,target\n1,2\n")
    with pytest.raises(CellTrainError, match=r"a_edges\.csv would be overwritten"):
        convert(tmp_path / "a_spots.csv", tmp_path / "a_edges.csv")


def test_converting_never_overwrites_the_movie(tmp_path):
    from napari_celltrain.images import open_images

    zarr = pytest.importorskip("zarr")
    zarr.create_array(tmp_path / "m.geff", shape=(2, 3, 8, 9), dtype="u1")
    write_experiment(tmp_path / "a.aut", SOME)
    images = open_images(tmp_path / "m.geff")
    with pytest.raises(CellTrainError, match=r"m\.geff would be overwritten"):
        convert(tmp_path / "a.aut", tmp_path / "m.geff", images=images)


@pytest.mark.parametrize("n", [1, 2])
def test_converting_to_a_list_replaces_nothing_that_lies_beside_it(tmp_path, n):
    write_experiment(tmp_path / "in.csv", SOME)
    entries = [{"experiment_file": "in.csv", "max_time_point": 5 + k} for k in range(n)]
    (tmp_path / "l.autlist").write_text(json.dumps(entries))
    beside = tmp_path / ("b.aut" if n == 1 else "b files/2. in.aut")
    write_experiment(beside, SOME)
    before = beside.read_bytes()
    with pytest.raises(CellTrainError, match=r"\.aut is there already and would be replaced"):
        convert(tmp_path / "l.autlist", tmp_path / "b.autlist")
    assert beside.read_bytes() == before
    beside.unlink()
    for _ in range(2):  # what a list wrote itself is replaced with it
        convert(tmp_path / "l.autlist", tmp_path / "b.autlist")


def test_converting_refuses_the_destination_before_it_reads(tmp_path):
    with pytest.raises(CellTrainError, match="no tracking format is written"):
        convert(tmp_path / "gone.aut", tmp_path / "out.docx")


def test_converting_uses_the_images_voxel_size(tmp_path):
    import numpy as np

    tifffile.imwrite(
        tmp_path / "movie.tif",
        np.zeros((2, 4, 20, 20), np.uint8),
        imagej=True,
        resolution=(2, 2),
        metadata={"axes": "TZYX", "spacing": 2.0, "unit": "um"},
    )
    (tmp_path / "in.csv").write_text("timepoint,x,y,z,radius\n0,4,6,2,2\n")
    convert(tmp_path / "in.csv", tmp_path / "out.aut", images=tmp_path / "movie.tif")
    (read,) = read_experiments(tmp_path / "out.aut")
    assert read.annotations.positions.tolist() == [[1, 12, 8]]
    assert read.voxel_size_um == (2.0, 0.5, 0.5)


def test_opening_and_writing_load_neither_torch_nor_napari():
    program = (
        "import sys; from napari_celltrain.formats import *; "
        "[one.recognises for one in formats()]; "
        "slow = {'torch', 'napari', 'qtpy', 'zarr', 'pandas', 'h5py', 'scipy'}; "
        "assert not slow & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_a_folder_says_what_to_open_in_it(tmp_path):
    folder = tmp_path / "monday"
    (folder / "images").mkdir(parents=True)
    tifffile.imwrite(folder / "images" / "t0.tif", np.zeros((4, 4), np.uint8))
    (folder / "points.csv").write_text("t,z,y,x\n0,0,1,1\n", "utf-8")
    with pytest.raises(CellTrainError, match=r"in it: points\.csv\."):
        read_experiments(folder)
    with pytest.raises(CellTrainError, match="folder of images without"):
        read_experiments(folder / "images")
    (tmp_path / "nothing").mkdir()
    with pytest.raises(CellTrainError, match="is empty"):
        read_experiments(tmp_path / "nothing")


def test_an_image_is_no_tracking_data_but_is_known_as_one(tmp_path):
    tifffile.imwrite(tmp_path / "movie.tif", np.zeros((5, 5), np.float32))
    with pytest.raises(CellTrainError, match="is an image without tracking data"):
        read_experiments(tmp_path / "movie.tif")


def test_what_can_be_opened_is_listed_without_what_can_not(tmp_path):
    (tmp_path / "notes.md").write_text("# Cells\n", "utf-8")
    with pytest.raises(CellTrainError, match="of a kind known here") as refusal:
        read_experiments(tmp_path / "notes.md")
    assert "TrackMate XML" in str(refusal.value)
    assert "Pickled" not in str(refusal.value)


def test_a_name_without_an_end_is_told_what_it_lacks(tmp_path):
    with pytest.raises(CellTrainError, match="the end of the name says"):
        write_experiment(tmp_path / "cells", SOME)
