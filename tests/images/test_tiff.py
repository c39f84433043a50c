from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import FrameSource
from napari_celltrain.images import open_images

SHAPE = (4, 3, 2, 20, 16)  # t, z, c, y, x


@pytest.fixture
def movie() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 60_000, SHAPE, np.uint16)


def written(folder, movie, axes="TZCYX", name="movie.tif", **options):
    path = folder / name
    order = ["TZCYX".index(letter) for letter in axes]
    missing = [i for i in range(5) if i not in order]
    block = movie.transpose(*order, *missing)[(..., *(0 for _ in missing))]
    metadata = {"axes": axes} | options.pop("metadata", {})
    tifffile.imwrite(path, block, metadata=metadata, photometric="minisblack", **options)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"imagej": True},
        {"ome": True, "name": "movie.ome.tif"},
        {"ome": True, "name": "movie.ome.tif", "compression": "zlib"},
        {"ome": True, "name": "movie.ome.tif", "axes": "TCZYX", "tile": (16, 16)},
        {"compression": "zlib", "predictor": True},
        {"compression": "lzw", "bigtiff": True},
        {"bigtiff": True},
        {"byteorder": ">"},
        {"byteorder": ">", "compression": "zlib"},
        {"rowsperstrip": 3},
        {"rowsperstrip": 3, "compression": "zlib"},
    ],
    ids=str,
)
def test_every_kind_of_tiff_gives_the_pixels_that_were_written(tmp_path, movie, options):
    source = open_images(written(tmp_path, movie, **options))
    assert isinstance(source, FrameSource)
    assert list(source.time_points) == [0, 1, 2, 3]
    assert source.n_channels == 2
    assert source.frame_shape == (3, 20, 16)
    assert source.dtype == np.uint16
    assert source.dtype.isnative
    for t, channel in [(0, 0), (3, 1)]:
        frame = source.read_frame(t, channel)
        assert frame.dtype == source.dtype
        np.testing.assert_array_equal(frame, movie[t, :, channel])
    crop = (slice(1, 3), slice(-5, None), slice(2, 100))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(source)).read_crop(2, 1, crop), movie[2, 1:3, 1, -5:, 2:]
    )


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_crop_is_a_part_of_the_frame(tmp_path_factory, data):
    axes = data.draw(st.sampled_from(["TZCYX", "TYX", "ZYX", "YX", "TCYX"]))
    compression = data.draw(st.sampled_from([None, "zlib"]))
    movie = np.random.default_rng(1).integers(0, 255, SHAPE, np.uint8)
    path = written(tmp_path_factory.mktemp("tiff"), movie, axes, compression=compression)
    source = open_images(path)
    t = data.draw(st.sampled_from(list(source.time_points)))
    channel = data.draw(st.integers(0, source.n_channels - 1))
    crop = tuple(
        slice(*sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n)))))
        for n in source.frame_shape
    )
    whole = source.read_frame(t, channel)
    assert whole.shape == source.frame_shape
    np.testing.assert_array_equal(source.read_crop(t, channel, crop), whole[crop])


@pytest.mark.parametrize("axes", ["TYX", "ZYX", "CYX", "YX"])
def test_missing_axes_have_one_entry(tmp_path, movie, axes):
    source = open_images(written(tmp_path, movie, axes))
    expected = {"T": (4, 1, 1), "Z": (1, 3, 1), "C": (1, 1, 2), "Y": (1, 1, 1)}[axes[0]]
    assert (len(source.time_points), source.frame_shape[0], source.n_channels) == expected


def test_pages_that_nobody_named_are_time_points(tmp_path, movie):
    path = tmp_path / "plain.tif"
    tifffile.imwrite(path, movie[:, 0, 0], metadata=None, photometric="minisblack")
    assert len(open_images(path).time_points) == 4
    assert open_images(path, axes="zyx").frame_shape == (4, 20, 16)


