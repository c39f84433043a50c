"""Points follow the pixels through every change, and a crop depends on its number alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_celltrain.detector.design import choose_design
from napari_celltrain.experiment import Annotations, Experiment, Region, Status
from napari_celltrain.images.array import ArraySource
from napari_celltrain.training.augmentation import make_batch, plain
from napari_celltrain.training.crop_groups import CropGroup
from napari_celltrain.training.crops import CropSampler, StepSampler
from napari_celltrain.training.prepare import prepare
from napari_celltrain.training.settings import Augmentation

DARK = Augmentation(brightness=0, contrast=0, gamma=0, noise=0, blur=0, z_decay=0, plane_flicker=0)


def _experiment(shape=(1, 90, 90), n=8, times=2, seed=0, **changes):
    """Bright balls of radius 2 around the points, nothing else."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(k) for k in shape), indexing="ij")
    movie, t, points = [], [], []
    for time in range(times):
        frame = np.zeros(shape, np.float32)
        for _ in range(n):
            place = np.array([rng.integers(0, k) for k in shape], float)
            squared = sum((a - p) ** 2 for a, p in zip(axes, place, strict=True))
            frame = np.maximum(frame, 1000 * np.exp(-0.5 * squared / 1.5**2))
            t.append(time)
            points.append(place)
        movie.append(frame)
    source = ArraySource(np.stack(movie), "tzyx", voxel_size_um=(1.0, 1.0, 1.0))
    return Experiment("spots", Annotations(np.array(t), np.array(points)), source, **changes)


def _design(planes):
    return choose_design(
        diameter=10.0, spacing=12.0, voxel_size=(1.0, 1.0, 1.0), planes=planes, unit="um", width=4
    )


def _sampler(tmp_path, experiment, shape, augmentation=DARK, **changes):
    design = _design(experiment.images.frame_shape[0])
    times = experiment.annotations.time_points().tolist()
    frames = prepare([experiment], [(0, t) for t in times], design, [(1.0, 1.0, 1.0)], tmp_path)
    return CropSampler(frames, design, shape, augmentation, **changes)


def _brightness_at(image, point):
    low = np.floor(point).astype(int)
    near = image[tuple(slice(max(0, c), c + 2) for c in low)]
    return float(near.max())


GEOMETRIES = {
    "nothing": {"strength": 0.0},
    "flip": {"rotate": False, "scale": 0, "shear": 0},
    "turn": {"flip": False, "scale": 0, "shear": 0},
    "zoom": {"flip": False, "rotate": False, "shear": 0, "scale": 0.5},
    "shear": {"flip": False, "rotate": False, "scale": 0, "shear": 0.4},
    "all": {},
    "all, strongly": {"strength": 2.0},
}


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize(
    ("frame", "crop"),
    [
        ((1, 90, 90), (1, 48, 48)),
        ((1, 90, 70), (1, 48, 32)),
        ((12, 50, 50), (8, 32, 32)),
        ((5, 50, 50), (8, 32, 32)),
        ((1, 20, 30), (1, 48, 48)),
    ],
    ids=["2D", "2D, not square", "3D", "thin stack", "larger than the image"],
)
def test_bright_spots_are_where_the_points_say(tmp_path, geometry, frame, crop):
    change = DARK.model_copy(update=GEOMETRIES[geometry])
    sampler = _sampler(tmp_path, _experiment(frame), crop, change)
    seen = 0
    for number in range(24):
        drawn = sampler.draw(0, number)
        image = plain(drawn, crop)[0]
        inside = ((drawn.points >= 1) & (drawn.points <= np.array(crop) - 2)) | (
            np.array(crop) == 1
        )
        for point in drawn.points[inside.all(axis=1)]:
            assert _brightness_at(image, point) > 0.55, (number, point)
            seen += 1
    assert seen > 10


def test_a_spots_centre_of_mass_is_its_point(tmp_path):
    """Half a pixel of error would show here, whatever was turned, flipped or zoomed."""
    movie = np.zeros((1, 1, 81, 81), np.float32)
    y, x = np.mgrid[:81, :81]
    movie[0, 0] = 1000 * np.exp(-0.5 * ((y - 40.3) ** 2 + (x - 39.6) ** 2) / 2.5**2)
    experiment = Experiment(
        "spot",
        Annotations([0], [[0, 40.3, 39.6]]),
        ArraySource(movie, "tzyx", voxel_size_um=(1.0, 1.0, 1.0)),
    )
    sampler = _sampler(tmp_path, experiment, (1, 64, 64))
    checked = 0
    for number in range(40):
        crop = sampler.draw(0, number)
        image = np.clip(plain(crop, (1, 64, 64))[0, 0].astype(float), 0, None)
        point = crop.points[0, 1:]
        if not ((point > 14) & (point < 49)).all():
            continue
        rows, columns = np.mgrid[:64, :64]
        centre = np.array([(rows * image).sum(), (columns * image).sum()]) / image.sum()
        np.testing.assert_allclose(centre, point, atol=0.06)
        checked += 1
    assert checked > 8


