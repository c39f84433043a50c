"""HDF5 files of strangers: what is small on the disk takes no memory that its shape denies."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib

import h5py
import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import open_images

PIXELS = np.random.default_rng(0).poisson(30, (9, 100, 130)).astype(np.int16)
N_BYTES = 5 * 10**8


def movie(folder, shape=PIXELS.shape, *, fill=None, **how):
    """Write a movie of one frame, and return its path and what fills it."""
    path = folder / "movie.h5"
    with h5py.File(path, "w") as file:
        cells = file.create_dataset("t00000/s00/0/cells", shape=shape, dtype="<i2", **how)
        if fill is not None:
            fill(cells)
    return path


def everything(cells):
    cells[...] = PIXELS


WAYS = [
    {"chunks": (4, 32, 32), "compression": "gzip"},
    {"chunks": (4, 90, 128), "compression": "gzip"},
    {"chunks": (4, 90, 128), "compression": "gzip", "shuffle": True},
    {"chunks": (4, 90, 128), "compression": "gzip", "shuffle": True, "fletcher32": True},
    {"chunks": (9, 100, 130), "compression": "gzip", "fletcher32": True},
    {"chunks": (4, 90, 128), "compression": "lzf", "shuffle": True},
    {"chunks": (4, 90, 128), "shuffle": True, "fletcher32": True},
    {"chunks": (4, 90, 128)},
    {},
]


@pytest.mark.parametrize("how", WAYS)
def test_ordinary_data_sets_are_read(tmp_path, how):
    source = open_images(movie(tmp_path, fill=everything, **how))
    np.testing.assert_array_equal(source.read_frame(0), PIXELS)
    crop = (slice(3, 8), slice(80, 99), slice(20, 129))
    np.testing.assert_array_equal(source.read_crop(0, 0, crop), PIXELS[crop])


def test_chunks_that_are_not_stored_have_the_fill_value(tmp_path):
    def some(cells):
        cells[:4, :90] = 5

    how = {"chunks": (4, 90, 128), "compression": "gzip", "fillvalue": 3}
    frame = open_images(movie(tmp_path, fill=some, **how)).read_frame(0)
    assert (frame[:4, :90] == 5).all()
    assert (frame[4:] == 3).all()


def test_a_chunk_that_was_not_packed_is_read(tmp_path):
    """Each chunk says which filters it was not packed with."""

    def plain(cells):
        cells.id.write_direct_chunk((0, 0, 0), PIXELS.tobytes(), filter_mask=0b11)

    how = {"chunks": PIXELS.shape, "compression": "gzip", "shuffle": True}
    frame = open_images(movie(tmp_path, fill=plain, **how)).read_frame(0)
    np.testing.assert_array_equal(frame, PIXELS)


def bomb(n_bytes=N_BYTES):
    packer = zlib.compressobj(9)
    start = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * (n_bytes // 10**6) + packer.flush()


def _write_bomb(cells):
    cells.id.write_direct_chunk((0, 0, 0), bomb())


def _damage(cells):
    cells.id.write_direct_chunk((0, 0, 0), zlib.compress(bytes(100)))


BOMBS = {
    "small chunk": {"chunks": (4, 16, 16), "compression": "gzip"},
    "large chunk": {"chunks": (9, 512, 512), "compression": "gzip", "maxshape": (None,) * 3},
    "with shuffle": {
        "chunks": (9, 512, 512), "compression": "gzip", "shuffle": True, "maxshape": (None,) * 3,
    },
}  # fmt: skip
READ = """
import resource, sys
from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import open_images
source = open_images(sys.argv[1])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    source.read_frame(0)
except CellTrainError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at the memory as Linux tells it")
@pytest.mark.parametrize("name", BOMBS)
def test_a_chunk_that_unpacks_to_more_than_its_shape_is_refused(tmp_path, name):
    path = movie(tmp_path, fill=_write_bomb, **BOMBS[name])
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    said, mebibytes = done.stdout.splitlines()
    assert "movie.h5" in said
    assert "more than" in said
    assert int(mebibytes) < 100


def test_a_chunk_that_is_not_complete_is_a_sentence(tmp_path):
    path = movie(tmp_path, fill=_damage, chunks=PIXELS.shape, compression="gzip")
    with pytest.raises(CellTrainError, match="not complete"):
        open_images(path).read_frame(0)


@pytest.mark.parametrize("how", [{"chunks": (1, 6000, 6000), "compression": "gzip"}, {}])
def test_a_frame_of_gigabytes_of_which_nothing_is_stored_is_refused(tmp_path, little_memory, how):
    path = movie(tmp_path, (1, 60_000, 60_000), **how)
    with little_memory(2**26), pytest.raises(CellTrainError, match=r"claims 6\.7 GiB"):
        open_images(path).read_frame(0)


def test_ways_of_packing_that_no_program_takes_by_itself_are_refused(tmp_path):
    path = movie(tmp_path, chunks=(4, 32, 32), scaleoffset=4, fill=everything)
    with pytest.raises(CellTrainError, match="fill the memory"):
        open_images(path).read_frame(0)


def test_two_packings_on_top_of_each_other_are_refused(tmp_path):
    path = tmp_path / "movie.h5"
    with h5py.File(path, "w") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4, 32, 32))
        plist.set_deflate(9)
        plist.set_deflate(9)
        group = file.create_group("t00000/s00/0")
        space = h5py.h5s.create_simple(PIXELS.shape)
        h5py.h5d.create(group.id, b"cells", h5py.h5t.STD_I16LE, space, dcpl=plist)
    with pytest.raises(CellTrainError, match="fill the memory"):
        open_images(path).read_frame(0)