def test_a_colour_image_becomes_one_grey_channel(tmp_path):
    colours = np.zeros((8, 9, 3), np.uint8)
    colours[..., 1] = 100
    path = tmp_path / "colour.tif"
    tifffile.imwrite(path, colours, photometric="rgb")
    source = open_images(path)
    assert source.n_channels == 1
    np.testing.assert_array_equal(source.read_frame(0), np.full((1, 8, 9), 59))


def test_imagej_states_the_scale(tmp_path, movie):
    metadata = {"spacing": 2.0, "unit": "um", "finterval": 300.0}
    path = written(tmp_path, movie, imagej=True, metadata=metadata, resolution=(2.5, 2.5))
    source = open_images(path)
    assert source.voxel_size_um == pytest.approx((2.0, 0.4, 0.4))
    assert source.frame_interval_s == 300


def test_imagejs_other_words_for_the_scale(tmp_path, movie):
    """A stack taken from below has a negative spacing; intervals may be in minutes."""
    metadata = {"spacing": -2.0, "unit": "um", "finterval": 5.0, "tunit": "min"}
    path = written(tmp_path, movie, imagej=True, metadata=metadata, resolution=(2.5, 2.5))
    source = open_images(path)
    assert source.voxel_size_um == pytest.approx((2.0, 0.4, 0.4))
    assert source.frame_interval_s == 300


def test_a_movie_of_a_zeiss_lsm(tmp_path):
    """Thumbnails lie between the planes; sizes are in metres."""
    movie = np.random.default_rng(0).integers(0, 60_000, (3, 2, 3, 8, 9), np.uint16)  # t z c y x
    t, z, c, y, x = movie.shape
    about = struct.pack(
        "<2I8i6d2H5Id", 67127628, 512, x, y, z, c, t, 2, 0, 0, 4e-7, 5e-7, 2e-6, 0, 0, 0, 6,
        *[0] * 6, 300.0,
    ).ljust(512, b"\0")  # fmt: skip
    tag = (34412, 1, len(about), about, True)
    with tifffile.TiffWriter(tmp_path / "movie.lsm") as writer:
        for number, planes in enumerate(movie.reshape(-1, c, y, x)):
            options = {"photometric": "minisblack", "metadata": None}
            tags = [] if number else [tag]
            writer.write(planes, planarconfig="separate", extratags=tags, **options)
            writer.write(np.zeros((4, 4), np.uint8), subfiletype=1, **options)
    source = open_images(tmp_path / "movie.lsm")
    assert (len(source.time_points), source.n_channels, source.frame_shape) == (3, 3, (2, 8, 9))
    assert source.voxel_size_um == pytest.approx((2.0, 0.5, 0.4))
    assert source.frame_interval_s == 300
    np.testing.assert_array_equal(source.read_frame(2, 1), movie[2, :, 1])


@pytest.mark.parametrize("distance", [0, 1])
def test_a_movie_or_a_stack_of_metamorph(tmp_path, distance):
    """All planes lie behind one header; they are a stack where they are apart in z."""
    planes = np.random.default_rng(0).integers(0, 60_000, (3, 8, 9), np.uint16)
    of_plane = [(distance, 1, 2459000, 1000 * number, 2459000, 0) for number in range(3)]
    uic2 = struct.pack("<18I", *np.ravel(of_plane).tolist())
    path = tmp_path / "movie.stk"
    tifffile.imwrite(
        path, planes, photometric="minisblack", metadata=None, truncate=True, software=False,
        extratags=[(33628, 4, 3, [0] * 3, True), (33629, 5, 9, uic2, True)],
    )  # fmt: skip
    raw = path.read_bytes()  # it counts planes and not numbers, unlike any other tag
    at = raw.index(struct.pack("<2H", 33629, 5)) + 4
    path.write_bytes(raw[:at] + struct.pack("<I", 3) + raw[at + 4 :])
    source = open_images(path)
    assert (len(source.time_points), source.frame_shape[0]) == ((1, 3) if distance else (3, 1))
    frame = source.read_frame(0)[2] if distance else source.read_frame(2)[0]
    np.testing.assert_array_equal(frame, planes[2])


