"""Opening tracking files and detectors in napari: drag a file or folder into the window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_celltrain.errors import CellTrainError
from napari_celltrain.files import content_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_celltrain.experiment import Experiment
    from napari_celltrain.gui.layers import LayerData

DATASET_SUFFIX = ".toml"
LARGEST = 10_000_000
"""Bytes: a larger file is no data set, and is not looked at."""


def reader_for(path: str | list[str]) -> Callable[[Any], list[Any]] | None:
    """Return the function that opens a path, at once.

    Other people's files are handed on to other readers, so that remembering this one for a kind of
    name does no harm; None where there is no other reader.

    Parameters
    ----------
    path
        A file or folder. A list of them (napari's "open as stack") is never ours.
    """
    if isinstance(path, str):
        place = Path(path)
        if is_detector(place):
            return open_detector
        if _is_tracking_data(place):
            return read_layers
    from napari_celltrain.gui.other_readers import other_reader

    return other_reader(path)


def open_detector(path: str | list[str]) -> list[tuple[None]]:
    """Open *Predict cells* with a detector; it has no layers of its own.

    Raises
    ------
    CellTrainError
        When there is no window.
    """
    from napari import current_viewer

    viewer = current_viewer()
    place = Path(path if isinstance(path, str) else path[0])
    if viewer is None:
        raise CellTrainError(f"{place.name} is a detector; open it in napari with Predict cells.")
    _, widget = viewer.window.add_plugin_dock_widget("napari-celltrain", "Predict cells")
    widget.set_detector(place)
    return [(None,)]  # so napari is told that there is nothing to add


def read_layers(path: str | list[str]) -> list[LayerData]:
    """Read the experiments in a file or folder as layers; what was noticed is notified.

    Raises
    ------
    CellTrainError
        With the sentence that napari shows.
    """
    from napari_celltrain.gui.reader_preferences import keep_narrow

    place = Path(path if isinstance(path, str) else path[0])
    experiments = read_experiments(place)
    tell(experiments)
    look_through_depth(experiments)
    keep_narrow()
    return layers_of(experiments)


def layers_of(experiments: list[Experiment]) -> list[LayerData]:
    """Return the layers of experiments that were opened together."""
    from napari_celltrain.gui.layers import experiment_layers

    with_units = all(one.known_voxel_size_um is not None for one in experiments)
    # of several movies the first is shown: on top of each other they could not be told apart
    return [
        layer
        for number, experiment in enumerate(experiments)
        for layer in experiment_layers(experiment, visible=number == 0, with_units=with_units)
    ]


def read_experiments(place: Path) -> list[Experiment]:
    """Read a tracking file, a folder or a ``dataset.toml``."""
    if place.suffix.lower() == DATASET_SUFFIX:
        from napari_celltrain.dataset import load_dataset

        return [
            member.experiment for member in load_dataset([place], require_annotations=False).members
        ]
    from napari_celltrain.formats.registry import read_experiments as read

    return read(place)


def is_detector(place: Path) -> bool:
    """Tell whether a packed detector, a detector folder or a run folder with one is meant."""
    from napari_celltrain.detector.package import is_package

    if is_package(place):
        return True
    return any((place / name).is_file() for name in ("detector.json", "best/detector.json"))


def _is_tracking_data(place: Path) -> bool:
    from napari_celltrain.formats.registry import format_of

    if place.suffix.lower() == DATASET_SUFFIX:
        return _is_dataset(place)
    return format_of(place) is not None


def _is_dataset(place: Path) -> bool:
    try:
        return b"[[experiment]]" in content_of(place, LARGEST).replace(b" ", b"")
    except OSError:
        return False


def tell(experiments: list[Experiment]) -> None:
    """Notify of what was noticed on reading."""
    from napari.utils.notifications import show_info, show_warning

    for experiment in experiments:
        for finding in experiment.findings:
            show = show_info if finding.severity == "info" else show_warning
            show(f"{experiment.name}: {finding.message}")


def look_through_depth(experiments: list[Experiment]) -> None:
    """Let cells be seen in neighbouring planes too, once their layer is there."""
    from napari import current_viewer

    from napari_celltrain.gui.layers import note, point_size, show_through_depth

    deep = [one for one in experiments if one.images is not None and one.images.frame_shape[0] > 1]
    viewer = current_viewer()
    if viewer is None or not deep:
        return
    voxel = deep[0].known_voxel_size_um or (1.0, 1.0, 1.0)
    thickness = max(point_size(deep[0].annotations) * voxel[2] / 2, voxel[0])
    names = {id(one) for one in deep}

    def layer_added(event: Any) -> None:
        if id(note(event.value).get("experiment")) in names:
            viewer.layers.events.inserted.disconnect(layer_added)
            show_through_depth(viewer, thickness)

    viewer.layers.events.inserted.connect(layer_added)
