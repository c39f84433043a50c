"""A copy of what was found, on an image that this plugin did not open."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.gui import preferences
from napari_celltrain.gui.open_experiments import open_experiments


@pytest.fixture
def pixels(small_movie):
    """The movie as napari's own readers open it: (t, y, x)."""
    movie = small_movie.images
    return np.stack([movie.read_frame(t)[0] for t in movie.time_points])


@pytest.fixture
def copy_of(viewer, trained, monkeypatch, qtbot):
    """Find cells in an image layer, and return an editable copy of them."""
    monkeypatch.setattr(preferences, "runs_folder", lambda: trained.parent)
    _, widget = viewer.window.add_plugin_dock_widget("napari-celltrain", "Predict cells")

    def copy(image):
        qtbot.waitUntil(lambda: widget.image.layer is not None)
        widget.image.choose(image)
        widget.run_button.click()
        qtbot.waitUntil(lambda: not widget.running, timeout=60_000)
        return widget.use_as_annotations()

    return copy


def experiment_with(viewer, points):
    return next(one for one in open_experiments(viewer.layers) if one.points is points)


def test_only_what_was_touched_is_corrected_in_an_image_without_a_z_axis(
    viewer, pixels, small_movie, copy_of
):
    scale = (1.0, *small_movie.known_voxel_size_um[1:])
    copy = copy_of(viewer.add_image(pixels, name="nuclei", scale=scale))
    assert len(copy.data) > 10
    assert experiment_with(viewer, copy).corrected_time_points() == []
    last = float(copy.data[-1, 0])
    copy.selected_data = {len(copy.data) - 1}
    copy.remove_selected()
    copy.add([1, 40.5, 40.5])
    assert experiment_with(viewer, copy).corrected_time_points() == sorted({1, int(last)})


def test_a_copy_belongs_to_the_image_that_it_was_found_in_whatever_others_are_called(
    viewer, pixels, copy_of
):
    image = viewer.add_image(pixels, name="Movie")
    other = viewer.add_image(np.roll(pixels, 20, axis=2), name="Movie corrected", visible=False)
    copy = copy_of(image)
    assert copy.name == "Movie corrected cells"
    assert experiment_with(viewer, copy).images == [image]
    image.name, other.name = "something else", "Movie"
    assert experiment_with(viewer, copy).images == [image]
    assert experiment_with(viewer, copy).corrected_time_points() == []
