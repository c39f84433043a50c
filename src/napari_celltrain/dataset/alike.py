"""Experiments of a data set that are the same, or only called the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.dataset.splitting import identity
from napari_celltrain.experiment import Finding
from napari_celltrain.formats.autlist_writing import images_entry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.dataset.members import Member
    from napari_celltrain.experiment import Experiment

_SAME = ("time_range", "channels", "voxel_size_um", "completeness", "regions")
"""What of two experiments has to be the same, besides movie and annotations."""


def taken_once(members: Sequence[Member]) -> list[Member]:
    """Leave out what is there before, and say so.

    A movie that is given twice, alone and in a list perhaps, would weigh twice as much.
    """
    kept: list[Member] = []
    for member in members:
        name = member.experiment.name
        twin = next((i for i, one in enumerate(kept) if _are_the_same(one, member)), None)
        if twin is None:
            kept.append(member)
            continue
        first = kept[twin].experiment.name
        what = "is" if first == name else f"is the same as '{first}', so it is"
        finding = Finding(
            "warning",
            "repeated-entry",
            f"'{name}' {what} in the data set more than once; it is taken once.",
        )
        if finding not in kept[twin].experiment.findings:
            kept[twin] = _told(kept[twin], finding)
    return kept


def _are_the_same(one: Member, other: Member) -> bool:
    """Tell whether nothing but the name, or the place of the annotations, is different."""
    if (one.role, one.time_offset) != (other.role, other.time_offset):
        return False
    a, b = one.experiment, other.experiment
    if any(getattr(a, key) != getattr(b, key) for key in _SAME) or _movie(a) != _movie(b):
        return False
    return all(
        np.array_equal(getattr(a.annotations, key), getattr(b.annotations, key))
        for key in ("t", "positions", "status", "links")
    )


def with_namesakes_told(members: Sequence[Member]) -> tuple[Member, ...]:
    """Say of movies that have the same name what that leads to; parts of one movie may have it.

    They keep their names: a detector knows by them what it has seen, also when it is judged on
    one of these movies alone.
    """
    result = list(members)
    movies: dict[str, set[object]] = {}
    for member in members:
        movies.setdefault(member.experiment.name, set()).add(_movie(member.experiment))
    for name, different in movies.items():
        if len(different) > 1:
            last = max(i for i, member in enumerate(members) if member.experiment.name == name)
            finding = Finding(
                "warning",
                "same-name",
                f"{len(different)} movies of the data set are called '{name}'. What was learnt "
                "from and thresholds of their own are known by name, so these movies can't be told "
                'apart; give each a name of its own (name = "..." in a dataset.toml).',
            )
            result[last] = _told(result[last], finding)
    return tuple(result)


def _movie(experiment: Experiment) -> object:
    """Return what is the same for experiments of one movie."""
    images = experiment.images
    if images is None:
        return experiment.source
    made_of = images_entry(images, Path("/"))  # of others, which say where they are
    return json.dumps(made_of) if made_of else identity(images)


def _told(member: Member, finding: Finding) -> Member:
    experiment = member.experiment
    return replace(member, experiment=experiment.with_(findings=(*experiment.findings, finding)))
