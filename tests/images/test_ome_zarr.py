from __future__ import annotations

import pickle

import numpy as np
import pytest
import zarr

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import FrameSource
from napari_celltrain.images import open_images

AXES = [
    {"name": "t", "type": "time", "unit": "minute"},
    {"name": "c", "type": "channel"},
    {"name": "z", "type": "space", "unit": "micrometer"},
    {"name": "y", "type": "space", "unit": "micrometer"},
    {"name": "x", "type": "space", "unit": "nanometer"},
]
MOVIE = np.random.default_rng(0).integers(0, 60_000, (3, 2, 4, 20, 16), np.uint16)


def write(folder, version="0.4", *, axes=AXES, movie=MOVIE, scale=(5, 1, 2.0, 0.4, 400), **extra):
    group = zarr.open_group(folder, mode="w", zarr_format=2 if version == "0.4" else 3)
    for level in range(2):
        data = movie[..., :: 2**level, :: 2**level]
        chunks = (1,) * (movie.ndim - 2) + (10, 10)
        group.create_array(str(level), data=np.ascontiguousarray(data), chunks=chunks)
    datasets = [
        {
            "path": str(level),
            "coordinateTransformations": [
                {"type": "scale", "scale": [*scale[:-2], *(s * 2**level for s in scale[-2:])]}
            ],
        }
        for level in range(2)
    ]
    multiscales = [{"version": version, "axes": axes, "datasets": datasets, **extra}]
    if version == "0.4":
        group.attrs["multiscales"] = multiscales
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    return folder


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_the_finest_level_is_read_with_its_scale(tmp_path, version):
    source = open_images(write(tmp_path / "movie.zarr", version))
    assert isinstance(source, FrameSource)
    assert (len(source.time_points), source.n_channels) == (3, 2)
    assert source.frame_shape == (4, 20, 16)
    assert source.dtype == np.uint16
    assert source.voxel_size_um == pytest.approx((2.0, 0.4, 0.4))
    assert source.frame_interval_s == 300
    np.testing.assert_array_equal(source.read_frame(2, 1), MOVIE[2, 1])
    crop = (slice(1, 3), slice(5, 15), slice(3, None))
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(source)).read_crop(1, 0, crop), MOVIE[1, 0, 1:3, 5:15, 3:]
    )


def test_a_scale_of_the_whole_image_comes_on_top(tmp_path):
    more = [{"type": "scale", "scale": [1, 1, 1, 0.5, 0.5]}]
    source = open_images(write(tmp_path / "movie.zarr", coordinateTransformations=more))
    assert source.voxel_size_um == pytest.approx((2.0, 0.2, 0.2))


def test_axes_are_known_by_their_names_not_their_order(tmp_path):
    axes = [AXES[2], AXES[3], AXES[4], AXES[0]]
    movie = np.moveaxis(MOVIE[:, 0], 0, 3)
    source = open_images(write(tmp_path / "a.zarr", axes=axes, movie=movie, scale=(2, 1, 1, 5)))
    np.testing.assert_array_equal(source.read_frame(1), MOVIE[1, 0])


def test_a_scale_without_a_unit_is_no_scale(tmp_path):
    axes = [{key: value for key, value in axis.items() if key != "unit"} for axis in AXES]
    source = open_images(write(tmp_path / "movie.zarr", axes=axes))
    assert source.voxel_size_um is None
    assert source.frame_interval_s is None


@pytest.mark.parametrize(
    ("rank", "expected"), [(2, (1, 1, 1)), (3, (4, 1, 1)), (4, (2, 1, 4)), (5, (3, 2, 4))]
)
def test_an_array_without_names_is_read_by_its_rank(tmp_path, rank, expected):
    movie = MOVIE[(0,) * (5 - rank)]
    if rank == 4:
        movie = MOVIE[0]
    zarr.save_array(tmp_path / "plain.zarr", movie)
    source = open_images(tmp_path / "plain.zarr")
    assert (len(source.time_points), source.n_channels, source.frame_shape[0]) == expected


def test_the_axes_of_an_array_can_be_given(tmp_path):
    zarr.save_array(tmp_path / "plain.zarr", MOVIE[0, 0])
    assert open_images(tmp_path / "plain.zarr", axes="zyx").frame_shape == (4, 20, 16)