def test_augmentation_off_gives_the_pixels_themselves(tmp_path):
    experiment = _experiment()
    off = Augmentation(strength=0)
    sampler = _sampler(tmp_path, experiment, (1, 32, 32), off)
    frames = [np.load(frame.files[0]) for frame in sampler.frames]
    padded = [np.pad(frame, ((0, 0), (32, 32), (32, 32))) for frame in frames]
    for number in range(10):
        crop = sampler.draw(3, number)
        batch = make_batch([crop], (1, 32, 32), off, sampler.design, torch.device("cpu"))
        image = batch.images[0, 0, 0].numpy()
        windows = [np.lib.stride_tricks.sliding_window_view(frame[0], (32, 32)) for frame in padded]
        assert any((w == image.astype(np.float16)).all(axis=(2, 3)).any() for w in windows)


def test_a_crop_depends_on_seed_step_and_number_alone(tmp_path):
    experiment = _experiment()
    a = _sampler(tmp_path, experiment, (1, 32, 32), Augmentation(), seed=5)
    b = _sampler(tmp_path, experiment, (1, 32, 32), Augmentation(), seed=5)
    for _ in range(7):
        a.draw(0, 0)  # what was drawn before plays no part
    for step, number in ((0, 0), (9, 1), (9, 2)):
        one, two = a.draw(step, number), b.draw(step, number)
        np.testing.assert_array_equal(one.source, two.source)
        np.testing.assert_array_equal(one.points, two.points)
        np.testing.assert_array_equal(one.matrix, two.matrix)
        assert one.seed == two.seed
    other = _sampler(tmp_path, experiment, (1, 32, 32), Augmentation(), seed=6)
    assert a.draw(0, 0).seed != other.draw(0, 0).seed


