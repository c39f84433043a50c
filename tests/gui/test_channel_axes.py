"""Layers with a channel axis, in colour, or with unnamed axes are movies like any other."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Image, Points, Tracks

from napari_celltrain.formats.registry import read_experiments
from napari_celltrain.gui.axes_row import AxesRow
from napari_celltrain.gui.counts import CountsWidget
from napari_celltrain.gui.experiments_table import ExperimentsTable
from napari_celltrain.gui.going_there import go_to, show_time_point, shown_time_point
from napari_celltrain.gui.image_source import source_of
from napari_celltrain.gui.layer_axes import axes_of, choose_axes, named_axes
from napari_celltrain.gui.open_experiments import open_experiments
from napari_celltrain.gui.predict import PredictWidget

SIZES = {"t": 4, "c": 2, "z": 3, "y": 20, "x": 30}
SCALES = {"t": 1.0, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.5}


def tell_tale(axes: str) -> np.ndarray:
    """Return an array whose pixels say where they come from: 1000 t + 100 c + z."""
    places = np.indices([SIZES[axis] for axis in axes])
    weights = {"t": 1000, "c": 100, "z": 1}
    return sum(
        (places[number] * weights[axis] for number, axis in enumerate(axes) if axis in weights),
        np.zeros(places.shape[1:], np.int64),
    ).astype(np.uint16)


def columns(axes: str, t: float, c: float, z: float, y: float, x: float) -> list[float]:
    return [{"t": t, "c": c, "z": z, "y": y, "x": x}[axis] for axis in axes]


def scales(axes: str) -> list[float]:
    return [SCALES[axis] for axis in axes]


@pytest.mark.parametrize("axes", ["tczyx", "ctzyx", "tzcyx", "tcyx", "ctyx", "cyx", "zcyx", "tyxc"])
@pytest.mark.parametrize("with_channel", [True, False])
def test_a_named_channel_axis_gives_a_movie_with_channels(viewer, axes, with_channel):
    viewer.add_image(tell_tale(axes), axis_labels=tuple(axes), scale=scales(axes), name="movie")
    own = axes if with_channel else axes.replace("c", "")
    marked = [columns(own, 1, 1, 2, 5.5, 7), columns(own, 3, 1, 0, 6, 8)]
    viewer.add_points(marked, scale=scales(own), name="movie cells", axis_labels=tuple(own))
    (found,) = open_experiments(viewer.layers)
    read = found.read()
    assert read.images.n_channels == 2
    assert read.images.frame_shape == (3 if "z" in axes else 1, 20, 30)
    assert read.annotations.t.tolist() == ([1, 3] if "t" in axes else [0, 0])
    assert read.annotations.positions[0].tolist() == [2 if "z" in axes else 0, 5.5, 7]
    assert read.channels == ((1,) if with_channel else (0,))
    t, z = int(read.annotations.t[0]), int(read.annotations.positions[0, 0])
    assert read.images.read_frame(t, 1)[z, 5, 7] == 1000 * t + 100 + z
    assert read.known_voxel_size_um == (2.0 if "z" in axes else 1.0, 0.5, 0.5)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((30, 2, 8, 20, 20), "tczyx"),
        ((30, 12, 2, 20, 20), "tzcyx"),
        ((2, 30, 12, 20, 20), "ctzyx"),
        ((3, 2, 5, 20, 20), "tczyx"),
        ((30, 12, 20, 20), "tzyx"),
        ((30, 20, 20), "tyx"),
        ((20, 20), "yx"),
    ],
)
def test_unnamed_axes_are_the_usual_ones_and_few_are_channels(shape, axes):
    layer = Image(np.zeros(shape, np.uint8))
    assert axes_of(layer) == axes
    assert named_axes(layer) is None


@pytest.mark.parametrize(
    ("labels", "axes"),
    [
        (("time", "channel", "y", "x"), "tcyx"),
        (("T", "CH", "-2", "-1"), "tcyx"),
        (("c", "-3", "-2", "-1"), "ctyx"),
        (("z [um]", "-3", "-2", "-1"), "ztyx"),
        (("Frames", "-3", "-2", "-1"), "tzyx"),
    ],
)
def test_words_for_axes_are_understood(labels, axes):
    assert axes_of(Image(np.zeros((4, 2, 8, 8)), axis_labels=labels)) == axes


def test_the_program_that_made_the_layer_may_have_named_its_axes():
    class Named(np.ndarray):
        dims = ("T", "C", "Y", "X")

    data = np.zeros((4, 2, 8, 8))
    assert axes_of(Image(data.view(Named))) == "tcyx"
    assert axes_of(Image(data, metadata={"axes": "CTYX"})) == "ctyx"
    assert axes_of(Image(np.zeros((4, 8, 8, 3)), rgb=True, metadata={"axes": "ZYXS"})) == "zyx"


@pytest.mark.parametrize("kind", ["points", "tracks"])
def test_cells_without_a_channel_tell_which_axis_is_that_of_channels(viewer, kind):
    image = viewer.add_image(np.zeros((9, 2, 30, 40)), name="movie")
    cells = np.array([[t, 10.0, 12.0] for t in range(9)])
    if kind == "points":
        viewer.add_points(cells, name="cells")
    else:
        viewer.add_tracks(np.column_stack([np.ones(9), cells]), name="cells")
    found = next(one for one in open_experiments(viewer.layers) if one.annotation is not None)
    assert found.images == [image]
    assert axes_of(image) == "tcyx"
    read = found.read()
    assert read.annotations.t.tolist() == list(range(9))
    assert read.annotations.positions[3].tolist() == [0, 10, 12]
    assert read.images.n_channels == 2


def test_labels_without_a_channel_tell_it_by_their_shape(viewer, qtbot):
    image = viewer.add_image(np.zeros((9, 2, 30, 40)), name="movie")
    painted = np.zeros((9, 30, 40), np.uint8)
    painted[:, 10, 12] = 1
    labels = viewer.add_labels(painted, name="cells")
    widget = CountsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="counts")
    qtbot.waitUntil(lambda: widget.counted[0].counts is not None, timeout=10_000)
    assert axes_of(image) == "tcyx"
    (found,) = open_experiments(viewer.layers)
    assert found.labels is labels
    assert found.read().annotations.t.tolist() == list(range(9))
    qtbot.waitUntil(lambda: widget._closer is None, timeout=20_000)


def test_labels_of_one_stack_of_a_movie_say_nothing_of_channels(viewer):
    image = viewer.add_image(np.zeros((9, 4, 30, 40)), name="movie")
    viewer.add_labels(np.zeros((4, 30, 40), np.uint8), name="the first stack")
    open_experiments(viewer.layers)
    assert axes_of(image) == "tzyx"


def test_positions_in_five_axes_tell_too(viewer):
    image = viewer.add_image(np.zeros((3, 4, 5, 30, 40)), name="movie")
    assert axes_of(image) == "tczyx"
    viewer.add_points([[0, 4, 5.0, 6.0], [2, 0, 5, 6]], name="cells")  # in (t, z), z up to 4
    open_experiments(viewer.layers)
    assert axes_of(image) == "tczyx"
    viewer.layers.remove("cells")
    viewer.add_points([[0, 3, 5.0, 6.0], [3, 0, 5, 6]], name="cells")
    open_experiments(viewer.layers)
    assert axes_of(image) == "ctzyx"


def test_time_offset_scale_and_seconds_come_from_the_layer(viewer):
    image = viewer.add_image(
        tell_tale("ctzyx"), axis_labels=tuple("ctzyx"), name="movie",
        scale=(1, 30, 2, 0.5, 0.5), translate=(0, 37 * 30, 0, 10, 0),
        units=("pixel", "second", "um", "um", "um"),
    )  # fmt: skip
    source, channel = source_of(image)
    assert (list(source.time_points), channel) == ([37, 38, 39, 40], 0)
    assert source.frame_interval_s == 30
    assert source.voxel_size_um == (2.0, 0.5, 0.5)
    viewer.add_points([[0, 38 * 30, 2, 12.5, 5]], name="movie cells", units=image.units)
    (found,) = open_experiments(viewer.layers)
    read = found.read()
    assert read.annotations.t.tolist() == [38]
    assert read.annotations.positions.tolist() == [[1, 5, 10]]
    show_time_point(viewer, 39)
    assert viewer.dims.point[1] == 39 * 30
    assert shown_time_point(viewer) == 39
    go_to(viewer, found, 38, (0,))
    assert shown_time_point(viewer) == 38


def test_going_to_cells_without_a_channel_moves_the_right_sliders(viewer):
    viewer.add_image(tell_tale("tczyx"), axis_labels=tuple("tczyx"), name="movie")
    viewer.add_points([[3, 2, 5.0, 5.0]], name="movie cells")
    (found,) = open_experiments(viewer.layers)
    go_to(viewer, found, None, (0,))
    assert shown_time_point(viewer) == 3
    assert viewer.dims.point[2] == 2


def test_a_stack_without_time_has_no_time_slider(viewer):
    viewer.add_image(np.zeros((5, 20, 20)), axis_labels=("z", "y", "x"))
    assert shown_time_point(viewer) is None


def test_a_colour_layer_is_a_grey_movie(viewer):
    colours = np.zeros((4, 20, 30, 3), np.uint8)
    colours[2, 5, 6] = (10, 20, 30)
    image = viewer.add_image(colours, rgb=True, name="film", scale=(1, 0.5, 0.5))
    viewer.add_points([[2, 2.5, 3.0]], name="film cells")
    (found,) = open_experiments(viewer.layers)
    read = found.read()
    assert read.images.frame_shape == (1, 20, 30)
    assert read.images.read_frame(2)[0, 5, 6] == round(0.299 * 10 + 0.587 * 20 + 0.114 * 30)
    assert read.annotations.positions.tolist() == [[0, 5, 6]]
    assert found.images == [image]


def test_labels_with_a_channel_axis_are_counted_once(viewer, qtbot):
    widget = CountsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="counts")
    labels = np.zeros((3, 2, 20, 30), np.int32)
    labels[0, 1, 2:5, 4:7] = 1
    labels[2, :, 10:12, 20:22] = 7
    axes = ("t", "c", "y", "x")
    viewer.add_image(np.zeros((3, 2, 20, 30)), axis_labels=axes, name="fly")
    viewer.add_labels(labels, axis_labels=axes, name="masks")
    qtbot.waitUntil(
        lambda: widget.table.rowCount() == 2 and widget.table.item(0, 2).text() == "2",
        timeout=20_000,
    )
    (found,) = open_experiments(viewer.layers)
    assert found.read().annotations.positions.tolist() == [[0, 3, 5], [0, 10.5, 20.5]]
    qtbot.waitUntil(lambda: widget._closer is None, timeout=20_000)


def test_cells_of_a_layer_with_channels_are_counted(viewer, qtbot):
    widget = CountsWidget(viewer)
    viewer.window.add_dock_widget(widget, name="counts")
    viewer.add_image(tell_tale("tczyx"), axis_labels=tuple("tczyx"), name="movie")
    viewer.add_points([[1, 1, 2, 5, 7], [1, 1, 1, 15, 7], [3, 1, 0, 6, 8]], name="movie cells")
    qtbot.waitUntil(lambda: widget.table.rowCount() == 2)
    assert [widget.table.item(0, column).text() for column in (1, 2)] == ["2 / 4", "3"]
    qtbot.waitUntil(lambda: widget._closer is None, timeout=20_000)


@pytest.mark.parametrize("suffix", [".aut", ".csv", ".geff", ".xml"])
@pytest.mark.parametrize("kind", [Points, Tracks])
def test_saving_leaves_the_channel_out(viewer, tmp_path, suffix, kind):
    axes = "tczyx" if kind is Points else "tcyx"  # napari's tracks have no more than four
    viewer.add_image(tell_tale(axes), axis_labels=tuple(axes), scale=scales(axes))
    cells = np.array([columns(axes, 1, 1, 2, 5, 7), columns(axes, 2, 1, 1, 6, 8)], float)
    if kind is Points:
        layer = viewer.add_points(cells, scale=scales(axes), name="cells")
    else:
        rows = np.column_stack([np.ones(2), cells])
        layer = viewer.add_tracks(rows, scale=scales(axes), name="cells")
    place = tmp_path / f"cells{suffix}"
    layer.save(str(place), plugin="napari-celltrain")
    again = read_experiments(place)[0]
    assert again.annotations.t.tolist() == [1, 2]
    z = [2, 1] if kind is Points else [0, 0]
    expected = np.column_stack([z, [5, 6], [7, 8]])
    np.testing.assert_allclose(again.annotations.positions, expected, atol=1e-6)
    assert len(again.annotations.links) == (kind is Tracks)
    if suffix != ".csv":
        assert again.voxel_size_um == (2.0 if kind is Points else 1.0, 0.5, 0.5)


def test_saving_cells_alone_leaves_the_channel_out_too(viewer, tmp_path):
    layer = viewer.add_points([[1, 0, 2, 5, 7.0]], name="cells")
    layer.save(str(tmp_path / "cells.csv"), plugin="napari-celltrain")
    again = read_experiments(tmp_path / "cells.csv")[0].annotations
    assert (again.t.tolist(), again.positions.tolist()) == ([1], [[2, 5, 7]])


def test_the_axes_of_an_unnamed_layer_can_be_said(viewer, qtbot):
    table = ExperimentsTable(viewer)
    qtbot.addWidget(table)
    image = viewer.add_image(tell_tale("tcyx"), name="movie")
    viewer.add_points([[1, 1, 5, 7]], name="movie cells")
    table.refresh()
    assert not table.axes.isHidden()
    assert table.members()[0].experiment.images.n_channels == 1  # taken for two planes
    table.axes.choose("tcyx")
    (member,) = table.members()
    assert member.experiment.images.n_channels == 2
    assert member.experiment.channels == (1,)  # the cells were marked in the second
    assert table.channel.count() == 2
    assert table.channel.currentIndex() == 1
    table.channel.setCurrentIndex(0)
    assert table.members()[0].experiment.channels == (0,)
    row = AxesRow()
    qtbot.addWidget(row)
    assert row.show_layers([image])
    assert row.box.currentData() == "tcyx"
    named = Image(tell_tale("tcyx"), axis_labels=tuple("tcyx"))
    assert not row.show_layers([named])


def test_more_axes_than_a_movie_has_are_a_sentence(viewer, qtbot):
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget, name="predict")
    viewer.add_image(np.zeros((2, 2, 2, 3, 8, 8)), name="six")
    viewer.add_points(np.zeros((1, 6)), name="six cells")
    qtbot.waitUntil(lambda: widget.image.layer is not None)
    with pytest.raises(Exception, match=r"'six' has 6 axes"):
        widget.image.movie()


@pytest.fixture
def two_channels(small_movie):
    """The simulated movie as the second of two channels; the first one is empty."""
    frames = np.stack([small_movie.images.read_frame(t)[0] for t in range(6)])
    return np.stack([np.zeros_like(frames), frames], axis=1)


def test_cells_are_found_in_the_chosen_channel(
    viewer, trained, two_channels, small_movie, qtbot, tmp_path
):
    pixel = small_movie.known_voxel_size_um[1]
    widget = PredictWidget(viewer)
    viewer.window.add_dock_widget(widget, name="predict")
    widget.set_detector(trained)
    image = viewer.add_image(
        two_channels, scale=(1, 1, pixel, pixel), units=("pixel", "pixel", "um", "um"), name="mine"
    )
    qtbot.waitUntil(lambda: widget.image.layer is image)
    widget.image.axes.choose("tcyx")
    assert widget.image.channel.count() == 2
    widget.image.channel.setCurrentIndex(1)
    assert widget.image.movie()[1] == 1
    assert viewer.dims.point[1] == 1  # so that what is found is seen
    widget.run_button.click()
    qtbot.waitUntil(lambda: not widget.running, timeout=60_000)
    assert widget.layer.ndim == 4
    assert set(widget.layer.data[:, 1]) == {1}
    true = len(small_movie.annotations)
    assert abs(widget.layer.shown.sum() - true) < 0.4 * true
    corrected = widget.use_as_annotations()
    qtbot.wait(100)
    mine = next(one for one in open_experiments(viewer.layers) if one.points is corrected)
    read = mine.read()
    assert (mine.images, read.channels) == ([image], (1,))
    expected = widget.found().annotations.positions[:, 1:]  # a flat image has no depth
    np.testing.assert_allclose(read.annotations.positions[:, 1:], expected)
    corrected.save(str(tmp_path / "corrected.aut"), plugin="napari-celltrain")
    again = read_experiments(tmp_path / "corrected.aut")[0].annotations
    assert len(again) == len(read.annotations)


def test_what_the_network_learns_from_is_the_chosen_channel(
    viewer, two_channels, small_movie, qtbot, tmp_path
):
    from napari_celltrain.dataset import Dataset
    from napari_celltrain.training.loop import train
    from napari_celltrain.training.settings import TrainingSettings

    pixel = small_movie.known_voxel_size_um[1]
    table = ExperimentsTable(viewer)
    qtbot.addWidget(table)
    image = viewer.add_image(two_channels, scale=(1, 1, pixel, pixel), name="mine")
    choose_axes(image, "tcyx")
    known = small_movie.annotations
    viewer.add_points(
        np.column_stack([known.t, known.positions[:, 1:]]), scale=(1, pixel, pixel), name="mine"
    )
    table.refresh()
    table.channel.setCurrentIndex(1)
    members = tuple(table.members())
    assert members[0].experiment.channels == (1,)
    settings = TrainingSettings().changed(
        ["budget.steps=150", "design.width=8", "optimiser.crop_size=64", "compute.threads=1",
         "optimiser.batch_size=2", "compute.precision='float32'"]
    )  # fmt: skip
    assert train(Dataset(members), tmp_path / "run", settings).best_f1 > 0.7


def test_errors_lie_in_the_channel_that_was_learnt_from(viewer):
    from napari_celltrain.gui.comparison import FALSE, Outcomes
    from napari_celltrain.gui.result_layers import add_errors

    image = viewer.add_image(tell_tale("tczyx"), axis_labels=tuple("tczyx"), name="movie")
    outcomes = Outcomes.of([(2, np.array([[1.0, 5, 6]]), FALSE)])
    errors = add_errors(viewer, "movie errors", outcomes, image, 5.0, channel=1)
    assert errors.data.tolist() == [[2, 1, 1, 5, 6]]
