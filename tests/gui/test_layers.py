"""Experiments become layers that lie where they should, and come back as they were."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Layer
from napari.utils.notifications import notification_manager

from napari_celltrain.experiment import Annotations, Experiment, Status
from napari_celltrain.gui.going_there import lay_on_movies
from napari_celltrain.gui.image_chooser import ImageChooser
from napari_celltrain.gui.layers import experiment_layers, show_through_depth
from napari_celltrain.gui.lazy_images import display_range, lazy_array
from napari_celltrain.gui.lineages import napari_tracks, track_ids
from napari_celltrain.gui.open_experiments import open_experiments


def test_nothing_but_one_plane_is_read_to_make_layers(experiment):
    experiment_layers(experiment)
    assert experiment.images.reads == [(37, 0)]


def test_a_frame_is_read_when_it_is_looked_at(movie_class):
    movie = movie_class()
    array = lazy_array(movie, 0)
    assert array.shape == (4, 3, 32, 40)
    assert not movie.reads
    assert int(array[1, 2, 0, 0]) == 38_002
    assert movie.reads == [(38, 0)]


def test_a_gap_in_time_is_an_empty_frame(movie_class):
    assert not np.asarray(lazy_array(movie_class(), 0)[2]).any()


def test_a_large_frame_is_read_in_slabs(movie_class, monkeypatch):
    monkeypatch.setattr("napari_celltrain.gui.lazy_images.CHUNK_BYTES", 2 * 32 * 40 * 2)
    array = lazy_array(movie_class(), 0)
    assert array.chunks[1] == (2, 1)
    assert np.asarray(array[3, :, 0, 0]).tolist() == [40_000, 40_001, 40_002]


def test_an_unreadable_frame_is_empty_and_said(movie_class):
    assert not np.asarray(lazy_array(movie_class(unreadable=(38,)), 0)[1]).any()
    assert "t = 38 is cut short" in notification_manager.records[-1].message


def test_two_movies_of_the_same_shape_are_not_mixed_up(movie_class):
    first, second = movie_class(n_channels=2), movie_class()
    total = lazy_array(first, 1).astype(int) + lazy_array(second, 0)
    assert int(total[0, 0, 0, 0]) == 37_100 + 37_000


def test_a_constant_plane_has_no_display_range(movie_class):
    assert display_range(movie_class(), 0) is None


def test_layers_share_scale_and_units_and_world_time_is_the_time_point(add_experiment, experiment):
    image, tracks, points = add_experiment(experiment)
    assert [layer.name for layer in (image, tracks, points)] == [
        "embryo", "embryo tracks", "embryo cells",
    ]  # fmt: skip
    for layer in (image, tracks, points):
        assert tuple(layer.scale) == (1, 2, 0.5, 0.5)
        assert [str(unit) for unit in layer.units] == ["pixel"] + ["micrometer"] * 3
    assert image.data_to_world((0, 1, 10, 10)) == points.data_to_world(points.data[0])
    assert points.data[0, 0] == 37


def test_channels_are_layers_and_those_without_cells_are_hidden(add_experiment, movie_class):
    experiment = Experiment("two", images=movie_class(n_channels=2), channels=(1,))
    nuclei, other, _ = add_experiment(experiment)
    assert (nuclei.name, nuclei.visible) == ("two channel 1", False)
    assert (other.name, other.visible) == ("two channel 2", True)


def test_without_a_voxel_size_everything_is_in_pixels(add_experiment, movie_class, annotations):
    image, *_ = add_experiment(Experiment("x", annotations, movie_class(voxel_size_um=None)))
    assert tuple(image.scale) == (1, 1, 1, 1)
    assert {str(unit) for unit in image.units} == {"pixel"}


def test_marks_that_are_no_cells_look_different(add_experiment, movie_class):
    annotations = Annotations([37, 37], np.zeros((2, 3)), status=[Status.CELL, Status.NOT_A_CELL])
    points = add_experiment(Experiment("x", annotations, movie_class()))[-1]
    assert [str(symbol) for symbol in points.symbol] == ["disc", "x"]


def test_what_is_read_back_is_what_was_opened(viewer, add_experiment, experiment):
    add_experiment(experiment)
    (found,) = open_experiments(viewer.layers)
    again = found.read()
    assert again.name == "embryo"
    assert again.images is experiment.images
    assert again.known_voxel_size_um == (2.0, 0.5, 0.5)
    np.testing.assert_array_equal(again.annotations.t, experiment.annotations.t)
    np.testing.assert_allclose(again.annotations.positions, experiment.annotations.positions)
    np.testing.assert_array_equal(again.annotations.links, experiment.annotations.links)
    assert list(again.annotations.features) == ["score"]


def test_links_survive_the_removal_of_other_points(viewer, add_experiment, experiment):
    points = add_experiment(experiment)[-1]
    points.selected_data = {1}
    points.remove_selected()
    annotations = open_experiments(viewer.layers)[0].read().annotations
    assert len(annotations) == 4
    assert annotations.links.tolist() == [[0, 1]]  # the other daughter keeps her mother


def test_an_added_point_has_no_links_even_when_it_copies_a_selected_one(
    viewer, add_experiment, experiment
):
    points = add_experiment(experiment)[-1]
    points.selected_data = {0}
    points.add((40, 0, 5, 5))
    annotations = open_experiments(viewer.layers)[0].read().annotations
    assert len(annotations) == 6
    assert annotations.t[-1] == 40
    assert annotations.links.tolist() == [[0, 1], [0, 2], [1, 3]]


def test_deleting_all_points_leaves_an_empty_experiment(viewer, add_experiment, experiment):
    points = add_experiment(experiment)[-1]
    points.selected_data = set(range(5))
    points.remove_selected()
    assert len(open_experiments(viewer.layers)[0].read().annotations) == 0


def test_someone_elses_layers_are_paired_by_name_and_read_in_the_images_pixels(viewer):
    viewer.add_image(np.zeros((4, 20, 20)), name="fly", scale=(1, 0.5, 0.5))
    viewer.add_image(np.zeros((4, 20, 20)), name="fish", scale=(1, 0.25, 0.25))
    viewer.add_points([[2, 1.0, 2.0]], name="fish points", scale=(1, 1, 1))
    fish, fly = open_experiments(viewer.layers)
    assert (fish.images[0].name, fly.images[0].name) == ("fish", "fly")
    read = fish.read()
    assert read.annotations.t.tolist() == [2]
    assert read.annotations.positions.tolist() == [[0, 4, 8]]
    assert read.images.frame_shape == (1, 20, 20)
    assert read.known_voxel_size_um == (1.0, 0.25, 0.25)


def test_of_a_multiscale_layer_the_finest_level_is_the_movie(viewer):
    fine = np.random.default_rng(0).integers(0, 99, (4, 64, 64)).astype(np.uint8)
    levels = [fine, fine[:, ::2, ::2]]
    viewer.add_image(levels, multiscale=True, name="fly", scale=(1, 0.5, 0.5))
    viewer.add_points([[2, 5.0, 10.0]], name="fly cells")
    read = open_experiments(viewer.layers)[0].read()
    assert read.images.frame_shape == (1, 64, 64)
    np.testing.assert_array_equal(read.images.read_frame(2)[0], fine[2])
    assert read.annotations.positions.tolist() == [[0, 10, 20]]


def test_a_moved_image_layer_moves_the_pixels_not_the_cells(viewer):
    image = viewer.add_image(np.zeros((2, 5, 20, 20)), translate=(0, 0, 3, 0))
    viewer.add_points([[1, 2, 3.0, 4.0]], ndim=4)
    assert image.ndim == 4
    read = open_experiments(viewer.layers)[0].read()
    assert read.annotations.positions.tolist() == [[2, 0, 4]]


def test_several_point_layers_on_one_image_are_several_experiments(
    viewer, add_experiment, experiment
):
    image, *_ = add_experiment(experiment)
    viewer.add_points([[37, 0, 1, 1]], ndim=4, name="embryo by hand", scale=image.scale)
    assert [one.name for one in open_experiments(viewer.layers)] == ["embryo", "embryo by hand"]


def test_someone_elses_tracks_are_an_experiment_with_their_links(viewer):
    viewer.add_image(np.zeros((4, 20, 20)), name="fly", scale=(1, 0.5, 0.5))
    rows = [[1, 0, 5.0, 5.0], [1, 1, 5.0, 6.0], [2, 2, 5.0, 7.0], [3, 2, 5.0, 8.0]]
    viewer.add_tracks(rows, name="fly lines", graph={2: [1], 3: [1]})
    (fly,) = open_experiments(viewer.layers)
    read = fly.read().annotations
    assert read.t.tolist() == [0, 1, 2, 2]
    assert read.positions[1].tolist() == [0, 10, 12]
    assert sorted(read.links.tolist()) == [[0, 1], [1, 2], [1, 3]]


def test_without_its_points_the_tracks_are_the_annotation(viewer, add_experiment, experiment):
    points = add_experiment(experiment)[-1]
    viewer.layers.remove(points)
    (found,) = open_experiments(viewer.layers)
    read = found.read().annotations
    assert sorted(read.t.tolist()) == [37, 38, 38, 40]
    assert len(read.links) == 3


def test_tracks_end_at_divisions_and_name_their_parents(annotations):
    tracks = track_ids(annotations)
    mother, daughter, other, again, lone = tracks
    assert daughter == again
    assert len({mother, daughter, other, lone}) == 4
    rows, graph = napari_tracks(annotations)
    assert len(rows) == 4  # the lone cell is no track
    assert graph == {daughter: [mother], other: [mother]}


def test_looking_through_depth_leaves_other_peoples_images_as_they_look(viewer):
    image = viewer.add_image(np.zeros((2, 5, 20, 20)))
    show_through_depth(viewer, 4.0)
    assert tuple(viewer.dims.margin_left) == (0, 4, 0, 0)
    assert str(image.projection_mode) == "none"


def test_an_annotation_goes_with_an_image_it_fits_in_before_one_of_a_like_name(viewer):
    viewer.add_image(np.zeros((4, 20, 20)), name="cells a")
    viewer.add_image(np.zeros((4, 90, 90)), name="movie")
    viewer.add_points([[2, 70.0, 2.0]], name="cells b")
    found = next(one for one in open_experiments(viewer.layers) if one.points is not None)
    assert found.images[0].name == "movie"


def test_an_annotation_can_be_given_to_another_image(viewer, add_experiment, experiment):
    other = viewer.add_image(np.zeros((50, 3, 40, 40)), name="other", scale=(1, 2, 1.0, 1.0))
    add_experiment(experiment)
    found = next(one for one in open_experiments(viewer.layers) if one.points is not None)
    assert found.images[0].name == "embryo"
    found.pair_with(other)
    again = next(one for one in open_experiments(viewer.layers) if one.points is not None)
    assert again.images == [other]
    read = again.read()
    assert read.images.frame_shape == (3, 40, 40)
    assert read.annotations.positions[0].tolist() == [1, 5, 5]  # pixels are twice as wide
    assert read.annotations.links.tolist() == [[0, 1], [0, 2], [1, 3]]
    viewer.layers.remove(other)
    back = next(one for one in open_experiments(viewer.layers) if one.points is not None)
    assert back.images[0].name == "embryo"


def test_an_annotation_opened_without_its_movie_goes_with_the_movie_opened_beside_it(
    viewer, add_experiment
):
    """A table of points, and the images dragged in: napari opens those as (t, y, x)."""
    image = viewer.add_image(np.zeros((4, 60, 80)), name="images", scale=(1, 0.5, 0.5))
    marked = Annotations([1, 2, 2], [[0, 10, 20], [0, 30, 40], [0, 50, 60]], [[0, 1]])
    tracks, points = add_experiment(Experiment("points", marked))
    assert (tracks.ndim, points.ndim) == (3, 3)  # the same axes, so that they lie on each other
    (found,) = open_experiments(viewer.layers)
    assert found.images == [image]
    assert found.align()
    assert tuple(points.scale) == tuple(tracks.scale) == (1, 0.5, 0.5)
    assert not found.align()  # once: somebody may move it afterwards
    read = found.read()
    assert read.annotations.t.tolist() == [1, 2, 2]
    assert read.annotations.positions.tolist() == marked.positions.tolist()
    assert read.annotations.links.tolist() == [[0, 1]]
    assert read.known_voxel_size_um == (1.0, 0.5, 0.5)


def test_an_annotation_without_a_movie_does_not_take_the_movie_of_another(
    viewer, add_experiment, experiment
):
    add_experiment(experiment)
    add_experiment(Experiment("lost", Annotations([37], [[0, 1, 1]])))
    lost = next(one for one in open_experiments(viewer.layers) if one.name == "lost")
    assert lost.images == []
    assert lost.read().annotations.t.tolist() == [37]


def test_a_flat_annotation_is_read_as_pixels_of_a_movie_with_a_plane_axis(viewer, add_experiment):
    viewer.add_image(np.zeros((4, 1, 60, 80)), name="images")
    marked = Annotations([1, 2], [[0, 10, 20], [0, 30, 40]])
    add_experiment(Experiment("points", marked))
    (found,) = open_experiments(viewer.layers)
    assert found.read().annotations.positions.tolist() == marked.positions.tolist()
    assert found.read().annotations.t.tolist() == [1, 2]


def test_cells_laid_on_a_stack_are_seen_through_its_depth(viewer, add_experiment):
    viewer.add_image(np.zeros((4, 5, 60, 80)), name="images", scale=(1, 2, 0.5, 0.5))
    add_experiment(Experiment("points", Annotations([1, 2], [[2, 10, 20], [3, 30, 40]])))
    lay_on_movies(viewer, open_experiments(viewer.layers))
    assert viewer.dims.margin_left[1] >= 2


def image_of(viewer, points):
    (found,) = (one for one in open_experiments(viewer.layers) if one.points is points)
    return found.images[0].name


@pytest.mark.parametrize("name", ["embryo A cells", "Points"])
def test_a_click_beside_an_image_does_not_give_the_annotation_to_another(viewer, name):
    viewer.add_image(np.zeros((6, 96, 96)), name="embryo A")
    places = np.random.default_rng(0).uniform(0, 95, (40, 3)) * [0, 1, 1]
    points = viewer.add_points(places, name=name)
    assert image_of(viewer, points) == "embryo A"
    viewer.add_image(np.zeros((6, 200, 200)), name="embryo B")
    points.add([0, 120, 50])
    assert image_of(viewer, points) == "embryo A"


def test_cells_marked_in_another_image_go_with_it_after_all(viewer):
    viewer.add_image(np.zeros((6, 96, 96)), name="embryo A")
    viewer.add_image(np.zeros((6, 200, 200)), name="embryo B")
    points = viewer.add_points(ndim=3, name="Points")
    image_of(viewer, points)  # nobody knows; nothing is settled by it
    for place in (50, 150, 180):
        points.add([0, place, place])
    assert image_of(viewer, points) == "embryo B"


def test_a_new_name_of_an_image_changes_no_annotation(viewer):
    first = viewer.add_image(np.zeros((6, 96, 96)), name="alpha")
    second = viewer.add_image(np.zeros((6, 96, 96)), name="beta")
    points = viewer.add_points([[0, 5, 5]], name="alpha cells")
    assert image_of(viewer, points) == "alpha"
    first.name, second.name = "gamma", "alpha"
    assert image_of(viewer, points) == "gamma"


def test_a_copy_of_an_annotation_can_be_given_to_another_image_alone(viewer):
    from napari.layers import Layer

    viewer.add_image(np.zeros((6, 96, 96)), name="alpha")
    other = viewer.add_image(np.zeros((6, 96, 96)), name="beta")
    points = viewer.add_points([[0, 5, 5]], name="alpha cells")
    assert image_of(viewer, points) == "alpha"
    data, arguments, kind = points.as_layer_data_tuple()  # as napari duplicates a layer
    copy = viewer.add_layer(Layer.create(data.copy(), {**arguments, "name": "copy"}, kind))
    assert image_of(viewer, copy) == "alpha"
    next(one for one in open_experiments(viewer.layers) if one.points is copy).pair_with(other)
    assert image_of(viewer, copy) == "beta"
    assert image_of(viewer, points) == "alpha"


def duplicate(viewer, layer, data=None):
    """Duplicate a layer as napari does, or as a filter does that keeps what is said of it."""
    from copy import deepcopy

    own, arguments, kind = layer.as_layer_data_tuple()
    new = Layer.create(
        deepcopy(own) if data is None else data, {**arguments, "name": f"{layer.name} copy"}, kind
    )
    viewer.layers.insert(viewer.layers.index(layer) + 1, new)
    return new


def test_other_pixels_in_a_layer_that_was_opened_from_a_file_are_what_is_read(
    viewer, add_experiment, experiment
):
    image = add_experiment(experiment)[0]
    (found,) = open_experiments(viewer.layers)
    assert found.read().images is experiment.images
    image.data = np.full(image.data.shape, 7, np.uint8)
    (found,) = open_experiments(viewer.layers)
    read = found.read()
    assert read.name == "embryo"
    assert list(read.images.time_points) == [37, 38, 39, 40]
    assert (read.images.read_frame(38) == 7).all()
    assert read.annotations.positions.tolist() == experiment.annotations.positions.tolist()
    assert read.voxel_size_um == (2.0, 0.5, 0.5)


def test_a_duplicate_of_an_image_is_a_movie_of_its_own(viewer, add_experiment, experiment, qtbot):
    image, _, points = add_experiment(experiment)
    same = duplicate(viewer, image)
    filtered = duplicate(viewer, image, np.zeros(image.data.shape, np.uint8))
    viewer.layers.move(viewer.layers.index(filtered), 0)
    chooser = ImageChooser(viewer)
    qtbot.addWidget(chooser)
    assert chooser.box.count() == 3
    for layer in (image, same, filtered):
        chooser.choose(layer)
        assert chooser.layer is layer
        assert chooser.channel.count() == 1
    assert not chooser.movie()[0].read_frame(38).any()
    chooser.choose(same)
    assert chooser.movie()[0] is experiment.images  # read from the file, which is quicker
    found = {id(one.layers[-1]): one for one in open_experiments(viewer.layers)}
    assert found[id(points)].images == [image]
    assert [one.images for one in found.values() if one.points is None] == [[filtered], [same]]
