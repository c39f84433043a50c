"""Damages the files of a family again and again, and reads them.

    python tests/formats/mutate.py json 1 20000

The family (see `mutation_seeds`), the seed of the random numbers, how many files. Prints what went
wrong; the exit code is 1 if anything did.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import random
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from mutation_seeds import FAMILIES

from napari_celltrain.images import apart

CPU_LIMIT_S = 5.0
HANG_S = 600
ends: Counter[str] = Counter()
"""How often a file was read, and refused with a sentence."""
MEMORY_LIMIT = 2**30


def most_memory():
    """Return the most bytes that this process or one of its own ever used; 0 for unknown."""
    if sys.platform != "linux":
        return 0
    import resource

    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peaks = [resource.getrusage(one).ru_maxrss for one in who]
    reader = apart._process.running
    if reader is not None:
        with contextlib.suppress(OSError):
            status = Path(f"/proc/{reader.pid}/status").read_text()
            peaks += [int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line]
    return max(peaks) * 1024


def cpu_time():
    """Return the seconds of processor time of this process and all of its own."""
    times = os.times()
    spent = times.user + times.system + times.children_user + times.children_system
    reader = apart._process.running
    if reader is not None and reader.poll() is None:
        with contextlib.suppress(psutil.Error):
            spent += sum(psutil.Process(reader.pid).cpu_times()[:2])
    return spent


def outcome(path):
    """Return "" for a result or a sentence, else what went wrong."""
    from napari_celltrain.errors import CellTrainError
    from napari_celltrain.formats import format_of, read_experiments
    from napari_celltrain.formats.aut_writing import aut_text

    start, before = cpu_time(), most_memory()
    try:
        format_of(path)
        for experiment in read_experiments(path):
            if not np.isfinite(experiment.annotations.positions).all():
                return "a position is not finite"
            aut_text(experiment)
        ends["read"] += 1
    except CellTrainError as error:
        ends["refused"] += 1
        if len(str(error)) > 2000:
            return "the sentence is endless"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"[:300]
    if most_memory() > max(before, MEMORY_LIMIT):
        return f"took {most_memory() / 2**20:.0f} MiB"
    spent = cpu_time() - start
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
        ends.clear()
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


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit("\n".join(FAMILIES))
    faulthandler.enable()
    troubles = run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    print("\n".join(troubles[:40]))
    print(
        f"{ends['refused']} refused, {ends['read']} read, {most_memory() / 2**20:.0f} MiB at most"
    )
    print(f"{len(troubles)} failures")
    sys.exit(bool(troubles))
