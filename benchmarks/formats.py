"""How long large tracking files take to open, and how much memory they need.

    python benchmarks/formats.py

Each measurement runs in a process of its own; the memory is the most that process ever used, above
what it used after its imports (Linux only). ``geff.convert`` reads the same TrackMate file in the
same run.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import write_experiment

TRACKMATE_SPOTS, AUT_POSITIONS, TABLE_ROWS = 100_000, 1_000_000, 1_000_000
LIMITS = {"TrackMate XML": (2.0, 200), "aut": (10.0, None)}

MEASURE = """
import json, re, sys, time
def most():  # not what getrusage says: that begins with the parent's
    found = re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())
    return int(found[1]) / 1024
{imports}
before, start, cpu = most(), time.perf_counter(), time.process_time()
{work}
print(json.dumps({{"s": time.perf_counter() - start, "cpu": time.process_time() - cpu,
                  "MiB": most() - before, "n": n}}))
"""
OURS = (
    "import scipy.spatial, h5py\n"
    "from napari_celltrain.formats import formats, read_experiments\nformats()",
    "(one,) = read_experiments(sys.argv[1], find_images=False)\n"
    "n = len(one.annotations), len(one.annotations.links)",
)
GEFF_CONVERT = (
    "from geff.convert import from_trackmate_xml_to_geff",
    "from_trackmate_xml_to_geff(sys.argv[1], sys.argv[2], overwrite=True)\nn = None",
)
GEFF_READ = (
    "from napari_celltrain.formats import formats, read_experiments\nformats()\nimport zarr",
    OURS[1],
)


def lineage(n: int) -> Experiment:
    """Return cells in 100 time points, each linked to the next, one in fifty dividing."""
    random = np.random.default_rng(0)
    n_times = 100
    per_time = n // n_times
    positions = random.uniform(0, [50, 1000, 1000], (per_time, 3))
    steps = random.normal(0, 1, (n_times, per_time, 3)).cumsum(axis=0)
    positions = (positions + steps).reshape(-1, 3)
    t = np.repeat(np.arange(n_times), per_time)
    targets = np.arange(per_time, n)
    sources = targets - per_time
    dividing = random.random(len(sources)) < 0.02
    sources[dividing] = np.maximum(sources[dividing] - 1, (t[sources[dividing]]) * per_time)
    return Experiment(
        "made",
        Annotations(
            t, positions, np.column_stack([sources, targets]), features={"score": random.random(n)}
        ),
        voxel_size_um=(2.0, 0.5, 0.5),
        frame_interval_s=300.0,
    )


def measure(what: tuple[str, str], *arguments: Path) -> dict:
    """Run in a process of its own; return seconds, MiB and what was read."""
    program = MEASURE.format(imports=what[0], work=what[1])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:150]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> int:
    """Print one line for each measurement; 1 when a limit is missed."""
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        spots, many = lineage(TRACKMATE_SPOTS), lineage(AUT_POSITIONS)
        write_experiment(root / "a.xml", spots)
        write_experiment(root / "a.aut", many)
        write_experiment(root / "a.csv", many)
        write_experiment(root / "a.geff", many)
        rows = [
            ("TrackMate XML", f"{TRACKMATE_SPOTS} spots", measure(OURS, root / "a.xml")),
            (
                "  geff.convert",
                "the same file",
                measure(GEFF_CONVERT, root / "a.xml", root / "b.geff"),
            ),
            ("aut", f"{AUT_POSITIONS} positions", measure(OURS, root / "a.aut")),
            ("CSV table", f"{AUT_POSITIONS} rows", measure(OURS, root / "a.csv")),
            ("GEFF", f"{AUT_POSITIONS} nodes", measure(GEFF_READ, root / "a.geff")),
        ]
    for name, size, found in rows:
        if "failed" in found:
            print(f"{name:16} {size:18} failed: {found['failed']}")
            continue
        most_s, most_mib = LIMITS.get(name, (None, None))
        # the processor's time: on a machine that is busy with other things the wall's means little
        over = (most_s is not None and found["cpu"] > most_s) or (
            most_mib is not None and found["MiB"] > most_mib
        )
        missed += over
        limit = (
            ""
            if most_s is None
            else f"  limit {most_s:g} s" + ("" if most_mib is None else f", {most_mib} MiB")
        )
        print(
            f"{name:16} {size:18} {found['s']:6.2f} s (cpu {found['cpu']:5.2f} s) "
            f"{found['MiB']:6.0f} MiB"
            f"{limit}{'  MISSED' if over else ''}  read {found['n']}"
        )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
