"""TrackMate's exported tracks: a track for each particle, in the units of the file."""

from __future__ import annotations

import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import format_of, read_experiments


def document(unit="micron", particles=None):
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Tracks nTracks="2" spaceUnits="{unit}" '
    text += 'frameInterval="5.0" timeUnits="min" from="TrackMate v7.14.0">\n'
    for detections in particles or [[(0, 1, 2, 4), (1, 1.5, 2, 4), (3, 2, 2, 4)], [(1, 5, 6, 2)]]:
        text += f'<particle nSpots="{len(detections)}">\n'
        for t, x, y, z in detections:
            text += f'<detection t="{t}" x="{x}" y="{y}" z="{z}" />\n'
        text += "</particle>\n"
    return text + "</Tracks>\n"


@pytest.fixture
def read(tmp_path):
    def do(text, **options):
        place = tmp_path / "Tracks.xml"
        place.write_text(text)
        found = format_of(place)
        assert found is not None
        assert found.name == "TrackMate tracks XML"
        (experiment,) = read_experiments(place, **options)
        return experiment

    return do


def test_each_particle_is_a_track_that_may_skip_time_points(read):
    experiment = read(document(), voxel_size_um=(2.0, 0.5, 0.5))
    annotations = experiment.annotations
    assert annotations.t.tolist() == [0, 1, 3, 1]
    assert annotations.positions[1].tolist() == [2, 4, 3]
    assert annotations.links.tolist() == [[0, 1], [1, 2]]
    assert annotations.features["track_id"].tolist() == [0, 0, 0, 1]
    assert experiment.frame_interval_s == 300
    assert not experiment.findings


def test_without_a_voxel_size_micrometres_stay_and_it_is_said(read):
    experiment = read(document())
    assert experiment.annotations.positions[0].tolist() == [4, 2, 1]
    assert [one.code for one in experiment.findings] == ["unknown-voxel-size"]


@pytest.mark.parametrize(("unit", "x"), [("pixels", 1), ("nm", 0.002), ("parsec", 1)])
def test_other_units(read, unit, x):
    experiment = read(document(unit), voxel_size_um=(2.0, 0.5, 0.5))
    assert experiment.annotations.positions[0, 2] == pytest.approx(x)
    assert ("unknown-unit" in [one.code for one in experiment.findings]) == (unit == "parsec")


def test_a_particle_that_divides_is_not_linked_at_random(read):
    divided = [[(0, 1, 2, 0), (1, 1, 3, 0), (1, 1, 1, 0)]]
    experiment = read(document("pixel", divided))
    assert len(experiment.annotations) == 3
    assert not len(experiment.annotations.links)
    assert [one.code for one in experiment.findings] == ["branched-tracks"]


@pytest.mark.parametrize(
    "damage",
    [
        ("</Tracks>", ""),
        ('x="1"', 'x="one"'),
        ('y="2"', ""),
        ('t="1"', 't="1.5"'),
        ('frameInterval="5.0"', 'frameInterval="often"'),
    ],
)
def test_damage_is_a_sentence(tmp_path, damage):
    place = tmp_path / "Tracks.xml"
    place.write_text(document().replace(*damage))
    with pytest.raises(CellTrainError, match=r"Tracks\.xml"):
        read_experiments(place)
