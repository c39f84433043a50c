from __future__ import annotations

import pickle

import numpy as np
import pytest
import tifffile

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import open_images, tiff_series


def write(folder, names, shape=(3, 10, 12), axes="ZYX", dtype=np.uint8, **options):
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        image = np.full(shape, number + 1, dtype)
        tifffile.imwrite(path, image, metadata={"axes": axes}, photometric="minisblack", **options)
    return folder


def test_the_number_in_the_name_is_the_time_point_and_gaps_stay(tmp_path):
    write(tmp_path, [f"t{t:03}.tif" for t in (37, 38, 41)])
    source = open_images(tmp_path)
    assert list(source.time_points) == [37, 38, 41]
    assert source.read_frame(41).max() == 3
    with pytest.raises(CellTrainError, match="no time point 40"):
        source.read_frame(40)


def test_a_pattern_may_be_part_of_the_location(tmp_path):
    write(tmp_path / "a", ["img_t1_c1.tif", "img_t1_c2.tif", "img_t2_c1.tif", "img_t2_c2.tif"])
    for location, pattern in [
        (tmp_path / "a", "img_t{time}_c{channel}.tif"),
        (f"{tmp_path}/a/img_t{{time}}_c{{channel}}.tif", None),
        (
            f"{tmp_path}\\a\\img_t{{time}}_c{{channel}}.tif".replace(str(tmp_path), str(tmp_path)),
            None,
        ),
        (tmp_path, "a/img_t{time}_c{channel}.tif"),
    ]:
        source = open_images(location, pattern=pattern)
        assert list(source.time_points) == [1, 2]
        assert source.n_channels == 2
        assert [source.read_frame(t, c).max() for t in (1, 2) for c in (0, 1)] == [1, 2, 3, 4]


@pytest.mark.parametrize("first", [0, 1])
def test_channel_numbers_may_start_at_0_or_1(tmp_path, first):
    write(tmp_path, [f"t{t}_c{c + first}.tif" for t in range(2) for c in range(3)])
    source = open_images(tmp_path, pattern="t{time}_c{channel}.tif")
    assert source.n_channels == 3
    assert source.read_frame(1, 2).max() == 6


def test_planes_may_be_files_of_their_own(tmp_path):
    names = [f"z{z:02}_t{t}.tif" for t in range(2) for z in (1, 2, 3)]
    write(tmp_path, names, shape=(10, 12), axes="YX")
    source = open_images(tmp_path)
    assert source.frame_shape == (3, 10, 12)
    assert source.read_frame(1)[:, 0, 0].tolist() == [4, 5, 6]
    crop = source.read_crop(0, 0, (slice(1, 3), slice(0, 2), slice(0, 2)))
    assert crop[:, 0, 0].tolist() == [2, 3]


def test_channels_within_the_files_are_kept(tmp_path):
    write(tmp_path, ["t0.tif", "t1.tif"], shape=(2, 3, 10, 12), axes="CZYX")
    assert open_images(tmp_path).n_channels == 2


def test_a_2d_page_is_one_plane(tmp_path):
    write(tmp_path, ["t0.tif", "t1.tif"], shape=(10, 12), axes="YX")
    assert open_images(tmp_path).frame_shape == (1, 10, 12)


def test_a_stack_saved_as_a_movie_is_a_stack(tmp_path):
    write(tmp_path, ["t0.tif", "t1.tif"], axes="TYX")
    assert open_images(tmp_path).frame_shape == (3, 10, 12)


def test_unnamed_pages_are_planes(tmp_path):
    for t in range(2):
        tifffile.imwrite(tmp_path / f"t{t}.tif", np.zeros((5, 10, 12), np.uint8), metadata=None)
    assert open_images(tmp_path).frame_shape == (5, 10, 12)


def test_three_planes_stored_as_colours_are_planes(tmp_path):
    for t in range(2):
        image = np.full((3, 10, 12), t, np.uint8)
        tifffile.imwrite(tmp_path / f"t{t}.tif", image, metadata=None, photometric="rgb")
    source = open_images(tmp_path)
    assert source.frame_shape == (3, 10, 12)
    assert source.read_frame(1).min() == 1


