"""Whole movies, and lists of them, into files; what is done is never done again."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError, counted
from napari_celltrain.experiment import Annotations, Experiment, Finding
from napari_celltrain.prediction.options import DEFAULT, Options
from napari_celltrain.prediction.output import (
    annotations_of,
    check_folder,
    check_suffix,
    check_text,
    write_cells,
)
from napari_celltrain.prediction.partial import (
    SUFFIX,
    PartialResults,
    check_nothing_lost,
    frame_stamps,
    header_for,
    measured_before,
)
from napari_celltrain.prediction.predict import (
    FrameResult,
    Request,
    check_request,
    predict_request,
    with_first_look,
)
from napari_celltrain.prediction.reserved import Reserved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import FrameSource
    from napari_celltrain.prediction.predict import Runner


@dataclass(frozen=True)
class Applied:
    """What was applied to one experiment, stated or found out.

    Parameters
    ----------
    experiment
        Its name.
    threshold
        Lowest score of a cell.
    gamma
        Power of the brightness.
    cell_diameter
        How wide its cells were taken to be, in the detector's unit; None: as in training.
    """

    experiment: str
    threshold: float
    gamma: float
    cell_diameter: float | None


@dataclass(frozen=True)
class Summary:
    """What came of it.

    Parameters
    ----------
    time_points
        How many were looked at.
    detections
        How many cells were written.
    seconds
        Wall time of this sitting.
    counts
        (experiment, time point, cells at the threshold) of each; None where nobody could look.
        Experiments of one name are told apart by their place in the list.
    damaged
        (experiment, time point, sentence) of those that were skipped.
    finished
        False when it was stopped; nothing is written then, and it can be resumed.
    applied
        Threshold, gamma and cell diameter of each experiment.
    """

    time_points: int = 0
    detections: int = 0
    seconds: float = 0.0
    counts: tuple[tuple[str, int, int | None], ...] = ()
    damaged: tuple[tuple[str, int, str], ...] = field(default=())
    finished: bool = True
    applied: tuple[Applied, ...] = ()


def predict_to_file(
    detector: Detector,
    images: FrameSource | Experiment,
    out: Path,
    options: Options = DEFAULT,
    *,
    runner: Runner = predict_request,
    tell: Callable[[Finding], None] = lambda finding: None,
    progress: Callable[[str, FrameResult, int, int], None] = lambda name, result, done, of: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Summary:
    """Find the cells of a movie and write them to a file.

    What is found is kept beside the file, in ``<file>.partial``, until the file is complete.

    Parameters
    ----------
    detector
        What finds them.
    images
        The movie, or an experiment with its movie; its annotations are not looked at.
    out
        ``.csv``, ``.aut`` or another tracking format that can be written.
    options
        How.
    runner
        What computes the time points that are not done yet, in any order.
    tell
        Gets findings.
    progress
        Called after each time point with the experiment's name, the result, how many are done,
        and of how many.
    stopping
        Asked now and then: time points that are not done are given up.

    Raises
    ------
    CellTrainError
        For everything a person can mend; time points done so far are kept.
    """
    begin = time.monotonic()
    check_suffix(out)
    experiment = _as_experiment(images)
    check_text(experiment, out)
    work = _Work(detector, experiment, out.with_name(out.name + SUFFIX), options)
    with Reserved(work.path) as place:
        work.check_begun()
        if out.is_symlink():
            tell(Finding("warning", "link", _told_of_link(out), experiment.name))
        if not work.look(stopping):
            return Summary(seconds=time.monotonic() - begin, finished=False)
        with work.open(place) as partial:
            work.tell_going_on(partial, tell)
            if not work.compute(partial, runner, tell, progress, stopping):
                return Summary(seconds=time.monotonic() - begin, finished=False)
            write_cells(out, work.experiment_found())
            work.forget(partial, tell)
    return _summary([work], begin)


def predict_list(
    detector: Detector,
    experiments: Sequence[FrameSource | Experiment],
    folder: Path,
    options: Options = DEFAULT,
    *,
    runner: Runner = predict_request,
    tell: Callable[[Finding], None] = lambda finding: None,
    progress: Callable[[str, FrameResult, int, int], None] = lambda name, result, done, of: None,
    stopping: Callable[[], bool] = lambda: False,
) -> Summary:
    """Find the cells of several movies; write an ``.aut`` each into a folder, and an ``.autlist``.

    All experiments are checked before the first is begun. Parameters as in `predict_to_file`.

    Raises
    ------
    CellTrainError
        For everything a person can mend; time points done so far are kept.
    """
    from napari_celltrain.formats.autlist_writing import write_autlist

    begin = time.monotonic()
    check_folder(folder)
    if not experiments:
        raise CellTrainError("There are no experiments in that list.")
    with_images = [_as_experiment(one) for one in experiments]
    for one in with_images:
        check_text(one, folder / f"{folder.resolve().name}.autlist")
    works = [
        _Work(detector, one, folder / f"{number}{SUFFIX}", options)
        for number, one in enumerate(with_images, 1)
    ]
    if len(works) > 1:
        sentence = f"A few frames of each of the {len(works)} movies are looked at first."
        tell(Finding("info", "first-look", sentence))
    with contextlib.ExitStack() as stack:
        places = [stack.enter_context(Reserved(work.path)) for work in works]
        for work in works:
            work.check_begun()
        if not all(work.look(stopping) for work in works):
            return Summary(seconds=time.monotonic() - begin, finished=False)
        partials = [
            stack.enter_context(work.open(place)) for work, place in zip(works, places, strict=True)
        ]
        for work, partial in zip(works, partials, strict=True):
            work.tell_going_on(partial, tell)
            if not work.compute(partial, runner, tell, progress, stopping):
                return Summary(seconds=time.monotonic() - begin, finished=False)
        found = [work.experiment_found() for work in works]
        write_autlist(folder / f"{folder.resolve().name}.autlist", found)
        for work, partial in zip(works, partials, strict=True):
            work.forget(partial, tell)
    return _summary(works, begin)


def _as_experiment(images: FrameSource | Experiment) -> Experiment:
    if isinstance(images, Experiment):
        if images.images is None:
            raise CellTrainError(f"The experiment '{images.name}' has no images to look at.")
        return images.with_(annotations=Annotations(), findings=())
    return Experiment(images.name, images=images)


class _Work:
    """One experiment on its way through the detector; made only when all about it is right."""

    def __init__(
        self, detector: Detector, experiment: Experiment, path: Path, options: Options
    ) -> None:
        assert experiment.images is not None  # `_as_experiment` sees to it
        _check_like(detector, options.like)  # before anything is looked at
        self.detector, self.experiment, self.path = detector, experiment, path
        self.options, self.source = options, experiment.images
        self.size = options.voxel_size_um or experiment.known_voxel_size_um
        before = measured_before(path, detector) if options.resume else (None, None)
        self.request: Request = check_request(
            detector,
            self.source,
            time_points=self._times(),
            channels=options.channels
            or (experiment.channels if experiment.channels_stated else None),
            voxel_size_um=self.size,
            cell_diameter=options.cell_diameter or before[0],
            gamma=options.gamma or before[1],
            floor=options.search_floor(detector, experiment.name),
            tile=options.tile,
            on_damaged=options.on_damaged,
        )
        self.results: list[FrameResult] = []

    @property
    def least_score(self) -> float:
        """Lowest score that is written."""
        return self.options.least_score(self.detector, self.experiment.name)

    def _times(self) -> list[int]:
        times = self.experiment.image_time_points()
        if self.options.time_range is not None:
            first, last = self.options.time_range
            times = [t for t in times if first <= t <= last]
        if not times:
            existing = self.source.time_points
            reach = f"it has {existing[0]} to {existing[-1]}" if len(existing) else "it has none"
            raise CellTrainError(f"{self.experiment.name} has none of these time points; {reach}.")
        return times

    def check_begun(self) -> None:
        """Refuse, before anything is looked at, to throw away what was found earlier."""
        if not self.options.resume:
            options = vars(self.options)
            gamma = 1.0 if self.request.gamma is None else self.request.gamma
            header = self._header(replace(self.request, gamma=gamma))
            for key in ("cell_diameter", "gamma"):
                if options[key] is None:  # not measured yet
                    del header[key]
            check_nothing_lost(self.path, header)

    def look(self, stopping: Callable[[], bool]) -> bool:
        """Find out what the detector has to be told; tell whether that was not stopped."""
        request = with_first_look(self.detector, self.source, self.request, stopping)
        if request is not None:
            self.request = request
        return request is not None

    def open(self, place: Reserved) -> PartialResults:
        """Open the file of the results so far."""
        return PartialResults(place, self._header(self.request), resume=self.options.resume)

    def _header(self, request: Request) -> dict[str, Any]:
        options = vars(self.options)
        stated = [key for key in ("cell_diameter", "gamma") if options[key] is not None]
        return header_for(self.detector, self.source, request, stated)

    def tell_going_on(self, partial: PartialResults, tell: Callable[[Finding], None]) -> None:
        """Say that an earlier prediction is gone on with although nobody has asked for it."""
        if len(partial) and not self.options.resume:
            known = counted(len(partial), "time point")
            sentence = f"Going on with a prediction of the same that had got to {known}."
            tell(Finding("info", "going-on", sentence, self.experiment.name))

    def compute(
        self,
        partial: PartialResults,
        runner: Runner,
        tell: Callable[[Finding], None],
        progress: Callable[[str, FrameResult, int, int], None],
        stopping: Callable[[], bool],
    ) -> bool:
        """Do every time point that is not done; tell whether all are done now."""
        name, times = self.experiment.name, self.request.time_points
        window, channels = self.detector.design.time_window, self.request.channels
        stamps = frame_stamps(self.source, times, channels, window, stopping)
        if len(stamps) < len(times):
            return False
        self.results = []
        pending = []
        for t in times:
            known = partial.result(t, stamps[t])
            if known is None:
                pending.append(t)
            else:
                self.results.append(known)
                progress(name, known, len(self.results), len(times))
        if pending:
            results = runner(
                self.detector,
                self.source,
                replace(self.request, time_points=tuple(pending)),
                stopping=stopping,
                tell=tell,
            )
            for result in results:
                partial.add(result, stamps[result.t])
                self.results.append(result)
                progress(name, result, len(self.results), len(times))
        return len(self.results) == len(times)

    def forget(self, partial: PartialResults, tell: Callable[[Finding], None]) -> None:
        """Remove the file of the results so far, if no more is in it than was written."""
        if not partial.remove(self.request.time_points):
            sentence = (
                f"{partial.path.name} stays: it holds time points that were not asked for now. Go "
                "on with them with --resume."
            )
            tell(Finding("info", "kept", sentence, self.experiment.name))

    def experiment_found(self) -> Experiment:
        """Return the experiment with what was found in it."""
        return self.experiment.with_(
            annotations=annotations_of(self.results, self.least_score),
            voxel_size_um=self.size,
            channels=self.request.channels,
        )


def _told_of_link(out: Path) -> str:
    """Say what becomes of a link; it may be a stranger's, so what it leads to is not written to."""
    place = out.parent / os.readlink(out)
    return (
        f"{out} is a link to {place}. What is found takes the place of the link, and {place} stays "
        "as it is; name that file itself to replace it."
    )


