"""What is said to be lost in writing is what is missing when the file is read again."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.experiment import Annotations, Experiment, Region, Status
from napari_celltrain.formats import format_named, formats, is_writable
from napari_celltrain.formats.losses import losses
from napari_celltrain.images import ArraySource

WRITABLE = [one.name for one in formats() if is_writable(one)]
SUFFIXES = {
    "OrganoidTracker": ".aut",
    "OrganoidTracker list": ".autlist",
    "GEFF": ".geff",
    "GEFF for Mastodon": ".geff",
    "TrackMate XML": ".xml",
    "Cell Tracking Challenge": "_RES",
}
VOXEL = (2.0, 0.5, 0.5)


def everything():
    """Five cells and a mark that is none; a division, a merge and a gap; columns of all kinds."""
    annotations = Annotations(
        [0, 1, 1, 2, 4, 2],
        [[1, 10.25, 20], [1, 8, 20], [1, 14, 20], [1, 11, 20], [1, 11, 24], [2, 30, 30]],
        [[0, 1], [0, 2], [1, 3], [2, 3], [3, 4]],
        status=[1, 1, 1, 1, 1, Status.NOT_A_CELL],
        features={
            "score": np.linspace(0.25, 0.5, 6),
            "radius_um": np.full(6, 3.0),
            "type": np.array(["A", "B", "A", "", "C", ""], object),
            "area": np.arange(6.0) + 1,
        },
        link_features={"link_cost": np.arange(5.0), "by": np.array(list("abcde"), object)},
    )
    return Experiment(
        "all", annotations, voxel_size_um=VOXEL, frame_interval_s=300.0, time_range=(0, 4),
        regions=(Region(((0, 0), (0, 40), (40, 40))),), completeness="region",
        image_offsets={1: (0.0, 2.0, 3.0)},
        carried={"OrganoidTracker": {"beacons": {"1": [[1, 2, 3]]}}},
    )  # fmt: skip


def written_and_read(name, experiment, folder):
    tracking_format = format_named(name)
    place = folder / f"all{SUFFIXES.get(name, '.csv')}"
    tracking_format.write(place, experiment)
    known = VOXEL if has_to_be_stated(tracking_format.keeps) else None
    (read,) = tracking_format.read(place, voxel_size_um=known, find_images=False)
    return read


def has_to_be_stated(keeps):
    return keeps.in_micrometres and not keeps.voxel_size


def missing(experiment, read):
    """Say by looking at both what is not the same any more, in the words of `losses`."""
    cells = experiment.annotations.select(experiment.annotations.is_cell)
    again, gone = read.annotations, set()
    if (again.status == Status.NOT_A_CELL).sum() < (~experiment.annotations.is_cell).sum():
        gone.add("not-cells")
    places = {(t, *np.round(p, 6)) for t, p in zip(again.t, again.positions, strict=True)}
    if not {(t, *np.round(p, 6)) for t, p in zip(cells.t, cells.positions, strict=True)} <= places:
        gone.add("rounded")
    if not len(again.links):
        gone.add("no-links")
    elif (np.bincount(again.links[:, 1]) > 1).sum() == 0:
        gone.add("merges")
    columns = set(cells.features) - {"radius_um"} - set(again.features)
    if not any(name.startswith("radius") for name in again.features):
        columns.add("radius_um")
    if columns:
        gone.add("columns")
    if set(cells.link_features) - set(again.link_features):
        gone.add("link-columns")
    if read.voxel_size_um != VOXEL or read.frame_interval_s is None:
        gone.add("scale")
    if read.time_range != experiment.time_range:
        gone.add("time-range")
    if not read.image_offsets:
        gone.add("offsets")
    if not read.carried:
        gone.add("carried")
    if read.completeness != experiment.completeness:
        gone.add("completeness")
    return gone


@pytest.mark.parametrize("name", WRITABLE)
def test_what_is_missing_afterwards_was_said_before(name, tmp_path):
    experiment = everything()
    keeps = format_named(name).keeps
    said = {one.code: one for one in losses(experiment, keeps)}
    gone = missing(experiment, written_and_read(name, experiment, tmp_path))
    if has_to_be_stated(keeps):  # so that it could be read, and seems to be there
        gone.add("scale")
    # a position in between is put in for the reading program, and taken out again here
    assert set(said) - {"gaps"} == gone
    assert all(one.message.endswith(".") and one.experiment == "all" for one in said.values())


@pytest.mark.parametrize("name", WRITABLE)
def test_nothing_is_said_where_nothing_is_lost(name, tmp_path):
    plain = Experiment(
        "plain",
        Annotations([0, 1], [[0, 1, 2], [0, 1, 3]], features={"score": np.array([0.5, 1.0])}),
    )
    keeps = format_named(name).keeps
    expected = {"unknown-voxel-size"} if keeps.in_micrometres else set()
    expected |= {"made-up-radius"} if keeps.needs_radius else set()
    expected |= {"columns"} if keeps.columns == () else set()
    assert {one.code for one in losses(plain, keeps)} == expected


@pytest.mark.parametrize("name", WRITABLE)
def test_gaps_are_bridged_where_it_is_said(name, tmp_path):
    bridged = Annotations([0, 3], [[1, 5, 5], [1, 8, 8]], [[0, 1]])
    said = {one.code for one in losses(Experiment("a", bridged), format_named(name).keeps)}
    place = tmp_path / f"all{SUFFIXES.get(name, '.csv')}"
    format_named(name).write(place, Experiment("a", bridged))
    if name.startswith("OrganoidTracker"):
        assert "gaps" in said
        assert '"time_point": 2' in (tmp_path / "all.aut").read_text()
    elif name.startswith("GEFF"):
        import zarr

        assert "gaps" in said
        assert zarr.open_array(place / "nodes/ids", mode="r").shape == (4,)
    else:
        assert "gaps" not in said


def test_one_and_several_are_told_apart():
    marks = Annotations([0, 0, 0], [[0, 1, 2], [0, 9, 9], [0, 5, 5]], status=[1, 0, -1])
    keeps = format_named("OrganoidTracker").keeps
    (finding,) = losses(Experiment("a", marks), keeps)
    assert finding.message == "2 positions that are no cells are left out."
    (finding,) = losses(Experiment("a", marks.select([0, 1])), keeps)
    assert finding.message == "1 position that is no cell is left out."


def test_positions_outside_the_image_are_counted_where_they_have_no_place():
    images = ArraySource(np.zeros((1, 2, 10, 10), np.uint8), "tzyx")
    outside = Annotations([0, 0], [[0, 1, 2], [0, 1, 30]])
    experiment = Experiment("a", outside, images)
    codes = {one.code for one in losses(experiment, format_named("Cell Tracking Challenge").keeps)}
    assert "outside-image" in codes
    assert not losses(experiment, format_named("GEFF").keeps)


def test_images_in_no_file_are_not_named_in_a_list():
    images = ArraySource(np.zeros((1, 2, 10, 10), np.uint8), "tzyx")
    (finding,) = losses(
        Experiment("a", Annotations([0], [[0, 1, 2]]), images),
        format_named("OrganoidTracker list").keeps,
    )
    assert finding.code == "image"


def test_an_interval_without_a_voxel_size_has_no_place_in_an_aut():
    keeps = format_named("OrganoidTracker").keeps
    (finding,) = losses(Experiment("a", frame_interval_s=60.0), keeps)
    assert finding.message == "The frame interval has no place in it without a voxel size."
    assert not losses(Experiment("a", frame_interval_s=60.0, voxel_size_um=VOXEL), keeps)