def test_stacks_in_colour_become_grey(tmp_path):
    for t in range(2):
        colours = np.zeros((4, 10, 12, 3), np.uint8)
        colours[..., 1] = 100 + t
        tifffile.imwrite(tmp_path / f"t{t}.tif", colours, photometric="rgb")
    source = open_images(tmp_path)
    assert (source.n_channels, source.frame_shape) == (1, (4, 10, 12))
    assert source.read_frame(1).tolist() == np.full((4, 10, 12), 59).tolist()


def test_files_with_several_time_points_each_are_refused(tmp_path):
    write(tmp_path, ["t0.tif", "t1.tif"], shape=(4, 3, 10, 12), axes="TZYX")
    with pytest.raises(CellTrainError, match="4 time points"):
        open_images(tmp_path)


def test_one_file_without_time_is_time_point_0(tmp_path):
    write(tmp_path, ["crypt.tif"])
    for source in (open_images(tmp_path), open_images(tmp_path / "crypt.tif")):
        assert list(source.time_points) == [0]
        assert source.frame_shape == (3, 10, 12)


def test_one_movie_for_each_channel(tmp_path):
    write(tmp_path, ["movie_c1.tif", "movie_c2.tif"], shape=(5, 10, 12), axes="TYX")
    source = open_images(tmp_path)
    assert (len(source.time_points), source.n_channels) == (5, 2)
    assert source.read_frame(4, 1).max() == 2


def test_a_source_travels_to_another_process(tmp_path):
    write(tmp_path, ["t0.tif", "t1.tif"], compression="zlib")
    source = pickle.loads(pickle.dumps(open_images(tmp_path)))
    assert source.read_frame(1).max() == 2


def test_a_frame_of_another_size_is_named(tmp_path):
    write(tmp_path, ["t0.tif", "t1.tif"])
    write(tmp_path, ["t2.tif"], shape=(3, 10, 13))
    source = open_images(tmp_path)
    with pytest.raises(CellTrainError, match=r"t2\.tif.*\(3, 10, 13\)"):
        source.read_frame(2)


@pytest.mark.parametrize("content", [b"", b"no TIFF", None])
def test_a_first_file_that_is_damaged_or_stray_is_a_damaged_frame_like_any_other(tmp_path, content):
    write(tmp_path, [f"t{t}.tif" for t in range(5)])
    if content is None:
        write(tmp_path, ["t0.tif"], shape=(2, 10, 12))
    else:
        (tmp_path / "t0.tif").write_bytes(content)
    source = open_images(tmp_path)
    assert list(source.time_points) == list(range(5))
    assert source.frame_shape == (3, 10, 12)
    assert source.read_frame(1).max() == 2
    with pytest.raises(CellTrainError, match=r"t0\.tif"):
        source.read_frame(0)


def test_a_first_time_point_that_is_damaged_in_all_of_its_files_is_a_damaged_frame(tmp_path):
    names = [f"t{t}_c{c}_z{z}.tif" for t in range(3) for c in range(2) for z in range(3)]
    write(tmp_path, names, shape=(10, 12), axes="YX")
    write(tmp_path, names[:6], shape=(10, 11), axes="YX")
    source = open_images(tmp_path)
    assert source.frame_shape == (3, 10, 12)
    assert source.read_frame(1, 1).max() == 12


def test_where_no_file_can_be_read_the_first_is_named_and_not_all_are_tried(tmp_path, monkeypatch):
    for t in range(100):
        (tmp_path / f"t{t:03}.tif").write_bytes(b"")
    tried = []
    opened = tiff_series.header_of
    monkeypatch.setattr(
        tiff_series, "header_of", lambda path: tried.append(path.name) or opened(path)
    )
    with pytest.raises(CellTrainError, match=r"t000\.tif"):
        open_images(tmp_path)
    assert len(tried) < 30


def test_a_frame_of_another_type_is_named(tmp_path):
    write(tmp_path, ["t0.tif", "t1.tif"])
    write(tmp_path, ["t2.tif"], dtype=np.uint16)
    source = open_images(tmp_path)
    with pytest.raises(CellTrainError, match=r"t2\.tif.*uint16"):
        source.read_frame(2)


