"""Mastodon projects, and what ELEPHANT writes into them."""

from __future__ import annotations

import struct
import zipfile

import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Status
from napari_celltrain.formats import format_of, read_experiments

SPOTS = [(10.0, 20.0, 30.0, 0, 4.0), (11.0, 20.0, 30.0, 1, 4.0), (12.0, 20.0, 30.0, 2, 4.0)]
PROJECT = (
    '<?xml version="1.0"?><MamutProject version="0.3">'
    '<SpimDataFile type="relative">bdv.xml</SpimDataFile>'
    "<SpaceUnits>µm</SpaceUnits><TimeUnits>frame</TimeUnits></MamutProject>"
)
BDV = (
    "<SpimData><SequenceDescription><ViewSetups><ViewSetup><voxelSize><unit>um</unit>"
    "</voxelSize></ViewSetup></ViewSetups></SequenceDescription><ViewRegistrations>"
    '<ViewRegistration timepoint="0" setup="0"><ViewTransform type="affine">'
    "<affine>0.5 0 0 2 0 2 0 0 0 0 3 0</affine></ViewTransform></ViewRegistration>"
    "</ViewRegistrations></SpimData>"
)


def java_stream(payload):
    """Wrap bytes as Java's object output does, in blocks."""
    out = b"\xac\xed\x00\x05"
    for start in range(0, len(payload), 1024):
        block = payload[start : start + 1024]
        out += b"\x7a" + struct.pack(">i", len(block)) + block
    return out


def model(spots=SPOTS, links=((0, 1), (2, 1))):
    payload = struct.pack(">i", len(spots))
    for x, y, z, t, squared_radius in spots:
        payload += struct.pack("<dddi", x, y, z, t) + struct.pack("<7d", *[0.0] * 6, squared_radius)
    payload += struct.pack(">i", len(links))
    for source, target in links:
        payload += struct.pack(">iiii", source, target, 0, 0)
    return java_stream(payload)


def text(value):
    raw = value.encode()
    return struct.pack(">h", len(raw)) + raw


def tags(name, labels, of_spots):
    """Encode one tag set, and which spot has which label."""
    payload = struct.pack(">i", 1) + struct.pack(">i", 0) + text(name)
    payload += struct.pack(">i", len(labels))
    for number, label in enumerate(labels):
        payload += struct.pack(">i", number) + text(label) + struct.pack(">i", 0)
    payload += struct.pack(">i", len(labels) + 1) + struct.pack(">i", 0)
    for number in range(len(labels)):
        payload += struct.pack(">ii", 1, number)
    payload += struct.pack(">i", len(of_spots))
    for spot, label in of_spots.items():
        payload += struct.pack(">ii", spot, labels.index(label) + 1)
    payload += struct.pack(">ii", 1, 0) + struct.pack(">i", 0)  # no label sets, no links
    return java_stream(payload)


@pytest.fixture
def project(tmp_path):
    def make(**members):
        path = tmp_path / "made.mastodon"
        content = {"project.xml": PROJECT, "model.raw": model()} | {
            name.replace("_", "."): value for name, value in members.items()
        }
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, value in content.items():
                if value is not None:
                    archive.writestr(name, value)
        return path

    return make


def read(path, **options):
    options.setdefault("find_images", False)
    (experiment,) = read_experiments(path, **options)
    return experiment


def test_positions_go_through_the_affine_map(project, tmp_path):
    (tmp_path / "bdv.xml").write_text(BDV)
    experiment = read(project())
    assert experiment.annotations.positions[0].tolist() == [10, 10, 16]
    assert experiment.voxel_size_um == (3.0, 2.0, 0.5)
    assert experiment.annotations.features["radius_um"].tolist() == [2, 2, 2]
    assert not experiment.findings


def test_links_backward_in_time_are_turned(project):
    links = read(project()).annotations.links
    assert sorted(map(tuple, links.tolist())) == [(0, 1), (1, 2)]


def test_without_its_image_description_a_voxel_size_is_needed(project):
    assert [one.code for one in read(project()).findings] == ["no-world", "unknown-voxel-size"]
    experiment = read(project(), voxel_size_um=(3.0, 2.0, 0.5))
    assert experiment.annotations.positions[0].tolist() == [10, 10, 20]


def test_elephants_tags_say_what_is_a_cell(project):
    labels = ["tp", "fp", "tn", "fn", "tb", "fb", "unlabeled"]
    spots = [(float(i), 0.0, 0.0, 0, 1.0) for i in range(8)]
    path = project(
        model_raw=model(spots, ()), tags_raw=tags("Detection", labels, dict(enumerate(labels)))
    )
    experiment = read(path)
    cell, no_cell, unknown = Status.CELL, Status.NOT_A_CELL, Status.UNKNOWN
    assert experiment.annotations.status.tolist() == [
        cell,
        no_cell,
        no_cell,
        cell,
        cell,
        no_cell,
        unknown,
        cell,
    ]
    assert experiment.annotations.features["tag Detection"].tolist() == [*labels, ""]
    assert "elephant-tags" in [one.code for one in experiment.findings]


def test_other_tags_become_features(project):
    experiment = read(project(tags_raw=tags("Quality", ["good", "bad"], {1: "bad"})))
    assert experiment.annotations.features["tag Quality"].tolist() == ["", "bad", ""]
    assert experiment.annotations.is_cell.all()


def test_damaged_tags_do_not_cost_the_spots(project):
    experiment = read(project(tags_raw=java_stream(b"\0\0\0\7\0")))
    assert len(experiment.annotations) == 3
    assert "no-tags" in [one.code for one in experiment.findings]


@pytest.mark.parametrize(
    "members",
    [
        {"model_raw": None},
        {"project_xml": None},
        {"project_xml": "<a>"},
        {"project_xml": '<!DOCTYPE a [<!ENTITY b "c">]>' + PROJECT},
        {"model_raw": b"nothing"},
        {"model_raw": model()[:-30]},
        {"model_raw": java_stream(struct.pack(">i", 2**30))},
        {"model_raw": java_stream(struct.pack(">i", -1))},
        {"model_raw": model(links=((0, 99),))},
        {"model_raw": model(links=((0, -1),))},
    ],
)
def test_damaged_projects_are_refused_by_name(project, members):
    with pytest.raises(CellTrainError, match=r"made\.mastodon"):
        read(project(**members))


def test_a_bomb_is_not_unpacked(project):
    with pytest.raises(CellTrainError, match="would unpack to"):
        read(project(model_raw=model()[:100] + b"\0" * (300 * 2**20)))


def test_only_archives_are_recognised(project, tmp_path):
    assert format_of(project()).name == "Mastodon"
    (tmp_path / "other.mastodon").write_text("no archive")
    assert format_of(tmp_path / "other.mastodon") is None
