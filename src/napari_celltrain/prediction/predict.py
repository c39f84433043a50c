"""A movie through a detector, a time point at a time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from napari_celltrain.detector.detections import Job
from napari_celltrain.detector.detector import FLOOR
from napari_celltrain.errors import CellTrainError
from napari_celltrain.prediction.cell_size import check_cell_diameter
from napari_celltrain.prediction.contrast import check_gamma
from napari_celltrain.prediction.first_look import look_at_movie
from napari_celltrain.prediction.frames import check_channels
from napari_celltrain.prediction.reading import read_ahead, readers_for
from napari_celltrain.prediction.telling import MovieTeller
from napari_celltrain.prediction.unlike import unlike_before

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_celltrain.detector.detector import Detector
    from napari_celltrain.experiment import ZYX, Finding, FrameSource
    from napari_celltrain.prediction.reading import Inputs

OnDamaged = Literal["stop", "skip"]
"""What to do with a time point that can't be read."""


@dataclass(frozen=True, eq=False)
class FrameResult:
    """What was found at one time point.

    Parameters
    ----------
    t
        Time point, by the image's own numbers.
    positions
        (z, y, x) pixels of the image as stored, shape (n, 3), ordered by (z, y, x).
    scores
        0 to 1, shape (n,), all at least the floor.
    seconds
        Of computing, all threads together, without waiting for the image.
    damage
        Why nothing could be looked for at this time point, as a sentence; None when it was.
    neighbour_damage
        Why it was looked at without a neighbour of its time window; None when all were there.
    """

    t: int
    positions: NDArray[np.float64]
    scores: NDArray[np.float64]
    seconds: float
    damage: str | None = None
    neighbour_damage: str | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> FrameResult:
        """Return the same with only what scores at least this."""
        keep = self.scores >= threshold
        return replace(self, positions=self.positions[keep], scores=self.scores[keep])


@dataclass(frozen=True)
class Request:
    """What to look at, after everything about it was checked.

    Parameters
    ----------
    time_points
        Ascending; they exist.
    channels
        Counted from 0; they exist.
    voxel_size
        (z, y, x) in the detector's unit.
    cell_diameter
        How wide the cells are, in the detector's unit; None: as those it was trained on.
    gamma
        Power to which the brightness is raised first; None: not found out yet (`with_first_look`).
    floor, tile, on_damaged
        As in `predict`.
    findings
        Where the movie is unlike the training data, as far as its header tells, and what was
        measured.
    """

    time_points: tuple[int, ...]
    channels: tuple[int, ...]
    voxel_size: ZYX
    cell_diameter: float | None = None
    gamma: float | None = None
    floor: float = FLOOR
    tile: tuple[int, int, int] | None = None
    on_damaged: OnDamaged = "stop"
    findings: tuple[Finding, ...] = ()

    @property
    def known_gamma(self) -> float:
        """The gamma, when it was stated or found out."""
        assert self.gamma is not None, "with_first_look comes first"
        return self.gamma


class Runner(Protocol):
    """What carries out a request: this process (`predict_request`), several, or a cluster.

    The results may come in any order; their numbers do not depend on who computes.
    """

    def __call__(
        self,
        detector: Detector,
        source: FrameSource,
        request: Request,
        *,
        stopping: Callable[[], bool],
        tell: Callable[[Finding], None],
    ) -> Generator[FrameResult]:
        """Tell the findings of the request, and yield the result of each time point."""
        ...


def check_request(
    detector: Detector,
    source: FrameSource,
    *,
    time_points: Iterable[int] | None = None,
    channels: Sequence[int] | None = None,
    voxel_size_um: ZYX | None = None,
    cell_diameter: float | None = None,
    gamma: float | None = None,
    floor: float = FLOOR,
    tile: tuple[int, int, int] | None = None,
    on_damaged: OnDamaged = "stop",
) -> Request:
    """Find out what to look at, or say what is wrong with it, before a pixel is read.

    What the detector has to be told of the images is still open then: see `with_first_look`.

    Parameters
    ----------
    detector, source, time_points, channels, voxel_size_um, cell_diameter, gamma, floor, tile
        As in `predict`, and so is `on_damaged`.

    Raises
    ------
    CellTrainError
        When a time point or channel does not exist, or the voxel size is needed and unknown.
    """
    existing = source.time_points
    if not len(existing):
        raise CellTrainError(f"{source.name} has no time points.")
    times = tuple(existing) if time_points is None else tuple(sorted(set(time_points)))
    missing = sorted(set(times).difference(existing))
    if missing:
        more = f" and {len(missing) - 1} others" if len(missing) > 1 else ""
        raise CellTrainError(
            f"{source.name} has no time point {missing[0]}{more}; its time points are "
            f"{existing[0]} to {existing[-1]}."
        )
    if not times:
        raise CellTrainError(f"No time points of {source.name} were chosen.")
    if channels is None:
        channels = detector.info.channels
        if max(channels) >= source.n_channels == len(channels):
            channels = range(source.n_channels)  # the movie holds just what is needed
    check_channels(detector.design, source, channels)
    voxel_size = detector.voxel_size_for(
        source.voxel_size_um if voxel_size_um is None else voxel_size_um, source.name
    )
    if cell_diameter is not None:
        check_cell_diameter(detector, voxel_size, cell_diameter)
    if gamma is not None:
        check_gamma(gamma)
    return Request(
        times,
        tuple(channels),
        voxel_size,
        cell_diameter,
        gamma,
        floor,
        tile,
        on_damaged,
        tuple(unlike_before(detector.info, source, voxel_size)),
    )


