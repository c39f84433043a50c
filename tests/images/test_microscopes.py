"""Files of microscopes' own formats: CZI is written here; ND2 and LIF can't be, so their
libraries are stood in for, as their documentation says they behave."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import open_images

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


class Nd2File:
    """Two fields of view; a stored frame is a plane of both channels."""

    sizes: ClassVar = {"T": 3, "P": 2, "Z": 4, "C": 2, "Y": 20, "X": 16}
    dtype = np.uint16
    loop_indices = tuple(
        {"T": t, "P": p, "Z": z} for t in range(3) for p in range(2) for z in range(4)
    )
    experiment: ClassVar = [SimpleNamespace(parameters=SimpleNamespace(periodMs=300_000.0))]

    def __init__(self, path):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def voxel_size(self):
        return SimpleNamespace(x=0.4, y=0.4, z=2.0)

    def read_frame(self, number):
        at = self.loop_indices[number]
        return MOVIE[at["T"], :, at["Z"]] + at["P"]


def test_an_nd2_is_read_plane_by_plane(tmp_path, monkeypatch):
    module = ModuleType("nd2")
    module.ND2File = Nd2File
    monkeypatch.setitem(sys.modules, "nd2", module)
    (tmp_path / "movie.nd2").touch()
    source = open_images(tmp_path / "movie.nd2")
    assert (len(source.time_points), source.n_channels) == (3, 2)
    assert source.frame_shape == (4, 20, 16)
    assert source.voxel_size_um == (2.0, 0.4, 0.4)
    assert source.frame_interval_s == 300
    np.testing.assert_array_equal(source.read_frame(2, 1), MOVIE[2, 1])
    np.testing.assert_array_equal(source.read_crop(1, 0, CROP), MOVIE[1, 0][CROP])
    second = open_images(tmp_path / "movie.nd2", series="2")
    np.testing.assert_array_equal(second.read_frame(2, 1), MOVIE[2, 1] + 1)
    with pytest.raises(CellTrainError, match="no image number '3'"):
        open_images(tmp_path / "movie.nd2", series="3")


class LifFile:
    """One image with its axes in the order that Leica's software often has."""

    class Image:
        name = "Series 7"
        dims = ("T", "Z", "C", "Y", "X")
        shape = (3, 4, 2, 20, 16)
        dtype = np.dtype(np.uint16)
        coords: ClassVar = {
            "T": np.arange(3) * 300.0,
            "Z": np.arange(4) * -2e-6,
            "Y": np.arange(20) * 0.4e-6,
            "X": np.arange(16) * 0.4e-6,
        }

        def frame(self, *, T, Z, C):
            return MOVIE[T, C, Z]

    def __init__(self, path):
        self.images = [self.Image()]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("series", [None, "1", "Series 7"])
def test_a_lif_is_read_plane_by_plane(tmp_path, monkeypatch, series):
    module = ModuleType("liffile")
    module.LifFile = LifFile
    monkeypatch.setitem(sys.modules, "liffile", module)
    (tmp_path / "movie.lif").touch()
    source = open_images(tmp_path / "movie.lif", series=series)
    assert (len(source.time_points), source.n_channels) == (3, 2)
    assert source.frame_shape == (4, 20, 16)
    assert source.voxel_size_um == pytest.approx((2.0, 0.4, 0.4))
    assert source.frame_interval_s == 300
    np.testing.assert_array_equal(source.read_frame(2, 1), MOVIE[2, 1])
    np.testing.assert_array_equal(source.read_crop(1, 0, CROP), MOVIE[1, 0][CROP])
