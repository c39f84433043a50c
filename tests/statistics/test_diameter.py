from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import read_experiments
from napari_celltrain.images import ArraySource, open_images
from napari_celltrain.simulation import simulate
from napari_celltrain.statistics import estimate_diameter


def discs(diameter, spacing=None, *, dark=False, noise=0.0, frame=260, voxel=None, seed=0):
    """Make an image of equal discs on a jittered lattice, and their centres."""
    rng = np.random.default_rng(seed)
    spacing = spacing or 1.8 * diameter
    grid = np.arange(spacing / 2 + diameter / 2, frame - diameter / 2, spacing)
    centres = np.array([(y, x) for y in grid for x in grid]) + rng.uniform(
        -1, 1, (len(grid) ** 2, 2)
    )
    y, x = np.mgrid[:frame, :frame]
    image = rng.normal(0, noise, (frame, frame)) if noise else np.zeros((frame, frame))
    for cy, cx in centres:
        image += 1 / (1 + np.exp(2 * (np.hypot(y - cy, x - cx) - diameter / 2)))
    image = 1000 + 500 * (-image if dark else image)
    positions = np.concatenate([np.zeros((len(centres), 1)), centres], axis=1)
    return Experiment(
        "discs",
        Annotations(np.zeros(len(centres)), positions),
        ArraySource(image.astype(np.uint16), "yx"),
        voxel_size_um=voxel,
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("diameter", [7, 14, 30, 60])
def test_discs_are_measured_bright_and_dark(diameter, dark):
    estimate = estimate_diameter(discs(diameter, dark=dark))
    assert estimate.source == "image"
    assert estimate.diameter == pytest.approx(diameter, rel=0.2)


def test_sparse_cells_are_measured_by_their_width_not_their_spacing():
    estimate = estimate_diameter(discs(12, spacing=110))
    assert estimate.diameter == pytest.approx(12, rel=0.2)


def test_a_single_cell_can_be_measured():
    made = discs(20)
    one = made.with_(annotations=made.annotations.select(np.array([30])))
    assert estimate_diameter(one).diameter == pytest.approx(20, rel=0.25)


def test_touching_cells_in_noise_are_measured():
    estimate = estimate_diameter(discs(16, spacing=18, noise=0.5))
    assert estimate.diameter == pytest.approx(16, rel=0.25)


def test_the_diameter_is_physical_where_the_voxel_size_is_known():
    estimate = estimate_diameter(discs(20, voxel=(2.0, 0.4, 0.4)))
    assert (estimate.unit, estimate.source) == ("um", "image")
    assert estimate.diameter == pytest.approx(8.0, rel=0.2)


def test_without_images_the_spacing_decides():
    estimate = estimate_diameter(discs(20, spacing=40).with_(images=None))
    assert estimate.source == "spacing"
    assert "no image" in estimate.reason
    assert 20 < estimate.diameter < 40


def test_an_image_without_blobs_leaves_it_to_the_spacing():
    made = discs(20)
    rng = np.random.default_rng(1)
    for pixels in (np.full((260, 260), 7), rng.normal(100, 5, (260, 260))):
        estimate = estimate_diameter(made.with_(images=ArraySource(pixels, "yx")))
        assert estimate.source == "spacing"
        assert "no clear blobs" in estimate.reason


@pytest.mark.parametrize("n", [0, 1])
def test_nothing_to_go_by_gives_no_estimate(n):
    assert estimate_diameter(Experiment("x", Annotations(np.zeros(n), np.zeros((n, 3))))) is None


def test_positions_outside_the_image_do_no_harm():
    made = discs(20)
    outside = Annotations([0, 0, 5, 0], [[0, -400, 3], [9, 1e9, 1e9], [0, 50, 50], [0, np.nan, 3]])
    assert estimate_diameter(made.with_(annotations=outside)) is not None


def test_the_answer_is_always_the_same():
    made = simulate("organoid", size=(12, 96, 96), time_points=4)
    assert estimate_diameter(made) == estimate_diameter(made)


def test_a_large_movie_is_not_read_through():
    class Counted(ArraySource):
        read = 0

        def read_crop(self, t, channel, crop):
            block = super().read_crop(t, channel, crop)
            Counted.read += block.size
            return block

    movie = np.broadcast_to(np.zeros((3000, 3000), np.uint8), (40, 50, 3000, 3000))
    rng = np.random.default_rng(0)
    positions = rng.uniform(0, 1, (4000, 3)) * (49, 2999, 2999)
    made = Experiment(
        "large", Annotations(np.repeat(np.arange(40), 100), positions), Counted(movie, "tzyx")
    )
    estimate_diameter(made)
    assert 0 < Counted.read < 30_000_000


@pytest.mark.parametrize(
    ("folder", "diameter"),
    [  # equivalent diameter of the annotated masks, in pixels
        ("ctc_fluo_n2dl_hela_02_left", 28),
        ("ctc_fluo_n3dh_cho_02_t00-13", 74),
        ("ctc_fluo_n2dh_simplus_01_t00-44", 52),
        ("bbbc039_u2os_2d_a", 29),
        ("dsb2018_256x256", 13),
        ("laptrack_nuclei_crop_2dt", 22.4),
        ("stardist_img3d_crop", 15.9),
    ],
)
def test_real_nuclei_are_measured(data_folder, folder, diameter):
    (read,) = read_experiments(data_folder / folder / "points.csv", find_images=False)
    made = read.with_(images=open_images(data_folder / folder / "images"), voxel_size_um=None)
    estimate = estimate_diameter(made)
    assert estimate.source == "image"
    assert estimate.diameter == pytest.approx(diameter, rel=0.25)
