"""What a detector says of itself: what it was trained on, and how good it is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_celltrain.detector.folder import DetectorInfo
from napari_celltrain.prediction.contrast import FEWEST
from napari_celltrain.training.run import time_stamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.dataset import Split
    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.learnt import TrainedOn
    from napari_celltrain.experiment import Experiment
    from napari_celltrain.training.held_out import Verdict


def describe(
    name: str,
    design: Design,
    experiments: Sequence[Experiment],
    split: Split,
    verdict: Verdict | None,
    *,
    trained_on: tuple[TrainedOn, ...],
    step: int,
    levels: tuple[float, float] | None,
) -> DetectorInfo:
    """Describe a detector that comes out of a run.

    Parameters
    ----------
    name
        Of the run.
    design
        Of the detector.
    experiments, split
        What it was trained and judged on.
    verdict
        The judgement; None before there is one.
    trained_on
        All that it has learnt from, also before this run.
    step
        Steps of training.
    levels
        Typical dark and bright levels of the training frames.
    """
    info = DetectorInfo(
        name=name or "detector",
        created=time_stamp(),
        design=design,
        step=step,
        trustworthy=split.trustworthy,
        held_out=split.reason,
        trained_on=trained_on,
        channels=experiments[split.train[0][0]].channels,
        intensity=levels,
    )
    return info if verdict is None else judged(info, verdict, experiments)


def judged(info: DetectorInfo, verdict: Verdict, experiments: Sequence[Experiment]) -> DetectorInfo:
    """Return the description with the figures of a judgement."""
    names = [one.name for one in experiments]
    scores, seen = verdict.scores, verdict.impression
    enough = seen.clear >= FEWEST
    return info.model_copy(
        update={
            "threshold": verdict.threshold,
            "thresholds": {
                names[member]: threshold
                for member, threshold in verdict.thresholds.items()
                if names.count(names[member]) == 1
            },
            "f1": verdict.f1,
            "precision": finite(scores.precision),
            "recall": finite(scores.recall),
            "localisation_error": finite(scores.localisation_error),
            "undecided": seen.undecided_share if enough else None,
            "brightness": finite(seen.brightness) if enough else None,
        }
    )


def finite(value: float) -> float | None:
    """Return None for what JSON has no word for."""
    return value if math.isfinite(value) else None
