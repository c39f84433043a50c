"""Files with random damage end in a movie or in a sentence: soon, and in little memory.

    python tests/images/test_fuzzing.py czi 20000

reads so many damaged files of a family and says what it took.
"""

from __future__ import annotations

import contextlib
import os
import random
import runpy
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import tifffile
import zarr

from napari_celltrain.errors import CellTrainError
from napari_celltrain.images import apart, open_images

FILES = runpy.run_path(str(Path(__file__).with_name("microscope_files.py")))
write_nd2, write_lif = FILES["write_nd2"], FILES["write_lif"]
MOVIE = np.random.default_rng(0).integers(0, 60_000, (3, 2, 4, 20, 16), np.uint16)
NUMBERS = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\0\x10", b"\1\0\0\0"]


def tiff(name, **options):
    def write(folder):
        tifffile.imwrite(
            folder / name, MOVIE.transpose(0, 2, 1, 3, 4), photometric="minisblack",
            metadata={"axes": "TZCYX"}, **options,
        )  # fmt: skip
        return folder / name

    return write


def bigdataviewer(folder):
    with h5py.File(folder / "bdv.h5", "w") as file:
        for t, frame in enumerate(MOVIE):
            for setup in range(2):
                file[f"t{t:05}/s{setup:02}/0/cells"] = frame[setup].view(np.int16)
    return folder / "bdv.h5"


def imaris(folder):
    packed = {"chunks": (2, 16, 16), "compression": "gzip", "shuffle": True}
    with h5py.File(folder / "movie.ims", "w") as file:
        for t, frame in enumerate(MOVIE):
            for channel in range(2):
                place = f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {channel}/Data"
                file.create_dataset(place, data=np.pad(frame[channel], [(0, 0), (0, 12), (0, 0)]),
                                    **packed)  # fmt: skip
        image = file.create_group("DataSetInfo/Image")
        for name, text in {"X": "16", "Y": "20", "Z": "4", "ExtMax0": "8", "ExtMin0": "0"}.items():
            image.attrs[name] = np.frombuffer(text.encode(), "S1")
    return folder / "movie.ims"


def ome_zarr(zarr_format):
    def write(folder):
        group = zarr.open_group(folder / "movie.zarr", mode="w", zarr_format=zarr_format)
        group.create_array("0", data=MOVIE, chunks=(1, 1, 2, 10, 10))
        datasets = [
            {
                "path": "0",
                "coordinateTransformations": [{"type": "scale", "scale": [5, 1, 2, 0.4, 0.4]}],
            }
        ]
        multiscales = [{"axes": [{"name": name} for name in "tczyx"], "datasets": datasets}]
        content = {"multiscales": multiscales}
        group.attrs.update(content if zarr_format == 2 else {"ome": content})
        return folder / "movie.zarr"

    return write


def czi(folder):
    library = pytest.importorskip("pylibCZIrw.czi")
    with library.create_czi(str(folder / "movie.czi")) as writer:
        for t, frame in enumerate(MOVIE):
            for c in range(2):
                for z in range(4):
                    writer.write(frame[c, z, :, :, None], plane={"T": t, "C": c, "Z": z})
    return folder / "movie.czi"


def nd2(folder):
    pytest.importorskip("nd2")
    write_nd2(folder / "movie.nd2", MOVIE[:, None].swapaxes(2, 3))
    return folder / "movie.nd2"


def lif(folder):
    pytest.importorskip("liffile")
    movie = MOVIE.swapaxes(1, 2)
    write_lif(folder / "movie.lif", {"a": movie, "b": movie[:1]}, dict.fromkeys("xyzt", 1e-6))
    return folder / "movie.lif"


FAMILIES = {
    "tiff": [
        tiff("imagej.tif", imagej=True),
        tiff("zlib.tif", compression="zlib"),
        tiff("tiled.ome.tif", ome=True, compression="lzw", tile=(16, 16)),
        tiff("big.tif", bigtiff=True),
        tiff("strips.tif", compression="zstd", rowsperstrip=5),
    ],
    "hdf5": [bigdataviewer, imaris],
    "czi": [czi],
    "nd2": [nd2],
    "lif": [lif],
    "zarr": [ome_zarr(2), ome_zarr(3)],
}


