"""An experiment: a movie, what is annotated in it, and what its numbers mean.

Conventions that hold everywhere in this package:

* axis order is (t, z, y, x); a 2D movie is a 3D one with one plane;
* positions are float pixels of the image *as stored*, and 0 is the centre of the first pixel;
* time points are the image's own numbers (a series may start at 1 or 37, and may have gaps);
* channels are counted from 0 in code and from 1 wherever a person types them;
* a voxel size that nobody knows is None, and then everything is in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

ZYX = tuple[float, float, float]
"""Three floats in (z, y, x) order: a voxel size in um, an offset in pixels."""

Completeness = Literal["time-points", "box", "sparse", "region"]
"""How much of an annotated time point is annotated.

``time-points``: every cell of it; ``box``: every cell within the box around its positions;
``region``: every cell within the given polygons; ``sparse``: only the marked cells are known.
"""


class Status(IntEnum):
    """What a mark says of its place."""

    NOT_A_CELL = -1
    """Somebody looked and it is no cell: a hard negative."""
    UNKNOWN = 0
    """Nobody decided: it gives neither reward nor punishment."""
    CELL = 1


@runtime_checkable
class FrameSource(Protocol):
    """A movie that is read a frame at a time; making one reads headers only.

    Implementations hold paths, not open handles, and can be pickled (a worker process opens its
    own). A frame that can't be read raises `CellTrainError` naming the file and the time point.
    """

    @property
    def name(self) -> str:
        """A short name for messages and layers, e.g. the file's."""

    @property
    def time_points(self) -> Sequence[int]:
        """The time points that exist, ascending, by the image's own numbers; gaps stay gaps."""

    @property
    def n_channels(self) -> int:
        """How many channels a frame has."""

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(z, y, x), the same for every frame."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the pixels as stored."""

    @property
    def voxel_size_um(self) -> ZYX | None:
        """(z, y, x) in micrometres as the file states it; None where it does not."""

    @property
    def frame_interval_s(self) -> float | None:
        """Seconds between time points; None where the file does not say."""

    def read_frame(self, t: int, channel: int = 0) -> NDArray[Any]:
        """Return the (z, y, x) array of time point `t`, in the stored type."""

    def read_crop(self, t: int, channel: int, crop: tuple[slice, slice, slice]) -> NDArray[Any]:
        """Return a (z, y, x) part of a frame; cheap where the container allows it."""


