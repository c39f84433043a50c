"""Planes that go straight from the file to where they belong are what the library decodes."""

import numpy as np
import pytest
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import open_images
from napari_celltrain.images.tiff import opened
from napari_celltrain.images.tiff_decoding import decoded

PLAIN = {"compression": "zlib", "photometric": "minisblack"}


@pytest.fixture
def stack():
    return np.random.default_rng(0).integers(0, 250, (5, 37, 29))


@pytest.fixture
def counting(monkeypatch):
    """How many pages the library itself decodes."""
    pages = []
    for kind in (tifffile.TiffPage, tifffile.TiffFrame):
        original = kind.asarray

        def asarray(page, *arguments, original=original, **options):
            pages.append(page)
            return original(page, *arguments, **options)

        monkeypatch.setattr(kind, "asarray", asarray)
    return pages


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("rows", [1, 8, 37])
def test_plain_strips_are_decoded_in_place(tmp_path, stack, counting, dtype, rows):
    path = tmp_path / "t0.tif"
    tifffile.imwrite(path, stack.astype(dtype), rowsperstrip=rows, **PLAIN)
    np.testing.assert_array_equal(open_images(tmp_path / "t{time}.tif").read_frame(0), stack)
    assert not counting


@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"},
        {"predictor": True},
        {"tile": (16, 16)},
        {"compression": "lzw"},
        {"compression": None},
    ],
    ids=str,
)
def test_other_kinds_are_left_to_the_library(tmp_path, stack, options):
    stack = stack.astype("uint16")
    tifffile.imwrite(tmp_path / "t0.tif", stack, **PLAIN | options)
    np.testing.assert_array_equal(open_images(tmp_path / "t{time}.tif").read_frame(0), stack)


def test_a_place_of_another_type_is_not_written_to(tmp_path, stack):
    path = tmp_path / "plane.tif"
    tifffile.imwrite(path, stack[0].astype("uint16"), **PLAIN)
    room = np.zeros((37, 29), "float32")
    with opened(path) as tiff:
        plane = decoded(tiff.pages.first, 0, room)
    np.testing.assert_array_equal(plane, stack[0])
    assert not room.any()


def test_a_damaged_strip_is_told_as_by_the_library(tmp_path, stack):
    path = tmp_path / "t0.tif"
    tifffile.imwrite(path, stack.astype("uint16"), **PLAIN)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[3].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 40] = bytes(40)
    path.write_bytes(content)
    with tifffile.TiffFile(path) as tiff, pytest.raises(Exception) as of_the_library:  # noqa: PT011
        tiff.pages[3].asarray()
    with pytest.raises(CellTrainError, match=r"Time point 0 can't be read from .*t0.tif") as told:
        open_images(tmp_path / "t{time}.tif").read_frame(0)
    assert str(of_the_library.value).splitlines()[0].rstrip(".") in str(told.value)


def test_a_strip_with_too_few_pixels_is_told(tmp_path, stack):
    path = tmp_path / "t0.tif"
    tifffile.imwrite(path, stack.astype("uint16"), **PLAIN)
    content = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        height = tiff.pages.first.tags["ImageLength"]
        width = tiff.pages.first.tags["ImageWidth"]
        rows = tiff.pages.first.tags["RowsPerStrip"]
    broken = bytearray(content)
    for tag in (height, width, rows):
        broken[tag.valueoffset : tag.valueoffset + 2] = (50).to_bytes(2, "little")
    path.write_bytes(broken)
    with pytest.raises(CellTrainError):
        open_images(path).read_frame(0)


def test_a_file_that_is_read_at_once_says_the_same(tmp_path, stack):
    path = tmp_path / "t0.tif"
    tifffile.imwrite(path, stack.astype("uint16"), **PLAIN)
    with opened(path) as plain, opened(path, at_once=True) as at_once:
        assert at_once.filehandle.path == plain.filehandle.path
        assert at_once.filehandle.size == plain.filehandle.size
        np.testing.assert_array_equal(at_once.asarray(), plain.asarray())
