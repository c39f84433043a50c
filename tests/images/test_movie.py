"""What all movies have in common, whatever file they are in."""

from __future__ import annotations

import itertools
import runpy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array
import numpy as np
import pytest
import tifffile

from napari_celltrain.images import ArraySource, open_images

FILES = runpy.run_path(str(Path(__file__).with_name("test_fuzzing.py")))
MOVIE = FILES["MOVIE"]


def series(folder):
    for t, frame in enumerate(MOVIE):
        tifffile.imwrite(
            folder / f"t{t}.tif",
            frame.swapaxes(0, 1),
            compression="zlib",
            photometric="minisblack",
            metadata={"axes": "ZCYX"},
        )
    return folder / "t{time}.tif"


WRITERS = [series, *itertools.chain(*FILES["FAMILIES"].values())]


@pytest.mark.parametrize("number", range(len(WRITERS)))
def test_several_threads_read_what_one_reads(number, tmp_path):
    movie = open_images(WRITERS[number](tmp_path))
    assert movie.reads_side_by_side
    _read_by_four(movie)


def test_several_threads_read_a_dask_array():
    movie = ArraySource(dask.array.from_array(MOVIE, chunks=(1, 1, 2, 10, 16)), "tczyx")
    assert movie.reads_side_by_side
    _read_by_four(movie)


def _read_by_four(movie):
    places = [*itertools.product(movie.time_points, range(movie.n_channels))]
    expected = [movie.read_frame(t, channel) for t, channel in places]
    assert len({frame.tobytes() for frame in expected}) > 1
    with ThreadPoolExecutor(4) as threads:
        for _ in range(5):
            read = threads.map(lambda place: movie.read_frame(*place), places)
            for one, other in zip(read, expected, strict=True):
                np.testing.assert_array_equal(one, other)
