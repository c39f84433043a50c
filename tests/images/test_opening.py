"""What was opened can be opened again: a movie says where it lies, and which part of it it is."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import tifffile
import zarr

from napari_celltrain.images import ArraySource, SummedChannels, open_images

FRAMES = np.random.default_rng(0).integers(0, 1000, (2, 3, 8, 9), np.uint16)


def series(folder):
    for t, frame in enumerate(FRAMES):
        tifffile.imwrite(folder / f"t{t:03}.tif", frame, photometric="minisblack")
    return folder


def plain(folder):
    tifffile.imwrite(
        folder / "movie.tif", FRAMES, photometric="minisblack", metadata={"axes": "TZYX"}
    )
    return folder / "movie.tif"


def of_several(folder):
    with tifffile.TiffWriter(folder / "movie.ome.tif", ome=True) as writer:
        writer.write(FRAMES[:, :, :4], photometric="minisblack", metadata={"axes": "TZYX"})
        writer.write(FRAMES, photometric="minisblack", metadata={"axes": "TZYX"})
    return folder / "movie.ome.tif"


def bigdataviewer(folder):
    with h5py.File(folder / "bdv.h5", "w") as file:
        for t, frame in enumerate(FRAMES):
            file[f"t{t:05}/s00/0/cells"] = frame.view(np.int16)
    return folder / "bdv.h5"


def array(folder):
    zarr.create_array(folder / "movie.zarr", data=FRAMES, chunks=(1, 3, 8, 9))
    return folder / "movie.zarr"


@pytest.mark.parametrize("make", [series, plain, of_several, bigdataviewer, array])
def test_a_movie_says_how_to_open_it_again(make, tmp_path):
    movie = open_images(make(tmp_path), series=2 if make is of_several else None)
    assert (movie.series is None) == (make is not of_several)
    assert (movie.pattern is None) == (make is not series)
    again = open_images(movie.location, pattern=movie.pattern, series=movie.series)
    assert (again.location, again.pattern, again.series) == (
        movie.location, movie.pattern, movie.series
    )  # fmt: skip
    np.testing.assert_array_equal(again.read_frame(1), FRAMES[1])


def test_the_whole_path_with_its_pattern_opens_the_same(tmp_path):
    movie = open_images(series(tmp_path))
    again = open_images(movie.location / movie.pattern)
    assert (again.location, again.pattern) == (movie.location, movie.pattern)


def test_what_lies_in_no_file_has_no_location():
    made = ArraySource(FRAMES, "tzyx")
    assert made.location is None
    assert SummedChannels(made, [[0]]).location is None
