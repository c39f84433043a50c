from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment, Finding
from napari_celltrain.formats import read_experiments
from napari_celltrain.images import ArraySource
from napari_celltrain.statistics import enough, findings


def movie(n=30, shape=(1, 100, 100), **options):
    """Noise, with something bright at the places of `lattice`."""
    array = np.random.default_rng(0).integers(0, 99, (n, *shape), np.uint8)
    for y in range(12, shape[1], 20):
        for x in range(12, shape[2], 20):
            array[..., y - 4 : y + 5, x - 4 : x + 5] += 99
    return ArraySource(array, "tzyx", **options)


def lattice(per_frame=16, frames=30):
    side = int(np.sqrt(per_frame))
    grid = 12 + np.arange(side) * 20.0
    y, x = (axis.ravel() for axis in np.meshgrid(grid, grid, indexing="ij"))
    one = np.stack([np.zeros_like(y), y, x], axis=1)
    return np.repeat(np.arange(frames), len(one)), np.tile(one, (frames, 1))


def showing(t, positions):
    """Noise, with something bright at these positions only."""
    array = np.random.default_rng(0).integers(0, 99, (30, 1, 100, 100), np.uint8)
    for time, (_, y, x) in zip(t, positions.astype(int), strict=True):
        array[time, :, y - 4 : y + 5, x - 4 : x + 5] += 99
    return ArraySource(array, "tzyx")


def made(change=None, **options):
    t, positions = lattice()
    if change is not None:
        t, positions = change(t, positions)
    options.setdefault("images", movie())
    return Experiment("made", Annotations(t, positions), **options)


def added(t, position):
    return lambda ts, ps: (np.append(ts, t), np.concatenate([ps, [position]]))


def found(experiment, code, **options):
    matching = [one for one in findings(experiment, **options) if one.code == code]
    assert len(matching) == 1, findings(experiment, **options)
    return matching[0]


def test_nothing_is_said_of_good_data():
    assert findings(made()) == []


def test_positions_outside_the_image_are_counted_with_a_place_to_go():
    experiment = made(added(7, [0, -3, 50]))
    finding = found(experiment, "outside-image")
    assert finding.severity == "warning"
    assert finding.time_point == 7
    assert finding.points == (480,)
    assert finding.message == "1 position lies outside the image (at time point 7)."
    assert finding.experiment == "made"


def test_the_outer_half_of_the_border_pixel_is_inside():
    assert findings(made(added(7, [0.4, -0.4, 99.4]))) == []


def test_all_outside_is_an_error():
    finding = found(made(lambda t, p: (t, p + 1000)), "outside-image")
    assert finding.severity == "error"
    assert finding.message.startswith("All 480 positions lie outside")


def test_points_are_numbered_as_in_the_whole_experiment_though_a_range_is_used():
    experiment = made(added(20, [0, -3, 50]), time_range=(15, 25))
    assert found(experiment, "outside-image").points == (480,)


def test_annotated_time_points_without_an_image_are_told():
    finding = found(made(images=movie(28)), "no-image")
    assert "32 positions at 2 time points" in finding.message
    assert finding.time_point == 28


def test_a_cell_marked_twice_is_told():
    finding = found(made(added(3, [0, 12, 32])), "duplicates")
    assert (
        finding.message == "1 cell is marked twice at the same place (the first at time point 3)."
    )
    assert len(finding.points) == 2


def test_pairs_closer_than_a_micrometre_are_told():
    experiment = made(added(3, [0, 12, 33.5]), voxel_size_um=(1, 0.5, 0.5))
    finding = found(experiment, "close-pairs", look_at_images=False)
    assert "1 pair is closer than 1 um" in finding.message
    apart = made(added(3, [0, 12, 35]), voxel_size_um=(1, 0.5, 0.5))
    assert findings(apart, look_at_images=False) == []


def test_positions_that_are_no_numbers_are_told():
    assert found(made(added(3, [0, np.nan, 3])), "not-a-number").time_point == 3


