"""Files of microscopes' own formats, read with the real libraries.

CZI is written by its library, ND2 and LIF by `microscope_files`.
"""

from __future__ import annotations

import runpy
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import open_images

FILES = runpy.run_path(str(Path(__file__).with_name("microscope_files.py")))
write_nd2, write_lif = FILES["write_nd2"], FILES["write_lif"]
MOVIE = np.random.default_rng(0).integers(0, 60_000, (3, 2, 4, 20, 16), np.uint16)
CROP = (slice(1, 3), slice(5, 15), slice(3, None))


@pytest.mark.parametrize(
    ("suffix", "library"), [(".czi", "pylibCZIrw.czi"), (".lif", "liffile"), (".nd2", "nd2")]
)
def test_a_missing_library_is_asked_for_by_name_of_the_extra(
    tmp_path, monkeypatch, suffix, library
):
    monkeypatch.setitem(sys.modules, library, None)
    (tmp_path / f"movie{suffix}").write_bytes(b"x")
    with pytest.raises(CellTrainError, match=r"napari-celltrain\[images\]"):
        open_images(tmp_path / f"movie{suffix}")


@pytest.mark.parametrize(
    ("suffix", "library"), [(".czi", "pylibCZIrw"), (".lif", "liffile"), (".nd2", "nd2")]
)
@pytest.mark.parametrize("content", [b"", b"not such a file at all", b"ZISRAWFILE\0\0\0\0"])
def test_what_is_no_image_is_refused_with_its_name(tmp_path, suffix, library, content):
    pytest.importorskip(library)
    (tmp_path / f"movie{suffix}").write_bytes(content)
    with pytest.raises(CellTrainError, match=rf"movie\{suffix}"):
        open_images(tmp_path / f"movie{suffix}")


