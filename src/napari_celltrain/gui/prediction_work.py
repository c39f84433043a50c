"""Predicting and comparing, as work for a thread. torch is imported here, in the thread."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import counted
from napari_celltrain.gui import preferences

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_celltrain.experiment import Experiment
    from napari_celltrain.gui.candidates import Candidates
    from napari_celltrain.gui.comparison import Comparison
    from napari_celltrain.gui.work import Work


FIRST_LOOK = "A few frames are looked at first: how wide and how bright the cells are."


@dataclass(frozen=True)
class Ready:
    """The detector is loaded and everything was checked."""

    sentence: str
    diameter_px: float
    """How many pixels wide the cells are that are looked for."""


@dataclass(frozen=True, eq=False)
class Progress:
    """A time point is done, or can't be read."""

    t: int
    positions: NDArray[np.float64]
    scores: NDArray[np.float64]
    done: int
    total: int
    seconds_left: float
    damaged: bool = False
    """Nothing could be looked for in it, so nothing is known of it."""


def prediction_work(
    folder: Path,
    movie: Experiment,
    times: Sequence[int] | None,
    cell_diameter: float | None = None,
    gamma: float | None = None,
) -> Work:
    """Return work that reports `Ready`, then `Progress` and findings, and returns a sentence.

    What it does before it is ready is reported as sentences.

    Parameters
    ----------
    folder
        Of the detector.
    movie
        Images, channels and voxel size.
    times
        Time points; None: all.
    cell_diameter
        In the detector's unit; None: as in training, or measured first.
    gamma
        Power of the brightness; None: 1, or what makes the movie look like the training.
    """

    def work(report: Callable[[Any], None], stop: threading.Event) -> str:
        from napari_celltrain.detector.compute import cores_beside_a_window
        from napari_celltrain.detector.detector import Detector
        from napari_celltrain.detector.folder import find_detector, read_info
        from napari_celltrain.errors import CellTrainError
        from napari_celltrain.prediction.predict import (
            check_request,
            predict_request,
            with_first_look,
        )

        assert movie.images is not None  # chosen by the caller
        design = read_info(find_detector(folder)).design
        if design.unit == "um" and movie.known_voxel_size_um is None:
            raise CellTrainError(
                f"This detector measures in micrometres, and the voxel size of '{movie.name}' is "
                "not known: enter it under Voxel size."
            )
        detector = Detector.from_folder(
            folder,
            device=preferences.device(),
            threads=preferences.threads() or cores_beside_a_window(),
        )
        total = len(movie.images.time_points) if times is None else len(times)
        request = check_request(
            detector,
            movie.images,
            time_points=times,
            channels=movie.channels,
            voxel_size_um=movie.known_voxel_size_um,
            cell_diameter=cell_diameter,
            gamma=gamma,
            on_damaged="skip",
        )
        report(FIRST_LOOK)
        seen = with_first_look(detector, movie.images, request, stop.is_set)
        if seen is None:
            return f"Cancelled after 0 of {total} time points:"
        sentence = f"Looking for cells on {detector.device}: {detector.device_reason}."
        diameter = seen.cell_diameter or detector.design.diameter
        report(Ready(sentence, diameter / seen.voxel_size[2]))
        results = predict_request(
            detector,
            movie.images,
            seen,
            stopping=stop.is_set,
            tell=report,
        )
        begin, done, damaged = time.monotonic(), 0, 0
        for result in results:
            done += 1
            damaged += result.damage is not None
            pace = (time.monotonic() - begin) / done
            left = pace * (total - done)
            report(Progress(
                result.t, result.positions, result.scores, done, total, left,
                damaged=result.damage is not None,
            ))  # fmt: skip
        took = time.monotonic() - begin
        if stop.is_set():
            return f"Cancelled after {done} of {total} time points:"
        unread = f" ({damaged} more can't be read)" if damaged else ""
        return f"Done: {counted(done - damaged, 'time point')} in {took:.1f} s{unread},"

    return work


def comparison_work(
    folder: Path, truth: Experiment, candidates: Candidates, threshold: float
) -> Work:
    """Return work that compares candidates with an annotation.

    Parameters
    ----------
    folder
        Of the detector that found them: it says what a cell's width is.
    truth
        The annotated experiment, with images.
    candidates, threshold
        What was found.
    """

    def work(report: Callable[[Any], None], stop: threading.Event) -> Comparison:
        from napari_celltrain.detector.folder import find_detector, read_info
        from napari_celltrain.detector.learnt import Recognition, seen_through
        from napari_celltrain.gui.comparison import compare
        from napari_celltrain.prediction.judge import annotated_diameter, scorer

        info = read_info(find_detector(folder))
        design = info.design
        known = truth.known_voxel_size_um
        voxel = (1.0, 1.0, 1.0) if design.unit == "px" or known is None else known
        diameter = annotated_diameter(design, truth)
        annotated = set(truth.usable_annotations().time_points().tolist())
        score = scorer(truth, diameter, voxel, tolerance=0.5 * diameter)
        order = np.argsort(candidates.t, kind="stable")
        sorted_t = candidates.t[order]
        frames = []
        for t in candidates.times:
            if stop.is_set():
                break
            if t in annotated:
                here = order[np.searchsorted(sorted_t, t) : np.searchsorted(sorted_t, t, "right")]
                frames.append((t, score(t, candidates.positions[here], candidates.scores[here])))
        learnt = Recognition(info.trained_on).time_points(truth)
        seen = seen_through(design.time_window, learnt)
        return compare(frames, threshold, design.unit, seen)

    return work
