"""A small detector that finds something in noise, and movies of noise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import DetectorInfo
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.images import ArraySource


def eager_detector(
    *,
    planes=8,
    voxel_size=(2.0, 1.0, 1.0),
    diameter=10.0,
    time_window=(0, 0),
    n_channels=1,
    threads=1,
    precision="float32",
    seed=0,
):
    """A detector with random weights and a head that is easily excited."""
    torch.manual_seed(seed)
    design = choose_design(
        diameter=diameter,
        spacing=1.1 * diameter,
        voxel_size=voxel_size,
        planes=planes,
        unit="um",
        width=4,
        time_window=time_window,
        n_channels=n_channels,
    )
    weights = CentreNet(design).state_dict()
    weights["head.bias"][0] = 0.0
    weights["head.weight"] *= 10
    info = DetectorInfo(design=design, channels=tuple(range(n_channels)))
    return Detector(info, weights, device="cpu", threads=threads, precision=precision)


def noise_movie(shape=(4, 8, 40, 44), *, first=3, seed=0, voxel_size=(2.0, 1.0, 1.0), name="noise"):
    """(t, z, y, x) noise with a slow change of brightness, from time point `first` on."""
    pixels = np.random.default_rng(seed).integers(0, 4000, shape).astype(np.uint16)
    pixels += (np.arange(shape[-1]) * 20).astype(np.uint16)
    return ArraySource(pixels, "tzyx", time_offset=first, name=name, voxel_size_um=voxel_size)


@pytest.fixture(scope="session")
def detector():
    return eager_detector()


@pytest.fixture
def movie():
    return noise_movie()


@pytest.fixture
def make_detector():
    return eager_detector


@pytest.fixture
def make_movie():
    return noise_movie
