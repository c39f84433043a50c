from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.experiment import Annotations
from napari_celltrain.formats import read_experiments
from napari_celltrain.images import ArraySource
from napari_celltrain.simulation import simulate
from napari_celltrain.statistics import findings


def shifted(experiment, by):
    annotations = experiment.annotations
    return experiment.with_(annotations=Annotations(annotations.t + by, annotations.positions))


def shift_found(experiment):
    return [one.message for one in findings(experiment) if one.code == "time-shift"]


@pytest.fixture(scope="module", params=["organoid", "plane"])
def movie(request):
    size = (16, 160, 160) if request.param == "organoid" else (1, 200, 200)
    return simulate(request.param, size=size, time_points=8, n_cells=40)


@pytest.mark.parametrize(("by", "word"), [(1, "before"), (-1, "after")])
def test_annotations_one_frame_off_are_suspected(movie, by, word):
    (message,) = shift_found(shifted(movie, by))
    assert f"the time point {word} " in message


def test_annotations_in_their_place_are_not_suspected(movie):
    assert shift_found(movie) == []


def test_dark_cells_are_judged_alike(movie):
    frames = np.stack([movie.images.read_frame(t) for t in movie.images.time_points])
    dark = movie.with_(images=ArraySource(60_000 - frames, "tzyx"))
    assert shift_found(dark) == []
    assert len(shift_found(shifted(dark, 1))) == 1


def test_cells_that_do_not_move_say_nothing(movie):
    still = np.repeat(movie.images.read_frame(3)[None], 8, axis=0)
    annotations = movie.annotations
    at = annotations.positions[annotations.at(3)]
    experiment = movie.with_(
        images=ArraySource(still, "tzyx"),
        annotations=Annotations(np.repeat(np.arange(8), len(at)), np.tile(at, (8, 1))),
    )
    assert shift_found(shifted(experiment, 1)) == []


def test_careless_marks_are_not_taken_for_another_frame(movie):
    rng = np.random.default_rng(0)
    annotations = movie.annotations
    careless = annotations.positions + rng.normal(0, 3, annotations.positions.shape) * (0, 1, 1)
    experiment = movie.with_(annotations=Annotations(annotations.t, careless))
    assert shift_found(experiment) == []


def test_images_that_are_no_movie_have_no_neighbours_to_fit(make_blobs):
    """Where a neighbour shows nothing, the middle of that is the mark itself."""
    fields = make_blobs(times=8, shape=(1, 160, 200), cells=25)
    rng = np.random.default_rng(0)
    at = fields.annotations.positions + rng.normal(0, 2.2, fields.annotations.positions.shape)
    at[:, 0] = 0
    careless = fields.with_(annotations=Annotations(fields.annotations.t, at))
    assert shift_found(careless) == []


def test_real_movies_one_frame_off_are_suspected(data_folder):
    experiments = read_experiments(data_folder / "dev_timelapses.autlist")
    names = " ".join(one.name for one in experiments if shift_found(shifted(one, 1)))
    assert "cho" in names
    assert "hela" in names
    assert not any(shift_found(one) for one in experiments)