def test_a_batch_is_the_same_however_it_is_split(tmp_path):
    sampler = _sampler(tmp_path, _experiment(), (1, 32, 32), Augmentation())
    crops = [sampler.draw(1, number) for number in range(4)]
    cpu = torch.device("cpu")
    whole = make_batch(crops, sampler.shape, Augmentation(), sampler.design, cpu)
    for i, crop in enumerate(crops):
        alone = make_batch([crop], sampler.shape, Augmentation(), sampler.design, cpu)
        torch.testing.assert_close(alone.images[0], whole.images[i], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(alone.target.heat[0], whole.target.heat[i])


@pytest.mark.parametrize(
    "group", ["brightness", "contrast", "gamma", "noise", "blur", "z_decay", "plane_flicker"]
)
def test_every_change_of_light_can_be_switched_off_and_does_something(tmp_path, group):
    sampler = _sampler(tmp_path, _experiment((6, 40, 40)), (4, 32, 32), DARK)
    crops = [sampler.draw(0, number) for number in range(30)]
    cpu = torch.device("cpu")

    def images(change):
        return make_batch(crops, sampler.shape, change, sampler.design, cpu).images

    plainly = torch.stack([torch.from_numpy(plain(crop, sampler.shape)) for crop in crops])
    torch.testing.assert_close(images(DARK), plainly, rtol=0, atol=2e-4)
    on = images(DARK.model_copy(update={group: getattr(Augmentation(), group)}))
    assert float((on - plainly).abs().max()) > 1e-3
    assert torch.isfinite(on).all()


def test_crops_lie_on_cells_as_often_as_asked(tmp_path):
    movie = np.zeros((1, 1, 400, 400), np.float32)
    movie[..., 200, 200] = 1  # a frame that shows nothing is not learnt from
    experiment = Experiment(
        "lonely",
        Annotations([0], [[0, 30, 30]]),
        ArraySource(movie, "tzyx", voxel_size_um=(1.0, 1.0, 1.0)),
    )
    off = Augmentation(strength=0)
    for share in (0.0, 0.5, 1.0):
        sampler = _sampler(tmp_path, experiment, (1, 32, 32), off, cells_share=share)
        hits = sum(
            bool(((p := sampler.draw(0, n).points) >= 0).all(axis=1).any() and (p < 32).all())
            for n in range(150)
        )
        assert hits / 150 == pytest.approx(share, abs=0.13)


def test_a_small_experiment_is_not_drowned_by_a_large_one(tmp_path):
    small, large = _experiment(n=5, times=1, seed=1), _experiment(n=60, times=6, seed=2)
    design = _design(1)
    frames = prepare(
        [small, large],
        [(0, 0), *((1, t) for t in range(6))],
        design,
        [(1.0, 1.0, 1.0)] * 2,
        tmp_path,
    )
    sampler = CropSampler(frames, design, (1, 32, 32), DARK, cells_share=1.0)
    weights = np.diff(sampler._point_weight, prepend=0)
    member = np.array([sampler.frames[i].member for i in sampler._frame_of_point])
    share = weights[member == 0].sum()
    # far more than its 5 / 365 of the cells
    assert share > 0.06


def test_known_ground_moves_with_the_crop(tmp_path):
    square = Region(((20.0, 20.0), (20.0, 70.0), (70.0, 70.0), (70.0, 20.0)))
    experiment = _experiment(completeness="region", regions=(square,))
    # what is known is painted bright, so that the pixels say where it is
    movie = np.zeros((2, 1, 90, 90), np.float32)
    movie[:, :, 20:71, 20:71] = 1000
    experiment = experiment.with_(images=ArraySource(movie, "tzyx", voxel_size_um=(1.0, 1.0, 1.0)))
    sampler = _sampler(tmp_path, experiment, (1, 48, 48))
    for number in range(20):
        crop = sampler.draw(0, number)
        image = plain(crop, sampler.shape)[0, 0].reshape(24, 2, 24, 2).mean(axis=(1, 3))
        agree = (image > 0.5) == crop.known[0]
        assert agree.mean() > 0.88


def test_outside_the_frame_nothing_is_known(tmp_path):
    sampler = _sampler(tmp_path, _experiment((1, 24, 24)), (1, 48, 48), Augmentation(strength=0))
    crop = sampler.draw(0, 0)
    assert 100 <= crop.known.sum() <= 12 * 12 + 30
    assert not crop.known[0, 0, 0]


def test_undecided_marks_are_no_reason_for_a_crop(tmp_path):
    experiment = _experiment(n=3)
    annotations = experiment.annotations
    status = np.zeros(len(annotations), np.int8)
    status[0] = Status.CELL
    experiment = experiment.with_(
        annotations=Annotations(annotations.t, annotations.positions, status=status)
    )
    sampler = _sampler(tmp_path, experiment, (1, 32, 32))
    assert len(sampler._point) == 1


def test_a_step_takes_all_crops_of_one_group_and_all_groups_have_their_turn(tmp_path):
    flat, deep = _experiment(n=4), _experiment((16, 40, 40), n=30)
    design = _design(16)
    sizes = [(1.0, 1.0, 1.0)] * 2
    frames = prepare([flat, deep], [(0, 0), (0, 1), (1, 0), (1, 1)], design, sizes, tmp_path)
    groups = [
        CropGroup((0,), (1, 32, 32), 4),
        CropGroup((1,), (16, 32, 32), 2),
        CropGroup((2,), (8, 8, 8), 2),  # of an experiment without a frame to learn from
    ]
    sampler = StepSampler(frames, groups, design, DARK, seed=3)
    turns = [sampler.group(step) for step in range(200)]
    assert 0.15 < turns.count(0) / 200 < 0.5  # the square root of 8 to 60 cells
    assert set(turns) == {0, 1}
    for step in range(12):
        shapes = {sampler.draw(step, number).source.shape[1] for number in range(3)}
        assert shapes == {groups[turns[step]].shape[0]}
    again = StepSampler(frames, groups, design, DARK, seed=3)
    assert [again.group(step) for step in (150, 3, 77)] == [turns[150], turns[3], turns[77]]


def test_images_without_a_cell_have_their_turn_too(tmp_path):
    """Where everything is annotated and nothing is there, nothing is what has to be learnt."""
    cells, empty = _experiment((16, 40, 40), n=30), _experiment().with_(annotations=Annotations())
    frames = prepare([cells, empty], [(0, 0), (1, 0)], _design(16), [(1.0, 1.0, 1.0)] * 2, tmp_path)
    groups = [CropGroup((0,), (16, 32, 32), 2), CropGroup((1,), (1, 32, 32), 4)]
    sampler = StepSampler(frames, groups, _design(16), DARK, cells_share=0.8)
    turns = [sampler.group(step) for step in range(300)]
    assert 0.08 < turns.count(1) / 300 < 0.3