@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_truncated_frame_is_named(tmp_path, compression):
    write(tmp_path, ["t0.tif", "t1.tif"], shape=(3, 100, 120), compression=compression)
    damaged = tmp_path / "t1.tif"
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size // 2])
    source = open_images(tmp_path)
    source.read_frame(0)
    with pytest.raises(CellTrainError, match=r"t1\.tif"):
        source.read_frame(1)


def test_a_frame_that_vanished_is_named(tmp_path):
    write(tmp_path, ["t0.tif", "t1.tif"])
    source = open_images(tmp_path)
    (tmp_path / "t1.tif").unlink()
    with pytest.raises(CellTrainError, match=r"no image file .*t1\.tif"):
        source.read_frame(1)


def test_a_missing_channel_of_a_time_point_is_named(tmp_path):
    write(tmp_path, ["t0_c0.tif", "t0_c1.tif", "t1_c0.tif"])
    source = open_images(tmp_path)
    assert list(source.time_points) == [0, 1]
    with pytest.raises(CellTrainError, match=r"t1_c1\.tif is missing"):
        source.read_frame(1, 1)


def test_a_pattern_that_fits_nothing_says_what_is_there(tmp_path):
    write(tmp_path, ["a1.tif", "a2.tif"])
    with pytest.raises(CellTrainError, match=r"it holds a1\.tif, a2\.tif"):
        open_images(tmp_path, pattern="t{time:03}.tif")


@pytest.mark.parametrize("suffix", ["png", "JPG"])
def test_a_series_of_pictures_has_to_be_saved_as_tiffs(tmp_path, suffix):
    for t in range(2):
        (tmp_path / f"t{t}.{suffix}").write_bytes(b"\x89PNG")
    with pytest.raises(CellTrainError, match=r"only TIFFs can\. Save them as TIFF"):
        open_images(tmp_path, pattern=f"t{{time}}.{suffix}")


def test_a_folder_without_tiffs_says_so(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(CellTrainError, match=r"no TIFF images .*notes\.txt"):
        open_images(tmp_path)


def test_the_scale_comes_from_the_first_file(tmp_path):
    image = np.zeros((3, 10, 12), np.uint8)
    metadata = {"axes": "ZYX", "spacing": 2.0, "unit": "micron"}
    for t in range(2):
        tifffile.imwrite(
            tmp_path / f"t{t}.tif", image, imagej=True, metadata=metadata, resolution=(2, 2)
        )
    assert open_images(tmp_path).voxel_size_um == (2.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("folder", "frames", "shape"),
    [
        ("ctc_fluo_n3dh_cho_02_t00-13", range(14), (5, 443, 512)),
        ("ctc_fluo_n2dl_hela_02_left", range(20), (1, 700, 550)),
        ("stardist_img3d_crop", range(1), (31, 61, 57)),
    ],
)
def test_real_series_open(data_folder, folder, frames, shape):
    source = open_images(data_folder / folder / "images")
    assert source.time_points == frames
    assert source.read_frame(frames[-1]).shape == source.frame_shape == shape


def test_a_real_series_of_imagej_states_its_scale_and_its_own_numbers(data_folder):
    source = open_images(data_folder / "bordercells_3dt_tiny" / "original")
    assert list(source.time_points) == [1, 2, 3, 4]
    assert source.voxel_size_um == pytest.approx((0.4151, 0.4151, 0.4151), abs=1e-4)


def test_the_stamp_of_a_frame_changes_with_any_of_its_planes(tmp_path):
    for z in range(3):
        tifffile.imwrite(tmp_path / f"t0_z{z}.tif", np.full((4, 5), z, np.uint8))
    images = open_images(str(tmp_path / "t{time}_z{z}.tif"))
    before = images.stamp(0, 0)
    assert before is not None
    assert images.stamp(0, 0) == before
    tifffile.imwrite(tmp_path / "t0_z2.tif", np.full((4, 5), 9, np.uint16))
    assert images.stamp(0, 0) != before