def with_first_look(
    detector: Detector,
    source: FrameSource,
    request: Request,
    stopping: Callable[[], bool] = lambda: False,
) -> Request | None:
    """Find out what the detector has to be told of the images, where it is not stated.

    Parameters
    ----------
    detector, source
        As in `predict`.
    request
        That was checked (`check_request`).
    stopping
        Asked now and then.

    Returns
    -------
    The request with cell diameter and gamma; None when it was stopped.
    """
    look = look_at_movie(
        detector,
        source,
        request.channels,
        request.voxel_size,
        cell_diameter=request.cell_diameter,
        gamma=request.gamma,
        stopping=stopping,
    )
    if look is None:
        return None
    findings = (*request.findings, *look.findings)
    return replace(request, cell_diameter=look.cell_diameter, gamma=look.gamma, findings=findings)


def predict(
    detector: Detector,
    source: FrameSource,
    *,
    time_points: Iterable[int] | None = None,
    channels: Sequence[int] | None = None,
    voxel_size_um: ZYX | None = None,
    cell_diameter: float | None = None,
    gamma: float | None = None,
    floor: float = FLOOR,
    tile: tuple[int, int, int] | None = None,
    on_damaged: OnDamaged = "stop",
    stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[Finding], None] = lambda finding: None,
) -> Generator[FrameResult]:
    """Find the cells of a movie, a time point at a time, in the order of time.

    Everything is checked at the call, and a few frames are looked at (`prediction.first_look`)
    unless `cell_diameter` and `gamma` are stated. The next frames are read while one is computed.
    Closing the iterator ends the reading threads.

    Parameters
    ----------
    detector
        What finds them.
    source
        The movie.
    time_points
        Which ones, by the image's own numbers; None: all.
    channels
        Which channels, counted from 0; None: those of the training.
    voxel_size_um
        (z, y, x); None: what the file says.
    cell_diameter
        How wide the cells of this movie are, in the detector's unit; None: as those it was trained
        on, or measured first where it has to be told (`prediction.cell_size`).
    gamma
        Power to which the brightness, from 0 (dark) to 1 (bright), is raised first; None: 1, or
        what makes unlike images look like those of the training (`prediction.contrast`).
    floor
        Lowest score of a candidate. Use `FrameResult.above` with a threshold afterwards, such as
        `Detector.threshold`.
    tile
        Image voxels (z, y, x) to compute at once; None: by memory.
    on_damaged
        ``stop``: a time point that can't be read ends the prediction with an error; ``skip``: it
        gives a result whose `damage` says why nothing could be looked for. A damaged neighbour
        within the time window is replaced by the frame itself, and told as a finding.
    stopping
        Asked now and then: time points that are not done are given up.
    tell
        Gets each kind of finding once: where the images are unlike the training data, and what
        is damaged.

    Raises
    ------
    CellTrainError
        At the call: a time point or channel that does not exist, an unknown voxel size. While
        iterating: a damaged frame, naming file and time point.
    """
    request = check_request(
        detector,
        source,
        time_points=time_points,
        channels=channels,
        voxel_size_um=voxel_size_um,
        cell_diameter=cell_diameter,
        gamma=gamma,
        floor=floor,
        tile=tile,
        on_damaged=on_damaged,
    )
    seen = with_first_look(detector, source, request, stopping)
    if seen is None:
        return _nothing()
    return predict_request(detector, source, seen, stopping=stopping, tell=tell)


def _nothing() -> Generator[FrameResult]:
    yield from ()


def predict_request(
    detector: Detector,
    source: FrameSource,
    request: Request,
    *,
    stopping: Callable[[], bool] = lambda: False,
    tell: Callable[[Finding], None] = lambda finding: None,
    in_line: bool = False,
) -> Generator[FrameResult]:
    """Do what `predict` does for a request that is complete (`with_first_look`).

    With `in_line`, frames are read in the thread that asks, and not ahead.
    """
    for finding in request.findings:
        tell(finding)
    return _results(detector, source, request, stopping, tell, in_line=in_line)


def _results(
    detector: Detector,
    source: FrameSource,
    request: Request,
    stopping: Callable[[], bool],
    tell: Callable[[Finding], None],
    *,
    in_line: bool,
) -> Generator[FrameResult]:
    reader = read_ahead(
        detector.design,
        source,
        request.time_points,
        request.channels,
        readers=readers_for(detector, source),
        in_line=in_line,
    )
    gamma = request.known_gamma
    waiting: deque[Inputs] = deque()
    broken: list[str] = []
    teller = MovieTeller(detector, source, request, tell)

    def jobs() -> Iterator[Job]:
        for inputs in reader:
            if stopping():
                return
            if inputs.damage is not None:
                if request.on_damaged == "stop":
                    broken.append(inputs.damage)  # said when what came before is through
                    return
                teller.damaged(inputs)
            waiting.append(inputs)
            if inputs.frames:
                yield Job(inputs.frames, request.voxel_size, request.cell_diameter, gamma)

    def skipped() -> Iterator[FrameResult]:
        while waiting and not waiting[0].frames:
            one = waiting.popleft()
            yield FrameResult(one.t, np.empty((0, 3)), np.empty(0), 0.0, one.damage)

    finding_cells = detector.detect_each(
        jobs(), floor=request.floor, tile=request.tile, stopping=stopping
    )
    try:
        for found in finding_cells:
            yield from skipped()
            inputs = waiting.popleft()
            teller.look(inputs, found)
            result = FrameResult(
                inputs.t,
                found.positions,
                found.scores,
                found.seconds,
                neighbour_damage=inputs.damage,
            )
            del inputs
            yield result
            if stopping():
                return
        yield from skipped()
        if broken:
            raise CellTrainError(
                f"{broken[0]} (celltrain predict --skip-damaged leaves out such time points.)"
            )
    finally:
        finding_cells.close()
        reader.close()