def test_a_czi_gives_the_pixels_that_were_written(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    path = tmp_path / "movie.czi"
    with czi.create_czi(str(path)) as writer:
        for t in range(3):
            for c in range(2):
                for z in range(4):
                    plane = {"T": t, "C": c, "Z": z}
                    writer.write(MOVIE[t, c, z, :, :, None], plane=plane, scene=0)
                    writer.write(MOVIE[t, c, z, :9, :8, None], (40, 0), plane=plane, scene=1)
        writer.write_metadata(scale_x=0.4e-6, scale_y=0.4e-6, scale_z=2e-6)
    source = open_images(path)
    assert (len(source.time_points), source.n_channels) == (3, 2)
    assert source.frame_shape == (4, 20, 16)
    assert source.dtype == np.uint16
    assert source.voxel_size_um == pytest.approx((2.0, 0.4, 0.4))
    np.testing.assert_array_equal(source.read_frame(2, 1), MOVIE[2, 1])
    np.testing.assert_array_equal(source.read_crop(1, 0, CROP), MOVIE[1, 0][CROP])
    second = open_images(path, pattern="2")
    assert second.frame_shape == (4, 9, 8)
    np.testing.assert_array_equal(second.read_frame(1), MOVIE[1, 0, :, :9, :8])


@pytest.fixture
def small_czi(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    path = tmp_path / "movie.czi"
    with czi.create_czi(str(path)) as writer:
        for t in range(2):
            writer.write(MOVIE[t, 0, 0, :, :, None], plane={"T": t, "C": 0, "Z": 0})
    return path


CRASH = "import os\ndef answer(path, planes):\n    os.abort()\n"


def test_a_crash_of_the_library_at_a_header_is_a_sentence(small_czi, tmp_path, monkeypatch):
    from napari_celltrain.images import zeiss

    (tmp_path / "crash.py").write_text(CRASH)
    monkeypatch.setattr(zeiss, "PROGRAM", tmp_path / "crash.py")
    with pytest.raises(CellTrainError, match=r"movie\.czi can't be read as a CZI.* crashed"):
        open_images(small_czi)


def test_a_crash_of_the_library_at_a_frame_names_the_time_point(small_czi, tmp_path, monkeypatch):
    from napari_celltrain.images import zeiss

    source = open_images(small_czi)
    (tmp_path / "crash.py").write_text(CRASH)
    with monkeypatch.context() as changed:
        changed.setattr(zeiss, "PROGRAM", tmp_path / "crash.py")
        with pytest.raises(CellTrainError, match=r"Time point 1 .*movie\.czi: .* crashed"):
            source.read_frame(1)
    np.testing.assert_array_equal(source.read_frame(1), MOVIE[1, :1, 0])


def test_a_colour_czi_becomes_grey(tmp_path):
    czi = pytest.importorskip("pylibCZIrw.czi")
    pixels = np.random.default_rng(1).integers(0, 255, (20, 16, 3), np.uint8)
    with czi.create_czi(str(tmp_path / "colour.czi")) as writer:
        writer.write(pixels, plane={"T": 0, "C": 0, "Z": 0})
    source = open_images(tmp_path / "colour.czi")
    assert (source.n_channels, source.frame_shape) == (1, (1, 20, 16))
    grey = np.clip(pixels[..., ::-1] @ [0.299, 0.587, 0.114], 0, 255)
    np.testing.assert_allclose(source.read_frame(0)[0], grey, atol=0.51)


@pytest.fixture
def nd2_file(tmp_path):
    pytest.importorskip("nd2")
    path = tmp_path / "movie.nd2"
    write_nd2(path, np.stack([MOVIE, MOVIE + 1], axis=1).swapaxes(2, 3))
    return path


def test_an_nd2_is_read_plane_by_plane(nd2_file):
    source = open_images(nd2_file)
    assert (len(source.time_points), source.n_channels) == (3, 2)
    assert source.frame_shape == (4, 20, 16)
    assert source.dtype == np.uint16
    assert source.voxel_size_um == (2.0, 0.4, 0.4)
    assert source.frame_interval_s == 300
    np.testing.assert_array_equal(source.read_frame(2, 1), MOVIE[2, 1])
    np.testing.assert_array_equal(source.read_crop(1, 0, CROP), MOVIE[1, 0][CROP])
    second = open_images(nd2_file, series="2")
    np.testing.assert_array_equal(second.read_frame(2, 1), MOVIE[2, 1] + 1)
    with pytest.raises(CellTrainError, match="no image number '3'"):
        open_images(nd2_file, series="3")


def test_the_library_itself_reads_the_made_nd2_so(nd2_file):
    nd2 = pytest.importorskip("nd2")
    with nd2.ND2File(nd2_file) as file:
        assert dict(file.sizes) == {"T": 3, "P": 2, "Z": 4, "C": 2, "Y": 20, "X": 16}
        np.testing.assert_array_equal(file.asarray()[:, 0].swapaxes(1, 2), MOVIE)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1, 20, 16), (5, 1, 1, 1, 20, 16), (1, 1, 6, 2, 9, 7)])
def test_an_nd2_without_some_axes(tmp_path, shape):
    pytest.importorskip("nd2")
    movie = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    write_nd2(tmp_path / "small.nd2", movie)
    source = open_images(tmp_path / "small.nd2")
    n_t, _, n_z, n_c, height, width = shape
    assert (len(source.time_points), source.n_channels) == (n_t, n_c)
    assert source.frame_shape == (n_z, height, width)
    np.testing.assert_array_equal(source.read_frame(n_t - 1, n_c - 1), movie[-1, 0, :, -1])


def test_a_frame_that_is_not_in_an_nd2_is_named_not_black(nd2_file):
    """As after an acquisition that was stopped; the library would give zeros."""
    nd2_file.write_bytes(nd2_file.read_bytes().replace(b"ImageDataSeq|23!", b"ImageDataSeq|99!"))
    source = open_images(nd2_file, series=2)
    np.testing.assert_array_equal(source.read_frame(1), MOVIE[1, 0] + 1)
    with pytest.raises(CellTrainError, match=r"Time point 2 .*movie\.nd2.* not in the file"):
        source.read_frame(2)