HEADER = {".nd2": slice(-5000, None), ".lif": slice(0, 7000)}
"""Where the header is; elsewhere it is short and comes first."""


def damaged(content: bytes, rng: random.Random, header: slice) -> bytes:
    """Flip, overwrite, cut out, cut off and repeat; mostly in the header."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 6)):
        if not changed:
            break
        places = range(len(changed))
        at, kind = rng.choice(places if rng.random() < 0.4 else places[header]), rng.random()
        if kind < 0.35:
            digits = b"0123456789-." if chr(changed[at]).isdigit() else range(256)
            changed[at] = rng.choice(digits)
        elif kind < 0.5:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            changed[at : at + 4] = rng.choice(NUMBERS)
        elif kind < 0.8:
            del changed[at : at + rng.randrange(1, 40)]
        elif kind < 0.88:
            del changed[rng.randrange(len(changed) + 1) :]
        else:
            changed[at:at] = changed[max(0, at - 20) : at]
    return bytes(changed)


def processor_time() -> float:
    """Return the seconds that this process and those that read for it took, dead ones included."""
    times = os.times()
    spent = times.user + times.system + times.children_user + times.children_system
    for one in readers():
        with contextlib.suppress(psutil.Error):
            spent += sum(one.cpu_times()[:2])
    return spent


def most_memory() -> int:
    """Return the most bytes that this process, or one that reads for it, ever took."""
    if sys.platform != "linux":
        return max(one.memory_info().rss for one in (psutil.Process(), *readers()))
    import resource

    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peaks = [resource.getrusage(one).ru_maxrss for one in who]
    for one in readers():
        status = Path(f"/proc/{one.pid}/status").read_text()
        peaks += [int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line]
    return max(peaks) * 1024


def readers() -> list[psutil.Process]:
    """Return the process that reads for this one, if there is one."""
    running = apart._process.running
    return [] if running is None or running.poll() is not None else [psutil.Process(running.pid)]


def run(family: str, rounds: int, folder: Path) -> dict[str, int]:
    """Damage files and open them; returns how often there was a movie, and how often a sentence."""
    made = [write(folder) for write in FAMILIES[family]]
    files = {
        path: [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
        for path in made
    }
    whole = {file: file.read_bytes() for path in made for file in files[path]}
    outcomes = {"movie": 0, "sentence": 0}
    for round_number in range(rounds):
        rng = random.Random(round_number)
        path = rng.choice(made)
        headers = [file for file in files[path] if file.name.startswith((".z", "zarr"))]
        file = rng.choice(headers if headers and rng.random() < 0.85 else files[path])
        file.write_bytes(damaged(whole[file], rng, HEADER.get(path.suffix, slice(700))))
        before = processor_time()
        try:
            source = open_images(path)
            for t in (source.time_points[0], source.time_points[-1]):
                source.read_frame(t, source.n_channels - 1)
            outcomes["movie"] += 1
        except CellTrainError:
            outcomes["sentence"] += 1
        assert processor_time() - before < 5, round_number
        file.write_bytes(whole[file])
    assert min(outcomes.values()) > rounds / 10, outcomes
    return outcomes


@pytest.mark.parametrize("family", FAMILIES)
def test_damage_ends_in_a_movie_or_in_a_sentence(tmp_path, family):
    run(family, 200, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("family", FAMILIES)
def test_much_damage_ends_in_a_movie_or_in_a_sentence(tmp_path, family):
    run(family, 20_000, tmp_path)
    assert most_memory() < 1e9


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made_in:
        ended = run(sys.argv[1], int(sys.argv[2]), Path(made_in))
    print(
        f"{ended['sentence']} refused, {ended['movie']} read, "
        f"{most_memory() / 2**20:.0f} MiB at most"
    )
