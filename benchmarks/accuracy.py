"""F1 on unseen frames of every annotated set, what each part of the design is worth, one for all.

    python benchmarks/accuracy.py sets     [--minutes 3] [--seeds 3] [--threads 2] [--only hela cho]
    python benchmarks/accuracy.py parts    [--steps 400] [--seeds 1] [--only hela dense]
    python benchmarks/accuracy.py together [--minutes 4 | --steps 3000] [--unseen laptrack]

A match is a found cell within half a cell diameter of an annotated one. Test frames come after a
gap (or are other fields), were neither learnt from nor used to choose anything, and are searched by
the detector as the run left it. ``parts`` trains for a fixed number of steps, so that a busy
machine changes nothing; ``together`` trains one detector on all sets but the unseen one.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from annotated_sets import SETS

from napari_celltrain.dataset import Dataset
from napari_celltrain.detector.detector import Detector
from napari_celltrain.prediction.judge import candidates, total
from napari_celltrain.training import crops, targets
from napari_celltrain.training.loop import train
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_celltrain.evaluation.scores import Scores

PARTS = {
    "everything": [],
    "no offsets": [],
    "time window -1 to 1": ["design.time_window=[-1, 1]"],
    "no averaging of weights": ["optimiser.ema=0"],
    "no augmentation": ["augmentation.strength=0"],
    "no geometry": [
        "augmentation.flip=false",
        "augmentation.rotate=false",
        "augmentation.scale=0",
        "augmentation.shear=0",
    ],
    "no change of light": [
        "augmentation.brightness=0",
        "augmentation.contrast=0",
        "augmentation.gamma=0",
        "augmentation.noise=0",
        "augmentation.blur=0",
        "augmentation.z_decay=0",
        "augmentation.plane_flicker=0",
    ],
    "crops anywhere": ["optimiser.cells_share=0"],
    "crops not balanced": [],
    "working scale doubled": [],
    "working scale halved": [],
}


def judge(detector: Detector, key: str) -> tuple[Scores, float]:
    """Look for cells in the test frames; returns the scores and the diameter."""
    chosen = SETS[key]
    experiment = chosen.experiment()
    unit_um = detector.design.unit == "um"
    if unit_um and experiment.known_voxel_size_um is None:
        # as a person would who is asked for the pixel size: from the width of the cells
        scale = detector.design.diameter / chosen.diameter()
        experiment = experiment.with_(voxel_size_um=(scale, scale, scale))
    diameter = chosen.diameter()
    if unit_um and chosen.voxel_size_um is None:
        diameter = detector.design.diameter
    judged = list(
        candidates(
            detector,
            [experiment],
            chosen.test_frames(),
            tolerance=diameter / 2,
            border_px=chosen.border_px,
        )
    )
    return total(judged, detector.info.threshold_for(key)), diameter


@contextlib.contextmanager
def changed(part: str) -> Iterator[None]:
    """Take something out that no setting takes out."""
    kept = targets.OFFSET_REACH, crops.CROWDING
    if part == "no offsets":
        targets.OFFSET_REACH = -1.0  # no offset is learnt
    if part == "crops not balanced":
        crops.CROWDING = 0.0
    try:
        yield
    finally:
        targets.OFFSET_REACH, crops.CROWDING = kept


def trained(data: Dataset, settings: TrainingSettings) -> tuple[Detector, float, int]:
    """Train in a folder that is gone afterwards; returns detector, seconds, steps."""
    folder = Path(tempfile.mkdtemp(prefix="celltrain-accuracy-"))
    try:
        began = time.monotonic()
        finished = train(data, folder / "run", settings)
        detector = Detector.from_folder(folder / "run", device="cpu")
        return detector, time.monotonic() - began, finished.step
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sets(keys: list[str], minutes: float, seeds: int, threads: int) -> None:
    """Every set on its own, with several seeds."""
    print(
        "| set | F1 (seeds) | mean F1 | precision | recall | error / diameter | took | steps |\n"
        + "|---" * 8
        + "|"
    )
    for key in keys:
        rows = []
        for seed in range(seeds):
            settings = TrainingSettings().changed(
                [
                    f"budget.minutes={minutes}",
                    f"compute.threads={threads}",
                    "compute.device=cpu",
                    f"compute.seed={seed}",
                ]
            )
            detector, seconds, steps = trained(SETS[key].training_set(), settings)
            scores, diameter = judge(detector, key)
            rows.append(
                (
                    scores.f1,
                    scores.precision,
                    scores.recall,
                    scores.localisation_error / diameter,
                    seconds,
                    steps,
                )
            )
        mean = np.mean(rows, axis=0)
        print(
            f"| {key} | {', '.join(f'{row[0]:.3f}' for row in rows)} | {mean[0]:.3f} "
            f"| {mean[1]:.3f} | {mean[2]:.3f} | {mean[3]:.1%} | {mean[4]:.0f} s | {mean[5]:.0f} |",
            flush=True,
        )


def parts(keys: list[str], steps: int, seeds: int, chosen: list[str]) -> None:
    """What is lost without each part of the design, or without the chosen ones."""
    print("| part | " + " | ".join(keys) + " |\n" + "|---" * (len(keys) + 1) + "|")
    for part in chosen:
        assignments, cells = PARTS[part], []
        for key in keys:
            f1, error = [], []
            for seed in range(seeds):
                settings = TrainingSettings().changed(
                    [
                        f"budget.steps={steps}",
                        "compute.threads=1",
                        "compute.device=cpu",
                        f"compute.seed={seed}",
                        *assignments,
                        *_scale(part, key),
                    ]
                )
                with changed(part):
                    detector, _, _ = trained(SETS[key].training_set(), settings)
                if part == "no offsets":
                    detector = _without_offsets(detector)
                scores, diameter = judge(detector, key)
                f1.append(scores.f1)
                error.append(scores.localisation_error / diameter)
            cells.append(f"{np.mean(f1):.3f}, {np.mean(error):.1%}")
        print(f"| {part} | " + " | ".join(cells) + " |", flush=True)


def _without_offsets(detector: Detector) -> Detector:
    """What was not learnt must not move anything: cells lie at grid centres."""
    weights = {key: value.clone() for key, value in detector.weights.items()}
    weights["head.weight"][1:] = 0
    weights["head.bias"][1:] = 0
    return Detector(detector.info, weights, device="cpu")


_SCALES: dict[str, float] = {}


def _scale(part: str, key: str) -> list[str]:
    """Working scales relative to the one that is chosen by itself."""
    if not part.startswith("working scale"):
        return []
    if key not in _SCALES:
        settings = TrainingSettings().changed(["budget.steps=1", "compute.device=cpu"])
        detector, _, _ = trained(SETS[key].training_set(), settings)
        finest = (SETS[key].voxel_size_um or (1.0, 1.0, 1.0))[1]
        _SCALES[key] = finest / detector.design.working_voxel_size[1]
    return [f"design.working_scale={_SCALES[key] * (2 if 'doubled' in part else 0.5)}"]


def together(unseen: str, budget: str, threads: int) -> None:
    """One detector for all sets but one."""
    keys = [key for key in SETS if key not in (unseen, "sparse")]  # an easy kind more
    members = [member for key in keys for member in SETS[key].training_set().members]
    settings = TrainingSettings().changed(
        [budget, f"compute.threads={threads}", "compute.device=cpu"]
    )
    detector, seconds, steps = trained(Dataset(tuple(members)), settings)
    print(
        f"{len(keys)} sets, {seconds:.0f} s, {steps} steps, diameter "
        f"{detector.design.diameter:.3g} {detector.design.unit}\n"
    )
    print("| set | F1 | precision | recall | error / diameter |\n" + "|---" * 5 + "|")
    for key in [*keys, unseen]:
        scores, diameter = judge(detector, key)
        name = f"{key} (never seen)" if key == unseen else key
        print(
            f"| {name} | {scores.f1:.3f} | {scores.precision:.3f} | {scores.recall:.3f} "
            f"| {scores.localisation_error / diameter:.1%} |",
            flush=True,
        )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["sets", "parts", "together"])
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", choices=[*SETS], default=[])
    parser.add_argument("--parts", nargs="*", choices=[*PARTS], default=[*PARTS])
    parser.add_argument("--unseen", choices=[*SETS], default="laptrack")
    chosen = parser.parse_args()
    if chosen.what == "sets":
        sets(chosen.only or [*SETS], chosen.minutes, chosen.seeds or 3, chosen.threads)
    elif chosen.what == "parts":
        keys = chosen.only or ["hela", "bbbc039", "dense"]
        parts(keys, chosen.steps or 400, chosen.seeds or 1, chosen.parts)
    else:
        budget = f"budget.minutes={chosen.minutes}"
        if chosen.steps is not None:
            budget = f"budget.steps={chosen.steps}"
        together(chosen.unseen, budget, chosen.threads)


if __name__ == "__main__":
    main()