def test_a_frame_of_an_nd2_behind_the_end_of_the_file_is_named(nd2_file):
    raw = nd2_file.read_bytes()
    start = raw.rindex(b"ImageDataSeq|0!") + len(b"ImageDataSeq|0!")
    nd2_file.write_bytes(raw[:start] + struct.pack("<Q", len(raw)) + raw[start + 8 :])
    with pytest.raises(CellTrainError, match=r"Time point 0 .*ends before"):
        open_images(nd2_file).read_frame(0)


def test_a_truncated_nd2_is_refused(nd2_file):
    raw = nd2_file.read_bytes()
    nd2_file.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(CellTrainError, match=r"movie\.nd2 can't be read"):
        open_images(nd2_file)


STEPS = {"x": 0.4e-6, "y": 0.4e-6, "z": 2e-6, "t": 300.0}


@pytest.fixture
def lif_file(tmp_path):
    pytest.importorskip("liffile")
    path = tmp_path / "movie.lif"
    movie = MOVIE.swapaxes(1, 2)
    write_lif(path, {"Series 7": movie, "snap": movie[:1, :1, :1] + 1}, STEPS)
    return path


@pytest.mark.parametrize("series", [None, "1", "Series 7"])
def test_a_lif_is_read_plane_by_plane(lif_file, series):
    source = open_images(lif_file, series=series)
    assert (len(source.time_points), source.n_channels) == (3, 2)
    assert source.frame_shape == (4, 20, 16)
    assert source.voxel_size_um == pytest.approx((2.0, 0.4, 0.4))
    assert source.frame_interval_s == pytest.approx(300)
    np.testing.assert_array_equal(source.read_frame(2, 1), MOVIE[2, 1])
    np.testing.assert_array_equal(source.read_crop(1, 0, CROP), MOVIE[1, 0][CROP])


@pytest.mark.parametrize("series", ["2", "snap"])
def test_another_image_of_a_lif(lif_file, series):
    source = open_images(lif_file, series=series)
    assert (len(source.time_points), source.n_channels) == (1, 1)
    np.testing.assert_array_equal(source.read_frame(0), MOVIE[0, 0, :1] + 1)
    with pytest.raises(CellTrainError, match="no image number '3'"):
        open_images(lif_file, series="3")


def test_a_truncated_frame_of_a_lif_is_named(lif_file):
    source = open_images(lif_file)
    lif_file.write_bytes(lif_file.read_bytes()[: -MOVIE.nbytes // 2])
    np.testing.assert_array_equal(source.read_frame(0), MOVIE[0, 0])
    with pytest.raises(CellTrainError, match=r"Time point 2 .*movie\.lif.*bytes"):
        source.read_frame(2)


def test_an_image_of_a_lif_that_claims_more_than_is_there_is_refused(lif_file):
    text = 'NumberOfElements="3"'.encode("utf-16-le")
    many = 'NumberOfElements="9"'.encode("utf-16-le")
    lif_file.write_bytes(lif_file.read_bytes().replace(text, many))
    with pytest.raises(CellTrainError, match=r"'Series 7' is damaged: .*claims"):
        open_images(lif_file, series=1)


def test_the_header_of_a_lif_declares_no_entities(lif_file):
    raw = lif_file.read_bytes()
    old = '<LMSDataContainerHeader Version="2">'.encode("utf-16-le")
    new = "<!DOCTYPE x []><LMS>".ljust(len(old) // 2).encode("utf-16-le")
    lif_file.write_bytes(raw.replace(old, new))
    with pytest.raises(CellTrainError, match="document type"):
        open_images(lif_file)


def test_a_lif_that_only_names_other_files_is_refused(tmp_path):
    pytest.importorskip("liffile")
    (tmp_path / "list.lif").write_text('<?xml version="1.0"?><LMSDataContainerHeader Version="2"/>')
    with pytest.raises(CellTrainError, match=r"list\.lif can't be read"):
        open_images(tmp_path / "list.lif")
