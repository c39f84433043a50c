"""Writes one of each file that later versions have to read, into tests/data/kept/VERSION.

    python scripts/keep_formats.py 1

Run once for each version of the formats; what it wrote is never changed again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from napari_celltrain import Detector, train
from napari_celltrain.dataset import load_dataset
from napari_celltrain.sharing import About, pack_detector
from napari_celltrain.simulation import write_sample
from napari_celltrain.training.control import Control
from napari_celltrain.training.events import Step
from napari_celltrain.training.settings import TrainingSettings

STEPS, STOP_AT = 124, 120
KEPT = Path(__file__).parents[1] / "tests" / "data" / "kept"

if __name__ == "__main__":
    folder = KEPT / sys.argv[1]
    sample = write_sample(
        folder / "sample", kind="plane", time_points=6, size=(1, 64, 64), n_cells=7
    )
    settings = TrainingSettings().changed(
        [f"budget.steps={STEPS}", "design.width=8", "optimiser.batch_size=4", "compute.threads=1",
         "compute.device=cpu", "compute.precision=float32", "optimiser.crop_size=48"]
    )  # fmt: skip
    control = Control()

    def stop(event: object) -> None:
        """Leave something to go on with."""
        if isinstance(event, Step) and event.step >= STOP_AT:
            control.stop()

    run = folder / "run"
    train(load_dataset(sample), run, settings, [stop], control=control)
    detector = Detector.from_folder(run, device="cpu", precision="float32")
    (experiment,) = load_dataset(sample).experiments
    assert experiment.images is not None
    frame = experiment.images.read_frame(0, 0)
    found = detector.detect([frame], experiment.known_voxel_size_um).above(detector.threshold)
    np.savetxt(folder / "found.csv", np.column_stack([found.positions, found.scores]), "%.5f", ",")
    pack_detector(run, folder / "detector.celltrain", About("Kept", "CC0-1.0", ("Nobody",)))
    for file in sorted((run / "checkpoints").iterdir())[:-1]:  # the newest is enough
        file.unlink()
    for file in (run / "prepared").rglob("*"):
        if file.is_file():
            file.unlink()
    for name in ("run.lock", "run.pid"):
        (run / name).unlink(missing_ok=True)
