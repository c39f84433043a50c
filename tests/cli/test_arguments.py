"""The texts of options."""

from __future__ import annotations

import argparse

import pytest

from napari_celltrain.cli import arguments


@pytest.mark.parametrize(
    ("text", "value"), [("0:14", (0, 14)), ("5", (5, 5)), ("-3:2", (-3, 2)), (" 1 : 2 ", (1, 2))]
)
def test_time_points(text, value):
    assert arguments.time_points(text) == value


@pytest.mark.parametrize("text", ["", "a", "1:", ":4", "5:1", "1:2:3", "1.5", "9999999999"])
def test_wrong_time_points(text):
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.time_points(text)


def test_voxel_size_and_tile_are_z_y_x():
    assert arguments.voxel_size("2,0.3,0.31") == (2.0, 0.3, 0.31)
    assert arguments.tile("16,256,128") == (16, 256, 128)


@pytest.mark.parametrize("text", ["1", "1,2", "0,1,1", "1,1,inf", "a,b,c", "1,2,3,4"])
def test_wrong_voxel_size(text):
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.voxel_size(text)


def test_channels_are_typed_from_one():
    assert arguments.channels("1") == (0,)
    assert arguments.channels("2,1") == (1, 0)
    with pytest.raises(argparse.ArgumentTypeError):
        arguments.channels("0")
