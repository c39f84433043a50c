"""``celltrain evaluate``: how good a detector is on frames that it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.cli.arguments import (
    add_device,
    add_diameter,
    add_gamma,
    add_json,
    not_negative,
    positive,
    share,
)
from napari_celltrain.cli.output import Progress, print_json, say, tell
from napari_celltrain.errors import CellTrainError, counted

if TYPE_CHECKING:
    import argparse
    from collections.abc import Collection

    from napari_celltrain.dataset import Dataset
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.detector.folder import DetectorInfo
    from napari_celltrain.experiment import Experiment

SUMMARY = "Compare what a detector finds with annotation that it did not learn from."
EXAMPLES = """\
examples:
  celltrain evaluate run dataset.toml
  celltrain evaluate run other_movie.autlist --tolerance-um 3 --border 20

Experiments with the role "held-out" are used; when none has that role, the frames that the
detector did not train on, without those right beside them. A movie is known again by its pixels,
whatever it is called. A detection counts as right when it is matched, one to one, with an
annotated cell within the tolerance (default: half the cell diameter).
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument(
        "detector",
        type=Path,
        metavar="DETECTOR",
        help="a run or detector folder, or a .celltrain file",
    )
    parser.add_argument(
        "dataset",
        nargs="+",
        type=Path,
        metavar="DATASET",
        help="a dataset.toml, an .autlist, a CTC folder or another tracking file",
    )
    tolerance = parser.add_mutually_exclusive_group()
    tolerance.add_argument(
        "--tolerance-um", type=positive, metavar="D", help="greatest distance of a match"
    )
    tolerance.add_argument(
        "--tolerance-px", type=positive, metavar="D", help="the same in pixels in plane"
    )
    parser.add_argument(
        "--border",
        type=not_negative,
        default=0.0,
        metavar="PX",
        help="cells and detections within PX pixels of the image's edge count for nobody",
    )
    add_diameter(parser)
    add_gamma(parser)
    parser.add_argument(
        "--threshold", type=share, metavar="T", help="score threshold; default: the detector's own"
    )
    add_device(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Evaluate."""
    from napari_celltrain.dataset import load_dataset

    dataset = load_dataset(arguments.dataset)

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.evaluation.scores import Scores
    from napari_celltrain.prediction.judge import candidates

    detector = Detector.from_folder(
        arguments.detector, device=arguments.device, threads=arguments.threads
    )
    frames, what, learnt = frames_to_judge(dataset, detector.info)
    used: dict[str, float] = {}
    scores = Scores()
    widths = [arguments.diameter] * len(dataset.experiments) if arguments.diameter else None
    with Progress("Evaluating", len(frames)) as progress:
        for member in sorted({index for index, _ in frames}):
            experiment = dataset.experiments[member]
            name = experiment.name
            _warn(detector, experiment)
            if detector.design.unit == "um" and experiment.known_voxel_size_um is None:
                say(
                    f"warning: The voxel size of '{name}' is not known; such a one is assumed that "
                    "its cells are as wide as those of the training."
                )
            threshold = arguments.threshold
            if threshold is None:
                threshold = detector.info.threshold_for(name)
            used[name] = threshold
            own = [frame for frame in frames if frame[0] == member]
            for judged in candidates(
                detector,
                dataset.experiments,
                own,
                cell_diameters=widths,
                gamma=arguments.gamma,
                tell=lambda finding: say(f": {finding.message}", head=finding.severity),
                tolerance=_tolerance(arguments, detector, dataset, member),
                border_px=arguments.border,
            ):
                scores += judged.scored.score_at(threshold)
                progress.advance()
    say(f"Judged on {what}.")
    if learnt:
        say(
            f": The detector has learnt from {learnt} of these {counted(len(frames), 'frame')}, so "
            "the F1 is better than for other images.",
            head="warning",
        )
    if not scores.tp + scores.fp + scores.fn:
        say("Nothing is left to judge: nothing was found or annotated where it counts.")
    unit = detector.design.unit
    if arguments.json:
        print_json(
            {
                "f1": scores.f1,
                "precision": scores.precision,
                "recall": scores.recall,
                "tp": scores.tp,
                "fp": scores.fp,
                "fn": scores.fn,
                "localisation_error_um": scores.localisation_error,
                "unit": unit,
                "threshold": (
                    detector.threshold if arguments.threshold is None else arguments.threshold
                ),
                "thresholds": used,
                "frames": len(frames),
                "frames_learnt_from": learnt,
            }
        )
    else:
        distance = "; found cells are off by "
        distance += f"{scores.localisation_error:.2f} {unit} on average"
        tell(
            f"F1 {scores.f1:.3f}, precision {scores.precision:.3f}, recall {scores.recall:.3f} at "
            f"{_thresholds(used.values())}\n"
            f"{counted(scores.tp, 'cell')} found, {scores.fn} missed, "
            f"{counted(scores.fp, 'false detection')}{distance if scores.tp else ''}"
        )
    return 0


def _warn(detector: Detector, experiment: Experiment) -> None:
    """Say what looks wrong with an experiment, or unlike what the detector learnt from."""
    from napari_celltrain.prediction.judge import voxel_size_of
    from napari_celltrain.prediction.unlike import unlike_before
    from napari_celltrain.statistics import findings

    assert experiment.images is not None
    size = voxel_size_of(detector, experiment)
    found = [
        *(one for one in (*experiment.findings, *findings(experiment)) if one.severity != "info"),
        *unlike_before(detector.info, experiment.images, size),
    ]
    for finding in dict.fromkeys((one.severity, one.message) for one in found):
        say(f": {experiment.name}: {finding[1]}", head=finding[0])


def frames_to_judge(dataset: Dataset, info: DetectorInfo) -> tuple[list[tuple[int, int]], str, int]:
    """Choose the frames to judge a detector on.

    Returns
    -------
    (experiment index, time point) of each frame, what they are in words, and how many of them the
    detector has learnt from: none, unless they were asked for by their role.

    Raises
    ------
    CellTrainError
        When there are none.
    """
    from napari_celltrain.dataset import annotated_time_points, gap_for, near
    from napari_celltrain.detector.learnt import Recognition, seen_through

    known, window = Recognition(info.trained_on), info.design.time_window
    held_out = [i for i, member in enumerate(dataset.members) if member.role == "held-out"]
    if held_out:
        frames = [(i, t) for i in held_out for t in annotated_time_points(dataset.experiments[i])]
        if not frames:
            raise CellTrainError(
                "No experiment with the role 'held-out' has an annotated time point with an image."
            )
        times = {i: known.time_points(dataset.experiments[i]) for i in held_out}
        seen = {i: seen_through(window, own) for i, own in times.items()}
        what = f"{counted(len(frames), 'frame')} of the held-out experiments"
        return frames, what, sum(t in seen[i] for i, t in frames)
    annotated = [
        (i, t)
        for i, experiment in enumerate(dataset.experiments)
        for t in annotated_time_points(experiment)
    ]
    learnt = [known.time_points(one) for one in dataset.experiments]
    seen = {i: seen_through(window, own) for i, own in enumerate(learnt)}
    frames = [(i, t) for i, t in annotated if t not in seen[i]]
    if not annotated:
        raise CellTrainError(
            "There is nothing to compare with: no time point has both an image and annotations."
        )
    if not frames:
        raise CellTrainError(
            "The detector was trained on every annotated frame of this data set, so there is none "
            "that it could be judged on honestly. Annotate other frames, or name other data."
        )
    what = f"{counted(len(frames), 'frame')} that the detector did not train on"
    apart = [(i, t) for i, t in frames if not near(learnt[i], t, gap_for(window))]
    if apart:
        beside = len(frames) - len(apart)
        what = f"{counted(len(apart), 'frame')} that the detector did not train on"
        if beside:
            are = "one more is" if beside == 1 else f"{beside} more are"
            what += f" ({are} right beside what it learnt from and left out)"
        return apart, what, 0
    return frames, f"{what}, though all are right beside what it learnt from and look like it", 0


def _thresholds(used: Collection[float]) -> str:
    low, high = min(used), max(used)
    return f"threshold {low:.2f}" if low == high else f"thresholds {low:.2f} to {high:.2f}"


def _tolerance(
    arguments: argparse.Namespace, detector: Detector, dataset: Dataset, member: int
) -> float | None:
    """Return the tolerance in the detector's unit; None for the default."""
    if arguments.tolerance_um is not None:
        if detector.design.unit != "um":
            raise CellTrainError(
                "This detector knows no voxel size, only pixels; use --tolerance-px."
            )
        return float(arguments.tolerance_um)
    if arguments.tolerance_px is not None:
        from napari_celltrain.prediction.judge import voxel_size_of

        voxel_size = voxel_size_of(detector, dataset.experiments[member])
        return float(arguments.tolerance_px * voxel_size[2])
    return None
