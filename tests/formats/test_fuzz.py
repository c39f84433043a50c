"""Damaged files end in a result or in a sentence: never in a traceback, a hang or a full memory.

Each family of formats has seeds; each mutation changes one of their files, and reads. That happens
in a process of its own, so that a crash of a C library is seen too. By hand, for one family:
``python tests/formats/test_fuzz.py json 1 20000``.
"""

from __future__ import annotations

import faulthandler
import io
import json
import random
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest

FAST, SLOW = 60, 20_000
CPU_LIMIT_S = 5.0
HANG_S = 60
MEMORY_LIMIT = 2**30

ODD = ["0", "-1", "1e308", "-1e308", "1e999", "NaN", "Infinity", "9" * 40, "2147483648",
       "-9223372036854775809", "0.5", "", "null", "true", '"x"', "[]", "{}", "1,5", "\u0664",
       "0x10"]
ODD_VALUES = [None, True, [], {}, "", "x", -1, 0.5, 1e308, 10**40, float("nan"), [[]], [None],
              {"x": None}, "9" * 400, [1, 2], "../../../outside", "\0"]


# ----------------------------------------------------------------------------- mutations of bytes
def flip(raw, rng):
    out = bytearray(raw)
    for _ in range(rng.choice([1, 1, 2, 8, 64])):
        if out:
            out[rng.randrange(len(out))] ^= 1 << rng.randrange(8)
    return bytes(out)


def cut(raw, rng):
    return raw[: rng.randrange(len(raw) + 1)]


def drop(raw, rng):
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + raw[at + rng.choice([1, 4, 32, 500]) :]


def repeat(raw, rng):
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + raw[at : at + rng.choice([1, 8, 100])] * rng.choice([2, 3, 100]) + raw[at:]


def overwrite(raw, rng):
    at, length = rng.randrange(len(raw) + 1), rng.choice([1, 2, 4, 8, 64])
    new = rng.choice([b"\xff" * length, b"\0" * length, b"\x7f" + b"\xff" * (length - 1),
                      rng.randbytes(length), struct.pack("<q", 2**40)[:length]])
    return raw[:at] + new + raw[at + length :]


def number(raw, rng):
    found = list(re.finditer(rb"-?\d+(\.\d+)?", raw))
    if not found:
        return flip(raw, rng)
    hit = rng.choice(found)
    return raw[: hit.start()] + rng.choice(ODD).encode() + raw[hit.end() :]


def word(raw, rng):
    found = list(re.finditer(rb"[A-Za-z_]{2,}", raw))
    if len(found) < 2:
        return flip(raw, rng)
    hit, other = rng.choice(found), rng.choice(found)
    return raw[: hit.start()] + rng.choice([b"", b"x", other[0]]) + raw[hit.end() :]


def nest(raw, rng):
    at = rng.randrange(len(raw) + 1)
    return raw[:at] + rng.choice([b"[", b"{", b'{"a":', b"<a>", b"((", b'"']) * 50_000 + raw[at:]


def entities(raw, rng):
    bomb = b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaaaaaaaa'>" + b"".join(
        b"<!ENTITY %c '%s'>" % (98 + i, b"&%c;" % (97 + i) * 16) for i in range(12)
    ) + b"<!ENTITY f SYSTEM 'file:///etc/passwd'>]>"
    head = raw.find(b"?>") + 2 if raw.startswith(b"<?xml") else 0
    body = raw[head:].replace(b">", b">" + rng.choice([b"&m;", b"&f;", b""]), 1)
    return raw[:head] + bomb + body


ANY = [flip, cut, drop, repeat, overwrite]
TEXT = [*ANY, number, number, number, word, nest]


