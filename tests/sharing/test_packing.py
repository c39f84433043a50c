"""A packed detector is the detector; a stranger's file is a detector or a sentence."""

from __future__ import annotations

import io
import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_celltrain.detector.design import choose_design
from napari_celltrain.detector.detector import Detector
from napari_celltrain.detector.folder import DetectorInfo, TrainedOn, find_detector, read_info
from napari_celltrain.detector.network import CentreNet
from napari_celltrain.detector.package import is_package, read_member
from napari_celltrain.errors import CellTrainError
from napari_celltrain.sharing import About, pack_detector, unpack_detector
from napari_celltrain.sharing.packing import card_of

CPU = {"device": "cpu", "precision": "float32"}
ABOUT = About("Nuclei of a fish", "CC-BY-4.0", ("A. Biologist", "B. Nerd"), "H2B-GFP, light sheet.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    design = choose_design(
        diameter=10.0, spacing=12.0, voxel_size=(1.0, 1.0, 1.0), planes=1, unit="um", width=4
    )
    torch.manual_seed(0)
    network = CentreNet(design)
    with torch.no_grad():
        network.head.weight.mul_(30)
        network.head.bias[0] = 0.0
    info = DetectorInfo(
        design=design, name="fish", f1=0.91234, precision=0.9, recall=0.93, trustworthy=True,
        localisation_error=0.8, held_out="the last 2 of 8 annotated frames of fish | 1.",
        trained_on=(TrainedOn(experiment="fish_1", time_points=(0, 1, 2),
                              voxel_size_um=(1.0, 1.0, 1.0)),),
    )  # fmt: skip
    place = tmp_path_factory.mktemp("detectors") / "fish"
    Detector(info, network.state_dict(), **CPU).save(place)
    return place


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    """Read only."""
    return pack_detector(folder, tmp_path_factory.mktemp("packed") / "fish.celltrain", ABOUT)


def rewritten(packed, path, change):
    """Write the archive anew, as somebody else would."""
    members = {}
    with zipfile.ZipFile(packed) as archive:
        for name in archive.namelist():
            members[name] = archive.read(name)
    change(members)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refused(path):
    with pytest.raises(CellTrainError) as error:
        Detector.from_folder(path, **CPU)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_packed_detector_finds_the_same_cells(folder, packed):
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 1000, (1, 64, 64), dtype=np.uint16)
    one = Detector.from_folder(folder, **CPU).detect([frame], (1.0, 1.0, 1.0))
    other = Detector.from_folder(packed, **CPU).detect([frame], (1.0, 1.0, 1.0))
    assert len(one) > 0
    np.testing.assert_array_equal(one.positions, other.positions)
    np.testing.assert_array_equal(one.scores, other.scores)


def test_unpacking_gives_the_folder_back(folder, packed, tmp_path):
    back = unpack_detector(packed, tmp_path / "back")
    for file in folder.iterdir():
        assert (back / file.name).read_bytes() == file.read_bytes()
    assert {one.name for one in back.iterdir()} - {one.name for one in folder.iterdir()} == {
        "README.md"
    }


def test_the_same_detector_gives_the_same_file(folder, packed, tmp_path):
    again = pack_detector(folder, tmp_path / "again.celltrain", ABOUT)
    assert again.read_bytes() == packed.read_bytes()
    from_packed = pack_detector(packed, tmp_path / "third.celltrain", ABOUT)
    assert from_packed.read_bytes() == packed.read_bytes()


def test_the_description_is_read_without_the_weights(packed, tmp_path):
    with_bad_weights = rewritten(
        packed, tmp_path / "x.celltrain",
        lambda all_: all_.update({name: b"" for name in all_ if name.startswith("weights")}),
    )  # fmt: skip
    assert find_detector(with_bad_weights) == with_bad_weights
    assert read_info(with_bad_weights).name == "fish"
    assert "checksum" in refused(with_bad_weights)


def test_the_card_says_what_a_stranger_must_know(packed):
    card = card_of(packed)
    for text in ("# Nuclei of a fish", "H2B-GFP", "CC-BY-4.0", "A. Biologist, B. Nerd", "0.912",
                 "Cell diameter: 10 um", "1 x 1 um (y, x)", r"fish\_1", r"fish \| 1",
                 "can be trusted"):  # fmt: skip
        assert text in card, text


def test_a_card_warns_of_figures_that_mean_nothing(folder):
    from napari_celltrain.sharing.card import model_card

    info = read_info(folder)
    untrusted = info.model_copy(update={"trustworthy": False})
    assert "Not to be trusted" in model_card(untrusted, About())
    nothing = model_card(info.model_copy(update={"f1": None}), About())
    assert "Nothing was measured" in nothing
    assert "Not given" in nothing  # the licence