def test_named_dimensions_are_used(tmp_path):
    array = zarr.create_array(
        tmp_path / "named.zarr", shape=(4, 20, 16), dtype="u2", dimension_names=("z", "y", "x")
    )
    array[:] = MOVIE[0, 0]
    assert open_images(tmp_path / "named.zarr").frame_shape == (4, 20, 16)


def test_of_several_images_one_is_chosen(tmp_path):
    root = tmp_path / "several.zarr"
    zarr.open_group(root, mode="w", zarr_format=2)
    write(root / "0")
    write(root / "1", movie=MOVIE[:2])
    assert len(open_images(root).time_points) == 3
    assert len(open_images(root, pattern="0").time_points) == 3
    assert len(open_images(root, series=2).time_points) == 2
    with pytest.raises(CellTrainError, match="no image number '3'; it has 2"):
        open_images(root, series=3)


def test_a_plate_asks_for_one_image(tmp_path):
    group = zarr.open_group(tmp_path / "plate.zarr", mode="w", zarr_format=2)
    group.attrs["plate"] = {"wells": []}
    with pytest.raises(CellTrainError, match="plate of many images"):
        open_images(tmp_path / "plate.zarr")


@pytest.mark.parametrize("content", [b"{", b"[]", b"null", b'{"zarr_format": 9}', b"\xff\x00"])
def test_damaged_metadata_is_a_sentence(tmp_path, content):
    folder = write(tmp_path / "movie.zarr")
    (folder / ".zgroup").write_bytes(content)
    with pytest.raises(CellTrainError, match=r"movie\.zarr"):
        open_images(folder)


@pytest.mark.parametrize(
    "multiscales",
    [[{}], [{"datasets": []}], [{"datasets": [{"path": "9"}]}], "x", [{"datasets": [{}]}]],
)
def test_odd_image_metadata_is_a_sentence(tmp_path, multiscales):
    folder = write(tmp_path / "movie.zarr")
    zarr.open_group(folder, mode="r+").attrs["multiscales"] = multiscales
    with pytest.raises(CellTrainError, match=r"movie\.zarr"):
        open_images(folder)


def test_a_damaged_chunk_names_the_time_point(tmp_path):
    folder = write(tmp_path / "movie.zarr")
    chunk = next(path for path in sorted((folder / "0").rglob("*")) if path.name.startswith("2.1."))
    chunk.write_bytes(b"not a chunk")
    source = open_images(folder)
    source.read_frame(0)
    with pytest.raises(CellTrainError, match=r"Time point 2 .*movie\.zarr"):
        source.read_frame(2, 1)


@pytest.mark.parametrize("shards", [None, (1, 1, 4, 20, 20)])
def test_a_stamp_changes_with_the_pixels_of_its_frame_alone(tmp_path, shards):
    folder = tmp_path / "movie.zarr"
    array = zarr.create_array(
        folder, shape=MOVIE.shape, dtype=MOVIE.dtype, chunks=(1, 1, 4, 10, 10), shards=shards
    )
    array[:, :, :, :10] = MOVIE[:, :, :, :10]  # some chunks are not stored at all
    places = [(t, channel) for t in range(3) for channel in range(2)]
    source = open_images(folder)
    before = {place: source.stamp(*place) for place in places}
    assert len(set(before.values())) == len(places)
    array[1, 0, :, 12] = MOVIE[1, 0, :, 12] + 1
    for one in (source, open_images(folder), pickle.loads(pickle.dumps(source))):
        changed = {place for place in places if one.stamp(*place) != before[place]}
        assert changed == {(1, 0)}


def test_a_stamp_changes_with_any_of_many_files(tmp_path):
    pixels = np.arange(2 * 40 * 40, dtype=np.uint16).reshape(2, 40, 40) + 1
    array = zarr.create_array(
        tmp_path / "fine.zarr", shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 2, 2)
    )
    array[:] = pixels
    source = open_images(tmp_path / "fine.zarr")
    assert source.share_stored(1, 0) == 1.0
    before = source.stamp(0, 0), source.stamp(1, 0)
    files = sorted((tmp_path / "fine.zarr" / "c" / "1").rglob("*"))
    for file in [one for one in files if one.is_file()][::37]:
        content = file.read_bytes()
        file.unlink()
        missing = source.stamp(1, 0)
        assert source.share_stored(1, 0) == 1 - 1 / 400
        file.write_bytes(content)
        assert len({before[1], missing, source.stamp(1, 0)}) == 3
    assert source.stamp(0, 0) == before[0]
