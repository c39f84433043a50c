from __future__ import annotations

import pickle
import shutil

import h5py
import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import FrameSource
from napari_celltrain.images import open_images

MOVIE = np.random.default_rng(0).integers(0, 60_000, (3, 2, 4, 20, 16), np.uint16)
XML = """<SpimData version="0.2"><BasePath type="relative">.</BasePath><SequenceDescription>
<ImageLoader format="{format}"><hdf5 type="relative">{file}</hdf5></ImageLoader>
<ViewSetups><ViewSetup><id>0</id><name>0</name><size>16 20 4</size>
<voxelSize><unit>{unit}</unit><size>0.4 0.4 2.0</size></voxelSize></ViewSetup></ViewSetups>
</SequenceDescription><ViewRegistrations><ViewRegistration timepoint="0" setup="0">
<ViewTransform type="affine"><affine>{affine}</affine></ViewTransform>
</ViewRegistration></ViewRegistrations></SpimData>"""
IDENTITY = "1 0 0 0 0 1 0 0 0 0 1 0"
SCALED = "0.5 0 0 0 0 0.5 0 0 0 0 3.0 0"


def write_bdv(folder, *, times=(0, 1, 2), unit="um", affine=IDENTITY, format="bdv.hdf5"):
    with h5py.File(folder / "movie.h5", "w") as file:
        for t, frame in zip(times, MOVIE, strict=True):
            for setup in range(2):
                file[f"t{t:05}/s{setup:02}/0/cells"] = frame[setup].view(np.int16)
                file[f"t{t:05}/s{setup:02}/1/cells"] = frame[setup, :, ::2, ::2].view(np.int16)
    xml = XML.format(format=format, file="movie.h5", unit=unit, affine=affine)
    (folder / "movie.xml").write_text(xml)
    return folder / "movie.xml"


def write_ims(folder, *, padded=(4, 32, 32), n_times=3):
    path = folder / "movie.ims"
    characters = lambda text: np.frombuffer(text.encode(), "S1")  # noqa: E731
    with h5py.File(path, "w") as file:
        for t in range(n_times):
            for channel in range(2):
                data = np.zeros(padded, np.uint16)
                data[:4, :20, :16] = MOVIE[t, channel]
                file[f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {channel}/Data"] = data
        image = file.create_group("DataSetInfo/Image")
        for name, text in {
            "X": "16", "Y": "20", "Z": "4", "Unit": "um", "ExtMin0": "10", "ExtMax0": "18",
            "ExtMin1": "-5", "ExtMax1": "5", "ExtMin2": "0", "ExtMax2": "8.0",
        }.items():  # fmt: skip
            image.attrs[name] = characters(text)
        info = file.create_group("DataSetInfo/TimeInfo")
        info.attrs["TimePoint1"] = characters("2026-01-01 23:58:00.000")
        info.attrs["TimePoint2"] = characters("2026-01-02 00:03:00.000")
    return path


@pytest.mark.parametrize("suffix", [".xml", ".h5"])
def test_bigdataviewer_gives_the_pixels_that_were_written(tmp_path, suffix):
    source = open_images(write_bdv(tmp_path).with_suffix(suffix))
    assert isinstance(source, FrameSource)
    assert (list(source.time_points), source.n_channels) == ([0, 1, 2], 2)
    assert source.frame_shape == (4, 20, 16)
    assert source.dtype == np.uint16
    np.testing.assert_array_equal(source.read_frame(2, 1), MOVIE[2, 1])
    crop = (slice(1, 3), slice(5, 15), slice(3, None))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(source)).read_crop(1, 0, crop), MOVIE[1, 0, 1:3, 5:15, 3:]
    )


@pytest.mark.parametrize(
    ("affine", "expected"), [(IDENTITY, (2.0, 0.4, 0.4)), (SCALED, (3.0, 0.5, 0.5))]
)
def test_the_affine_map_is_the_scale_unless_it_is_none(tmp_path, affine, expected):
    assert open_images(write_bdv(tmp_path, affine=affine)).voxel_size_um == pytest.approx(expected)


def test_pixels_are_no_scale(tmp_path):
    assert open_images(write_bdv(tmp_path, unit="pixel")).voxel_size_um is None


def test_without_the_xml_the_scale_is_unknown(tmp_path):
    write_bdv(tmp_path).unlink()
    assert open_images(tmp_path / "movie.h5").voxel_size_um is None


def test_time_points_keep_their_numbers(tmp_path):
    source = open_images(write_bdv(tmp_path, times=(4, 5, 9)))
    assert list(source.time_points) == [4, 5, 9]
    np.testing.assert_array_equal(source.read_frame(9), MOVIE[2, 0])


def test_a_view_that_is_missing_is_named(tmp_path):
    path = write_bdv(tmp_path)
    with h5py.File(tmp_path / "movie.h5", "r+") as file:
        del file["t00001/s01"]
    source = open_images(path)
    with pytest.raises(CellTrainError, match=r"Time point 1 .*movie\.h5"):
        source.read_frame(1, 1)


def test_other_loaders_of_bigdataviewer_are_refused(tmp_path):
    with pytest.raises(CellTrainError, match=r"'bdv\.n5'"):
        open_images(write_bdv(tmp_path, format="bdv.n5"))


