"""A data set: experiments, and what each of them is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_celltrain.experiment import Status

if TYPE_CHECKING:
    from pathlib import Path

    from napari_celltrain.experiment import Experiment

Role = Literal["train", "held-out"]
"""``train``: learnt from; ``held-out``: never learnt from, only used to tell how good it is."""


@dataclass(frozen=True, eq=False)
class Member:
    """One experiment of a data set.

    Parameters
    ----------
    experiment
        The movie and its annotations.
    role
        None leaves it to `split`.
    annotations
        The file that the annotations were read from, as they are; None when they are in no file
        (made in a window, or changed since).
    entry
        Which of several experiments in that file, counted from 1; None when it holds one.
    images
        Where the movie is, as text that `open_images` takes; None when the annotation file says
        it, or nobody.
    time_offset
        What was added to the time points of the annotation file.
    marks
        The file of the marks that are no cells, where there is one.
    """

    experiment: Experiment
    role: Role | None = None
    annotations: Path | None = None
    entry: int | None = None
    images: str | None = None
    time_offset: int = 0
    marks: Path | None = None


@dataclass(frozen=True, eq=False)
class Dataset:
    """Experiments to learn from and to be judged on.

    Parameters
    ----------
    members
        In the order in which they were given.
    path
        The ``dataset.toml`` (or other list) that it came from, if it was a single file.
    """

    members: tuple[Member, ...]
    path: Path | None = None

    def __len__(self) -> int:
        return len(self.members)

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """The experiments alone."""
        return tuple(member.experiment for member in self.members)

    @property
    def files(self) -> tuple[Path, ...]:
        """What it was read from, without the images: the list itself, and what is annotated."""
        found = [self.path]
        for member in self.members:
            found += [member.annotations, member.marks, member.experiment.source]
        return tuple(dict.fromkeys(path for path in found if path is not None))


def annotated_time_points(experiment: Experiment) -> tuple[int, ...]:
    """Return the time points that say something: in the range, with an image, with marks inside it.

    A mark counts when it lies in the image and somebody decided on it. Where all cells of a time
    point are annotated there must be at least one cell: a time point without positions can't be
    told from one that nobody has looked at. Where only single cells are known, a mark that says
    "no cell here" is worth learning from as well.
    """
    if experiment.images is None:
        return ()
    annotations = experiment.annotations
    shape = np.asarray(experiment.images.frame_shape, np.float64)
    inside = (annotations.positions >= -0.5).all(axis=1) & (
        annotations.positions <= shape - 0.5
    ).all(axis=1)
    if experiment.completeness == "sparse":
        says_something = annotations.status != Status.UNKNOWN
    else:
        says_something = annotations.is_cell
    marked = set(np.unique(annotations.t[inside & says_something]).tolist())
    if experiment.completeness == "region":
        marked = {t for t in marked if any(region.holds_at(t) for region in experiment.regions)}
    return tuple(t for t in experiment.image_time_points() if t in marked)
