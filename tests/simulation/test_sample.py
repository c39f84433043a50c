from __future__ import annotations

import numpy as np
import pytest
import tifffile
from scipy.spatial import cKDTree

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import read_experiments
from napari_celltrain.images import open_images
from napari_celltrain.simulation import simulate, write_sample
from napari_celltrain.simulation.population import grow
from napari_celltrain.simulation.scene import SCENES, scene
from napari_celltrain.statistics import count, estimate_diameter, findings

SMALL = {"organoid": (12, 96, 96), "plane": (1, 96, 96)}


def small(kind, **options):
    return simulate(kind, size=SMALL[kind], time_points=8, **options)


@pytest.fixture(scope="module", params=["organoid", "plane"])
def experiment(request):
    return small(request.param, seed=3)


def test_the_same_seed_gives_the_same_movie():
    first, again, other = (small("plane", seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.images.read_frame(7), again.images.read_frame(7))
    np.testing.assert_array_equal(first.annotations.positions, again.annotations.positions)
    assert not np.array_equal(first.images.read_frame(7), other.images.read_frame(7))


def test_every_nucleus_lies_in_the_image_and_nothing_looks_wrong(experiment):
    assert experiment.images.dtype == np.uint16
    assert [f for f in findings(experiment) if f.code != "few-annotations"] == []


def test_every_nucleus_comes_from_one_of_the_frame_before(experiment):
    annotations = experiment.annotations
    mothers = np.bincount(annotations.links[:, 1], minlength=len(annotations))
    np.testing.assert_array_equal(mothers, annotations.t > 0)
    children = np.bincount(annotations.links[:, 0], minlength=len(annotations))
    assert set(children[annotations.t < 7].tolist()) <= {1, 2}
    step = (
        annotations.positions[annotations.links[:, 1]]
        - (annotations.positions[annotations.links[:, 0]])
    )
    assert (np.linalg.norm(step * experiment.voxel_size_um, axis=1) < 8).all()


def test_nuclei_divide_over_time():
    counts = count(small("plane", seed=3, n_cells=40))
    assert counts.divisions > 0
    assert counts.positions_per_time_point[7] == 40 + counts.divisions


@pytest.mark.parametrize("kind", ["organoid", "plane"])
def test_nuclei_do_not_run_through_each_other(kind):
    for nuclei in grow(SCENES[kind], np.random.default_rng(0)):
        distance, other = cKDTree(nuclei.centre).query(nuclei.centre, k=2)
        both = nuclei.radius + nuclei.radius[other[:, 1]]
        assert (distance[:, 1] > 0.75 * both).all()
        assert np.percentile(distance[:, 1] / both, 5) > 0.9


def test_a_nucleus_is_bright_where_it_is_said_to_be(experiment):
    t = experiment.images.time_points[-1]
    frame = experiment.images.read_frame(t).astype(float)
    here = experiment.annotations.positions[experiment.annotations.at(t)]
    z, y, x = np.rint(here).astype(int).T
    mean = np.mean(
        [frame[z, np.clip(y + dy, 0, 95), np.clip(x + dx, 0, 95)]
         for dy in (-2, 0, 2) for dx in (-2, 0, 2)], axis=0
    )  # fmt: skip
    assert (mean > np.median(frame) + 15).mean() > 0.97


def test_nuclei_are_as_wide_as_they_are_said_to_be(experiment):
    kind = experiment.name.split()[-1]
    measured = estimate_diameter(experiment)
    assert measured.source == "image"
    assert measured.diameter == pytest.approx(SCENES[kind].diameter_um, rel=0.25)


def test_depth_costs_light():
    experiment = simulate("organoid", time_points=1, seed=1)
    frame = experiment.images.read_frame(0).astype(float)
    z = experiment.annotations.positions[:, 0]
    value = np.array(
        [frame[tuple(np.rint(p).astype(int))] for p in experiment.annotations.positions]
    )
    assert np.median(value[z < 8]) > 1.2 * np.median(value[z > 15])


def test_the_movie_can_be_written_and_opened_again(tmp_path):
    dataset = write_sample(tmp_path / "demo", kind="plane", size=(1, 80, 90), time_points=3)
    assert dataset == tmp_path / "demo" / "dataset.toml"
    names = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert names == ["dataset.toml", "images", "plane.aut"]
    made = simulate("plane", size=(1, 80, 90), time_points=3)
    images = open_images(tmp_path / "demo" / "images")
    assert list(images.time_points) == [0, 1, 2]
    assert images.voxel_size_um == pytest.approx(made.voxel_size_um)
    assert images.frame_interval_s == made.frame_interval_s
    np.testing.assert_array_equal(images.read_frame(2), made.images.read_frame(2))
    with tifffile.TiffFile(tmp_path / "demo" / "images" / "t000.tif") as tiff:
        assert tiff.pages.first.compression == 8
    (read,) = read_experiments(tmp_path / "demo" / "plane.aut")
    assert count(read).tracks == count(made).tracks
    assert count(read).positions == count(made).positions


def test_the_dataset_file_is_understood(tmp_path):
    from napari_celltrain.dataset import load_dataset

    dataset = load_dataset([write_sample(tmp_path, kind="plane", size=(1, 80, 90), time_points=3)])
    (experiment,) = dataset.experiments
    assert experiment.voxel_size_um == (1.0, 0.5, 0.5)
    assert experiment.completeness == "time-points"
    assert experiment.images.frame_shape == (1, 80, 90)


@pytest.mark.parametrize(
    "options", [{"time_points": 0}, {"size": (4, 9, 9)}, {"size": (24, 192, 20)}]
)
def test_what_can_not_be_simulated_is_refused(options):
    with pytest.raises(CellTrainError):
        simulate("organoid", **options)


def test_an_unknown_sample_is_refused():
    with pytest.raises(CellTrainError, match="organoid and plane"):
        scene("brain")
