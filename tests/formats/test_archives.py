"""Zip archives of strangers: a member is no larger than it says, or it is refused."""

from __future__ import annotations

import struct
import zipfile
import zlib

import pytest

from napari_celltrain.detector.package import DESCRIPTION, read_member
from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import archives, read_experiments
from napari_celltrain.formats.archives import open_zip

N_BYTES = 3 * 10**8


def forged(path, *names, stated=1_000_000):
    """Write an archive whose members hold more than it says; their checksums are right."""
    packer = zlib.compressobj(9, wbits=-15)
    raw = packer.compress(bytes(N_BYTES)) + packer.flush()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in names:
            archive.writestr(name, raw)
    content = path.read_bytes()
    said = struct.pack("<III", zlib.crc32(raw), len(raw), len(raw))
    told = struct.pack("<III", zlib.crc32(bytes(stated)), len(raw), stated)
    content = content.replace(said, told)
    for magic, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        parts = content.split(magic)
        parts[1:] = [part[: place - 4] + b"\x08\0" + part[place - 2 :] for part in parts[1:]]
        content = magic.join(parts)
    path.write_bytes(content)
    return path


def test_a_member_that_holds_more_than_it_says_is_refused(tmp_path, little_memory):
    path = forged(tmp_path / "a.zip", "a")
    with open_zip(path) as archive:
        assert archive.getinfo("a").file_size == 1_000_000
        with little_memory(2**24), pytest.raises(CellTrainError, match="more than it says"):
            archives.read_member(archive, "a")


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("a.mastodon", ["model.raw", "project.xml"]),
        ("a.zip", ["nuclei/t001-nuclei"]),
    ],
)
def test_tracks_in_an_archive_that_holds_more_than_it_says_are_refused(
    tmp_path, little_memory, name, members
):
    path = forged(tmp_path / name, *members)
    with little_memory(2**26), pytest.raises(CellTrainError, match="more than it says") as told:
        read_experiments(path)
    assert name in str(told.value)


def test_a_detector_that_holds_more_than_it_says_is_refused(tmp_path, little_memory):
    path = forged(tmp_path / "a.celltrain", DESCRIPTION)
    with little_memory(2**24), pytest.raises(CellTrainError, match="more than it says"):
        read_member(path, DESCRIPTION)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_ways_of_packing_of_which_the_library_unpacks_all_are_refused(tmp_path, packing):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", packing) as archive:
        archive.writestr("nuclei/t001-nuclei", "x")
    with pytest.raises(CellTrainError, match="ordinary zip"):
        read_experiments(path)
