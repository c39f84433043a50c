"""Two annotations of one movie are one experiment: the second one corrects the first. No Qt.

A corrected copy of detections and the annotation that the detector was trained with lie on the same
images. As two experiments, a frame of one could be held out while the other learns from it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.experiment import Annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.dataset import Member
    from napari_celltrain.experiment import Experiment


def one_for_each_movie(members: Sequence[Member]) -> list[Member]:
    """Return the members, those that are used alike and have the same movie made one.

    Where both say something of a time point, the later one is right.

    Parameters
    ----------
    members
        In the order of the table.
    """
    merged: list[Member] = []
    for member in members:
        earlier = next((one for one in merged if _alike(one, member)), None)
        if earlier is None:
            merged.append(member)
            continue
        before, after = earlier.experiment, member.experiment
        both = corrected(before.usable_annotations(), after.usable_annotations())
        merged[merged.index(earlier)] = replace(
            earlier,
            experiment=before.with_(annotations=both, time_range=None),
            annotations=None,  # no longer what a file says
            entry=None,
        )
    return merged


def corrected(before: Annotations, corrections: Annotations) -> Annotations:
    """Return an annotation in which every corrected time point is as the corrections say.

    Links between kept positions stay on both sides, and the features that both have.
    """
    kept = before.select(~np.isin(before.t, corrections.time_points()))
    assert kept.status is not None  # set when they were made
    assert corrections.status is not None
    return Annotations(
        np.concatenate([kept.t, corrections.t]),
        np.concatenate([kept.positions, corrections.positions]),
        np.concatenate([kept.links, corrections.links + len(kept)]),
        np.concatenate([kept.status, corrections.status]),
        {
            name: np.concatenate([column, corrections.features[name]])
            for name, column in kept.features.items()
            if name in corrections.features
        },
    )


def _alike(one: Member, other: Member) -> bool:
    a, b = one.experiment, other.experiment
    same_use = (
        one.role == other.role
        and a.channels == b.channels
        and a.completeness == b.completeness
        and a.regions == b.regions
    )
    return same_use and a.images is not None and _movie(a) == _movie(b)


def _movie(experiment: Experiment) -> object:
    """Return what is the same for two sources of one movie."""
    images = experiment.images
    location = getattr(images, "location", None)
    if location is not None:
        return location, getattr(images, "series", None)
    return id(getattr(images, "array", images))  # a layer's movie is made anew at each look