# ------------------------------------------------------------------------ mutations of structures
def retype(raw, rng):
    """Replace, delete or rename one value somewhere in a JSON document."""
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        return flip(raw, rng)
    places = []

    def walk(node, depth=0):
        keys = node.keys() if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], (dict, list)) and depth < 20:
                walk(node[key], depth + 1)

    if isinstance(document, (dict, list)):
        walk(document)
    for _ in range(rng.choice([1, 1, 3])):
        if not places:
            break
        node, key = rng.choice(places)
        action = rng.randrange(4)
        try:
            if action == 0:
                del node[key]
            elif action == 1 and isinstance(node, dict):
                node[rng.choice(["x", "version", "t", "-1"])] = node.pop(key)
            elif action == 2:
                node[key] = [node[key]] * rng.choice([0, 1, 2, 50])
            else:
                node[key] = rng.choice(ODD_VALUES)
        except (KeyError, IndexError):
            pass
    return json.dumps(document).encode()


def in_zip(raw, rng, mutations=ANY):
    """Change the content or the name of a member, and pack the archive again properly."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive, \
            zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = rng.choice(archive.namelist())
        for name in archive.namelist():
            content = archive.read(name)
            if name == chosen:
                action = rng.randrange(8)
                if action == 0:
                    continue
                if action == 1:
                    name = rng.choice(["../../outside", "/outside", "C:\\outside", "a/" * 500])
                elif action == 2:
                    content = content + b"\0" * (2**26)
                else:
                    content = rng.choice(mutations)(content, rng)
            new.writestr(name, content)
    return out.getvalue()


def in_zip_of_text(raw, rng):
    return in_zip(raw, rng, TEXT)


def in_tar(raw, rng):
    out = io.BytesIO()
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive, \
            tarfile.open(fileobj=out, mode="w:gz") as new:
        members = archive.getmembers()
        chosen = rng.choice(members).name
        for info in members:
            content = archive.extractfile(info).read()
            if info.name == chosen:
                action = rng.randrange(6)
                if action == 0:
                    continue
                if action == 1:
                    info.name = "../../outside"
                elif action == 2:
                    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                else:
                    change = retype if info.name.endswith("json") and action > 3 else flip
                    content = change(content, rng)
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    return out.getvalue()


def in_hdf5(raw, rng):
    """Delete a data set, or put one of another shape or type in its place."""
    import h5py

    buffer = io.BytesIO(raw)
    with h5py.File(buffer, "r+") as file:
        places = []
        file.visit(places.append)
        place = rng.choice(places)
        old = file[place]
        if isinstance(old, h5py.Dataset) and rng.random() < 0.7:
            values = old[...]
            del file[place]
            action = rng.randrange(4)
            if action == 0:
                file[place] = rng.choice([np.zeros(0), np.zeros((3, 3, 3)), np.array(b"x"), 7.0])
            elif action == 1:
                file[place] = values[: len(values) // 2]
            elif action == 2:
                file.create_dataset(place, (10**9, 10**3), "f8", chunks=(1000, 1000))
            elif values.dtype.names is None:
                file[place] = (values.astype(float) * rng.choice([-1, 1e9, 0])).astype("i8")
            else:
                names = list(values.dtype.names)
                values[rng.choice(names)] = rng.choice([-1, 0, 2**30])
                file[place] = values
        else:
            del file[place]
    return buffer.getvalue()


# ----------------------------------------------------------------------------------------- seeds
def lineage():
    from napari_celltrain.experiment import Annotations, Experiment

    t = [0, 0, 1, 1, 2, 2, 2, 4]
    positions = [[1, 5 * i % 30 + 2, 4 * i + 3] for i in range(8)]
    links = [(0, 2), (1, 3), (2, 4), (2, 5), (3, 6), (6, 7)]
    features = {"score": np.linspace(0, 1, 8), "type": np.array(["A", "", "B"] * 3, object)[:8],
                "ending": np.array([""] * 7 + ["dead"], object)}
    return Experiment("seed", Annotations(t, positions, links, features=features),
                      voxel_size_um=(2.0, 0.5, 0.5), frame_interval_s=60.0)


def node(t, x):
    return {"x": x, "y": 2.0, "z": 1.0, "_time_point_number": t}


V1 = {"version": "v1", "positions": {"1": [[1.5, 2, 1]], "2": [[2, 2, 1], [9, 2, 1, "shape", 3]]},
      "links": {"directed": False, "graph": {}, "nodes": [{"id": node(1, 1.5), "type": "A"}],
                "links": [{"source": node(1, 1.5), "target": node(2, 2.0), "p": 0.5}]},
      "image_offsets": [{"x": 1, "y": 2, "z": 0, "_time_point_number": 2}],
      "image_resolution": {"x_um": 1, "y_um": 1, "z_um": 2, "t_m": 1}}
BDV = ("<SpimData><SequenceDescription><ViewSetups><ViewSetup><voxelSize><unit>um</unit>"
       "</voxelSize></ViewSetup></ViewSetups></SequenceDescription><ViewRegistrations>"
       '<ViewRegistration timepoint="0" setup="0"><ViewTransform type="affine">'
       "<affine>0.5 0 0 2 0 2 0 0 0 0 3 0</affine></ViewTransform></ViewRegistration>"
       "</ViewRegistrations></SpimData>")
CELLFINDER = ("<CellCounter_Marker_File><Marker_Data><Marker_Type><Type>2</Type><Marker><MarkerX>1"
              "</MarkerX><MarkerY>2</MarkerY><MarkerZ>3</MarkerZ></Marker></Marker_Type>"
              "</Marker_Data></CellCounter_Marker_File>")
NUCLEI = "1, 1, -1, 1, -1, 10, 20, 5.0, 12, ABa, 100, 0,\n2, 0, 1, -1, -1, 9, 9, 2.0, 9, nill, 1,\n"


def json_seeds(root):
    from napari_celltrain.formats import write_experiment

    write_experiment(root / "a.aut", lineage())
    (root / "b.aut").write_text(json.dumps(V1))
    (root / "c.json").write_text(json.dumps(V1["links"]))
    (root / "d.json").write_text(json.dumps(V1["positions"]))
    movie = {"images_container": "movie", "images_pattern": "t{time:03}.tif"}
    (root / "e.autlist").write_text(json.dumps([
        {"experiment_file": "a.aut", **movie, "min_time_point": 0, "max_time_point": 4},
        {"experiment_file": "b.aut", "images_original": movie, "images_channel_summing": [[1]]},
        {"images_channel_appending": [movie]}, {"images_time_appending": [movie, movie]}]))
    return {name: (name, [*TEXT, *[retype] * 8]) for name in
            ("a.aut", "b.aut", "c.json", "d.json", "e.autlist")}


def xml_seeds(root):
    from napari_celltrain.formats import write_experiment

    write_experiment(root / "a.xml", lineage())
    text = (root / "a.xml").read_text("utf-8")
    (root / "b.xml").write_text(text.replace('filename=""', 'filename="bdv.xml"'), "utf-8")
    (root / "bdv.xml").write_text(BDV)
    (root / "c.xml").write_text(CELLFINDER)
    mutations = [*TEXT, *[number] * 4, *[word] * 3, entities]
    return {"a.xml": ("a.xml", mutations), "b.xml": ("b.xml", mutations),
            "bdv.xml": ("b.xml", mutations), "c.xml": ("c.xml", mutations)}


def csv_seeds(root):
    from napari_celltrain.formats import format_named

    for name, format_name in (("a.csv", "CSV table"), ("b.csv", "Mastodon CSV"),
                              ("c.csv", "napari points CSV"), ("d.tsv", "CSV table")):
        format_named(format_name).write(root / name, lineage())
    (root / "e.csv").write_text("TRACK_ID,POSITION_X,POSITION_Y,FRAME\nTrack,X,Y,F\n,(um),(um),\n"
                                "0,1,2,0\n0,1,2,1\n1,3,4,0\n")
    (root / "f.csv").write_text("ImageNumber;ObjectNumber;Location_Center_X;Location_Center_Y;"
                                "TrackObjects_ParentObjectNumber_5\n1;1;1,5;2,5;0\n2;1;1,5;2,5;1\n")
    return {name: (name, [*TEXT, *[number] * 4, *[word] * 3]) for name in
            ("a.csv", "b.csv", "c.csv", "d.tsv", "e.csv", "f.csv")}


def ctc_seeds(root):
    from napari_celltrain.formats import format_named

    format_named("Cell Tracking Challenge").write(root / "01_RES", lineage())
    return {"01_RES/res_track.txt": ("01_RES", TEXT), "01_RES/mask000.tif": ("01_RES", ANY),
            "01_RES/mask002.tif": ("01_RES", ANY)}


def geff_seeds(root):
    from napari_celltrain.formats import format_named, write_experiment

    write_experiment(root / "a.geff", lineage())
    format_named("GEFF for Mastodon").write(root / "b.geff", lineage())
    seeds = {}
    for name in ("a.geff", "b.geff"):
        for file in sorted((root / name).rglob("*")):
            if file.is_file():
                is_json = file.name.startswith(".z")
                place = file.relative_to(root).as_posix()
                seeds[place] = (name, [*TEXT, *[retype] * 8] if is_json else ANY)
    return seeds


def archive_seeds(root):
    spots = b"".join(struct.pack("<dddi7d", 10 + i, 5, 6, i, *[0.0] * 6, 4.0) for i in range(3))
    payload = struct.pack(">i", 3) + spots + struct.pack(">9i", 2, 0, 1, 0, 0, 1, 2, 0, 0)
    label = struct.pack(">iiih", 1, 0, 9, 0)
    blocks = [
        b"\xac\xed\x00\x05\x7a" + struct.pack(">i", len(one)) + one for one in (payload, label)
    ]
    with zipfile.ZipFile(root / "a.mastodon", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("project.xml", '<MamutProject version="0.3"><SpimDataFile type="relative">'
                         "bdv.xml</SpimDataFile><SpaceUnits>um</SpaceUnits><TimeUnits>frame"
                         "</TimeUnits></MamutProject>")
        archive.writestr("model.raw", blocks[0])
        archive.writestr("tags.raw", blocks[1])
    (root / "bdv.xml").write_text(BDV)
    with zipfile.ZipFile(root / "b.zip", "w") as archive:
        for t in range(1, 4):
            archive.writestr(f"nuclei/t{t:03}-nuclei", NUCLEI)
    (root / "b.xml").write_text('<embryo><nuclei file="b.zip"/><resolution xyRes="1" zRes="2"/>'
                                "</embryo>")
    labels = np.zeros((3, 20, 30, 1), np.int32)
    labels[:, 4:7, 9:12] = 1
    buffer = io.BytesIO()
    np.save(buffer, labels)
    with tarfile.open(root / "c.trk", "w") as archive:
        for name, raw in (("tracked.npy", buffer.getvalue()), ("raw.npy", buffer.getvalue()),
                          ("lineage.json", b'{"1": {"frames": [0, 1], "daughters": [2]}}')):
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return {"a.mastodon": ("a.mastodon", [*ANY, *[in_zip] * 6]),
            "b.zip": ("b.zip", [*ANY, *[in_zip_of_text] * 6]), "b.xml": ("b.xml", TEXT),
            "c.trk": ("c.trk", [*ANY, *[in_tar] * 6])}


def hdf5_seeds(root):
    import h5py

    with h5py.File(root / "a.ims", "w") as file:
        attributes = file.create_group("DataSetInfo/Image").attrs
        for axis, name in enumerate("XYZ"):
            attributes[f"ExtMin{axis}"] = np.array([b"0"], "S1")
            attributes[f"ExtMax{axis}"] = np.array([b"1", b"0"], "S1")
            attributes[name] = np.array([b"2", b"0"], "S1")
        points = file.create_group("Scene8/Content/Points0")
        points["Spot"] = np.array([(0, 1, 2, 3, 1), (7, 2, 2, 3, 1)], [
            ("ID", "i8"), *((f"Position{axis}", "f4") for axis in "XYZ"), ("Radius", "f4")])
        points["SpotTimeOffset"] = np.array(
            [(0, 0, 1), (1, 1, 2)], [(n, "i8") for n in ("ID", "IndexBegin", "IndexEnd")])
        points["TrackEdge0"] = np.array([(0, 7)], [("ID_ObjectA", "i8"), ("ID_ObjectB", "i8")])
    with h5py.File(root / "b.h5", "w") as file:
        file["objects/obj_type_1/coords"] = np.array([[0, 1, 2, 3, 0], [1, 1, 2, 3, 0]], "f4")
        file["tracks/obj_type_1/tracks"] = np.array([0, 1, -1], "i4")
        file["tracks/obj_type_1/map"] = np.array([[0, 3]], "u4")
        file["tracks/obj_type_1/LBEPR"] = np.array([[1, 0, 1, 0, 1, 0]], "i4")
    return {name: (name, [*ANY, *[in_hdf5] * 3]) for name in ("a.ims", "b.h5")}


FAMILIES = {"json": json_seeds, "xml": xml_seeds, "csv": csv_seeds, "ctc": ctc_seeds,
            "geff": geff_seeds, "archive": archive_seeds, "hdf5": hdf5_seeds}


# --------------------------------------------------------------------------------------- the run
def most_memory():
    """Return the most bytes that this process has ever used; 0 where that is unknown."""
    if sys.platform != "linux":
        return 0
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def outcome(path):
    """Return "" for a result or a sentence, else what went wrong."""
    from napari_celltrain.errors import CellTrainError
    from napari_celltrain.formats import format_of, read_experiments
    from napari_celltrain.formats.aut_writing import aut_text

    start, before = time.process_time(), most_memory()
    try:
        format_of(path)
        for experiment in read_experiments(path):
            if not np.isfinite(experiment.annotations.positions).all():
                return "a position is not finite"
            aut_text(experiment)
    except CellTrainError as error:
        if len(str(error)) > 2000:
            return "the sentence is endless"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    if most_memory() > max(before, MEMORY_LIMIT):
        return f"took {most_memory() / 2**20:.0f} MiB"
    spent = time.process_time() - start
    return f"took {spent:.1f} s" if spent > CPU_LIMIT_S else ""


def run(family, seed, count):
    """Mutate and read; return the failures."""
    warnings.simplefilter("ignore")
    rng = random.Random(f"{family} {seed}")
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "seeds"
        root.mkdir()
        seeds = FAMILIES[family](root)
        for opened, _ in seeds.values():  # loads what is needed, and shows that the seeds are good
            trouble = outcome(root / opened)
            assert not trouble, (opened, trouble)
        untouched = listing(root)
        for n in range(count):
            place, (opened, mutations) = rng.choice(list(seeds.items()))
            original = (root / place).read_bytes()
            mutation = rng.choice(mutations)
            (root / place).write_bytes(mutation(original, rng))
            faulthandler.dump_traceback_later(HANG_S, exit=True)
            trouble = outcome(root / opened)
            faulthandler.cancel_dump_traceback_later()
            if trouble:
                kept = Path(tempfile.gettempdir()) / f"fuzz-{family}-{seed}-{n}-{Path(place).name}"
                shutil.copyfile(root / place, kept)
                failures.append(f"{n}: {mutation.__name__} in {place}: {trouble} (kept as {kept})")
            (root / place).write_bytes(original)
            if listing(root) != untouched or len(list(Path(folder).iterdir())) > 1:
                failures.append(f"{n}: {mutation.__name__} in {place}: something was written")
                break
    return failures


def listing(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*"))


def check(family, seed, count):
    done = subprocess.run(
        [sys.executable, __file__, family, str(seed), str(count)],
        capture_output=True, text=True, timeout=36000,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


@pytest.mark.parametrize("family", FAMILIES)
def test_some_damage_ends_in_a_result_or_a_sentence(family):
    check(family, seed=0, count=FAST)


@pytest.mark.slow
@pytest.mark.timeout(36000)
@pytest.mark.parametrize("family", FAMILIES)
def test_much_damage_ends_in_a_result_or_a_sentence(family):
    check(family, seed=1, count=SLOW)


if __name__ == "__main__":
    faulthandler.enable()
    troubles = run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print("\n".join(troubles[:40]))
    print(f"{len(troubles)} failures")
    sys.exit(bool(troubles))
