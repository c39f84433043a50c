from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images.pattern import Pattern, Place, guess_pattern


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["t000.tif", "t001.tif"], "t{time:03}.tif"),
        (["a9.tif", "a10.tif"], "a{time}.tif"),
        (["t998.tif", "t1000.tif", "t007.tif"], "t{time:03}.tif"),
        (["x_c1_t01.tif", "x_c1_t02.tif", "x_c2_t01.tif"], "x_c{channel}_t{time:02}.tif"),
        (["img_t1_z01.TIFF", "img_t1_z02.TIFF"], "img_t{time}_z{z:02}.TIFF"),
        (["exp7_0001.tif", "exp7_0002.tif"], "exp7_{time:04}.tif"),
        (["2024-05-01 frame 3.tif", "2024-05-01 frame 4.tif"], "2024-05-01 frame {time}.tif"),
        (["embryoT01C0.tif", "embryoT02C0.tif"], "embryoT{time:02}C0.tif"),
        (["t5.tif"], "t{time}.tif"),
        (["movie.tif"], "movie.tif"),
        (["well {3}_t1.tif", "well {3}_t2.tif"], "well {{3}}_t{time}.tif"),
        (["t0.tif", "t1.tif", "mask.tif", "_t9.tif", "notes1.txt", "notes2.txt"], "t{time}.tif"),
    ],
)
def test_the_pattern_of_a_folder_is_found(tmp_path, names, pattern):
    for name in names:
        (tmp_path / name).touch()
    guessed = guess_pattern(tmp_path)
    assert guessed is not None
    assert guessed.text == pattern


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["s1_t1.tif", "s1_t2.tif", "s2_t1.tif"], "not clear"),
        (["1_1.tif", "1_2.tif", "2_1.tif"], "not clear"),
        (["t1.tif", "t2.tif", "mask1.tif", "mask2.tif"], "more than one series"),
    ],
)
def test_an_unclear_folder_asks_for_a_pattern(tmp_path, names, words):
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(CellTrainError, match=f"{words}.*pattern"):
        guess_pattern(tmp_path)


@given(
    st.integers(0, 10**6),
    st.integers(0, 12),
    st.sampled_from(["t{time}_c{channel}.tif", "{channel:02}/t{time:03}.tif", "{time:05}x.tif"]),
)
def test_a_written_name_is_read_back(tmp_path_factory, time, channel, text):
    folder = tmp_path_factory.mktemp("names")
    pattern = Pattern(text)
    place = Place(time, channel if pattern.has("channel") else None)
    path = folder / pattern.name_of(place)
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert pattern.files(folder) == {place: path}


def test_other_widths_are_other_files(tmp_path):
    for name in ("t01.tif", "t001.tif", "t1000.tif", "t001.tif.bak"):
        (tmp_path / name).touch()
    found = Pattern("t{time:03}.tif").files(tmp_path)
    assert {path.name for path in found.values()} == {"t001.tif", "t1000.tif"}


def test_a_number_that_occurs_twice_has_one_value(tmp_path):
    for name in ("T1", "T2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "img1.tif").touch()
    assert list(Pattern("T{time}/img{time}.tif").files(tmp_path)) == [Place(1)]


@pytest.mark.parametrize(
    "text",
    [
        "t{frame}.tif",
        "t{time",
        "t{time!r}.tif",
        "t{time.real}.tif",
        "{0}.tif",
        "t{time:>9}",
        "{time:03}{z}",
    ],
)
def test_a_pattern_that_makes_no_sense_is_refused(text):
    with pytest.raises(CellTrainError, match="pattern"):
        Pattern(text)


def test_a_folder_that_is_not_there_is_named():
    with pytest.raises(CellTrainError, match="nowhere"):
        guess_pattern(Path("nowhere"))