def test_an_ome_tiff_that_is_spread_over_files(tmp_path):
    """Each file holds a time point, and the header of the first names them all."""
    frames = np.random.default_rng(0).integers(0, 60_000, (2, 3, 8, 9), np.uint16)
    planes = "".join(
        f'<TiffData IFD="{z}" FirstZ="{z}" FirstT="{t}"><UUID FileName="t{t}.ome.tif">'
        f"urn:uuid:00000000-0000-0000-0000-00000000000{t}</UUID></TiffData>"
        for t in range(2)
        for z in range(3)
    )
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:00000000-0000-0000-0000-00000000000{}"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZTC" Type="uint16" SizeX="9" SizeY="8" SizeZ="3" '
        'SizeT="2" SizeC="1" BigEndian="false"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        f"{planes}</Pixels></Image></OME>"
    )
    for t, frame in enumerate(frames):
        tifffile.imwrite(
            tmp_path / f"t{t}.ome.tif", frame, photometric="minisblack", metadata=None,
            description=text.format(t), compression="zlib",
        )  # fmt: skip
    source = open_images(tmp_path / "t0.ome.tif")
    assert (len(source.time_points), source.frame_shape) == (2, (3, 8, 9))
    np.testing.assert_array_equal(source.read_frame(1), frames[1])
    before = source.stamp(0, 0), source.stamp(1, 0)
    whole = (tmp_path / "t1.ome.tif").read_bytes()
    (tmp_path / "t1.ome.tif").write_bytes(whole[:400])
    assert source.stamp(0, 0) == before[0]
    assert source.stamp(1, 0) != before[1]
    with pytest.raises(CellTrainError, match=r"Time point 1 .*t1\.ome\.tif"):
        source.read_frame(1)
    (tmp_path / "t1.ome.tif").unlink()
    source = open_images(tmp_path / "t0.ome.tif")
    np.testing.assert_array_equal(source.read_frame(0), frames[0])
    with pytest.raises(CellTrainError, match=r"Time point 1 .*t0\.ome\.tif"):
        source.read_frame(1)


def test_an_ome_tiff_whose_planes_are_elsewhere_is_not_opened_unasked(tmp_path):
    (tmp_path / "in").mkdir()
    plane = np.zeros((8, 9), np.uint16)
    tifffile.imwrite(tmp_path / "other.ome.tif", plane, photometric="minisblack", metadata=None)
    text = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:00000000-0000-0000-0000-000000000001"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZTC" Type="uint16" SizeX="9" SizeY="8" SizeZ="1" '
        'SizeT="1" SizeC="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0">'
        '<UUID FileName="../other.ome.tif">urn:uuid:00000000-0000-0000-0000-000000000002</UUID>'
        "</TiffData></Pixels></Image></OME>"
    )
    tifffile.imwrite(
        tmp_path / "in" / "a.ome.tif", plane, photometric="minisblack", metadata=None,
        description=text,
    )  # fmt: skip
    with pytest.raises(CellTrainError, match="not in its own folder"):
        open_images(tmp_path / "in" / "a.ome.tif").read_frame(0)


@pytest.mark.parametrize(
    ("unit", "um"), [("micron", 1), ("\\u00B5m", 1), ("nm", 1e-3), ("mm", 1e3), ("inch", 25_400)]
)
def test_units_of_imagej_are_understood(tmp_path, movie, unit, um):
    metadata = {"spacing": 2.0, "unit": unit}
    path = written(tmp_path, movie, imagej=True, metadata=metadata, resolution=(2.0, 4.0))
    assert open_images(path).voxel_size_um == pytest.approx((2.0 * um, 0.25 * um, 0.5 * um))


@pytest.mark.parametrize("metadata", [{"unit": "pixel"}, {}])
def test_pixels_are_no_scale(tmp_path, movie, metadata):
    path = written(tmp_path, movie, imagej=True, metadata=metadata, resolution=(300, 300))
    assert open_images(path).voxel_size_um is None