def test_a_half_annotated_frame_is_told():
    def thin(t, positions):
        keep = (t != 17) | (np.arange(len(t)) % 16 < 3)
        return t[keep], positions[keep]

    finding = found(made(thin), "few-in-frame")
    assert finding.time_point == 17
    assert finding.message.startswith("Time point 17 has 3 positions, its neighbours 16")
    assert findings(made(thin, completeness="sparse")) == []


def test_a_movie_that_grows_is_not_half_annotated():
    def growing(t, positions):
        keep = np.arange(len(t)) % 16 <= t // 2
        return t[keep], positions[keep]

    assert findings(made(growing, images=showing(*growing(*lattice())))) == []


def test_many_odd_frames_are_summed_up():
    def thin(t, positions):
        keep = (t % 3 != 1) | (np.arange(len(t)) % 16 < 2)
        return t[keep], positions[keep]

    messages = [f.message for f in findings(made(thin)) if f.code == "few-in-frame"]
    assert len(messages) == 6
    assert "more time points" in messages[-1]


@pytest.mark.parametrize(("frames", "code"), [(0, "no-annotations"), (1, "one-frame")])
def test_too_little_annotation_is_told(frames, code):
    t, positions = lattice(frames=frames)
    experiment = Experiment("made", Annotations(t, positions), movie())
    assert found(experiment, code)
    assert not enough([experiment])[0]


def test_micrometres_taken_for_pixels_are_suspected():
    experiment = made(lambda t, p: (t, p * (0.6 * 99 / 72)), voxel_size_um=(2.0, 0.6, 0.6))
    assert "micrometres" in found(experiment, "unit").message


def test_missing_images_are_told_once():
    assert found(made(images=None), "no-images")
    already = (Finding("warning", "images-missing", "The images can't be opened."),)
    assert findings(made(images=None, findings=already)) == []


def test_what_the_reader_said_is_not_repeated():
    already = (Finding("warning", "duplicates", "One is marked twice."),)
    assert findings(made(added(3, [0, 12, 32]), findings=already)) == []


def test_a_damaged_frame_is_named():
    class Damaged(ArraySource):
        def read_crop(self, t, channel, crop):
            raise CellTrainError(f"Time point {t} can't be read from movie.tif.")

    experiment = made(images=Damaged(np.zeros((30, 100, 100), np.uint8), "tyx"))
    damaged = [one for one in findings(experiment) if one.code == "damaged-frame"]
    assert damaged
    assert damaged[0].severity == "error"
    assert "movie.tif" in damaged[0].message


@pytest.mark.parametrize(
    ("pixels", "code"),
    [
        (np.full((100, 100), 9, np.uint8), "constant-frame"),
        (np.full((100, 100), np.nan), "not-finite-pixels"),
        (np.where(np.arange(10_000) % 9, 255, 3).reshape(100, 100).astype(np.uint8), "saturated"),
    ],
)
def test_frames_without_much_to_see_are_told(pixels, code):
    images = ArraySource(np.broadcast_to(pixels, (30, 100, 100)), "tyx")
    assert code in {one.code for one in findings(made(images=images))}


def test_a_channel_that_is_not_there_is_told():
    assert "Channel 3" in found(made(channels=(2,)), "no-channel").message


def test_channels_that_nobody_looks_at_are_told():
    images = ArraySource(np.zeros((30, 2, 100, 100), np.uint8), "tcyx")
    told = found(made(images=images, channels=(1,)), "channels-left-out")
    assert told.message == "The images have 2 channels; only channel 2 is looked at."
    both = findings(made(images=images, channels=(0, 1)))
    assert "channels-left-out" not in {one.code for one in both}


def test_nothing_is_read_when_that_is_asked():
    class Untouched(ArraySource):
        def read_crop(self, t, channel, crop):
            raise AssertionError("a pixel was read")

    images = Untouched(np.zeros((30, 100, 100), np.uint8), "tyx")
    assert findings(made(images=images), look_at_images=False) == []


def test_the_worst_comes_first():
    experiment = made(lambda t, p: (t, np.where(t[:, None] == 3, 0.0, p + 1000)))
    severities = [one.severity for one in findings(experiment.with_(channels=(4,)))]
    assert severities == sorted(severities, key=("error", "warning", "info").index)


