"""A tile is a part of the whole, brightness is kept, and places stay in place."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_celltrain.detector.resample import (
    as_float,
    input_range,
    output_length,
    resample,
    to_input,
    to_output,
)

STEPS = st.one_of(st.just(1.0), st.floats(0.3, 5.0))


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 12), st.integers(1, 150), st.integers(1, 40)),
    steps=st.tuples(STEPS, STEPS, STEPS),
    cut=st.tuples(*[st.floats(0, 1)] * 6),
    seed=st.integers(0, 1000),
)
def test_part_is_a_part_of_the_whole(shape, steps, cut, seed):
    image = np.random.default_rng(seed).integers(0, 60000, shape).astype(np.uint16)
    whole = resample(image, steps)
    part = []
    for n, (a, b) in zip(whole.shape, zip(cut[::2], cut[1::2], strict=True), strict=True):
        first, last = sorted((int(a * (n - 1)), int(b * (n - 1))))
        part.append((first, last + 1))
    got = resample(image, steps, part)
    expected = whole[tuple(slice(*span) for span in part)]
    assert got.shape == expected.shape
    # the products may be summed in another order
    np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=2e-6, atol=0.05)


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 40), st.integers(1, 40)),
    steps=st.tuples(STEPS, STEPS, STEPS),
    value=st.floats(-1e4, 6e4),
)
def test_a_constant_image_stays_constant(shape, steps, value):
    out = resample(np.full(shape, value, np.float32), steps).numpy()
    assert out.shape == tuple(output_length(n, s) for n, s in zip(shape, steps, strict=True))
    np.testing.assert_allclose(out, np.float32(value), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("step", [2.0, 3.0, 4.0, 2.5, 1.25])
def test_mean_is_kept_where_the_length_is_a_multiple_of_the_step(step):
    length = round(20 * step)
    image = np.random.default_rng(1).random((1, length, length)).astype(np.float32)
    out = resample(image, (1.0, step, step))
    assert out.shape == (1, 20, 20)
    assert float(out.mean()) == pytest.approx(float(image.mean()), rel=1e-5)


@settings(max_examples=100, deadline=None)
@given(
    positions=st.lists(st.tuples(*[st.floats(-1e4, 1e4)] * 3), min_size=1, max_size=5),
    steps=st.tuples(*[st.floats(0.01, 100)] * 3),
)
def test_coordinates_there_and_back_are_the_same(positions, steps):
    points = np.array(positions)
    back = to_input(to_output(points, steps), steps)
    np.testing.assert_allclose(back, points, rtol=1e-9, atol=1e-6)


def _centre_of_mass(image: np.ndarray) -> np.ndarray:
    image = image.astype(np.float64)
    axes = np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij")
    return np.array([(axis * image).sum() for axis in axes]) / image.sum()


@pytest.mark.parametrize(
    "steps", [(1.0, 2.0, 2.0), (1.0, 3.7, 1.9), (2.2, 1.0, 1.4), (1.0, 0.5, 0.4)]
)
def test_a_blob_stays_at_its_place(steps):
    centre = np.array([11.3, 31.7, 27.4])
    axes = np.meshgrid(*(np.arange(n) for n in (24, 64, 60)), indexing="ij")
    squared = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
    image = np.exp(-0.5 * squared / 3.0**2).astype(np.float32)
    found = to_input(_centre_of_mass(resample(image, steps).numpy())[None], steps)[0]
    np.testing.assert_allclose(found, centre, atol=0.03)


def test_one_output_voxel_is_the_mean_of_its_area():
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    out = resample(image, (1.0, 2.0, 2.0)).numpy()
    np.testing.assert_allclose(out[0], image[0].reshape(2, 2, 2, 2).mean(axis=(1, 3)))


@pytest.mark.parametrize(
    "dtype",
    [
        "uint8",
        "int8",
        "uint16",
        "int16",
        "uint32",
        "int32",
        "uint64",
        ">u2",
        "<f4",
        "f8",
        "f2",
        "bool",
        ">f4",
    ],
)
def test_every_real_type_of_pixel_is_taken(dtype):
    image = np.array([[[0, 1], [1, 0]]]).astype(dtype)
    np.testing.assert_array_equal(as_float(image).numpy(), [[[0, 1], [1, 0]]])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300, -1e300, 3.4e38, -3.4e38])
def test_what_is_no_brightness_becomes_zero(value):
    image = np.ones((1, 2, 2), np.float64)
    image[0, 0, 0] = value
    out = as_float(image).numpy()
    assert out[0, 0, 0] == 0
    assert (out.reshape(-1)[1:] == 1).all()


def test_a_view_with_negative_strides_is_taken():
    image = np.arange(8, dtype=np.uint16).reshape(1, 2, 4)[:, :, ::-1]
    np.testing.assert_array_equal(resample(image, (1.0, 1.0, 1.0)).numpy(), image)


def test_no_more_of_the_image_is_touched_than_needed():
    first, last = input_range(10_000, 2.0, 100, 110)
    assert first >= 195
    assert last <= 225
