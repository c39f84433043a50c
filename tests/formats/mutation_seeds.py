"""Good files of each family of formats, and which changes are made to which of them."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tarfile
import zipfile

import numpy as np
from mutations import (
    ANY,
    TEXT,
    entities,
    in_hdf5,
    in_tar,
    in_zip,
    in_zip_of_text,
    number,
    retype,
    word,
)


def lineage():
    from napari_celltrain.experiment import Annotations, Experiment

    t = [0, 0, 1, 1, 2, 2, 2, 4]
    positions = [[1, 5 * i % 30 + 2, 4 * i + 3] for i in range(8)]
    links = [(0, 2), (1, 3), (2, 4), (2, 5), (3, 6), (6, 7)]
    features = {
        "score": np.linspace(0, 1, 8),
        "type": np.array(["A", "", "B"] * 3, object)[:8],
        "ending": np.array([""] * 7 + ["dead"], object),
    }
    return Experiment(
        "seed",
        Annotations(t, positions, links, features=features),
        voxel_size_um=(2.0, 0.5, 0.5),
        frame_interval_s=60.0,
    )


def node(t, x):
    return {"x": x, "y": 2.0, "z": 1.0, "_time_point_number": t}


V1 = {
    "version": "v1",
    "positions": {"1": [[1.5, 2, 1]], "2": [[2, 2, 1], [9, 2, 1, "shape", 3]]},
    "links": {
        "directed": False,
        "graph": {},
        "nodes": [{"id": node(1, 1.5), "type": "A"}],
        "links": [{"source": node(1, 1.5), "target": node(2, 2.0), "p": 0.5}],
    },
    "image_offsets": [{"x": 1, "y": 2, "z": 0, "_time_point_number": 2}],
    "image_resolution": {"x_um": 1, "y_um": 1, "z_um": 2, "t_m": 1},
}
BDV = (
    "<SpimData><SequenceDescription><ViewSetups><ViewSetup><voxelSize><unit>um</unit>"
    "</voxelSize></ViewSetup></ViewSetups></SequenceDescription><ViewRegistrations>"
    '<ViewRegistration timepoint="0" setup="0"><ViewTransform type="affine">'
    "<affine>0.5 0 0 2 0 2 0 0 0 0 3 0</affine></ViewTransform></ViewRegistration>"
    "</ViewRegistrations></SpimData>"
)
CELLFINDER = (
    "<CellCounter_Marker_File><Marker_Data><Marker_Type><Type>2</Type><Marker><MarkerX>1"
    "</MarkerX><MarkerY>2</MarkerY><MarkerZ>3</MarkerZ></Marker></Marker_Type>"
    "</Marker_Data></CellCounter_Marker_File>"
)
TRACKS = (
    '<Tracks nTracks="1" spaceUnits="micron" frameInterval="5.0" timeUnits="min"><particle '
    'nSpots="2"><detection t="0" x="1.5" y="2" z="3"/><detection t="2" x="1.5" y="2.5" z="3"/>'
    "</particle></Tracks>"
)
NUCLEI = "1, 1, -1, 1, -1, 10, 20, 5.0, 12, ABa, 100, 0,\n2, 0, 1, -1, -1, 9, 9, 2.0, 9, nill, 1,\n"


def json_seeds(root):
    from napari_celltrain.formats import write_experiment

    write_experiment(root / "a.aut", lineage())
    (root / "b.aut").write_text(json.dumps(V1))
    (root / "c.json").write_text(json.dumps(V1["links"]))
    (root / "d.json").write_text(json.dumps(V1["positions"]))
    movie = {"images_container": "movie", "images_pattern": "t{time:03}.tif"}
    (root / "e.autlist").write_text(
        json.dumps(
            [
                {"experiment_file": "a.aut", **movie, "min_time_point": 0, "max_time_point": 4},
                {
                    "experiment_file": "b.aut",
                    "images_original": movie,
                    "images_channel_summing": [[1]],
                },
                {"images_channel_appending": [movie]},
                {"images_time_appending": [movie, movie]},
            ]
        )
    )
    return {
        name: (name, [*TEXT, *[retype] * 8])
        for name in ("a.aut", "b.aut", "c.json", "d.json", "e.autlist")
    }


def xml_seeds(root):
    from napari_celltrain.formats import write_experiment

    write_experiment(root / "a.xml", lineage())
    text = (root / "a.xml").read_text("utf-8")
    (root / "b.xml").write_text(text.replace('filename=""', 'filename="bdv.xml"'), "utf-8")
    (root / "bdv.xml").write_text(BDV)
    (root / "c.xml").write_text(CELLFINDER)
    (root / "d.xml").write_text(TRACKS)
    mutations = [*TEXT, *[number] * 4, *[word] * 3, entities]
    return {
        "a.xml": ("a.xml", mutations),
        "b.xml": ("b.xml", mutations),
        "bdv.xml": ("b.xml", mutations),
        "c.xml": ("c.xml", mutations),
        "d.xml": ("d.xml", mutations),
    }


def csv_seeds(root):
    from napari_celltrain.formats import format_named

    for name, format_name in (
        ("a.csv", "CSV table"),
        ("b.csv", "Mastodon CSV"),
        ("c.csv", "napari points CSV"),
        ("d.tsv", "CSV table"),
    ):
        format_named(format_name).write(root / name, lineage())
    (root / "e.csv").write_text(
        "TRACK_ID,POSITION_X,POSITION_Y,FRAME\nTrack,X,Y,F\n,(um),(um),\n"
        "0,1,2,0\n0,1,2,1\n1,3,4,0\n"
    )
    (root / "f.csv").write_text(
        "ImageNumber;ObjectNumber;Location_Center_X;Location_Center_Y;"
        "TrackObjects_ParentObjectNumber_5\n1;1;1,5;2,5;0\n2;1;1,5;2,5;1\n"
    )
    (root / "tracks.csv").write_text(
        "frame,index,y,x,track_id,tree_id\n0,0,1,2,0,0\n1,0,1,3,1,0\n1,1,5,4,2,0\n3,0,1,5,1,0\n"
    )
    (root / "splits.csv").write_text("parent_track_id,child_track_id\n0,1\n0,2\n")
    opened = {name: name for name in ("a.csv", "b.csv", "c.csv", "d.tsv", "e.csv", "f.csv")}
    opened |= {"tracks.csv": "splits.csv", "splits.csv": "tracks.csv"}
    return {name: (place, [*TEXT, *[number] * 4, *[word] * 3]) for name, place in opened.items()}


def ctc_seeds(root):
    from napari_celltrain.formats import format_named

    format_named("Cell Tracking Challenge").write(root / "01_RES", lineage())
    (root / "labels").mkdir()
    for name in ("mask000.tif", "mask001.tif"):  # without a track file
        shutil.copyfile(root / "01_RES" / name, root / "labels" / name)
    return {
        "labels/mask001.tif": ("labels", ANY),
        "01_RES/res_track.txt": ("01_RES", TEXT),
        "01_RES/mask000.tif": ("01_RES", ANY),
        "01_RES/mask002.tif": ("01_RES", ANY),
    }


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
        archive.writestr(
            "project.xml",
            '<MamutProject version="0.3"><SpimDataFile type="relative">'
            "bdv.xml</SpimDataFile><SpaceUnits>um</SpaceUnits><TimeUnits>frame"
            "</TimeUnits></MamutProject>",
        )
        archive.writestr("model.raw", blocks[0])
        archive.writestr("tags.raw", blocks[1])
    (root / "bdv.xml").write_text(BDV)
    with zipfile.ZipFile(root / "b.zip", "w") as archive:
        for t in range(1, 4):
            archive.writestr(f"nuclei/t{t:03}-nuclei", NUCLEI)
    (root / "b.xml").write_text(
        '<embryo><nuclei file="b.zip"/><resolution xyRes="1" zRes="2"/></embryo>'
    )
    labels = np.zeros((3, 20, 30, 1), np.int32)
    labels[:, 4:7, 9:12] = 1
    buffer = io.BytesIO()
    np.save(buffer, labels)
    with tarfile.open(root / "c.trk", "w") as archive:
        for name, raw in (
            ("tracked.npy", buffer.getvalue()),
            ("raw.npy", buffer.getvalue()),
            ("lineage.json", b'{"1": {"frames": [0, 1], "daughters": [2]}}'),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            archive.addfile(info, io.BytesIO(raw))
    return {
        "a.mastodon": ("a.mastodon", [*ANY, *[in_zip] * 6]),
        "b.zip": ("b.zip", [*ANY, *[in_zip_of_text] * 6]),
        "b.xml": ("b.xml", TEXT),
        "c.trk": ("c.trk", [*ANY, *[in_tar] * 6]),
    }


def hdf5_seeds(root):
    import h5py

    with h5py.File(root / "a.ims", "w") as file:
        attributes = file.create_group("DataSetInfo/Image").attrs
        for axis, name in enumerate("XYZ"):
            attributes[f"ExtMin{axis}"] = np.array([b"0"], "S1")
            attributes[f"ExtMax{axis}"] = np.array([b"1", b"0"], "S1")
            attributes[name] = np.array([b"2", b"0"], "S1")
        points = file.create_group("Scene8/Content/Points0")
        points["Spot"] = np.array(
            [(0, 1, 2, 3, 1), (7, 2, 2, 3, 1)],
            [("ID", "i8"), *((f"Position{axis}", "f4") for axis in "XYZ"), ("Radius", "f4")],
        )
        points["SpotTimeOffset"] = np.array(
            [(0, 0, 1), (1, 1, 2)], [(n, "i8") for n in ("ID", "IndexBegin", "IndexEnd")]
        )
        points["TrackEdge0"] = np.array([(0, 7)], [("ID_ObjectA", "i8"), ("ID_ObjectB", "i8")])
    with h5py.File(root / "b.h5", "w") as file:
        file["objects/obj_type_1/coords"] = np.array([[0, 1, 2, 3, 0], [1, 1, 2, 3, 0]], "f4")
        file["tracks/obj_type_1/tracks"] = np.array([0, 1, -1], "i4")
        file["tracks/obj_type_1/map"] = np.array([[0, 3]], "u4")
        file["tracks/obj_type_1/LBEPR"] = np.array([[1, 0, 1, 0, 1, 0]], "i4")
    return {name: (name, [*ANY, *[in_hdf5] * 3]) for name in ("a.ims", "b.h5")}


FAMILIES = {
    "json": json_seeds,
    "xml": xml_seeds,
    "csv": csv_seeds,
    "ctc": ctc_seeds,
    "geff": geff_seeds,
    "archive": archive_seeds,
    "hdf5": hdf5_seeds,
}