def test_printing_resolution_is_no_scale(tmp_path, movie):
    path = written(tmp_path, movie, resolution=(72, 72), resolutionunit="INCH")
    assert open_images(path).voxel_size_um is None


def test_ome_states_the_scale(tmp_path, movie):
    metadata = {
        "PhysicalSizeX": 400.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.4,
        "PhysicalSizeZ": 2.0, "TimeIncrement": 5.0, "TimeIncrementUnit": "min",
    }  # fmt: skip
    source = open_images(written(tmp_path, movie, name="a.ome.tif", ome=True, metadata=metadata))
    assert source.voxel_size_um == pytest.approx((2.0, 0.4, 0.4))
    assert source.frame_interval_s == 300


def test_a_file_with_several_images_opens_the_one_asked_for(tmp_path):
    path = tmp_path / "several.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(np.zeros((5, 8, 8), np.uint8), metadata={"axes": "TYX"})
        writer.write(np.ones((2, 8, 9), np.uint8), metadata={"axes": "TYX"})
    assert open_images(path).frame_shape == (1, 8, 8)
    second = open_images(path, series="2")
    assert second.frame_shape == (1, 8, 9)
    assert second.read_frame(1).min() == 1
    with pytest.raises(CellTrainError, match="no image number '3'"):
        open_images(path, series="3")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_file_names_the_time_point_that_is_broken(tmp_path, movie, compression):
    path = written(tmp_path, movie, compression=compression)
    with tifffile.TiffFile(path) as tiff:
        image = tiff.series[0]
        end = image.dataoffset or 0
        end += image.nbytes // 2 if end else image.pages[13].dataoffsets[0] + 5
    content = path.read_bytes()
    # the list of pages lies behind the pixels: keep it, and lose the pixels of the second half
    source = open_images(path)
    if compression is None:
        path.write_bytes(content[:end])
    else:
        path.write_bytes(content[:end] + b"\0" * (len(content) - end))
    np.testing.assert_array_equal(source.read_frame(1), movie[1, :, 0])
    with pytest.raises(CellTrainError, match=r"Time point 3 .*movie\.tif"):
        source.read_frame(3)


def test_a_time_point_or_channel_that_is_not_there_is_named(tmp_path, movie):
    source = open_images(written(tmp_path, movie))
    with pytest.raises(CellTrainError, match="no time point 4; it has 0 to 3"):
        source.read_frame(4)
    with pytest.raises(CellTrainError, match="no channel 3; it has 2"):
        source.read_frame(0, 2)


@pytest.mark.parametrize(
    "content", [b"", b"II*\0", b"hello, I am no TIFF", b"II*\0\xff\xff\xff\xff"]
)
def test_what_is_no_tiff_is_refused_with_its_name(tmp_path, content):
    path = tmp_path / "odd.tif"
    path.write_bytes(content)
    with pytest.raises(CellTrainError, match=r"odd\.tif"):
        open_images(path)


@pytest.mark.parametrize("location", ["nothing.tif", "no folder", "x\0y.tif"])
def test_a_place_where_nothing_is_is_named(tmp_path, location):
    with pytest.raises(CellTrainError, match="no images"):
        open_images(str(tmp_path / location))


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "a.docx").write_bytes(b"PK")
    with pytest.raises(CellTrainError, match=r"\.docx"):
        open_images(tmp_path / "a.docx")


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_damaged_files_end_in_a_sentence_or_in_pixels(tmp_path, movie, compression):
    path = written(tmp_path, movie, compression=compression, imagej=compression is None)
    content = np.frombuffer(path.read_bytes(), np.uint8)
    rng = np.random.default_rng(5)
    outcomes = set()
    for _ in range(150):
        mutated = content.copy()
        header = rng.integers(0, min(600, len(content)), 4)
        mutated[header] = rng.integers(0, 256, 4)
        path.write_bytes(mutated[: rng.integers(1, len(content))].tobytes())
        try:
            source = open_images(path)
            if np.prod(source.frame_shape) < 1e7:
                source.read_frame(source.time_points[-1])
            outcomes.add("pixels")
        except CellTrainError:
            outcomes.add("sentence")
    assert "sentence" in outcomes


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_a_list_of_planes_that_runs_in_a_circle_is_refused(tmp_path, movie, bigtiff, byteorder):
    path = written(tmp_path, movie, compression="zlib", bigtiff=bigtiff, byteorder=byteorder)
    size = 8 if bigtiff else 4
    with tifffile.TiffFile(path) as tiff:
        first, second, last = (tiff.pages[i].offset for i in (0, 1, -1))
    content = bytearray(path.read_bytes())
    order = "little" if byteorder == "<" else "big"
    place = content.index(second.to_bytes(size, order), first)
    content[place : place + size] = first.to_bytes(size, order)
    path.write_bytes(content)
    assert last > second
    with pytest.raises(CellTrainError, match=r"movie\.tif.*in a circle"):
        open_images(path)


