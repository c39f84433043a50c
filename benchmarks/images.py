"""What it costs to open a movie of 200 GB, and to read a frame and a crop of it.

    python benchmarks/images.py

Writes sparse or repetitive files (a few hundred MB on the disk) into a temporary folder, and opens
each in a process of its own. Goals: opened in less than 2 s and with less than 300 MB more memory.
The two compressed TIFFs are a chain of 100 000 planes that has to be walked along once; they may
take longer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tifffile
import zarr

if TYPE_CHECKING:
    from collections.abc import Callable

SHAPE = (1000, 100, 1024, 1024)  # t, z, y, x of uint16: 210 GB
SECONDS, MEGABYTES = 2.0, 300.0

MEASURE = """
import json, sys, time
import psutil
from napari_celltrain.images import open_images
memory = lambda: psutil.Process().memory_info().rss / 1e6
before = memory()
start = time.perf_counter()
source = open_images(sys.argv[1])
opened = time.perf_counter() - start
more = memory() - before
t = source.time_points[-1]
start = time.perf_counter()
source.read_crop(t, 0, (slice(10, 42), slice(100, 228), slice(100, 228)))
crop = time.perf_counter() - start
start = time.perf_counter()
frame = source.read_frame(t // 2)
print(json.dumps({"open_s": opened, "open_mb": more, "crop_s": crop,
                  "frame_s": time.perf_counter() - start, "frame_mb": memory() - before,
                  "time_points": len(source.time_points), "shape": frame.shape}))
"""


def plain_tiff(folder: Path) -> Path:
    """Uncompressed, in one piece."""
    path = folder / "plain.tif"
    tifffile.memmap(
        path, shape=SHAPE, dtype=np.uint16, bigtiff=True, photometric="minisblack",
        metadata={"axes": "TZYX"},
    )  # fmt: skip
    return path


def compressed(path: Path, **options: object) -> Path:
    """100 000 compressed planes, each the same bytes."""
    plane = zlib.compress(np.zeros(SHAPE[2:], np.uint16).tobytes())
    with tifffile.TiffWriter(path, bigtiff=True, **options) as writer:
        writer.write(
            (plane for _ in range(SHAPE[0] * SHAPE[1])),
            shape=SHAPE, dtype=np.uint16, compression="zlib", photometric="minisblack",
            rowsperstrip=SHAPE[2], metadata={"axes": "TZYX"},
        )  # fmt: skip
    return path


def zlib_tiff(folder: Path) -> Path:
    """BigTIFF, compressed plane by plane."""
    return compressed(folder / "zlib.tif")


def ome_tiff(folder: Path) -> Path:
    """OME-BigTIFF, compressed plane by plane."""
    return compressed(folder / "zlib.ome.tif", ome=True)


def ome_zarr(folder: Path) -> Path:
    """OME-Zarr 0.5."""
    path = folder / "movie.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.create_array("0", shape=SHAPE, dtype="u2", chunks=(1, 32, 64, 64))
    axes = [{"name": "t", "type": "time"}, *({"name": n, "type": "space"} for n in "zyx")]
    scale = [{"type": "scale", "scale": [1, 2.0, 0.4, 0.4]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {
        "version": "0.5",
        "multiscales": [{"axes": axes, "datasets": levels}],
    }
    return path


def tiff_series(folder: Path) -> Path:
    """A file for each time point, uncompressed and sparse."""
    series = folder / "series"
    series.mkdir()
    for t in range(SHAPE[0]):
        tifffile.memmap(
            series / f"t{t:04}.tif", shape=SHAPE[1:], dtype=np.uint16, photometric="minisblack",
            metadata={"axes": "ZYX"},
        )  # fmt: skip
    return series


WALKED = ("zlib_tiff", "ome_tiff")
CASES: tuple[Callable[[Path], Path], ...] = (plain_tiff, zlib_tiff, ome_tiff, ome_zarr, tiff_series)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("cases", nargs="*", help=", ".join(case.__name__ for case in CASES))
    wanted = parser.parse_args().cases
    print(
        f"{'movie of 210 GB':<16}{'open':>9}{'memory':>10}{'crop':>10}{'frame':>10}{'memory':>10}"
    )
    missed = False
    for case in CASES:
        if wanted and case.__name__ not in wanted:
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = case(Path(folder))
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True
            )
        if done.returncode:
            print(f"{case.__name__:<16}{done.stderr.strip().splitlines()[-1]}")
            missed = True
            continue
        m = json.loads(done.stdout)
        good = m["open_s"] < SECONDS or case.__name__ in WALKED
        good &= m["open_mb"] < MEGABYTES and m["time_points"] == SHAPE[0]
        missed |= not good
        print(
            f"{case.__name__:<16}{m['open_s']:7.2f} s{m['open_mb']:7.0f} MB"
            f"{1e3 * m['crop_s']:7.0f} ms{m['frame_s']:8.2f} s{m['frame_mb']:7.0f} MB"
            f"{'' if good else '   MISSED'}"
        )
    sys.exit(missed)


if __name__ == "__main__":
    main()