def test_enough_says_what_would_help_most():
    assert "Nothing is annotated" in enough([])[1]
    assert "no images" in enough([made(images=None)])[1]
    good, sentence = enough([made()])
    assert good
    assert "480 cells in 30 time points" in sentence
    assert enough([made(completeness="sparse")])[1] != sentence


def verdict(experiment):
    return enough([experiment], [findings(experiment)])


def test_what_has_an_error_is_not_enough_whatever_its_number():
    """It said "480 cells: enough to start" below an error that made training refuse them."""
    good, sentence = verdict(made(channels=(1,)))
    assert not good
    assert sentence == (
        "This error has to be put right before training: Channel 2 is asked for, but the images "
        "have 1."
    )
    assert "the first of them: made: Channel 2" in enough(
        [made(channels=(1,))] * 2, [findings(made(channels=(1,)))] * 2
    )[1]  # fmt: skip
    missing = made(images=None, findings=(Finding("error", "images-missing", "No such folder."),))
    assert "put right before training: No such folder." in enough([missing])[1]


def test_cells_that_mostly_lie_outside_the_images_are_not_enough():
    far = made(lambda t, p: (t, p * (1.0, 3.0, 3.0)))
    good, sentence = verdict(far)
    assert not good
    assert "Only 120 of the 480 cells of made lie inside the images" in sentence
    assert verdict(made(added(7, [0, -3, 50])))[0]


def test_an_experiment_without_marks_is_no_reason_not_to_start_with_the_others():
    nothing = made(lambda t, p: (t[:0], p[:0]))
    assert enough([made(), nothing], [findings(made()), findings(nothing)])[0]


def test_real_experiments_are_enough_and_without_findings(data_folder):
    experiments = read_experiments(data_folder / "dev_timelapses.autlist")
    assert enough(experiments)[0]
    for experiment in experiments:
        assert [one.message for one in findings(experiment) if one.severity != "info"] == []


def with_frames(annotated, images, cells=40):
    """Return a movie of so many images, with so many of them annotated."""
    t, positions = lattice(frames=annotated)
    keep = np.arange(len(t)) % 16 < cells
    pixels = np.zeros((images, 100, 100), np.uint8)
    return Experiment("made", Annotations(t[keep], positions[keep]), ArraySource(pixels, "tyx"))


def test_more_time_points_are_advised_only_where_there_are_more():
    assert "More time points" in enough([with_frames(12, 30)])[1]
    good, sentence = enough([with_frames(12, 12)])
    assert good
    assert "More time points" not in sentence
    assert "All of the movie is annotated: a second movie" in sentence
    good, sentence = enough([with_frames(2, 2), with_frames(3, 3)])
    assert good
    assert "all that is open is annotated: another movie" in sentence.lower()


def test_too_few_images_are_not_asked_for_more_time_points():
    good, sentence = enough([with_frames(1, 1)])
    assert not good
    assert "annotate a second image or movie" in sentence
    assert "in time" not in sentence
    alone = found(with_frames(1, 1), "one-frame").message
    assert "annotate a second image or movie" in alone
    assert "Annotate a second image or movie" in enough([with_frames(12, 12, cells=2)])[1]
    assert "more time points" in enough([with_frames(12, 90, cells=2)])[1]
    assert "annotate a second one, far from it" in found(with_frames(1, 9), "one-frame").message


def test_as_many_time_points_are_asked_for_as_a_test_needs():
    """Whoever did what was asked for was told after the training that it had not been enough."""
    from napari_celltrain.dataset import Dataset, Member
    from napari_celltrain.dataset.splitting import split

    assert "every cell of 2 more" in enough([with_frames(2, 30)])[1]
    for frames in range(1, 8):
        experiment = with_frames(frames, 30)
        good, sentence = enough([experiment])
        testable = split(Dataset((Member(experiment),))).trustworthy
        assert testable == (good and "too few to test on" not in sentence)


def test_as_many_more_time_points_are_asked_for_as_bring_enough_cells():
    """Whoever followed 'three more' was asked for three more again."""
    assert "Annotate 13 more time points" in enough([with_frames(12, 90, cells=2)])[1]
    good, sentence = enough([with_frames(1, 9, cells=1)])
    assert not good
    assert sentence.startswith("1 cell in 1 time point is too little")
