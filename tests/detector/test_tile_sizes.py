"""Where memory has run out less is computed at once, and then it ends."""

from __future__ import annotations

import numpy as np
import torch

from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.tile_sizes import TileSizes
from napari_celltrain.detector.under_way import FrameUnderWay

ONE = (1.0, 1.0, 1.0)


def test_fewer_tiles_at_once_before_it_is_given_up():
    design = choose_design(
        diameter=10.0, spacing=11.0, voxel_size=ONE, planes=1, unit="px", width=8
    )
    shape = (1, 240, 240)  # a tile of less would compute nearly as much
    sizes = TileSizes(design, torch.device("cpu"), "float32", 2)
    frame = FrameUnderWay([np.zeros(shape, np.uint16)], ONE, ONE, 1.0, 0.05)
    sizes.cut(frame, None)
    assert (frame.at_once, len(frame.tiles)) == (2, 1)  # another frame is computed beside it
    assert sizes.ran_out(frame)
    assert frame.at_once == 1
    assert not sizes.ran_out(frame)
