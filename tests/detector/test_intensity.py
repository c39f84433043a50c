"""Dark becomes 0 and bright becomes 1, whatever the camera, the offset and the odd pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_celltrain.detector.intensity import CLIP, intensity_range, power
from napari_celltrain.detector.resample import resample

ONES = (1.0, 1.0, 1.0)


def _cells(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    image = rng.normal(100, 5, (3, 60, 60))
    image[:, 20:35, 20:35] += 400
    return image


def _normalised(image: np.ndarray) -> torch.Tensor:
    return intensity_range(image, ONES).normalise(resample(image, ONES))


def test_dark_is_zero_and_bright_is_one():
    out = _normalised(_cells())
    assert abs(float(out[:, :15].mean())) < 0.05
    assert 0.9 < float(out[:, 22:33, 22:33].mean()) < 1.05


def test_one_hot_pixel_changes_nothing():
    image = _cells()
    hot = image.copy()
    hot[1, 5, 5] = 65535
    a, b = intensity_range(image, ONES), intensity_range(hot, ONES)
    assert b.low == pytest.approx(a.low, rel=0.01)
    assert b.high == pytest.approx(a.high, rel=0.01)
    assert float(_normalised(hot).max()) <= CLIP[1]


def test_an_offset_of_32768_changes_nothing():
    image = _cells().round()
    plain = _normalised(image.astype(np.uint16))
    shifted = _normalised((image + 32768).astype(np.uint16))
    np.testing.assert_allclose(shifted.numpy(), plain.numpy(), atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(gain=st.floats(0.01, 1000), offset=st.floats(-1000, 40000))
def test_gain_and_offset_of_the_camera_change_nothing(gain, offset):
    image = _cells()
    np.testing.assert_allclose(
        _normalised(image * gain + offset).numpy(),
        _normalised(image).numpy(),
        atol=0.01 + abs(offset) / (gain * 400) * 1e-5,
    )


@pytest.mark.parametrize("value", [0, 7, 65535, -3.5, 1e-30, 1e20])
def test_a_constant_frame_becomes_zero(value):
    image = np.full((2, 30, 30), value, np.float64)
    out = _normalised(image)
    assert torch.isfinite(out).all()
    assert float(out.abs().max()) < 1e-3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38])
def test_pixels_without_a_value_do_not_spread(bad):
    image = _cells().astype(np.float32)
    image[0, :3, :3] = bad
    out = _normalised(image)
    assert torch.isfinite(out).all()
    assert 0.9 < float(out[:, 22:33, 22:33].mean()) < 1.05


def test_a_frame_without_any_value_becomes_zero():
    out = _normalised(np.full((1, 16, 16), np.nan, np.float32))
    assert torch.isfinite(out).all()
    assert float(out.abs().max()) == 0


def test_levels_are_those_of_the_whole_frame_not_of_few_planes():
    image = _cells()
    deep = np.concatenate([image] * 20)
    a, b = intensity_range(image, ONES), intensity_range(deep, ONES)
    assert b.high == pytest.approx(a.high, rel=0.05)


def test_magnified_cells_get_the_same_levels():
    image = _cells()
    large = image.repeat(2, axis=1).repeat(2, axis=2)
    a, b = intensity_range(image, ONES), intensity_range(large, (1.0, 2.0, 2.0))
    assert b.low == pytest.approx(a.low, rel=0.02)
    assert b.high == pytest.approx(a.high, rel=0.02)


@given(st.floats(0.1, 10), st.integers(0, 5))
@settings(deadline=None)
def test_a_gamma_keeps_dark_and_bright_and_the_order_between(gamma, seed):
    image = _cells(seed)
    level = intensity_range(image, ONES)
    plain = level.normalise(resample(image, ONES))
    changed = level.normalise(resample(image, ONES), gamma)
    assert float(changed.min()) >= CLIP[0]
    assert float(changed.max()) <= CLIP[1]
    order = plain.reshape(-1).argsort()
    assert (changed.reshape(-1)[order].diff() >= 0).all()
    steady = torch.tensor([level.low, level.high])
    assert torch.allclose(level.normalise(steady, gamma), torch.tensor([0.0, 1.0]), atol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 0.75, 1.0, 1.5, 2.0, 0.3125, 2.6875])
def test_a_power_is_the_same_to_the_last_bit_however_the_work_is_cut(gamma):
    """Threads and tiles cut an image into pieces of any length."""
    values = torch.from_numpy(np.random.default_rng(0).random(300_007).astype(np.float32)) * 6
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        whole = power(values, gamma)
        torch.set_num_threads(1)
        pieces = torch.cat([power(part, gamma) for part in values.split(1013)])
    finally:
        torch.set_num_threads(before)
    assert torch.equal(whole, pieces)
    assert torch.allclose(whole, values**gamma, rtol=1e-5, atol=1e-7)