def test_a_plane_that_claims_more_than_the_file_holds_is_not_decoded(tmp_path, movie):
    path = written(tmp_path, movie, "YX", compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["ImageLength"].overwrite(50_000_000)
        tiff.pages[0].tags["ImageDescription"].overwrite("")
    with pytest.raises(CellTrainError, match=r"claims more pixels|shape"):
        open_images(path).read_frame(0)


@pytest.mark.parametrize("options", [{"imagej": True}, {"bigtiff": True}], ids=str)
def test_a_movie_behind_a_single_list_of_planes_is_whole(tmp_path, movie, options):
    """As ImageJ writes what is larger than 4 GB."""
    path = written(tmp_path, movie, truncate=True, **options)
    with tifffile.TiffFile(path) as tiff:
        assert len(tiff.pages) == 1
    source = open_images(path)
    assert len(source.time_points) == 4
    np.testing.assert_array_equal(source.read_frame(3, 1), movie[3, :, 1])


@pytest.mark.parametrize("start", ["<?xml version='1.0'?>", ""])
def test_entities_in_the_description_are_never_expanded(tmp_path, start):
    entities = "".join(f"<!ENTITY {chr(98 + i)} '{f'&{chr(97 + i)};' * 16}'>" for i in range(6))
    bomb = (
        f"{start}<!DOCTYPE OME [<!ENTITY a 'aaaaaaaaaaaaaaaa'>{entities}]>"
        "<OME xmlns='http://www.openmicroscopy.org/Schemas/OME/2016-06'>&g;</OME>"
    )
    tifffile.imwrite(tmp_path / "bomb.ome.tif", np.zeros((4, 4), np.uint8), description=bomb,
                     metadata=None)  # fmt: skip
    with pytest.raises(CellTrainError, match=r"bomb\.ome\.tif.*declares entities"):
        open_images(tmp_path / "bomb.ome.tif")


@pytest.mark.parametrize("share", [0.9, 0.6, 0.2])
@pytest.mark.parametrize("kind", ["imagej", "ome", "ome-zlib"])
def test_a_movie_that_was_cut_off_is_no_single_plane(tmp_path, kind, share):
    """What the file held is told at its end, or believed only when it is complete."""
    values = np.random.default_rng(0).integers(0, 2000, (4, 8, 40, 44), np.uint16)
    path = tmp_path / ("m.tif" if kind == "imagej" else "m.ome.tif")
    tifffile.imwrite(
        path,
        values,
        imagej=kind == "imagej",
        metadata={"axes": "TZYX"},
        compression="zlib" if kind == "ome-zlib" else None,
    )
    assert open_images(path).frame_shape == (8, 40, 44)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CellTrainError, match="cut off"):
        open_images(path)


def test_a_plane_that_is_absurdly_large_for_its_file_is_refused(tmp_path, monkeypatch):
    """One of 900 MB, of one value, packs to 900 kB."""
    monkeypatch.setattr("napari_celltrain.images.unpacking.ALWAYS_UNPACKED", 2**20)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((3000, 3000), np.uint8), compression="zlib")
    with pytest.raises(CellTrainError, match="claims more pixels"):
        open_images(tmp_path / "a.tif").read_frame(0)
