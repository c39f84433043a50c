"""Layers that training can show: what the network sees, and its errors on held-out frames."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from napari_celltrain.dataset import Dataset
from napari_celltrain.experiment import Experiment
from napari_celltrain.gui.comparison import FALSE, FOUND, MISSED, Outcomes
from napari_celltrain.gui.errands import Errands
from napari_celltrain.gui.error_tour import ErrorTour
from napari_celltrain.gui.going_there import fit
from napari_celltrain.gui.image_source import voxel_size_of
from napari_celltrain.gui.layers import METADATA, hollow, note
from napari_celltrain.gui.result_layers import add_errors

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Layer

    from napari_celltrain.gui.comparison import Comparison
    from napari_celltrain.gui.detector_chooser import DetectorCard
    from napari_celltrain.gui.work import Work
    from napari_celltrain.training.events import HeldOutErrors
    from napari_celltrain.training.settings import TrainingSettings

PREVIEW = "augmentation preview"


class ExtraLayers(QObject):
    """Makes these layers in a thread, one request at a time.

    Parameters
    ----------
    viewer
        That gets the layers.
    parent
        The widget.
    """

    said = Signal(str)
    """A sentence: what was made, or why not."""

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._errands = Errands(self)
        self._errands.said.connect(self.said)
        self._tour = ErrorTour(viewer)
        self._hidden: list[weakref.ref[Layer]] = []
        self._view: tuple[Any, ...] = ()
        viewer.layers.events.removed.connect(self._layer_removed)

    @property
    def busy(self) -> bool:
        """True while something is being made."""
        return self._errands.busy

    def stop(self) -> None:
        """Make no more."""
        self._errands.stop()

    def preview(self, dataset: Dataset, settings: TrainingSettings) -> None:
        """Show training crops, before and after the random changes."""
        self.said.emit("Preparing the preview.")
        self._errands.do(_preview_work(dataset, settings), self._show_preview)

    def held_out_errors(
        self, dataset: Dataset | Path, run_folder: Path, settings: TrainingSettings
    ) -> None:
        """Show what the best detector of a run finds and misses on its held-out frames."""
        self._errands.do(_errors_work(dataset, run_folder, settings), self._show_errors)

    def told_errors(
        self, told: HeldOutErrors, experiments: Sequence[Experiment], card: DetectorCard | None
    ) -> None:
        """Show what a run that trains now has told of its errors.

        Parameters
        ----------
        told
            The errors of the last evaluation.
        experiments
            Of the data set, where they are known here; else images are found by their names.
        card
            Of the detector, which says how wide a cell is.
        """
        judged = []
        for member in sorted({frame.member for frame in told.frames}):
            frames = [frame for frame in told.frames if frame.member == member]
            known = member < len(experiments)
            experiment = experiments[member] if known else Experiment(frames[0].experiment)
            outcomes = Outcomes.of(
                (frame.time_point, places, kind)
                for frame in frames
                for places, kind in (
                    (frame.found, FOUND), (frame.missed, MISSED), (frame.false, FALSE)
                )
            )  # fmt: skip
            voxel = experiment.known_voxel_size_um
            image = _image_of(self._viewer, experiment)
            if not known and image is not None:
                voxel = voxel_size_of(image)
            width = 10.0 if card is None else card.diameter_px(None if voxel is None else voxel[2])
            judged.append((experiment, outcomes, width))
        self._add_errors(judged, begin_again=False)

    def go_to_next_error(self) -> None:
        """Bring the next missed or false cell of the held-out frames into the middle."""
        self.said.emit(self._tour.go_on())

    def _show_preview(self, crops: list[Any]) -> None:
        for layer in list(self._viewer.layers):
            if _is_preview(layer):
                self._viewer.layers.remove(layer)  # after the last one the others are shown again
        if not crops:
            return
        camera = _camera(self._viewer)
        self._view = (camera.center, camera.zoom, self._viewer.dims.point)
        for layer in self._viewer.layers:
            if layer.visible:
                self._hidden.append(weakref.ref(layer))
                layer.visible = False
        shown = [layer for layer in self._viewer.layers if layer.ndim > 1]
        without = any(str(layer.units[-1]) == "pixel" for layer in shown)
        # napari complains when some layers have units and others have none
        unit = "pixel" if crops[0].unit != "um" or without else "um"
        place: dict[str, Any] = {
            "scale": (1.0, *crops[0].voxel_size),
            "units": ("pixel", unit, unit, unit),
            "axis_labels": ("t", "z", "y", "x"),
            "metadata": {METADATA: {"role": "preview"}},
        }
        for name, images, visible in (
            ("before", [crop.before for crop in crops], False),
            ("as the network sees it", [crop.after for crop in crops], True),
        ):
            self._viewer.add_image(
                np.stack(images), name=f"{PREVIEW}: {name}", visible=visible,
                contrast_limits=(0, 1.2), projection_mode="none", **place,
            )  # fmt: skip
        points = [
            np.column_stack([np.full(len(crop.points), number), crop.points])
            for number, crop in enumerate(crops)
        ]
        self._viewer.add_points(
            np.concatenate(points), ndim=4, size=6, name=f"{PREVIEW}: cells",
            **hollow("#ffb000"), **place,
        )  # fmt: skip
        self._viewer.dims.set_point(0, 0)
        fit(self._viewer, [self._viewer.layers[f"{PREVIEW}: as the network sees it"]])
        self.said.emit(
            f"{len(crops)} crops as the network sees them: move the t slider. Delete these layers "
            "when you have seen enough."
        )

    def _layer_removed(self, event: Any = None) -> None:
        """Show again what the preview took the place of, when its last layer was deleted."""
        if not isalive(self) or not self._hidden or any(map(_is_preview, self._viewer.layers)):
            return
        hidden, self._hidden = self._hidden, []
        for layer in [known for reference in hidden if (known := reference()) is not None]:
            if layer in self._viewer.layers:
                layer.visible = True
        camera = _camera(self._viewer)
        camera.center, camera.zoom, point = self._view
        ndim = self._viewer.dims.ndim
        if len(point) <= ndim:  # a flat movie has fewer axes than the preview
            self._viewer.dims.set_point(range(ndim - len(point), ndim), point)

    def _show_errors(self, results: list[tuple[Experiment, Comparison, float]]) -> None:
        self._add_errors(results)
        words = " ".join(f"{one.name}: {comparison.in_words}" for one, comparison, _ in results)
        self.said.emit(f"Held-out frames: {words}" if words else "No held-out frames.")

    def _add_errors(
        self, judged: Sequence[tuple[Experiment, Outcomes, float]], *, begin_again: bool = True
    ) -> None:
        """Add a layer for each experiment that is open, shown when its movie is."""
        active = self._viewer.layers.selection.active
        tour = []
        for experiment, outcomes, diameter_px in judged:
            name = f"{experiment.name} held-out errors"
            image = _image_of(self._viewer, experiment)
            if image is not None:
                is_new = name not in self._viewer.layers
                channel = experiment.channels[0]
                layer = add_errors(self._viewer, name, outcomes, image, diameter_px, channel)
                layer.visible = image.visible if is_new else layer.visible
                tour.append((image, outcomes))
        self._tour.plan(tour, begin_again=begin_again)
        if active in self._viewer.layers:  # somebody may be editing it
            self._viewer.layers.selection.active = active


def _is_preview(layer: Layer) -> bool:
    return note(layer).get("role") == "preview"


def _camera(viewer: ViewerModel) -> Any:
    return getattr(viewer, "scene", viewer).camera  # napari before 0.9 had it on the viewer


def _image_of(viewer: ViewerModel, experiment: Experiment) -> Image | None:
    """Return an open image layer of an experiment; it may be open under another name."""
    images = [layer for layer in viewer.layers if isinstance(layer, Image)]
    location = getattr(experiment.images, "location", None)
    for layer in images:
        shown = note(layer).get("experiment")
        if shown is not None and (
            shown.images is experiment.images
            or (location is not None and getattr(shown.images, "location", None) == location)
        ):
            return layer
    return next((layer for layer in images if layer.name == experiment.name), None)


def _preview_work(dataset: Dataset, settings: TrainingSettings) -> Work:
    def work(report: Callable[[Any], None], stop: threading.Event) -> Any:
        from napari_celltrain.training.preview import preview_crops

        return preview_crops(dataset, settings, stopping=stop.is_set)

    return work


def _errors_work(dataset: Dataset | Path, run_folder: Path, settings: TrainingSettings) -> Work:
    def work(report: Callable[[Any], None], stop: threading.Event) -> Any:
        from napari_celltrain.dataset import load_dataset, split
        from napari_celltrain.detector.compute import cores_beside_a_window
        from napari_celltrain.detector.detector import Detector
        from napari_celltrain.detector.learnt import Recognition
        from napari_celltrain.gui.comparison import compare
        from napari_celltrain.prediction.judge import annotated_diameter, candidates, voxel_size_of

        data = dataset if isinstance(dataset, Dataset) else load_dataset(dataset)
        compute = settings.compute  # as in training: another rounding finds a cell more or less
        detector = Detector.from_folder(
            run_folder,
            device=compute.device,
            threads=compute.threads or cores_beside_a_window(),
            precision=compute.precision,
        )
        learnt = Recognition(detector.info.trained_on).frames(data.experiments)
        share, window = settings.data.held_out_share, settings.design.time_window
        held_out = split(data, share, window, learnt=learnt).held_out
        judged = list(
            candidates(
                detector, data.experiments, held_out, stopping=stop.is_set,
                exclude_dying=settings.data.exclude_dying,
            )
        )  # fmt: skip
        results = []
        for member in sorted({frame.member for frame in judged}):
            experiment = data.experiments[member]
            voxel = voxel_size_of(detector, experiment)
            diameter = annotated_diameter(detector.design, experiment)
            frames = [(frame.t, frame.scored) for frame in judged if frame.member == member]
            comparison = compare(
                frames, detector.info.threshold_for(experiment.name), detector.design.unit
            )
            results.append((experiment, comparison, diameter / voxel[2]))
        return results

    return work
