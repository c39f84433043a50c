"""Which frames are learnt from and which are kept for the honest test.

Neighbouring frames of a movie look alike, so a frame drawn at random from the middle of the
training frames measures memory, not skill. What is held out is therefore a whole experiment, or
else a block of time at the end of a movie, with a gap before it as wide as the time window.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_celltrain.dataset.members import annotated_time_points
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from napari_celltrain.dataset.members import Dataset
    from napari_celltrain.experiment import FrameSource

Frame = tuple[int, int]
"""(index of the member in the data set, time point)."""

ENOUGH_FRAMES = 4
"""A movie with fewer annotated time points has none to spare for a block and a gap."""
ENOUGH_CELLS = 10
"""With fewer held-out cells, one more or less found moves the F1 by several per cent."""


@dataclass(frozen=True)
class Split:
    """Frames to learn from and frames to be judged on.

    Parameters
    ----------
    train, held_out
        (member index, time point), ascending.
    trustworthy
        False when too little, or nothing independent, is held out.
    reason
        A sentence for a person: what is held out, and why it is (not) to be trusted.
    gap
        So many time points before a held-out block are in neither part.
    """

    train: tuple[Frame, ...]
    held_out: tuple[Frame, ...]
    trustworthy: bool
    reason: str
    gap: int = 0


def gap_for(window: tuple[int, int]) -> int:
    """Return how near to a frame that is learnt from nothing is judged on, in time points."""
    return max(1, window[1] - window[0])


def near(times: Collection[int], t: int, gap: int) -> bool:
    """Tell whether one of the times is within the gap of `t`."""
    return any(u in times for u in range(t - gap, t + gap + 1))


def split(
    dataset: Dataset,
    share: float = 0.2,
    window: tuple[int, int] = (0, 0),
    *,
    learnt: Collection[Frame] = frozenset(),
) -> Split:
    """Divide the annotated frames of a data set.

    Parameters
    ----------
    dataset
        With images.
    share
        Of the annotated time points of a movie, 0 to 1; at least one is held out.
    window
        The neighbouring time points that the network sees, such as (-1, 1).
    learnt
        What the network has learnt from before: in this run, or in that of the detector that it
        starts from. None of it is held out, unless nothing else is left.

    Raises
    ------
    CellTrainError
        When there is nothing to learn from, or nothing to judge by although a role asks for it.
    """
    frames = [annotated_time_points(member.experiment) for member in dataset.members]
    if not any(frames):
        raise CellTrainError(_nothing_annotated(dataset))
    if any(member.role == "held-out" for member in dataset.members):
        return _by_role(dataset, frames, learnt)
    gap = gap_for(window)
    lengths = [len({t for i in members for t in frames[i]}) for members in _movies(dataset)]
    if any(length >= ENOUGH_FRAMES for length in lengths):
        proper = _by_time(dataset, frames, share, gap, learnt)
        return proper or _known(_by_time(dataset, frames, share, gap))
    if sum(bool(times) for times in frames) >= 2 and _independent(dataset, frames):
        proper = _by_experiment(dataset, frames, share, learnt)
        return proper or _known(_by_experiment(dataset, frames, share))
    return _too_little(frames)


def _known(whole: Split | None) -> Split:
    """Return a split all of whose held-out frames were learnt from before."""
    assert whole is not None
    return replace(
        whole,
        trustworthy=False,
        reason=f"{whole.reason.rstrip('.')}. All that could be held out has been learnt from "
        "before, so the F1 is not to be trusted. Annotate other time points.",
    )


def _by_role(
    dataset: Dataset, frames: Sequence[tuple[int, ...]], learnt: Collection[Frame]
) -> Split:
    train = _all_of(frames, [i for i, m in enumerate(dataset.members) if m.role != "held-out"])
    held_out = _all_of(frames, [i for i, m in enumerate(dataset.members) if m.role == "held-out"])
    if not train:
        raise CellTrainError(
            "There is nothing to learn from: no experiment without the role 'held-out' has an "
            "annotated time point with an image."
        )
    if not held_out:
        raise CellTrainError(
            "No experiment with the role 'held-out' has an annotated time point with an image. "
            "Correct its time points, or give it another role."
        )
    seen = {(identity(dataset.experiments[i].images), t) for i, t in train}
    shared = [(i, t) for i, t in held_out if (identity(dataset.experiments[i].images), t) in seen]
    before = [frame for frame in held_out if frame in learnt]
    for known, words in ((shared, "are also learnt from"), (before, "were learnt from before")):
        if known:
            name, t = dataset.experiments[known[0][0]].name, known[0][1]
            return Split(
                train,
                held_out,
                False,
                f"{len(known)} held-out frames {words} (the first: '{name}', time point {t}), so "
                "the held-out F1 is not to be trusted.",
            )
    names = ", ".join(m.experiment.name for m in dataset.members if m.role == "held-out")
    return _judged(dataset, train, held_out, f"Held out: {_count(held_out)} of {names}", 0)


def _by_time(
    dataset: Dataset,
    frames: Sequence[tuple[int, ...]],
    share: float,
    gap: int,
    learnt: Collection[Frame] = frozenset(),
) -> Split | None:
    """Hold out the end of each movie; None when all of that was learnt from before."""
    train: list[Frame] = []
    held_out: list[Frame] = []
    before: dict[int, set[int]] = {}
    for index, t in learnt:
        before.setdefault(index, set()).add(t)
    narrowest, blocks = gap, 0
    for members in _movies(dataset):
        times = sorted({t for index in members for t in frames[index]})
        if len(times) < ENOUGH_FRAMES:
            train += _all_of(frames, members)
            continue
        n_held = min(max(1, round(share * len(times))), len(times) - 2)
        block, rest = times[-n_held:], times[:-n_held]
        own_gap = gap
        while sum(block[0] - t > own_gap for t in rest) < (len(rest) + 1) // 2:
            own_gap -= 1
        known = set().union(*(before.get(index, ()) for index in members))
        held = {t for t in block if not near(known, t, own_gap)}
        if not held:  # it was learnt from before, to its end
            train += _all_of(frames, members)
            continue
        for index, t in _all_of(frames, members):
            if t in held:
                held_out.append((index, t))
            elif not near(held, t, own_gap):
                train.append((index, t))
        narrowest, blocks = min(narrowest, own_gap), blocks + 1
    if not held_out:
        return None
    what = f"Held out: the last annotated time points of each movie, {_count(held_out)}"
    if blocks == 1:
        index, first, last = held_out[0][0], held_out[0][1], held_out[-1][1]
        when = f"time point {first}" if first == last else f"time points {first} to {last}"
        what = f"Held out: {when} of '{dataset.experiments[index].name}'"
    if narrowest < gap:
        return Split(
            tuple(sorted(train)),
            tuple(sorted(held_out)),
            False,
            f"{what}. There are too few time points for a gap as wide as the time window "
            f"({gap}), so the network has seen parts of them and the F1 is too good to be true.",
            narrowest,
        )
    return _judged(dataset, tuple(sorted(train)), tuple(sorted(held_out)), what, gap)


def _by_experiment(
    dataset: Dataset,
    frames: Sequence[tuple[int, ...]],
    share: float,
    learnt: Collection[Frame] = frozenset(),
) -> Split | None:
    """Hold out the last experiments; None when all were learnt from before."""
    usable = [index for index, times in enumerate(frames) if times]
    known = {index for index, _ in learnt}
    fresh = [index for index in usable if index not in known]
    if not fresh:
        return None
    n_held = min(max(1, round(share * len(usable))), len(usable) - 1, len(fresh))
    usable = [index for index in usable if index not in fresh[-n_held:]] + fresh[-n_held:]
    train, held_out = _all_of(frames, sorted(usable[:-n_held])), _all_of(frames, usable[-n_held:])
    what = (
        f"Held out: {n_held} of {len(usable)} experiments, {_count(held_out)}"
        if n_held > 1
        else f"Held out: {_count(held_out)} of '{dataset.experiments[usable[-1]].name}'"
    )
    return _judged(dataset, train, held_out, what, 0)


def _too_little(frames: Sequence[tuple[int, ...]]) -> Split:
    everything = _all_of(frames, range(len(frames)))
    if len(everything) == 1:
        return Split(
            everything,
            everything,
            False,
            "Only one frame is annotated, so the detector is judged on what it learnt from: the "
            "F1 says nothing about other frames. Annotate more time points, far apart.",
        )
    return Split(
        everything[:-1],
        everything[-1:],
        False,
        f"Only {len(everything)} frames are annotated; one of them is held out, but it looks much "
        "like its neighbours, so the F1 is not to be trusted. Annotate more time points, far "
        "apart.",
    )


def _judged(
    dataset: Dataset, train: tuple[Frame, ...], held_out: tuple[Frame, ...], what: str, gap: int
) -> Split:
    """Return a proper split, unless what is held out is too little to go by."""
    cells = sum(
        int((experiment.annotations.statuses_at(t) == Status.CELL).sum())
        for experiment, t in ((dataset.experiments[i], t) for i, t in held_out)
    )
    if all(dataset.experiments[i].completeness == "sparse" for i, _ in held_out):
        why = "only some of their cells are marked, so false detections can't be counted"
    elif cells < ENOUGH_CELLS:
        why = f"they have {cells} {'cell' if cells == 1 else 'cells'} only"
    else:
        return Split(train, held_out, True, f"{what}, with {cells} cells.", gap)
    return Split(train, held_out, False, f"{what}; {why}: the F1 is not to be trusted.", gap)


def _independent(dataset: Dataset, frames: Sequence[tuple[int, ...]]) -> bool:
    """Tell whether the experiments are different movies, not parts of one."""
    movies = [identity(dataset.experiments[i].images) for i, times in enumerate(frames) if times]
    return len(set(movies)) == len(movies)


def _movies(dataset: Dataset) -> list[list[int]]:
    """Group the members that annotate one movie: its frames are divided once for all of them."""
    movies: dict[object, list[int]] = {}
    for index, experiment in enumerate(dataset.experiments):
        movies.setdefault(identity(experiment.images), []).append(index)
    return list(movies.values())


def identity(images: FrameSource | None) -> object:
    """Return what is the same for two sources of one movie, and differs for those of others."""
    location = getattr(images, "location", None)
    if not location:
        return id(images)
    return location, getattr(images, "pattern", None), getattr(images, "series", None)


def _all_of(frames: Sequence[tuple[int, ...]], members: Sequence[int]) -> tuple[Frame, ...]:
    return tuple((index, t) for index in members for t in frames[index])


def _count(frames: Sequence[Frame]) -> str:
    return f"{len(frames)} {'frame' if len(frames) == 1 else 'frames'}"


def _nothing_annotated(dataset: Dataset) -> str:
    if not dataset.members:
        return "The data set has no experiments."
    experiment = dataset.experiments[0]
    name = f"'{experiment.name}'"
    whole = "There is nothing to learn from: no time point has both an image and annotations"
    if not len(experiment.annotations):
        return f"{whole}; {name} has no positions at all."
    if experiment.images is None:
        return f"{whole}; the images of {name} are missing."
    marked = experiment.annotations.time_points()
    movie = experiment.image_time_points()
    if not movie:
        return f"{whole}; no image of {name} lies in its range of time points."
    if not set(movie) & set(marked.tolist()):
        return (
            f"{whole}; {name} has positions at time points {marked[0]} to {marked[-1]}, but images "
            f"at {movie[0]} to {movie[-1]}."
        )
    z, y, x = experiment.images.frame_shape
    return (
        f"{whole}; no position of {name} that counts as a cell lies inside its image of "
        f"{z} x {y} x {x} (z, y, x) pixels. Are they in micrometres?"
    )