def _frozen(values: ArrayLike, dtype: Any, shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.array(values, dtype=dtype).reshape(shape)
    array.setflags(write=False)
    return array


@dataclass(frozen=True, eq=False)
class Annotations:
    """Cell centres, and the links between them.

    Parameters
    ----------
    t
        Time point of each position, integer, shape (N,).
    positions
        Float (z, y, x) pixels of the image as stored, shape (N, 3).
    links
        Indices (earlier, later) into the positions, shape (L, 2). Two links from one position are
        a division, two links to one are a merge; a link may skip time points.
    status
        One `Status` for each position, shape (N,); default: all are cells.
    features
        Further columns of length N, such as ``score``, ``radius_um``, ``track_id``, ``type``.
    link_features
        Further columns of length L.
    """

    t: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    positions: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    links: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    status: NDArray[np.int8] | None = None
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    link_features: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        t = _frozen(self.t, np.int64, (-1,))
        n = len(t)
        put = object.__setattr__
        put(self, "t", t)
        put(self, "positions", _frozen(self.positions, np.float64, (n, 3)))
        put(self, "links", _frozen(self.links, np.int64, (-1, 2)))
        status = np.ones(n, np.int8) if self.status is None else self.status
        put(self, "status", _frozen(status, np.int8, (n,)))
        for name, length in (("features", n), ("link_features", len(self.links))):
            columns = {key: np.asarray(column) for key, column in getattr(self, name).items()}
            for key, column in columns.items():
                if len(column) != length:
                    raise ValueError(f"{name}[{key!r}] has {len(column)} entries, not {length}")
            put(self, name, MappingProxyType(columns))
        if len(self.links):
            if self.links.min() < 0 or self.links.max() >= n:
                raise ValueError("a link names a position that does not exist")
            if (t[self.links[:, 0]] >= t[self.links[:, 1]]).any():
                raise ValueError("links run from an earlier to a later time point")

    def __len__(self) -> int:
        return len(self.t)

    def __getstate__(self) -> dict[str, Any]:
        """Mapping proxies can't be pickled; plain dictionaries can."""
        state = dict(self.__dict__)
        state.pop("_by_time", None)
        state["features"] = dict(self.features)
        state["link_features"] = dict(self.link_features)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            object.__setattr__(self, key, value)
        self.__post_init__()

    @property
    def is_cell(self) -> NDArray[np.bool_]:
        """True for the positions that are cells, shape (N,)."""
        return np.asarray(self.status == Status.CELL)

    def time_points(self) -> NDArray[np.int64]:
        """The time points that have at least one position, ascending."""
        return np.unique(self.t)

    def at(self, time_point: int) -> NDArray[np.int64]:
        """Indices of the positions of one time point, ascending."""
        order, t = self._by_time
        low, high = np.searchsorted(t, time_point, "left"), np.searchsorted(t, time_point, "right")
        return order[low:high].copy()

    def statuses_at(self, time_point: int) -> NDArray[np.int8]:
        """`Status` of the positions of one time point, in the order of `at`."""
        assert self.status is not None  # set in __post_init__
        return self.status[self.at(time_point)]

    @cached_property
    def _by_time(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Indices in the order of time, and their time points.

        Found once: whoever asks for one time point asks for the others too.
        """
        order = np.argsort(self.t, kind="stable")
        return order, self.t[order]

    def select(self, keep: NDArray[Any]) -> Annotations:
        """Return the positions that a mask or an index array picks, with the links between them."""
        index = np.flatnonzero(keep) if np.asarray(keep).dtype == bool else np.asarray(keep)
        new_index = np.full(len(self), -1, np.int64)
        new_index[index] = np.arange(len(index))
        links = new_index[self.links]
        kept = (links >= 0).all(axis=1)
        assert self.status is not None  # set in __post_init__
        return Annotations(
            self.t[index],
            self.positions[index],
            links[kept],
            self.status[index],
            {key: column[index] for key, column in self.features.items()},
            {key: column[kept] for key, column in self.link_features.items()},
        )


@dataclass(frozen=True)
class Region:
    """A polygon within which every cell is annotated, over a range of time points.

    Parameters
    ----------
    vertices
        (y, x) pixels, shape (K, 2), K >= 3.
    first, last
        The time points it holds for, inclusive; None leaves that end open.
    """

    vertices: tuple[tuple[float, float], ...]
    first: int | None = None
    last: int | None = None

    def holds_at(self, time_point: int) -> bool:
        """Tell whether the region says anything about a time point."""
        return (self.first is None or self.first <= time_point) and (
            self.last is None or time_point <= self.last
        )


Severity = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """Something worth a person's look, as a sentence, with the place where to look.

    Parameters
    ----------
    severity
        ``info``: good to know; ``warning``: likely a mistake; ``error``: training would fail or
        learn nonsense.
    code
        A stable short name such as ``outside-image``, for programs.
    message
        The sentence, with numbers.
    experiment
        Name of the experiment it is about.
    time_point
        Where to go, if there is one place.
    points
        Indices of the positions meant.
    """

    severity: Severity
    code: str
    message: str
    experiment: str = ""
    time_point: int | None = None
    points: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Experiment:
    """One movie with its annotations: plain, frozen data.

    Parameters
    ----------
    name
        Shown to the person; not necessarily unique.
    annotations
        Positions and links; may be empty.
    images
        The movie, if it is known.
    voxel_size_um
        (z, y, x); what the user said, else what the annotation file said, else what the images
        said, else None.
    frame_interval_s
        Seconds between time points, if known.
    time_range
        First and last time point to use, inclusive; None: all.
    channels
        Which channels of the images hold the cells, counted from 0.
    channels_stated
        Whether a person or a file said so; where not, a detector looks at those of its training.
    completeness
        How much of an annotated time point is annotated.
    regions
        Where everything is annotated, if `completeness` is ``region``.
    image_offsets
        (z, y, x) pixels for a time point: what the source file adds to image pixels. Already
        subtracted from `annotations.positions`; kept to write the file back as it was.
    carried
        By the name of a format: what such a file said that nothing here uses; kept to write the
        file back as it was.
    source
        The file or folder the annotations came from.
    findings
        What the reader noticed.
    """

    name: str
    annotations: Annotations = field(default_factory=Annotations)
    images: FrameSource | None = None
    voxel_size_um: ZYX | None = None
    frame_interval_s: float | None = None
    time_range: tuple[int, int] | None = None
    channels: tuple[int, ...] = (0,)
    channels_stated: bool = False
    completeness: Completeness = "time-points"
    regions: tuple[Region, ...] = ()
    image_offsets: Mapping[int, ZYX] = field(default_factory=dict)
    carried: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    source: Path | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def known_voxel_size_um(self) -> ZYX | None:
        """The experiment's own voxel size, else the images'."""
        if self.voxel_size_um is not None:
            return self.voxel_size_um
        return None if self.images is None else self.images.voxel_size_um

    def in_range(self, time_point: int) -> bool:
        """Tell whether a time point lies in the range to use."""
        return self.time_range is None or self.time_range[0] <= time_point <= self.time_range[1]

    def image_time_points(self) -> list[int]:
        """Time points of the movie within the range to use."""
        if self.images is None:
            return []
        return [t for t in self.images.time_points if self.in_range(t)]

    def usable_annotations(self) -> Annotations:
        """The annotations within the range to use."""
        if self.time_range is None:
            return self.annotations
        first, last = self.time_range
        t = self.annotations.t
        return self.annotations.select((t >= first) & (t <= last))

    def with_(self, **changes: Any) -> Experiment:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)
