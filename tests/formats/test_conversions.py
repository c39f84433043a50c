"""Every format that can be read, into every format that can be written, and back."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.formats import formats, read_experiments
from napari_celltrain.formats.convert import convert
from napari_celltrain.formats.registry import is_writable

VOXEL = (2.0, 0.5, 0.5)
READ = (
    "acetree.zip", "btrack.h5", "cellfinder.xml", "ctc", "fl_B.geff", "mamut.xml",
    "mastodon_import.csv", "napari_points.csv", "sample.ims", "sample.mastodon", "sample.trk",
    "trackmate.xml", "truth.csv", "truth_v3.geff", "ultrack_tracks.csv",
)  # fmt: skip
NAMES = {
    "OrganoidTracker": "cells.aut",
    "OrganoidTracker list": "cells.autlist",
    "TrackMate XML": "cells.xml",
    "GEFF": "cells.geff",
    "GEFF for Mastodon": "cells.geff",
    "Cell Tracking Challenge": "01_RES",
    "CSV table": "cells.csv",
    "napari points CSV": "cells.csv",
    "Mastodon CSV": "cells.csv",
}


def in_order(annotations):
    """Return an annotation with its positions in an order of their own, and its cells only."""
    cells = annotations.select(annotations.is_cell)
    return cells.select(np.lexsort((*cells.positions.round(3).T, cells.t)))


def places(annotations):
    """Return where each link begins and ends."""
    ends = np.column_stack([annotations.t, annotations.positions.round(3)])
    return sorted(tuple(ends[pair].ravel().tolist()) for pair in annotations.links)


def test_every_written_format_is_here():
    assert set(NAMES) == {one.name for one in formats() if is_writable(one)}


@pytest.mark.parametrize("written", NAMES)
@pytest.mark.parametrize("name", READ)
def test_any_format_becomes_any_other(formats_folder, tmp_path, name, written):
    place = tmp_path / NAMES[written]
    source = formats_folder / "made" / name
    done = convert(source, place, to_format=written, voxel_size_um=VOXEL, find_images=False)
    before = in_order(done.experiments[0].annotations)
    (experiment,) = read_experiments(place, voxel_size_um=VOXEL)
    after = in_order(experiment.annotations)
    assert after.t.tolist() == before.t.tolist()
    coarse = written == "Cell Tracking Challenge"  # markers of whole voxels
    tolerance = 0.501 if coarse else 1e-6
    if coarse:
        assert len(after.links) == len(before.links)
        for t in before.time_points():
            own, other = before.positions[before.at(t)], after.positions[after.at(t)]
            assert np.abs(own[:, None] - other).max(axis=2).min(axis=1).max() <= tolerance
        return
    np.testing.assert_allclose(after.positions, before.positions, atol=tolerance)
    if written != "napari points CSV":  # which has no links
        assert places(after) == places(before)
