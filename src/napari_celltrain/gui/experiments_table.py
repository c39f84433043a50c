"""The experiments to learn from: those open in the viewer, and those added from files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from napari.layers import Image, Shapes
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSpinBox,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.axes_row import AxesRow
from napari_celltrain.gui.going_there import lay_on_movies
from napari_celltrain.gui.image_source import movies_in
from napari_celltrain.gui.layers import note
from napari_celltrain.gui.long_texts import NameBox
from napari_celltrain.gui.open_experiments import open_experiments
from napari_celltrain.gui.same_movie import one_for_each_movie
from napari_celltrain.gui.setting_row import ignore_wheel
from napari_celltrain.gui.training_entry import TrainingEntry
from napari_celltrain.gui.voxel_size import VoxelSizeRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel

    from napari_celltrain.dataset import Member
    from napari_celltrain.gui.open_experiments import OpenExperiment

ROLES = {None: "automatic", "train": "learn from", "held-out": "test on"}
COMPLETENESS = {
    "time-points": "all cells of a time point",
    "box": "all cells in a box around them",
    "region": "all cells in a drawn region",
    "sparse": "only some of the cells",
}
NOTHING_TO_LEARN_FROM = (
    "There is nothing to learn from yet: open a tracking file (drag it into napari), or press Add "
    "files."
)
_NO_TIME = -1_000_000


class ExperimentsTable(QWidget):
    """A table of experiments, and below it how the selected one is used."""

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.entries: list[TrainingEntry] = []
        self._files: list[TrainingEntry] = []
        self._filling = False
        self.table = QTableWidget(0, 2, self)
        self.table.setHorizontalHeaderLabels(["Experiment", "Role"])
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.verticalHeader().setVisible(False)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.table.setMinimumHeight(5 * self.fontMetrics().height())
        self.table.setAccessibleName("Experiments to learn from")
        self.table.itemChanged.connect(self._item_changed)
        self.table.itemSelectionChanged.connect(self._show_details)
        self.add_button = QPushButton("Add files…", self)
        self.add_button.setToolTip("Add a dataset.toml, an .autlist or any tracking file.")
        self.remove_button = QPushButton("Remove", self)
        self.remove_button.setToolTip("Remove the selected experiment that came from a file.")
        self.remove_button.clicked.connect(self.remove_selected)
        self.details = QWidget(self)
        self._make_details()
        buttons = QHBoxLayout()
        buttons.addWidget(self.add_button)
        buttons.addWidget(self.remove_button)
        buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table, 1)
        layout.addLayout(buttons)
        layout.addWidget(self.details)
        self.refresh()

    # --- the table -----------------------------------------------------------------------------

    def refresh(self) -> None:
        """Show the experiments that are open now; what was set for them stays."""
        known = {entry.identity: entry for entry in self.entries}
        entries: list[TrainingEntry] = []
        open_now = open_experiments(self._viewer.layers)
        lay_on_movies(self._viewer, open_now)
        for found in open_now:
            entry = known.get(found.identity)
            if entry is None:
                entry = TrainingEntry(found, use=_is_new_knowledge(found, entries))
            entry.open_experiment = found
            if entry.region is not None and entry.region not in self._viewer.layers:
                entry.region = None
            entries.append(entry)
        self.entries = [*entries, *self._files]
        self._fill()

    def add_members(self, members: Sequence[Member]) -> None:
        """Add experiments from a file."""
        self._files += [TrainingEntry.of_file(member) for member in members]
        self.refresh()
        self.table.selectRow(len(self.entries) - 1)
        self.changed.emit()

    def remove_selected(self) -> None:
        """Remove the selected experiment if it came from a file; layers are unticked."""
        entry = self.selected
        if entry is None:
            return
        if entry in self._files:
            self._files.remove(entry)
        else:
            entry.use = False
        self.refresh()
        self.changed.emit()

    def members(self) -> list[Member]:
        """Return the ticked experiments as they are now, one for each movie.

        Raises
        ------
        CellTrainError
            When none is ticked, or one can't be used as it says.
        """
        members = [entry.to_member() for entry in self.entries if entry.use]
        if not members:
            raise CellTrainError(NOTHING_TO_LEARN_FROM)
        return one_for_each_movie(members)

    @property
    def selected(self) -> TrainingEntry | None:
        """The entry whose details are shown."""
        row = self.table.currentRow()
        return self.entries[row] if 0 <= row < len(self.entries) else None

    def _fill(self) -> None:
        selected = self.selected
        self._filling = True
        self.table.setRowCount(len(self.entries))
        for row, entry in enumerate(self.entries):
            item = QTableWidgetItem(entry.name)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(Qt.CheckState.Checked if entry.use else Qt.CheckState.Unchecked)
            where = "open layers" if entry.open_experiment is not None else str(entry.path)
            item.setToolTip(f"{entry.name}\nfrom {where}")
            self.table.setItem(row, 0, item)
            role = QTableWidgetItem(ROLES[entry.role] if entry.use else "not used")
            self.table.setItem(row, 1, role)
        self._filling = False
        if selected in self.entries:
            self.table.selectRow(self.entries.index(selected))
        elif self.entries:
            self.table.selectRow(0)
        self._show_details()

    def _item_changed(self, item: QTableWidgetItem) -> None:
        if self._filling or item.column() != 0:
            return
        self.entries[item.row()].use = item.checkState() == Qt.CheckState.Checked
        self._fill()
        self.changed.emit()

    # --- how the selected one is used ----------------------------------------------------------

    def _make_details(self) -> None:
        self.image = NameBox()
        self.image.setPlaceholderText("none is open yet")
        self.image.setToolTip("The image layer in which these cells were marked.")
        self.axes, self.voxel = AxesRow(), VoxelSizeRow()
        self.role = QComboBox()
        for role, text in ROLES.items():
            self.role.addItem(text, role)
        self.role.setToolTip("What is tested on is never learnt from; it tells the honest F1.")
        self.channel = QComboBox()
        self.channel.setToolTip("The channel with the cells; several are looked at together.")
        self.first, self.last = QSpinBox(), QSpinBox()
        for box, text in ((self.first, "first"), (self.last, "last")):
            box.setAccessibleName(f"{text.capitalize()} time point")
            box.setRange(_NO_TIME, 1_000_000)
            box.setSpecialValueText(text)
            box.setMinimumWidth(70)
            box.setToolTip("Only time points in this range are used; both ends are included.")
        self.completeness = QComboBox()
        for value, text in COMPLETENESS.items():
            self.completeness.addItem(text, value)
        self.completeness.setToolTip(
            "Where every cell is marked, anything else found is an error. Where only some are, "
            "unmarked places say nothing."
        )
        self.only_corrected = QCheckBox("only what I corrected")
        self.only_corrected.setToolTip(
            "This is a copy of detections. Ticked: only time points in which you changed "
            "something are taken as known; the others are what the detector thinks. Untick it "
            "when you have looked at all of them."
        )
        self.only_corrected.toggled.connect(self._details_changed)
        self.region = NameBox()
        self.region.setPlaceholderText("none is chosen")
        self.region.setToolTip("A Shapes layer with polygons around the annotated part.")
        times = QHBoxLayout()
        times.addWidget(self.first)
        times.addWidget(QLabel("to"))
        times.addWidget(self.last)
        times.addStretch(1)
        form = QFormLayout(self.details)
        form.setContentsMargins(0, 0, 0, 0)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Image", self.image)
        form.addRow("Axes", self.axes)
        form.addRow("Voxel size", self.voxel)
        form.addRow("Role", self.role)
        form.addRow("Channel", self.channel)
        form.addRow("Time points", times)
        form.addRow("Annotated", self.completeness)
        form.addRow("Region", self.region)
        form.addRow(self.only_corrected)
        self._region_label = form.labelForField(self.region)
        self._image_label = form.labelForField(self.image)
        self._axes_label = form.labelForField(self.axes)
        self._voxel_label = form.labelForField(self.voxel)
        for control in (self.role, self.channel, self.completeness):
            control.setMinimumContentsLength(8)
            control.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
        for control in (self.role, self.channel, self.completeness, self.region):
            control.currentIndexChanged.connect(self._details_changed)
        self.axes.changed.connect(self._axes_chosen)
        self.voxel.changed.connect(self.changed)
        self.image.currentIndexChanged.connect(self._image_chosen)
        for box in (self.first, self.last):
            box.valueChanged.connect(self._details_changed)
        ignore_wheel(self.details)

    def _show_details(self) -> None:
        entry = self.selected
        self.details.setEnabled(entry is not None)
        self.remove_button.setEnabled(entry is not None)
        if self._filling:
            return
        if entry is None:
            self._hide_what_is_asked_sometimes()
            return
        self._filling = True
        self.role.setCurrentIndex(list(ROLES).index(entry.role))
        self.completeness.setCurrentIndex(list(COMPLETENESS).index(entry.completeness))
        self._fill_images(entry)
        self._fill_channels(entry)
        self.first.setValue(_NO_TIME if entry.first is None else entry.first)
        self.last.setValue(_NO_TIME if entry.last is None else entry.last)
        self.region.clear()
        for layer in self._viewer.layers:
            if isinstance(layer, Shapes):
                self.region.addItem(layer.name, layer)
        self.region.setCurrentIndex(self.region.findText(entry.region.name) if entry.region else -1)
        corrected = entry.corrected_time_points()
        self.only_corrected.setVisible(corrected is not None)
        self.only_corrected.setChecked(entry.only_corrected)
        if corrected is not None:
            some = ", ".join(str(t) for t in corrected[:5]) + ("…" if len(corrected) > 5 else "")
            self.only_corrected.setText(f"only what I corrected: t = {some}" if corrected else
                                        "only what I corrected: nothing yet")  # fmt: skip
        self._filling = False
        self._show_region(entry)

    def _hide_what_is_asked_sometimes(self) -> None:
        """Leave the questions that every experiment raises."""
        for control, label in (
            (self.axes, self._axes_label), (self.voxel, self._voxel_label),
            (self.region, self._region_label),
        ):  # fmt: skip
            control.setVisible(False)
            label.setVisible(False)
        self.only_corrected.setVisible(False)
        for box in (self.first, self.last):
            box.setValue(_NO_TIME)
        self.image.clear()
        self.channel.clear()

    def _fill_images(self, entry: TrainingEntry) -> None:
        """List the image layers that the annotation could belong to."""
        self.image.clear()
        found = entry.open_experiment
        choosable = found is not None and found.annotation is not None
        self.image.setVisible(choosable)
        self._image_label.setVisible(choosable)
        for row, label in ((self.axes, self._axes_label), (self.voxel, self._voxel_label)):
            asked = row.show_layers([] if found is None else found.images)
            row.setVisible(asked)
            label.setVisible(asked)
        if found is None:
            return
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        movies = movies_in([one for one in images if note(one).get("role") != "preview"])
        for first, *others in movies.values():  # the channels of a movie are one image
            name = first.name
            if others and "experiment" in note(first):
                name = f"{note(first)['experiment'].name}, {len(others) + 1} channels"
            self.image.addItem(name, first)
        offered = [self.image.itemData(row) for row in range(self.image.count())]
        chosen = [row for row, layer in enumerate(offered) if layer in found.images]
        self.image.setCurrentIndex(chosen[0] if chosen else -1)

    def _image_chosen(self, row: int) -> None:
        """Let the annotation belong to another image."""
        entry = self.selected
        if self._filling or entry is None or entry.open_experiment is None or row < 0:
            return
        entry.open_experiment.pair_with(self.image.itemData(row))
        self._axes_chosen()

    def _axes_chosen(self) -> None:
        """Look again at an image of which more is known."""
        if self.selected is not None:
            self.selected.channels = None
        self.refresh()
        self.changed.emit()

    def _fill_channels(self, entry: TrainingEntry) -> None:
        self.channel.clear()
        try:
            experiment = (
                entry.open_experiment.read()
                if entry.open_experiment is not None
                else cast("Member", entry.member).experiment
            )
        except CellTrainError:
            return
        count = 0 if experiment.images is None else experiment.images.n_channels
        for number in range(count):
            self.channel.addItem(f"{number + 1}", (number,))
        channels = entry.channels or experiment.channels
        if len(channels) > 1:
            self.channel.addItem(" and ".join(str(one + 1) for one in channels), channels)
            self.channel.setCurrentIndex(count)
        elif channels:
            self.channel.setCurrentIndex(channels[0])
        self.channel.setEnabled(self.channel.count() > 1)

    def _show_region(self, entry: TrainingEntry) -> None:
        wanted = entry.completeness == "region"
        self.region.setVisible(wanted)
        self._region_label.setVisible(wanted)

    def _details_changed(self, *_: Any) -> None:
        entry = self.selected
        if entry is None or self._filling:
            return
        entry.role = self.role.currentData()
        if self.channel.currentData() is not None and self.channel.count() > 1:
            entry.channels = tuple(self.channel.currentData())
        entry.first = None if self.first.value() == _NO_TIME else self.first.value()
        entry.last = None if self.last.value() == _NO_TIME else self.last.value()
        entry.completeness = self.completeness.currentData()
        entry.region = self.region.currentData()
        entry.only_corrected = self.only_corrected.isChecked()
        self._show_region(entry)
        self.table.item(self.table.currentRow(), 1).setText(
            ROLES[entry.role] if entry.use else "not used"
        )
        self.changed.emit()


def _is_new_knowledge(found: OpenExperiment, entries: Sequence[TrainingEntry]) -> bool:
    """Tell whether an experiment is to be learnt from unless somebody says otherwise.

    A second annotation of an image that is learnt from already says the same again, unless it is
    a corrected copy of detections.
    """
    if not found.images or found.annotation is None:
        return False
    if found.corrected_time_points() is not None:
        return True
    taken = [
        image for one in entries if one.use and one.open_experiment is not None
        for image in one.open_experiment.images
    ]  # fmt: skip
    return found.images[0] not in taken