def test_imaris_gives_the_pixels_without_its_padding(tmp_path):
    source = open_images(write_ims(tmp_path))
    assert isinstance(source, FrameSource)
    assert (list(source.time_points), source.n_channels) == ([0, 1, 2], 2)
    assert source.frame_shape == (4, 20, 16)
    assert source.voxel_size_um == pytest.approx((2.0, 0.5, 0.5))
    assert source.frame_interval_s == 300
    np.testing.assert_array_equal(source.read_frame(1, 1), MOVIE[1, 1])
    crop = (slice(1, 3), slice(5, None), slice(3, None))
    np.testing.assert_array_equal(source.read_crop(0, 0, crop), MOVIE[0, 0, 1:3, 5:, 3:])


def test_a_made_imaris_file_opens(formats_folder):
    source = open_images(formats_folder / "made" / "sample.ims")
    assert source.time_points == range(6)
    assert source.frame_shape == (16, 64, 64)
    assert source.voxel_size_um == pytest.approx((2.0, 0.5, 0.5))
    assert source.frame_interval_s == 300
    assert source.read_frame(5).shape == (16, 64, 64)


@pytest.mark.parametrize("name", ["movie.h5", "movie.ims"])
def test_hdf5_files_of_other_programs_are_refused(tmp_path, name):
    with h5py.File(tmp_path / name, "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(CellTrainError, match=name):
        open_images(tmp_path / name)


@pytest.mark.parametrize("name", ["movie.h5", "movie.ims", "movie.xml"])
@pytest.mark.parametrize("content", [b"", b"<", b"<a/>", b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_image_is_refused_with_its_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CellTrainError, match=name):
        open_images(tmp_path / name)


@pytest.mark.parametrize("make", [write_bdv, write_ims])
def test_damaged_files_end_in_a_sentence_or_in_pixels(tmp_path, make):
    made = make(tmp_path)
    path = made.with_suffix(".h5") if made.suffix == ".xml" else made
    whole = tmp_path / "whole"
    shutil.copy(path, whole)
    content = np.frombuffer(whole.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        mutated = content.copy()
        places = rng.integers(0, min(4000, len(content)), 6)
        mutated[places] = rng.integers(0, 256, 6)
        path.write_bytes(mutated[: rng.integers(len(content) // 4, len(content) + 1)].tobytes())
        try:
            source = open_images(made)
            source.read_frame(source.time_points[-1])
            outcomes.add("pixels")
        except CellTrainError:
            outcomes.add("sentence")
    assert "sentence" in outcomes


def _with_cells(folder, make):
    """Write a movie of one frame whose pixels `make` puts where it likes."""
    with h5py.File(folder / "movie.h5", "w") as file:
        make(file.create_group("t00000/s00/0"))
    return open_images(folder / "movie.h5")


def test_pixels_in_any_file_of_the_machine_are_not_shown(tmp_path):
    """They could be of a file that is nobody's business, and be shared as a picture."""
    private, folder = tmp_path / "private", tmp_path / "stranger"
    private.mkdir()
    folder.mkdir()
    (private / "secret.txt").write_bytes(b"TOPSECRET" * 1000)
    with h5py.File(private / "other.h5", "w") as file:
        file["x"] = MOVIE[0, 0]
    shape = MOVIE[0, 0].shape
    raw = [(str(private / "secret.txt"), 0, 2 * MOVIE[0, 0].size)]
    layout = h5py.VirtualLayout(shape, "u2")
    layout[...] = h5py.VirtualSource(str(private / "other.h5"), "x", shape)
    ways = {
        "external": lambda g: g.create_dataset("cells", shape, "u2", external=raw),
        "virtual": lambda g: g.create_virtual_dataset("cells", layout),
        "absolute": lambda g: g.__setitem__(
            "cells", h5py.ExternalLink(str(private / "other.h5"), "/x")
        ),
        "up": lambda g: g.__setitem__("cells", h5py.ExternalLink("../private/other.h5", "/x")),
        "soft": lambda g: (
            g.__setitem__("there", h5py.ExternalLink("../private/other.h5", "/x")),
            g.__setitem__("cells", h5py.SoftLink("/t00000/s00/0/there")),
        ),
    }
    for make in ways.values():
        with pytest.raises(CellTrainError, match=r"unasked|not followed"):
            _with_cells(folder, make).read_frame(0)


def test_a_movie_that_is_split_over_files_beside_each_other_is_read(tmp_path):
    with h5py.File(tmp_path / "movie-00.h5", "w") as file:
        file["part/cells"] = MOVIE[0, 0].view(np.int16)
    link = h5py.ExternalLink("movie-00.h5", "/part/cells")
    movie = _with_cells(tmp_path, lambda group: group.__setitem__("cells", link))
    np.testing.assert_array_equal(movie.read_frame(0), MOVIE[0, 0])


@pytest.mark.parametrize("name", ["../movie.h5", "{folder}/movie.h5"])
def test_an_xml_that_names_a_file_elsewhere_says_so(tmp_path, name):
    xml = write_bdv(tmp_path)
    (tmp_path / "in").mkdir()
    text = xml.read_text().replace("movie.h5", name.format(folder=tmp_path))
    (tmp_path / "in" / "movie.xml").write_text(text)
    with pytest.raises(CellTrainError, match="not in its own folder"):
        open_images(tmp_path / "in" / "movie.xml")
