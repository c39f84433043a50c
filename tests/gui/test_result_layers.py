"""Where layers with results lie."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.experiment import Experiment
from napari_celltrain.gui.comparison import Outcomes
from napari_celltrain.gui.image_source import layer_to_movie
from napari_celltrain.gui.result_layers import (
    add_detections,
    add_errors,
    in_layer,
    place_in_world,
)

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


@pytest.mark.parametrize("kinds", [["missed", "false", "found", "found"], ["false"], []])
def test_errors_that_are_told_anew_look_as_if_they_were_told_at_first(
    viewer, add_experiment, movie_class, kinds
):
    image = add_experiment(Experiment("embryo", images=movie_class()))[0]

    def show(name, kinds, size=6.0):
        random = np.random.default_rng(len(kinds))
        outcomes = Outcomes(
            np.full(len(kinds), 38), random.uniform(0, 3, (len(kinds), 3)), np.array(kinds, "U6")
        )
        return add_errors(viewer, name, outcomes, image, size)

    first = show("again", ["found", "missed"], size=3.0)
    first.selected_data = {1}
    first.visible = False
    image.translate = (37, 0, 30, 40)
    told = []
    viewer.layers.events.connect(told.append)
    again, fresh = show("again", kinds), show("fresh", kinds)
    assert again is first
    assert [event.type for event in told if getattr(event, "value", None) is again] == []
    assert not again.visible
    assert not again.selected_data
    for one in ("data", "size", "symbol", "border_color", "face_color", "shown"):
        np.testing.assert_array_equal(getattr(again, one), getattr(fresh, one))
    assert again.features["outcome"].tolist() == kinds
    np.testing.assert_array_equal(again.translate, fresh.translate)
    viewer.layers.selection = {again}
    again.visible = True  # it is drawn without a complaint
