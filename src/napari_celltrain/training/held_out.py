"""The honest test during training: whole held-out frames, the real predictor, no augmentation."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.detector.detector import FLOOR
from napari_celltrain.evaluation.scores import as_mask
from napari_celltrain.evaluation.threshold import best_threshold
from napari_celltrain.experiment import Finding
from napari_celltrain.prediction.contrast import impression
from napari_celltrain.prediction.frames import read_inputs
from napari_celltrain.prediction.judge import candidates, total
from napari_celltrain.training.empty_frames import shows_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.design import Design
    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.evaluation.scores import Scores
    from napari_celltrain.evaluation.threshold import Calibration
    from napari_celltrain.experiment import ZYX, Experiment
    from napari_celltrain.prediction.contrast import Impression
    from napari_celltrain.prediction.judge import JudgedFrame

KEPT_BYTES = 200 * 2**20
"""Held-out frames kept in memory between evaluations, at most."""
ENOUGH = 40
"""Held-out cells of an experiment, for a threshold of its own."""
PROBES = (0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75)
"""Thresholds over which F1 is averaged to tell two equally good detectors apart."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """Result of an evaluation.

    Parameters
    ----------
    scores
        At the calibrated threshold.
    threshold
        The score threshold with the best F1, in the middle of the range that is as good.
    steadiness
        Mean F1 over many thresholds: how little the choice of threshold matters.
    cells
        Annotated cells that count.
    frames
        The candidates of each frame beside its annotation.
    impression
        What the candidates look like at that threshold, where it is known what is a cell.
    thresholds
        As `threshold`, for each experiment (by its number) with enough cells, if there are several.
    """

    scores: Scores
    threshold: float
    steadiness: float
    cells: int
    frames: tuple[JudgedFrame, ...]
    impression: Impression
    thresholds: Mapping[int, float] = field(default_factory=dict)

    @property
    def f1(self) -> float:
        """0 when there was nothing to find or to be found."""
        value = self.scores.f1
        return 0.0 if np.isnan(value) else value


class HeldOut:
    """Held-out frames, read once and kept while they fit in memory.

    Parameters
    ----------
    experiments, frames, voxel_sizes, cell_diameters
        As in `prediction.judge.candidates`.
    exclude_dying
        Dying cells count for nobody.
    tell
        Gets a finding for each frame that shows nothing; it does not count, unless none does.
    """

    def __init__(
        self,
        experiments: Sequence[Experiment],
        frames: Sequence[tuple[int, int]],
        voxel_sizes: Sequence[ZYX],
        cell_diameters: Sequence[float],
        *,
        exclude_dying: bool = False,
        tell: Callable[[Finding], None] = lambda finding: None,
    ) -> None:
        self._experiments = experiments
        self._all = tuple(frames)
        self._voxel_sizes = voxel_sizes
        self._cell_diameters = cell_diameters
        self._exclude_dying = exclude_dying
        self._tell = tell
        self._empty: set[tuple[int, int]] = set()
        self._kept: OrderedDict[tuple[int, int], list[NDArray[Any]]] = OrderedDict()
        self._bytes = 0

    @property
    def frames(self) -> tuple[tuple[int, int], ...]:
        """All held-out frames."""
        return self._all

    def some(self, at_most: int) -> tuple[tuple[int, int], ...]:
        """Return a fixed choice of the frames, spread evenly over all of them."""
        if len(self._all) <= at_most:
            return self._all
        index = np.linspace(0, len(self._all) - 1, at_most).round().astype(int)
        return tuple(self._all[i] for i in np.unique(index))

    def evaluate(
        self,
        detector: Detector,
        frames: Sequence[tuple[int, int]],
        stopping: Callable[[], bool] = lambda: False,
    ) -> Verdict | None:
        """Judge a detector; None when `stopping` says so on the way."""

        def read(member: int, t: int) -> list[NDArray[Any]]:
            if (member, t) in self._kept:
                return self._kept[member, t]
            experiment = self._experiments[member]
            assert experiment.images is not None
            inputs = read_inputs(detector.design, experiment.images, t, experiment.channels)
            self._look(detector.design, member, t, inputs)
            size = sum(frame.nbytes for frame in inputs)
            if self._bytes + size <= KEPT_BYTES:
                self._kept[member, t] = inputs
                self._bytes += size
            return inputs

        judged = tuple(
            candidates(
                detector,
                self._experiments,
                frames,
                voxel_sizes=self._voxel_sizes,
                cell_diameters=self._cell_diameters,
                gamma=1.0,  # what is learnt from is the measure, and is never changed
                exclude_dying=self._exclude_dying,
                read=read,
                stopping=stopping,
            )
        )
        if len(judged) < len(frames):
            return None
        judged = tuple(one for one in judged if (one.member, one.t) not in self._empty) or judged
        cells = sum(len(f.scored.truth) for f in judged)
        calibration = _calibrate(judged)
        members = {frame.member for frame in judged}
        own = {m: [frame for frame in judged if frame.member == m] for m in members}
        thresholds = {
            member: _within(_calibrate(some).threshold)
            for member, some in own.items()
            if len(own) > 1 and sum(len(f.scored.truth) for f in some) >= ENOUGH
        }
        probes = [total(judged, threshold).f1 for threshold in PROBES]
        threshold = _within(calibration.threshold)
        return Verdict(
            calibration.scores,
            threshold,
            float(np.nan_to_num(np.mean(probes))),
            cells,
            judged,
            _impression(judged, threshold),
            thresholds,
        )

    def _look(self, design: Design, member: int, t: int, inputs: Sequence[NDArray[Any]]) -> None:
        """Notice a frame that shows nothing, and tell it once."""
        own = -design.time_window[0] * design.n_channels
        frames = inputs[own : own + design.n_channels]
        if (member, t) in self._empty or not all(shows_nothing(frame) for frame in frames):
            return
        self._empty.add((member, t))
        self._tell(
            Finding(
                "warning",
                "empty-frames",
                f"Time point {t}, which is held out, shows nothing: every pixel has one "
                "value or none. It does not count.",
                self._experiments[member].name,
                t,
            )
        )


def _calibrate(judged: Sequence[JudgedFrame]) -> Calibration:
    cells = sum(len(frame.scored.truth) for frame in judged)
    # one cell more or less is chance: all thresholds within that are equally good
    return best_threshold(
        [frame.scored for frame in judged],
        groups=[frame.member for frame in judged],
        floor=FLOOR,
        slack=max(0.002, 1 / max(1, cells)),
    )


def _impression(judged: Sequence[JudgedFrame], threshold: float) -> Impression:
    known = [~as_mask(frame.scored.ignore_found, len(frame.brightness)) for frame in judged]
    scores = [frame.scored.scores[here] for frame, here in zip(judged, known, strict=True)]
    brightness = [frame.brightness[here] for frame, here in zip(judged, known, strict=True)]
    nothing = [np.empty(0)]
    return impression(
        np.concatenate(nothing + scores), np.concatenate(nothing + brightness), threshold
    )


def _within(threshold: float) -> float:
    return float(np.clip(threshold, 0.05, 0.95))