def _check_like(detector: Detector, like: str | None) -> None:
    known = detector.info.thresholds
    if like is not None and like not in known:
        raise CellTrainError(
            f"This detector has no threshold of its own for '{like}'; it has "
            + (f"some for {', '.join(map(repr, known))}." if known else "one for all movies.")
        )


def _summary(works: Sequence[_Work], begin: float) -> Summary:
    counts: list[tuple[str, int, int | None]] = []
    damaged = []
    applied = []
    detections = 0
    names = [work.experiment.name for work in works]
    for number, (work, own) in enumerate(zip(works, names, strict=True), 1):
        name = own if names.count(own) == 1 else f"{own} ({number})"
        threshold = work.options.threshold_for(work.detector, own)
        request = work.request
        applied.append(Applied(name, threshold, request.known_gamma, request.cell_diameter))
        for result in sorted(work.results, key=lambda one: one.t):
            if result.damage is not None:
                damaged.append((name, result.t, result.damage))
                counts.append((name, result.t, None))
                continue
            counts.append((name, result.t, len(result.above(threshold))))
            detections += len(result.above(work.least_score))
    return Summary(
        time_points=sum(len(work.results) for work in works),
        detections=detections,
        seconds=time.monotonic() - begin,
        counts=tuple(counts),
        damaged=tuple(damaged),
        applied=tuple(applied),
    )
