"""F1 on unseen frames after one minute of training on two CPU threads.

    python benchmarks/minute.py [hela cho sim+ organoid ...] [--minutes 1] [--seeds 1]

Trains on the first frames of each set, tests on the last ones with the real predictor: tolerance
half the median spacing, cells within the set's border count for nobody's error.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from pathlib import Path

from annotated_sets import SETS

from napari_celltrain.dataset import Dataset, load_dataset, split
from napari_celltrain.detector.detector import Detector
from napari_celltrain.evaluation.threshold import best_threshold
from napari_celltrain.prediction.judge import candidates, total
from napari_celltrain.training.events import Evaluation, Event
from napari_celltrain.training.loop import train
from napari_celltrain.training.settings import TrainingSettings

GOALS = {"hela": (0.97, 30), "cho": (0.95, 20), "sim+": (0.97, 40), "organoid": (0.98, 40)}


def one(key: str, settings: TrainingSettings, folder: Path, test: Dataset | None = None) -> None:
    """Train on one set and print a row."""
    frames, border, tolerance = None, 0.0, None
    if key == "organoid":
        from napari_celltrain.simulation import write_sample

        write_sample(folder / "sample")
        data = load_dataset([folder / "sample" / "dataset.toml"])
        experiment, frames = data.experiments[0], list(split(data).held_out)
    else:
        chosen = SETS[key]
        data, experiment, frames = chosen.training_set(), chosen.experiment(), chosen.test_frames()
        border, tolerance = chosen.border_px, chosen.half_spacing()
    began, reached = time.monotonic(), {}
    goal, goal_s = GOALS.get(key, (1.0, 0))

    def note(event: Event) -> None:
        if isinstance(event, Evaluation) and event.f1 >= goal:
            reached.setdefault("s", time.monotonic() - began)

    finished = train(data, folder / "run", settings, [note])
    detector = Detector.from_folder(folder / "run", device=settings.compute.device)
    judged = list(candidates(detector, [experiment], frames, tolerance=tolerance, border_px=border))
    scores = total(judged, detector.threshold)
    best = best_threshold([frame.scored for frame in judged], floor=0.05).scores
    cost = finished.performance
    print(
        f"| {key} | {scores.f1:.3f} | {scores.precision:.3f} | {scores.recall:.3f} "
        f"| {best.f1:.3f} | {scores.localisation_error / detector.design.diameter:.1%} "
        f"| {finished.best_f1:.3f} | {reached.get('s', float('nan')):.0f} s ({goal}, {goal_s} s) "
        f"| {finished.seconds:.0f} s | {cost['image_voxels_per_cpu_s'] / 1e6:.2f} "
        f"| {cost['share_not_network']:.1%} | {cost['conv_efficiency']:.0%} "
        f"| {cost['peak_rss_mib']:.0f} | {finished.step} |",
        flush=True,
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=["hela", "cho", "sim+", "organoid"])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--steps", type=int, help="instead of minutes: does not depend on load")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    arguments = parser.parse_args()
    print(
        "| set | F1 | precision | recall | F1 at the best threshold | error / diameter | held-out "
        "F1 | held-out goal after | took | Mvoxel per CPU s | not network | conv | MiB | steps |\n"
        + "|---" * 14
        + "|"
    )
    budget = f"budget.minutes={arguments.minutes}"
    if arguments.steps:
        budget = f"budget.steps={arguments.steps}"
    for key in arguments.sets:
        for seed in range(arguments.seeds):
            settings = TrainingSettings().changed(
                [
                    budget,
                    f"compute.threads={arguments.threads}",
                    f"compute.seed={seed}",
                    "compute.device=cpu",
                    *arguments.assignments,
                ]
            )
            folder = Path(tempfile.mkdtemp(prefix="celltrain-minute-"))
            try:
                one(key, settings, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
