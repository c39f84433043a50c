"""Recognising that images or annotations are not the ones a run was started with."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from napari_celltrain.dataset import Dataset


def fingerprint(dataset: Dataset) -> str:
    """Return a short text that changes when annotations, roles or image files do.

    Image files are recognised by name, size and date where the source offers that (`stamp`), which
    costs no reading.
    """
    digest = hashlib.sha256()
    for member in dataset.members:
        experiment = member.experiment
        annotations = experiment.annotations
        digest.update(
            repr(
                (
                    experiment.name,
                    member.role,
                    experiment.channels,
                    experiment.known_voxel_size_um,
                    experiment.completeness,
                    experiment.regions,
                    experiment.time_range,
                )
            ).encode()
        )
        for array in (annotations.t, annotations.positions, annotations.status):
            digest.update(np.ascontiguousarray(array).tobytes())
        if experiment.images is not None:
            stamp = getattr(experiment.images, "stamp", None)
            existing = set(experiment.images.time_points)
            for t in annotations.time_points().tolist():
                if stamp is not None and t in existing:
                    digest.update(str(stamp(t, experiment.channels[0])).encode())
    return digest.hexdigest()[:24]
