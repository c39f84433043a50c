"""``dataset.toml``: read strictly, errors that name the place, written back as it was."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from napari_celltrain.dataset import Dataset, Member, load_dataset, write_dataset
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment, Region
from napari_celltrain.images import (
    AppendedChannels,
    AppendedTime,
    ArraySource,
    SummedChannels,
    open_images,
)


@pytest.fixture
def folder(tmp_path):
    """Two small movies (one in one channel, one in two) and their points."""
    for name, shape in (("one", (16, 20)), ("two", (2, 16, 20))):
        images = tmp_path / name / "images"
        images.mkdir(parents=True)
        for t in range(3):
            axes = "YX" if len(shape) == 2 else "CYX"
            tifffile.imwrite(
                images / f"t{t:03}.tif",
                np.full(shape, t, np.uint8),
                metadata={"axes": axes},
                ome=False,
            )
        (tmp_path / name / "points.csv").write_text(
            "t,z,y,x\n0,0,5,6\n1,0,5,7\n2,0,5.5,8\n2,0,12,13\n", "utf-8"
        )
    return tmp_path


def write(folder, text):
    path = folder / "dataset.toml"
    path.write_text(text, "utf-8")
    return path


ONE = 'images = "one/images/t{time:03}.tif"\nannotations = "one/points.csv"\n'


def test_every_key_reaches_the_experiment(folder):
    path = write(
        folder,
        "[[experiment]]\n"
        'name = "hela left"\n' + ONE + "time_points = [0, 1]\nchannel = 1\n"
        'voxel_size_um = [1.0, 0.645, 0.5]\nannotated = "box"\nrole = "held-out"\n',
    )
    (member,) = load_dataset(path).members
    experiment = member.experiment
    assert experiment.name == "hela left"
    assert experiment.time_range == (0, 1)
    assert experiment.channels == (0,)
    assert experiment.voxel_size_um == (1.0, 0.645, 0.5)
    assert experiment.completeness == "box"
    assert member.role == "held-out"
    assert experiment.images is not None
    assert experiment.images.frame_shape == (1, 16, 20)
    assert experiment.image_time_points() == [0, 1]
    np.testing.assert_array_equal(experiment.annotations.positions[3], [0, 12, 13])


def test_defaults_are_all_time_points_first_channel_nobody_knows_the_voxel_size(folder):
    (member,) = load_dataset(write(folder, "[[experiment]]\n" + ONE)).members
    assert member.role is None
    assert member.experiment.time_range is None
    assert member.experiment.channels == (0,)
    assert member.experiment.completeness == "time-points"
    assert member.experiment.known_voxel_size_um is None
    assert member.experiment.name


def test_regions_and_channels(folder):
    path = write(
        folder,
        '[[experiment]]\nimages = "two/images/t{time:03}.tif"\nannotations = "two/points.csv"\n'
        "channels = [2, 1]\n"
        "regions = [{ polygon = [[0, 0], [0, 9], [9, 9]], time_points = [1, 2] },"
        " { polygon = [[1, 1], [1, 9], [9, 9]] }]\n",
    )
    experiment = load_dataset(path).experiments[0]
    assert experiment.channels == (1, 0)
    assert experiment.completeness == "region"
    assert experiment.regions == (
        Region(((0, 0), (0, 9), (9, 9)), 1, 2),
        Region(((1, 1), (1, 9), (9, 9))),
    )


def test_time_offset_moves_the_annotations(folder):
    path = write(folder, "[[experiment]]\n" + ONE + "time_offset = -1\n")
    assert load_dataset(path).experiments[0].annotations.t.tolist() == [-1, 0, 1, 1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[experiment]]\nname = "a"\n' + ONE + 'rolle = "train"\n', ["rolle", "role", "'a'"]),
        ("[[experiment]]\n" + ONE + 'role = "test"\n', ["role", "held-out", "experiment 1"]),
        ("[[experiment]]\n" + ONE + "channel = 0\n", ["channel"]),
        ("[[experiment]]\n" + ONE + "channel = 2\n", ["channel 2", "one channel"]),
        ("[[experiment]]\n" + ONE + "channel = 1\nchannels = [1]\n", ["channels", "not both"]),
        ("[[experiment]]\n" + ONE + "time_points = [4, 1]\n", ["backwards"]),
        ("[[experiment]]\n" + ONE + "time_points = [4]\n", ["time_points"]),
        ("[[experiment]]\n" + ONE + "voxel_size_um = [1, 0, 1]\n", ["voxel_size_um"]),
        ("[[experiment]]\n" + ONE + "voxel_size_um = [1, nan, 1]\n", ["voxel_size_um"]),
        ("[[experiment]]\n" + ONE + 'annotated = "region"\n', ["regions"]),
        ("[[experiment]]\n" + ONE + "regions = [{ polygon = [[0, 0]] }]\n", ["polygon"]),
        ('[[experiment]]\nimages = "one"\n', ["annotations", "missing"]),
        ('[[experiment]]\nannotations = "one/points.csv"\n', ["images", "points.csv"]),
        ("[[experiment]]\n" + ONE.replace("points", "dots"), ["dots.csv"]),
        ("[[experiment]]\n" + ONE.replace("one/images", "no/images"), ["no"]),
        (
            "[[experiment]]\nvoxel_size_um = [0.645, 0.645]\n" + ONE,
            ["'voxel_size_um' is [0.645, 0.645]", "three numbers: z, y, x", "any z"],
        ),
        ("[[experiment]]\nvoxel_size_um = [1, 1, 1, 1]\n" + ONE, ["three numbers: z, y, x"]),
        ("[[experiment]]\ntime_points = [3]\n" + ONE, ["two numbers: the first and the last"]),
        (
            "[[experiment]]\nregions = [{polygon = [[1, 2], [3], [4, 5]]}]\n" + ONE,
            ["'regions.0.polygon.1' is [3]", "two numbers: y, x"],
        ),
        ("[[experiment]\n", ["TOML"]),
        ("", ["[[experiment]]"]),
        ("experiment = 5\n", ["experiment"]),
        ("experiment = [5]\n", ["experiment"]),
        ("other = 1\n", ["other"]),
        pytest.param("a = " + "[" * 5000 + "]" * 5000, ["TOML"], id="deep nesting"),
    ],
)
def test_mistakes_are_named_with_their_place(folder, text, words):
    path = write(folder, text)
    with pytest.raises(CellTrainError) as error:
        load_dataset(path)
    assert "dataset.toml" in str(error.value)
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


BARE = 'images = "two/images/t{time:03}.tif"\n'


def test_annotations_may_be_missing_where_nobody_needs_them(folder):
    """And all else that an entry says holds."""
    path = write(
        folder,
        "[[experiment]]\n" + ONE + '[[experiment]]\nname = "new"\n' + BARE + "channel = 2\n"
        "time_points = [1, 2]\nvoxel_size_um = [1.0, 0.5, 0.5]\n"
        "[[experiment]]\n" + BARE,
    )
    annotated, new, bare = load_dataset(path, require_annotations=False).experiments
    assert len(annotated.annotations) == 4
    assert new.name == "new"
    assert new.channels == (1,)
    assert new.channels_stated
    assert new.image_time_points() == [1, 2]
    assert new.known_voxel_size_um == (1.0, 0.5, 0.5)
    assert len(new.annotations) == len(bare.annotations) == 0
    assert bare.name == open_images(folder / "two/images/t{time:03}.tif").name
    for images in (True, False):
        with pytest.raises(CellTrainError) as error:
            load_dataset(path, require_images=images)
        where = f"{path}, experiment 2 ('new')"
        assert str(error.value) == f"{where}: the key 'annotations' is missing."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('name = "a"\n', "neither 'images' nor 'annotations'"),
        (BARE + "channel = 3\n", "channel 3 is asked for, but the images have 2 channels"),
        (BARE.replace("two", "no"), "no/images"),
        (BARE + 'annotation = "points.csv"\n', "did you mean 'annotations'"),
    ],
)
def test_mistakes_in_an_entry_without_annotations_are_named(folder, text, words):
    path = write(folder, "[[experiment]]\n" + text)
    with pytest.raises(CellTrainError, match="experiment 1") as error:
        load_dataset(path, require_annotations=False)
    assert words in str(error.value)


def test_images_may_be_missing_when_only_counting(folder):
    path = write(folder, "[[experiment]]\n" + ONE.replace("one/images", "no/images"))
    experiment = load_dataset(path, require_images=False).experiments[0]
    assert experiment.images is None
    assert len(experiment.annotations) == 4
    assert [f.code for f in experiment.findings if f.severity == "error"] == ["images-missing"]


def test_several_places_become_one_data_set(folder):
    path = write(folder, "[[experiment]]\n" + ONE)
    two = ONE.replace("one/", "")
    (folder / "two" / "dataset.toml").write_text(f"[[experiment]]\n{two}", "utf-8")
    data = load_dataset([path, folder / "two"])  # a folder with a dataset.toml stands for it
    assert len(data) == 2
    assert data.path is None
    assert load_dataset(path).path == path


def codes(dataset):
    return [[finding.code for finding in one.findings] for one in dataset.experiments]


def test_what_is_given_twice_is_taken_once(folder):
    """It was learnt from twice as often as the others, without a word."""
    path = write(folder, f'[[experiment]]\n{ONE}[[experiment]]\nname = "again"\n{ONE}')
    dataset = load_dataset([path, folder])
    assert codes(dataset) == [["repeated-entry", "repeated-entry"]]
    first, second = (finding.message for finding in dataset.experiments[0].findings)
    assert "'again' is the same as" in first
    assert "is in the data set more than once; it is taken once" in second


@pytest.mark.parametrize("other", ['role = "held-out"', "channel = 2", "time_points = [0, 1]"])
def test_another_use_of_the_same_is_not_given_twice(folder, other):
    one = '[[experiment]]\nimages = "two/images/t{time:03}.tif"\nannotations = "two/points.csv"\n'
    assert codes(load_dataset(write(folder, f"{one}{one}{other}\n"))) == [[], []]


def test_movies_of_the_same_name_are_told(folder):
    """A detector knows by name what it has seen, so one movie passed for the other."""
    two = 'images = "two/images/t{time:03}.tif"\nannotations = "two/points.csv"\n'
    named = '[[experiment]]\nname = "day 1"\n'
    dataset = load_dataset(write(folder, named + ONE + named + two))
    assert [one.name for one in dataset.experiments] == ["day 1", "day 1"]
    assert codes(dataset) == [[], ["same-name"]]
    (finding,) = dataset.experiments[1].findings
    assert finding.severity == "warning"
    assert "2 movies of the data set are called 'day 1'" in finding.message


def test_parts_of_one_movie_may_have_its_name(folder):
    parts = "".join(
        f'[[experiment]]\nname = "day 1"\n{ONE}time_points = [{t}, {t}]\n' for t in (0, 2)
    )
    assert codes(load_dataset(write(folder, parts))) == [[], []]


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(CellTrainError, match=r"nowhere\.toml"):
        load_dataset(tmp_path / "nowhere.toml")
    with pytest.raises(CellTrainError, match=r"nowhere\.autlist"):
        load_dataset(tmp_path / "nowhere.autlist")


def test_written_data_set_reads_back(folder, tmp_path):
    path = write(
        folder,
        '[[experiment]]\nname = "a \\"quoted\\" name"\n'
        + ONE
        + 'time_points = [0, 1]\nvoxel_size_um = [1, 0.5, 0.5]\nrole = "train"\ntime_offset = 1\n'
        "[[experiment]]\n"
        + ONE
        + "regions = [{ polygon = [[0, 0], [0, 9], [9, 9]], time_points = [1, 2] }]\n",
    )
    before = load_dataset(path)
    copy = folder / "deeper" / "copy.toml"
    write_dataset(copy, before)
    assert str(folder) not in copy.read_text("utf-8")  # the folder can be moved as a whole
    after = load_dataset(copy)
    assert len(after) == len(before)
    for old, new in zip(before.members, after.members, strict=True):
        assert new.role == old.role
        for name in ("name", "time_range", "channels", "completeness", "regions", "voxel_size_um"):
            assert getattr(new.experiment, name) == getattr(old.experiment, name)
        np.testing.assert_array_equal(new.experiment.annotations.t, old.experiment.annotations.t)
        np.testing.assert_array_equal(
            new.experiment.annotations.positions, old.experiment.annotations.positions
        )


class Placed(ArraySource):
    """An array that knows where it is on the disk."""

    location = ""


def test_annotations_in_no_file_are_written_beside_it(folder):
    images = Placed(np.zeros((3, 1, 16, 20), np.uint8), "tzyx")
    images.location = str(folder / "one" / "images" / "t{time:03}.tif")
    annotations = Annotations([0, 1], [[0, 1.25, 2], [0, 3, 4.5]], [[0, 1]])
    made = Experiment("in/the window", annotations, images, voxel_size_um=(1, 0.5, 0.5))
    write_dataset(folder / "run" / "dataset.toml", Dataset((Member(made), Member(made, "train"))))
    after = load_dataset(folder / "run" / "dataset.toml")
    assert len(after) == 2
    for experiment in after.experiments:
        assert experiment.name == "in/the window"
        np.testing.assert_allclose(experiment.annotations.positions, annotations.positions)


def test_marks_that_are_no_cells_survive(folder):
    images = Placed(np.zeros((3, 1, 16, 20), np.uint8), "tzyx")
    images.location, images.pattern = str(folder / "one" / "images"), "t{time:03}.tif"
    positions = [[0, 1.25, 2], [0, 3, 4.5], [0, 9.125, 7]]
    annotations = Annotations([0, 1, 1], positions, status=np.array([1, -1, 0]))
    made = Experiment("corrected", annotations, images, completeness="sparse")
    write_dataset(folder / "dataset.toml", Dataset((Member(made),)))
    after = load_dataset(folder / "dataset.toml").experiments[0].annotations
    assert after.status.tolist() == [1, -1, 0]
    np.testing.assert_allclose(after.positions, positions)
    # and when what was read is written once more, as for a run that goes on
    (folder / "run").mkdir()
    write_dataset(folder / "run" / "dataset.toml", load_dataset(folder / "dataset.toml"))
    again = load_dataset(folder / "run" / "dataset.toml").experiments[0].annotations
    assert again.status.tolist() == [1, -1, 0]


def test_time_points_may_be_dates(folder):
    first, last = 20261128203000, 20261128213000
    frames = sorted((folder / "one" / "images").glob("*.tif"))
    for frame, number in zip(frames, (first, last), strict=False):
        frame.rename(frame.with_name(f"d{number}.tif"))
    images = open_images(folder / "one" / "images", pattern="d{time}.tif")
    made = Experiment("dates", Annotations([first], [[0, 1, 2]]), images, time_range=(first, last))
    write_dataset(folder / "dates.toml", Dataset((Member(made),)))
    (after,) = load_dataset(folder / "dates.toml").experiments
    assert after.time_range == (first, last)
    assert after.annotations.t.tolist() == [first]


def made_in_the_window(folder, name="points", x=2.0, status=(1,)):
    images = Placed(np.zeros((3, 1, 16, 20), np.uint8), "tzyx")
    images.location, images.pattern = str(folder / "one" / "images"), "t{time:03}.tif"
    annotations = Annotations([0] * len(status), [[0, 1, x]] * len(status), status=np.array(status))
    return Member(Experiment(name, annotations, images))


@pytest.mark.parametrize("name", ["exp{1}", "{time}", "{", "a}b", "a}b{1}"])
def test_a_folder_of_images_may_have_braces_in_its_name(folder, name):
    (folder / "one" / "images").rename(folder / name)
    images = open_images(folder / name, pattern="t{time:03}.tif")
    made = Experiment("points", Annotations([0], [[0, 1, 2]]), images)
    write_dataset(folder / "dataset.toml", Dataset((Member(made),)))
    (after,) = load_dataset(folder / "dataset.toml").experiments
    assert list(after.images.time_points) == [0, 1, 2]


@pytest.mark.parametrize("there", ["points.aut", "points.autlist", "points marks.csv"])
def test_annotations_are_written_beside_a_file_that_is_there_already(folder, there):
    (folder / there).write_text("a person's own")
    member = made_in_the_window(folder, status=(1, -1))
    write_dataset(folder / "dataset.toml", Dataset((member,)))
    assert (folder / there).read_text() == "a person's own"
    assert len(load_dataset(folder / "dataset.toml").experiments[0].annotations) == 2


@pytest.mark.parametrize("letter", ["x", "\u7d30", "\U00020000"])
def test_an_experiments_name_may_be_longer_than_that_of_a_file(folder, letter):
    members = [
        made_in_the_window(folder, letter * 300 + end, x, (1, -1))
        for end, x in (("a", 2), ("b", 3))
    ]
    write_dataset(folder / "dataset.toml", Dataset(tuple(members)))
    after = load_dataset(folder / "dataset.toml").experiments
    assert [one.name for one in after] == [one.experiment.name for one in members]
    assert [len(one.annotations) for one in after] == [2, 2]


def test_annotations_that_were_written_before_are_replaced(folder):
    for x in (2.0, 7.0):
        members = (made_in_the_window(folder, x=x), made_in_the_window(folder, x=x))
        write_dataset(folder / "dataset.toml", Dataset(members))
    assert sorted(one.name for one in folder.glob("*.aut")) == ["points 2.aut", "points.aut"]
    for experiment in load_dataset(folder / "dataset.toml").experiments:
        assert experiment.annotations.positions[0, 2] == 7


def test_annotations_that_another_experiment_is_read_from_stay(folder):
    write_dataset(folder / "dataset.toml", Dataset((made_in_the_window(folder),)))
    (read,) = load_dataset(folder / "dataset.toml").members
    write_dataset(folder / "dataset.toml", Dataset((made_in_the_window(folder, x=7.0), read)))
    first, second = load_dataset(folder / "dataset.toml").experiments
    assert (first.annotations.positions[0, 2], second.annotations.positions[0, 2]) == (7, 2)


def test_images_with_axes_that_the_file_does_not_say_are_refused(tmp_path):
    frames = np.zeros((5, 2, 20, 21), np.uint16)
    tifffile.imwrite(tmp_path / "plain.tif", frames, photometric="minisblack")
    cells = Annotations([0], [[1, 2, 3]])

    def with_axes(axes):
        images = open_images(tmp_path / "plain.tif", axes=axes)
        return Dataset((Member(Experiment("cells", cells, images)),))

    with pytest.raises(CellTrainError, match=r"'cells' were opened with other axes than"):
        write_dataset(tmp_path / "dataset.toml", with_axes("ztyx"))
    assert [one.name for one in tmp_path.iterdir()] == ["plain.tif"]
    write_dataset(tmp_path / "dataset.toml", with_axes("tzyx"))  # as it would be read anyway
    assert len(load_dataset(tmp_path / "dataset.toml")) == 1


def recipes(folder):
    """Return movies that are made of others, by what they are."""
    two = open_images(folder / "two" / "images", pattern="t{time:03}.tif")
    one = open_images(folder / "one" / "images", pattern="t{time:03}.tif")
    return {
        "summed": SummedChannels(two, [[0, 1], [1]]),
        "channels": AppendedChannels([one, two]),
        "time": AppendedTime([two, two]),
        "nested": SummedChannels(AppendedTime([AppendedChannels([one, two])] * 2), [[0, 2]]),
    }


@pytest.mark.parametrize("kind", ["summed", "channels", "time", "nested"])
def test_movies_made_of_others_are_written_as_what_they_are_made_of(folder, kind):
    images = recipes(folder)[kind]
    status = np.array([1, 1, -1])
    annotations = Annotations([0, 1, 1], [[0, 1, 2], [0, 3, 4], [0, 9, 9]], [[0, 1]], status)
    made = Experiment("made of others", annotations, images, channels=(0,), time_range=(0, 1))
    write_dataset(folder / "run" / "dataset.toml", Dataset((Member(made, role="train"),)))
    assert str(folder) not in (folder / "run" / "made of others.autlist").read_text("utf-8")
    (member,) = load_dataset(folder / "run" / "dataset.toml").members
    assert (member.experiment.name, member.role) == ("made of others", "train")
    assert member.experiment.annotations.links.tolist() == [[0, 1]]
    assert member.experiment.annotations.status.tolist() == [1, 1, -1]
    again = member.experiment.images
    assert list(again.time_points) == list(images.time_points)
    assert again.n_channels == images.n_channels
    for t in (images.time_points[0], images.time_points[-1]):
        for channel in range(images.n_channels):
            np.testing.assert_array_equal(
                again.read_frame(t, channel), images.read_frame(t, channel)
            )


def test_a_movie_made_of_others_in_memory_is_refused(tmp_path):
    part = ArraySource(np.zeros((3, 1, 16, 20), np.uint8), "tzyx")
    made = Experiment("a layer", Annotations([0], [[0, 1, 2]]), AppendedChannels([part, part]))
    with pytest.raises(CellTrainError, match="in memory only"):
        write_dataset(tmp_path / "dataset.toml", Dataset((Member(made),)))
    assert list(tmp_path.iterdir()) == []


def test_images_in_memory_only_are_refused(tmp_path):
    images = ArraySource(np.zeros((3, 1, 16, 20), np.uint8), "tzyx")
    made = Experiment("a layer", Annotations([0], [[0, 1, 2]]), images)
    with pytest.raises(CellTrainError, match="a layer"):
        write_dataset(tmp_path / "dataset.toml", Dataset((Member(made),)))
    assert list(tmp_path.iterdir()) == []


def test_real_lists_load_and_write_back(data_folder, tmp_path):
    data = load_dataset(data_folder / "dev_timelapses.autlist")
    assert len(data) == 5
    write_dataset(tmp_path / "dataset.toml", data)
    again = load_dataset(tmp_path / "dataset.toml")
    for old, new in zip(data.experiments, again.experiments, strict=True):
        assert new.name == old.name
        assert len(new.annotations) == len(old.annotations)
        assert new.image_time_points() == old.image_time_points()
