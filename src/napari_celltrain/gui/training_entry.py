"""One line of the training table: an experiment and how it is to be used. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.dataset import Member
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Region
from napari_celltrain.gui.image_source import to_world, world_to_movie
from napari_celltrain.gui.label_layers import catch_up

if TYPE_CHECKING:
    from pathlib import Path

    from napari.layers import Shapes

    from napari_celltrain.dataset import Role
    from napari_celltrain.experiment import Completeness, Experiment
    from napari_celltrain.gui.open_experiments import OpenExperiment


@dataclass(eq=False)
class TrainingEntry:
    """How one experiment is used.

    Parameters
    ----------
    open_experiment
        The layers it is read from when training starts; None for one from a file.
    member
        As the file says; None for layers.
    use
        Whether it takes part.
    role
        None: what is held out is chosen.
    channels
        Counted from 0; None: the experiment's own.
    first, last
        Time points to use; None leaves that end open.
    completeness
        How much of an annotated time point is annotated.
    region
        The Shapes layer with the polygons, for the completeness ``region``.
    only_corrected
        Of a copy of detections that was corrected by hand, use the time points that were changed:
        the others are what the detector thinks, not what somebody knows.
    """

    open_experiment: OpenExperiment | None = None
    member: Member | None = None
    use: bool = True
    role: Role | None = None
    channels: tuple[int, ...] | None = None
    first: int | None = None
    last: int | None = None
    completeness: Completeness = "time-points"
    region: Shapes | None = None
    only_corrected: bool = True

    @classmethod
    def of_file(cls, member: Member) -> TrainingEntry:
        """Use an experiment as its file says."""
        experiment = member.experiment
        first, last = experiment.time_range or (None, None)
        return cls(
            member=member,
            role=member.role,
            channels=experiment.channels,
            first=first,
            last=last,
            completeness=experiment.completeness,
        )

    @property
    def identity(self) -> object:
        """Stays the same while layers are renamed and moved."""
        return self.member if self.open_experiment is None else self.open_experiment.identity

    @property
    def name(self) -> str:
        """What is shown."""
        if self.open_experiment is not None:
            return self.open_experiment.name
        assert self.member is not None  # it is one or the other
        return self.member.experiment.name

    @property
    def path(self) -> Path | None:
        """The file it came from."""
        return None if self.member is None else self.member.annotations

    def read(self) -> Experiment:
        """Return the experiment as it is now, used as the table says.

        Raises
        ------
        CellTrainError
            When a layer is no movie, the region is missing, or only corrections are wanted and
            there are none.
        """
        if self.open_experiment is not None:
            experiment = self.open_experiment.read()
        else:
            assert self.member is not None  # it is one or the other
            experiment = self.member.experiment
        corrected = self.corrected_time_points()
        if self.only_corrected and corrected is not None:
            if not corrected:
                raise CellTrainError(
                    f"Nothing is corrected in '{self.name}' yet, so nothing can be learnt from it: "
                    "correct some of its cells, or select it and untick 'only what I corrected' if "
                    "all of them are right."
                )
            annotations = experiment.annotations
            kept = annotations.select(np.isin(annotations.t, corrected))
            experiment = experiment.with_(annotations=kept)
        images = experiment.images
        time_range = None
        if self.first is not None or self.last is not None:
            times = [] if images is None else list(images.time_points)
            first = min(times, default=0) if self.first is None else self.first
            last = max(times, default=0) if self.last is None else self.last
            if last < first:
                raise CellTrainError(
                    f"The time points of '{self.name}' run backwards, from {first} to {last}."
                )
            time_range = (first, last)
        return experiment.with_(
            time_range=time_range,
            channels=self.channels or experiment.channels,
            completeness=self.completeness,
            regions=self._regions(experiment),
        )

    def corrected_time_points(self) -> list[int] | None:
        """Return the time points corrected by hand; None when it is no copy of detections."""
        if self.open_experiment is None:
            return None
        return self.open_experiment.corrected_time_points()

    def to_member(self) -> Member:
        """Return what training takes."""
        if self.open_experiment is not None and self.open_experiment.labels is not None:
            catch_up(self.open_experiment.labels)  # what is there now, not what was noticed
        experiment = self.read()
        if self.member is None:
            return Member(experiment, role=self.role)
        from dataclasses import replace

        return replace(self.member, experiment=experiment, role=self.role)

    def _regions(self, experiment: Experiment) -> tuple[Region, ...]:
        if self.completeness != "region":
            return ()
        if self.region is None:
            if experiment.regions:
                return experiment.regions
            raise CellTrainError(
                f"'{self.name}' is annotated within a region, but no Shapes layer is chosen; draw "
                "a polygon around the annotated part and choose its layer."
            )
        assert self.open_experiment is not None  # only then a layer can be chosen
        return regions_of(self.region, self.open_experiment)


def regions_of(shapes: Shapes, experiment: OpenExperiment) -> tuple[Region, ...]:
    """Return the polygons of a Shapes layer in the pixels of an experiment's image.

    A polygon drawn in a movie holds for every time point when all are drawn at one of them, else
    for the time point that it was drawn at.

    Raises
    ------
    CellTrainError
        When nothing is drawn.
    """
    image = experiment.images[0] if experiment.images else None
    found = []
    for vertices, kind in zip(shapes.data, shapes.shape_type, strict=True):
        if kind in ("line", "path"):
            continue
        outline = np.asarray(vertices, np.float64)
        if kind == "ellipse":
            outline = _ellipse(outline)
        world = to_world(shapes, outline)
        movie = world if image is None else world_to_movie(image, world)
        t = round(float(movie[:, 0].mean())) if movie.shape[1] == 4 else 0
        found.append((t, tuple((float(y), float(x)) for y, x in movie[:, -2:])))
    if not found:
        raise CellTrainError(f"The layer '{shapes.name}' has no polygon, rectangle or ellipse.")
    everywhere = len({t for t, _ in found}) == 1
    return tuple(
        Region(outline, None if everywhere else t, None if everywhere else t)
        for t, outline in found
    )


def _ellipse(corners: np.ndarray) -> np.ndarray:
    """Return points on the ellipse within four corners."""
    centre = corners.mean(axis=0)
    across, along = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)[:, None]
    return np.asarray(centre + np.cos(angles) * across + np.sin(angles) * along)
