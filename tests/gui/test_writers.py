"""napari's own Save writes points in the tracking formats."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.formats.registry import read_experiments
from napari_celltrain.gui.writers import save_as


@pytest.mark.parametrize("suffix", [".csv", ".aut", ".xml", ".geff"])
def test_a_points_layer_is_saved_with_its_time_points(add_experiment, experiment, tmp_path, suffix):
    points = add_experiment(experiment)[-1]
    place = tmp_path / f"cells{suffix}"
    assert points.save(str(place), plugin="napari-celltrain") == [str(place)]
    again = read_experiments(place)[0].annotations
    written = experiment.annotations
    order, expected = (np.lexsort((*one.positions.T, one.t)) for one in (again, written))
    assert again.t[order].tolist() == written.t[expected].tolist()
    np.testing.assert_allclose(again.positions[order], written.positions[expected], atol=1e-6)
    np.testing.assert_allclose(again.features["score"][order], written.features["score"][expected])
    assert len(again.links) == 3


def test_hidden_points_are_not_saved(viewer, tmp_path):
    points = viewer.add_points(np.array([[0, 0, 1, 1], [0, 0, 2, 2]]), ndim=4)
    points.shown = [True, False]
    points.save(str(tmp_path / "cells.csv"), plugin="napari-celltrain")
    again = read_experiments(tmp_path / "cells.csv")[0].annotations
    assert again.positions.tolist() == [[0, 1, 1]]


def test_an_experiment_is_saved_by_its_suffix(experiment, tmp_path):
    save_as(tmp_path / "a.aut", experiment)
    assert len(read_experiments(tmp_path / "a.aut")[0].annotations) == 5


@pytest.mark.parametrize("suffix", [".aut", ".xml", ".geff", ".csv"])
def test_a_tracks_layer_is_saved_with_its_division(viewer, tmp_path, suffix):
    rows = [[1, 0, 0, 5, 5], [1, 1, 0, 6, 6], [2, 2, 0, 4, 4], [3, 2, 0, 8, 8]]
    tracks = viewer.add_tracks(np.array(rows, float), graph={2: [1], 3: [1]})
    place = tmp_path / f"tracks{suffix}"
    assert tracks.save(str(place), plugin="napari-celltrain") == [str(place)]
    again = read_experiments(place)[0].annotations
    assert sorted(again.t.tolist()) == [0, 1, 2, 2]
    mothers = again.links[:, 0].tolist()
    assert len(mothers) == 3
    assert max(mothers.count(one) for one in mothers) == 2


def saved(layer, place):
    layer.save(str(place), plugin="napari-celltrain")
    return read_experiments(place)[0].annotations.positions


def in_micrometres(viewer):
    """A movie with half a micrometre for a pixel, and cells marked in micrometres."""
    viewer.add_image(np.zeros((4, 60, 60)), name="nuclei", scale=(1, 0.5, 0.5))
    return viewer.add_points([[0, 5, 10], [1, 10, 20], [2, 2.5, 5.0]], name="nuclei cells")


@pytest.mark.parametrize("stray", [(0, 45, 45), (9, 10, 10)], ids=["beside it", "at another time"])
def test_a_stray_point_does_not_change_the_unit_of_the_others(viewer, tmp_path, stray, monkeypatch):
    said = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
    points = in_micrometres(viewer)
    before = saved(points, tmp_path / "before.csv")
    assert before.tolist() == [[0, 10, 20], [0, 20, 40], [0, 5, 10]]
    assert not said
    points.add(stray)
    after = saved(points, tmp_path / "after.csv")
    assert after.tolist() == [*before.tolist(), [0, 2 * stray[1], 2 * stray[2]]]
    assert len(said) == 1
    assert "1 of the 4 positions in 'nuclei cells' lies outside the image 'nuclei'" in said[0]


def test_positions_are_pixels_whichever_viewer_is_the_current_one(make_napari_viewer, tmp_path):
    viewer = make_napari_viewer(strict_qt="raise")
    points = in_micrometres(viewer)
    other = make_napari_viewer(strict_qt="raise")
    other.add_image(np.zeros((4, 60, 60)), name="nuclei", scale=(1, 0.25, 0.25))
    other.add_points(points.data, name="nuclei cells")
    written = saved(points, tmp_path / "cells.csv")
    assert written.tolist() == [[0, 10, 20], [0, 20, 40], [0, 5, 10]]


def test_cells_that_lie_nowhere_in_an_image_are_written_as_they_are(viewer, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
    viewer.add_image(np.zeros((4, 60, 60)), name="nuclei", scale=(1, 0.1, 0.1))
    points = viewer.add_points([[0, 50, 40], [1, 30.0, 20]], name="others")
    assert saved(points, tmp_path / "cells.csv").tolist() == [[0, 50, 40], [0, 30, 20]]
    assert "its own coordinates are written" in said[0]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # napari's
def test_positions_that_are_no_numbers_are_not_written(viewer, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
    points = in_micrometres(viewer)
    points.data = np.vstack([points.data, [[np.nan, 5, 5], [0, np.inf, 5]]])
    assert len(saved(points, tmp_path / "cells.csv")) == 3
    assert len(said) == 1
    assert "2 positions have no finite coordinates" in said[0]
