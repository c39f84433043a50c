"""DeepCell's archives."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zlib

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats import read_experiments

LABELS = np.zeros((3, 20, 30, 1), np.int32)
LABELS[:2, 4:7, 9:12] = 1
LABELS[2, 2:5, 9:12] = 2
LABELS[2, 8:11, 9:12] = 3
LINEAGE = {
    "1": {"label": 1, "frames": [0, 1], "daughters": [2, 3], "parent": None},
    "2": {"label": 2, "frames": [2], "daughters": [], "parent": 1},
    "3": {"label": 3, "frames": [2], "daughters": [], "parent": 1},
}


def stored(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def write(path, **members):
    content = {
        "tracked.npy": stored(LABELS),
        "raw.npy": stored(LABELS.astype(np.float32)),
        "lineage.json": json.dumps(LINEAGE).encode(),
    }
    content |= {name.replace("__", "."): value for name, value in members.items()}
    with tarfile.open(path, "w:gz") as archive:
        for name, raw in content.items():
            if raw is not None:
                info = tarfile.TarInfo(name)
                info.size = len(raw)
                archive.addfile(info, io.BytesIO(raw))
    return path


def test_labels_lineage_and_movie(tmp_path):
    (experiment,) = read_experiments(write(tmp_path / "made.trk"))
    annotations = experiment.annotations
    assert annotations.positions.tolist() == [[0, 5, 10], [0, 5, 10], [0, 3, 10], [0, 9, 10]]
    assert sorted(map(tuple, annotations.links.tolist())) == [(0, 1), (1, 2), (1, 3)]
    assert experiment.images.frame_shape == (1, 20, 30)
    assert not experiment.findings


def test_several_movies_in_one_file(tmp_path):
    path = write(
        tmp_path / "made.trks",
        lineage__json=None,
        tracked__npy=stored(np.stack([LABELS] * 2)),
        raw__npy=None,
        lineages__json=json.dumps([LINEAGE] * 2).encode(),
    )
    assert [len(one.annotations.links) for one in read_experiments(path)] == [3, 3]


class Evil:
    def __reduce__(self):
        return (open, ("opened-by-a-pickle", "w"))


@pytest.mark.parametrize(
    "members",
    [
        {"tracked__npy": None},
        {"lineage__json": None},
        {"lineage__json": b"[]"},
        {"tracked__npy": stored(LABELS)[:300]},
        {"tracked__npy": stored(LABELS[0])},
        {"tracked__npy": stored(np.array([Evil()], object))},
        {"tracked__npy": stored(LABELS).replace(b"(3, 20, 30, 1)", b"(3, 20, 30,9999)")},
    ],
)
def test_damaged_files_are_refused_and_nothing_is_unpickled(tmp_path, members, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CellTrainError, match=r"made\.trk"):
        read_experiments(write(tmp_path / "made.trk", **members))
    assert [one.name for one in tmp_path.iterdir()] == ["made.trk"]


def test_nobody_is_advised_to_trust_a_file(tmp_path):
    """As NumPy does, of a header that is too long to be safe: "fully trust the file"."""
    header = b"{'descr': '<i4', 'fortran_order': False, 'shape': (1, 8, 8, 1), }" + b" " * 20_000
    array = b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header + bytes(256)
    with pytest.raises(CellTrainError, match="does not begin as arrays do") as told:
        read_experiments(write(tmp_path / "made.trk", tracked__npy=array))
    assert "trust" not in str(told.value)


def packed_bytes(n):
    """Return zeros packed with gzip, at once: pieces of such a file may follow each other."""
    packer = zlib.compressobj(9, wbits=31)
    piece = packer.compress(bytes(10**6)) + packer.flush()
    return piece * (n // 10**6)


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_header_of_hundreds_of_megabytes_is_not_read(tmp_path, little_memory, kind, packed):
    n = 3 * 10**8
    header = tarfile.TarInfo("long")
    header.type, header.size = kind, n
    path = tmp_path / "made.trk"
    with open(path, "wb") as file:
        if packed:
            file.write(gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + packed_bytes(n))
        else:
            file.write(header.tobuf(tarfile.GNU_FORMAT))
            file.truncate(n)
    with little_memory(2**24), pytest.raises(CellTrainError, match="headers of more"):
        read_experiments(path)


def test_many_large_headers_are_refused_together(tmp_path, little_memory):
    path = tmp_path / "made.trk"
    with tarfile.open(path, "w:gz", format=tarfile.PAX_FORMAT, compresslevel=1) as archive:
        for number in range(200):
            info = tarfile.TarInfo(f"{number}")
            info.pax_headers = {"comment": "x" * 500_000}
            archive.addfile(info)
    with little_memory(2**26), pytest.raises(CellTrainError, match="headers of more"):
        read_experiments(path)


def test_a_lineage_of_hundreds_of_megabytes_is_refused(tmp_path, little_memory):
    """As lists it would take twenty times as much."""
    text = b"[" + b"[]," * 10_000_000 + b"[]]"
    path = write(tmp_path / "made.trk", lineage__json=text)
    with little_memory(2**26), pytest.raises(CellTrainError, match="would unpack to 29 MiB"):
        read_experiments(path)


@pytest.mark.parametrize("how", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_archive_is_read(tmp_path, how, form):
    path = tmp_path / "made.trk"
    members = {"lineage.json": json.dumps(LINEAGE).encode(), "tracked.npy": stored(LABELS)}
    with tarfile.open(path, how, format=form) as archive:
        for name, raw in members.items():
            folders = "f" * 90 + "/" + "g" * (60 if form == tarfile.USTAR_FORMAT else 300)
            info = tarfile.TarInfo(f"{folders}/{name}")
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    (experiment,) = read_experiments(path)
    assert len(experiment.annotations.links) == 3