def test_a_picture_goes_along(folder, tmp_path):
    picture = tmp_path / "cells.png"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(20))
    file = pack_detector(folder, tmp_path / "a.celltrain", screenshot=picture)
    assert read_member(file, "screenshot.png") == picture.read_bytes()
    assert "(screenshot.png)" in card_of(file)
    picture.write_bytes(b"GIF89a")
    with pytest.raises(CellTrainError, match="PNG"):
        pack_detector(folder, tmp_path / "b.celltrain", screenshot=picture)
    assert not (tmp_path / "b.celltrain").exists()


def test_a_folder_in_use_is_left_alone(packed, tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(CellTrainError, match="empty"):
        unpack_detector(packed, tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.txt"]


def test_other_names_are_no_packages(packed, folder, tmp_path):
    with pytest.raises(CellTrainError, match=r"ends in \.celltrain"):
        pack_detector(folder, tmp_path / "fish.zip")
    shutil.copy(packed, tmp_path / "fish.celltrain.zip")  # as browsers like to call it
    assert is_package(tmp_path / "fish.celltrain.zip")
    shutil.copy(packed, tmp_path / "fish.zip")
    assert "neither" in refused(tmp_path / "fish.zip")


# --- hostile files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["../evil.json", "/tmp/evil", "a/detector.json", "..\\evil.dll", "run.py", "data.pkl",
     "weights.pt", "x\n", ".celltrain", "weights-000000000000.safetensors/"],
)  # fmt: skip
def test_anything_but_the_known_names_is_refused(packed, tmp_path, name):
    inside = tmp_path / "inside"
    inside.mkdir()
    path = rewritten(packed, inside / "x.celltrain", lambda all_: all_.update({name: b"evil"}))
    refused(path)
    with pytest.raises(CellTrainError):
        unpack_detector(path, inside / "out")
    assert [one.name for one in inside.iterdir()] == ["x.celltrain"]
    assert [one.name for one in tmp_path.iterdir()] == ["inside"]


def test_a_bomb_is_refused_before_it_is_unpacked(packed, tmp_path):
    def inflate(members):
        members["README.md"] = bytes(2**20)

    path = rewritten(packed, tmp_path / "x.celltrain", inflate)
    assert path.stat().st_size < 200_000
    assert "harmful" in refused(path)


def test_a_description_of_gigabytes_is_refused_unread(packed, tmp_path):
    content = bytearray(packed.read_bytes())
    with zipfile.ZipFile(packed) as archive:
        at = archive.start_dir
    assert content[at : at + 4] == b"PK\x01\x02"
    content[at + 20 : at + 28] = b"\xfe\xff\xff\xff\xfe\xff\xff\xff"  # packed and unpacked size
    (tmp_path / "x.celltrain").write_bytes(content)
    assert "harmful" in refused(tmp_path / "x.celltrain")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(packed, tmp_path):
    shutil.copy(packed, tmp_path / "x.celltrain")
    with zipfile.ZipFile(tmp_path / "x.celltrain", "a") as archive:
        archive.writestr("detector.json", "{}")
    assert "two files" in refused(tmp_path / "x.celltrain")


def test_other_weights_than_the_description_names_are_refused(packed, tmp_path):
    def change(members):
        values = json.loads(members["detector.json"])
        name = values["weights_file"]
        members["weights-0123456789ab.safetensors"] = members.pop(name)

    assert "no complete detector" in refused(rewritten(packed, tmp_path / "x.celltrain", change))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x05\x06" + bytes(18), b"PK\x03\x04"])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "x.celltrain").write_bytes(content)
    refused(tmp_path / "x.celltrain")


def test_another_way_of_packing_is_refused(packed, tmp_path):
    shutil.copy(packed, tmp_path / "x.celltrain")
    with zipfile.ZipFile(tmp_path / "x.celltrain", "a", zipfile.ZIP_LZMA) as archive:
        archive.writestr("screenshot.png", b"x" * 100)
    assert "another way" in refused(tmp_path / "x.celltrain")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damage_anywhere_ends_in_a_sentence_or_changes_nothing(packed, tmp_path, data):
    content = bytearray(packed.read_bytes())
    size = len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        directory = archive.start_dir
    # half of the hits go to the directory at the end, which is short
    first = data.draw(st.sampled_from([0, directory]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(first, size - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.sampled_from([size, size, size - 1, size // 2, directory]))]
    path = tmp_path / "x.celltrain"
    path.write_bytes(content)
    try:
        detector = Detector.from_folder(path, **CPU)
    except CellTrainError:
        return
    sound = Detector.from_folder(packed, **CPU)
    assert all(torch.equal(detector.weights[key], one) for key, one in sound.weights.items())
    assert detector.info == sound.info
