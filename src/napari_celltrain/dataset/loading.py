"""From what a person names to a data set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_celltrain.dataset.alike import taken_once, with_namesakes_told
from napari_celltrain.dataset.dataset_file import SUFFIX, read_dataset_file
from napari_celltrain.dataset.members import Dataset, Member
from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import check_readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.experiment import Experiment


def load_dataset(
    paths: str | Path | Sequence[str | Path],
    *,
    require_images: bool = True,
    require_annotations: bool = True,
) -> Dataset:
    """Load a data set from one or several places.

    Parameters
    ----------
    paths
        Each a ``dataset.toml`` (or a folder that holds one), an ``.autlist``, a Cell Tracking
        Challenge folder, or any tracking file whose images are found. What is in them twice is
        taken once, with a finding.
    require_images
        False accepts experiments whose images are missing; counting does without them.
    require_annotations
        False accepts entries of a ``dataset.toml`` that name images only; prediction does without
        annotations.

    Raises
    ------
    CellTrainError
        When something can't be read, or images are missing; the sentence names the place.
    """
    places = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    if not places:
        raise CellTrainError("Name at least one data set.")
    parts = [_load_one(place, require_images, require_annotations) for place in places]
    members = taken_once([member for part in parts for member in part.members])
    if not members:
        raise CellTrainError(f"{places[0]} lists no experiments.")
    return Dataset(with_namesakes_told(members), parts[0].path if len(parts) == 1 else None)


def _load_one(path: Path, require_images: bool, require_annotations: bool) -> Dataset:
    check_readable(path)
    if path.is_dir() and (path / "dataset.toml").is_file():
        path = path / "dataset.toml"
    if path.suffix.lower() == SUFFIX:
        return read_dataset_file(
            path, require_images=require_images, require_annotations=require_annotations
        )
    from napari_celltrain.formats.registry import read_experiments

    experiments = read_experiments(path)
    if require_images:
        for experiment in experiments:
            if experiment.images is None:
                raise CellTrainError(_images_missing(experiment, path))
    several = len(experiments) > 1
    members = tuple(
        Member(experiment, annotations=path.resolve(), entry=number if several else None)
        for number, experiment in enumerate(experiments, 1)
    )
    return Dataset(members, path.absolute())


def _images_missing(experiment: Experiment, path: Path) -> str:
    for finding in experiment.findings:
        if finding.code == "images-missing":
            return f"{path}, '{experiment.name}': {finding.message}"
    return (
        f"Nothing says where the images of '{experiment.name}' ({path}) are. List them together in "
        'a dataset.toml: [[experiment]] with images = "..." and annotations = "...".'
    )
