"""Zarr arrays of strangers: what unpacks them runs nothing."""

from __future__ import annotations

import json
import os
import pickle

import numcodecs
import numpy as np
import pytest
import zarr

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import format_named, read_experiments
from napari_celltrain.images import open_images
from napari_celltrain.images.zarr_codecs import check_codecs


class Careless(numcodecs.Pickle):
    """As the codec was before it asked whether it may."""

    codec_id = "pickle"

    def decode(self, buf, out=None):
        return pickle.loads(bytes(buf))


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.fixture
def careless():
    """Older versions of the library unpack pickles."""
    kept = numcodecs.registry.codec_registry.get("pickle")
    numcodecs.register_codec(Careless, "pickle")
    yield
    if kept is not None:
        numcodecs.register_codec(kept, "pickle")


def pickled_array(folder, mark, shape, **about):
    """Write a zarr 2 array whose chunks are pickles; those with an object codec pass zarr."""
    folder.mkdir(parents=True)
    content = {
        "zarr_format": 2,
        "shape": shape,
        "chunks": shape,
        "dtype": "|O",
        "compressor": None,
        "filters": [{"id": "vlen-utf8"}, {"id": "pickle"}],
        "fill_value": "",
        "order": "C",
    } | about
    (folder / ".zarray").write_text(json.dumps(content))
    (folder / ".".join("0" * len(shape))).write_bytes(pickle.dumps(Bomb(mark)))


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"dtype": "<u2", "fill_value": 0, "filters": [{"id": "pickle"}]},
        {"dtype": "<u2", "fill_value": 0, "filters": None, "compressor": {"id": "pickle"}},
    ],
)
def test_a_pickle_in_an_image_is_refused_unread(tmp_path, careless, about):
    pickled_array(tmp_path / "movie.zarr", tmp_path / "ran", [1, 16, 16], **about)
    with pytest.raises(CellTrainError):
        open_images(tmp_path / "movie.zarr").read_frame(0)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["evil", "score"])
def test_a_pickle_in_a_geff_is_refused_unread(tmp_path, careless, name):
    path, mark = tmp_path / "tracks.geff", tmp_path / "ran"
    cells = Experiment("made", Annotations(np.array([0, 1]), np.ones((2, 3))))
    format_named("GEFF").write(path, cells)
    folder = path / "nodes" / "props" / name
    pickled_array(folder / "values", mark, [2])
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    with pytest.raises(CellTrainError, match="'pickle'"):
        read_experiments(path)
    assert not mark.exists()


ORDINARY = [
    {"zarr_format": 2},
    {"zarr_format": 2, "compressors": numcodecs.Blosc(), "filters": [numcodecs.Delta("u2")]},
    {"zarr_format": 2, "compressors": numcodecs.GZip()},
    {"zarr_format": 3},
    {"zarr_format": 3, "shards": (4, 40, 40)},
    {"zarr_format": 3, "compressors": zarr.codecs.BloscCodec()},
    {"zarr_format": 3, "compressors": [zarr.codecs.GzipCodec(), zarr.codecs.Crc32cCodec()]},
    {"zarr_format": 3, "compressors": None},
]


@pytest.mark.parametrize("how", ORDINARY)
def test_ordinary_arrays_are_read(tmp_path, how):
    pixels = np.arange(4 * 40 * 40, dtype=np.uint16).reshape(4, 40, 40)
    array = zarr.create_array(
        tmp_path / "movie.zarr", shape=pixels.shape, dtype="u2", chunks=(1, 20, 20), **how
    )
    array[:] = pixels
    check_codecs(array, tmp_path)
    movie = open_images(tmp_path / "movie.zarr")
    np.testing.assert_array_equal(movie.read_frame(2)[0], pixels[2])
