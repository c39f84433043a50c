"""F1 of one detector on its test images, changed as other microscopes and days change them.

    python benchmarks/robustness.py [hela sim+ ...] [--minutes 1] [--others]

Rescaled images come with their new voxel size, as they would from another magnification. With
``--others`` each detector looks at the images of the other sets too, with a gamma of 1 and with the
one it finds by itself.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
from annotated_sets import SETS
from scipy.ndimage import zoom

from napari_celltrain.detector.detector import Detector
from napari_celltrain.evaluation.scores import Scores
from napari_celltrain.images import ArraySource
from napari_celltrain.prediction.first_look import look_at_movie
from napari_celltrain.prediction.judge import candidates, scorer, total, voxel_size_of
from napari_celltrain.prediction.predict import predict
from napari_celltrain.training.loop import train
from napari_celltrain.training.settings import TrainingSettings


def changes(seed: int = 0) -> dict:
    """Return name -> function of a float image (0 dark, 1 bright) and a random generator."""
    return {
        "untouched": lambda image, rng: image,
        "gamma 0.5": lambda image, rng: np.clip(image, 0, None) ** 0.5,
        "gamma 2": lambda image, rng: np.clip(image, 0, None) ** 2,
        "brightness x 4": lambda image, rng: image * 4,
        "offset": lambda image, rng: image + 3,
        "noise 5 %": lambda image, rng: image + rng.normal(0, 0.05, image.shape),
        "noise 10 %": lambda image, rng: image + rng.normal(0, 0.10, image.shape),
        "one hot pixel": _hot,
        "size x 0.5": 0.5,
        "size x 0.7": 0.7,
        "size x 1.5": 1.5,
        "size x 2": 2.0,
    }


def _hot(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    image = image.copy()
    image.flat[len(image.flat) // 2] = 1000
    return image


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="*", default=["hela", "sim+", "bbbc039"])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--steps", type=int, help="instead of minutes: does not depend on load")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="assignments")
    parser.add_argument("--detector", type=Path, help="use this one instead of training")
    parser.add_argument("--others", action="store_true", help="look at the other sets as well")
    arguments = parser.parse_args()
    budget = f"budget.minutes={arguments.minutes}"
    if arguments.steps:
        budget = f"budget.steps={arguments.steps}"
    print("| set | " + " | ".join(changes()) + " |\n" + "|---" * (len(changes()) + 1) + "|")
    foreign = []
    for key in arguments.sets:
        chosen = SETS[key]
        folder = Path(tempfile.mkdtemp(prefix="celltrain-robust-"))
        try:
            place = arguments.detector or folder / "run"
            if arguments.detector is None:
                settings = TrainingSettings().changed(
                    [budget, f"compute.threads={arguments.threads}", *arguments.assignments]
                )
                train(chosen.training_set(), place, settings)
            detector = Detector.from_folder(place, device="cpu", threads=2)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        print(
            f"| {key} | " + " | ".join(f"{f1:.3f}" for f1 in row(chosen, detector)) + " |",
            flush=True,
        )
        if arguments.others:
            foreign += [other_set(key, detector, other) for other in arguments.sets if other != key]
    if foreign:
        print("\n| learnt from | looks at | gamma 1 | as found | gamma |\n|---|---|---|---|---|")
        print("\n".join(foreign))


def other_set(key: str, detector: Detector, other: str) -> str:
    """Return a row of the table: F1 in the images of another set."""
    chosen = SETS[other]
    experiment = chosen.experiment()
    frames = [(0, t) for _, t in chosen.test_frames()]
    voxel = voxel_size_of(detector, experiment)
    look = look_at_movie(detector, experiment.images, experiment.channels, voxel)
    assert look is not None
    f1 = [
        total(
            list(
                candidates(detector, [experiment], frames, gamma=gamma, border_px=chosen.border_px)
            ),
            detector.threshold,
        ).f1
        for gamma in (1.0, None)
    ]
    return f"| {key} | {other} | {f1[0]:.3f} | {f1[1]:.3f} | {look.gamma:g} |"


def row(chosen, detector: Detector) -> list[float]:
    """F1 for each change."""
    experiment = chosen.experiment()
    times = [t for _, t in chosen.test_frames()]
    frames = [experiment.images.read_frame(t, 0).astype(np.float32) for t in times]
    voxel = detector.voxel_size_for(chosen.voxel_size_um)
    result = []
    for change in changes().values():
        rng = np.random.default_rng(0)
        changed = []
        for frame in frames:
            low, high = np.percentile(frame, [1, 99.9])
            image = (frame - low) / (high - low)
            factor = change if isinstance(change, float) else 1.0
            changed.append(
                zoom(image, (1, factor, factor), order=1, grid_mode=True, mode="nearest")
                if factor != 1
                else change(image, rng)
            )
        exact = np.array(frames[0].shape) / np.array(changed[0].shape)
        size = tuple(v * e for v, e in zip(voxel, exact, strict=True))
        movie = ArraySource(np.stack(changed).astype(np.float32), "tzyx", time_offset=times[0])
        known = None if detector.design.unit == "px" else size
        sums = Scores()
        score = scorer(
            experiment,
            detector.design.diameter,
            voxel,
            tolerance=detector.design.tolerance,
            border_px=chosen.border_px,
        )
        for found in predict(detector, movie, voxel_size_um=known):
            judged = score(found.t, (found.positions + 0.5) * exact - 0.5, found.scores)
            sums += judged.score_at(detector.threshold)
        result.append(sums.f1)
    return result


if __name__ == "__main__":
    main()
