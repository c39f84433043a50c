"""Where layers with results lie."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.experiment import Experiment
from napari_celltrain.gui.image_source import layer_to_movie
from napari_celltrain.gui.result_layers import add_detections, in_layer, place_in_world

T, POSITIONS = np.array([37, 40]), np.array([[1.0, 10.0, 20.0], [2.0, 4.0, 6.0]])


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"translate": (37, 0, 30, 40)},
        {"scale": (1, 2, 0.25, 0.25)},
        {"rotate": np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]])},
        {"affine": np.diag([1, 1, 3, 3, 1])},
    ],
    ids=lambda change: next(iter(change), "as opened"),
)
def test_detections_lie_on_their_movie_however_it_was_moved(
    viewer, add_experiment, movie_class, change
):
    """A movie that this plugin opened is placed anew by hand: what is found in it goes along."""
    image = add_experiment(Experiment("embryo", images=movie_class()))[0]
    for name, value in change.items():
        setattr(image, name, value)
    layer = add_detections(viewer, "embryo detections", image, 5.0)
    layer.data = in_layer(image, T, POSITIONS)[0]
    assert layer.data[:, 0].tolist() == T.tolist()  # the time point, as in all of our layers
    world = [layer.data_to_world(row) for row in layer.data]
    np.testing.assert_allclose(world, place_in_world(image, T, POSITIONS))
    np.testing.assert_allclose(
        layer_to_movie(image, layer, layer.data), np.column_stack([T, POSITIONS])
    )
