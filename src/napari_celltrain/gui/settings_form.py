"""The training settings as a form: the everyday ones first, the others folded away by section."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QFormLayout, QLabel, QVBoxLayout, QWidget

from napari_celltrain.files import write_text
from napari_celltrain.gui.foldable import Foldable
from napari_celltrain.gui.setting_row import SettingRow
from napari_celltrain.training.settings import TrainingSettings

if TYPE_CHECKING:
    from pathlib import Path

    from napari_celltrain.training.events import Choice


class SettingsForm(QWidget):
    """Edits a `TrainingSettings`."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.rows: list[SettingRow] = []
        self._choices = QLabel("")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        basic = _form()
        layout.addLayout(basic)
        for section, section_field in TrainingSettings.model_fields.items():
            kind: Any = section_field.annotation
            page = QWidget(self)
            form = _form(page)
            for name, field in kind.model_fields.items():
                row = SettingRow(section, name, field)
                row.control.changed.connect(self._emit_changed)
                self.rows.append(row)
                (basic if row.basic else form).addRow(_label(row), row.native)
            if form.rowCount():
                title = section.capitalize()
                layout.addWidget(Foldable(f"Advanced: {title}", page, self))
            else:
                page.deleteLater()
        self._choices.setWordWrap(True)
        self._choices.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._choices.setVisible(False)
        layout.addWidget(self._choices)
        layout.addStretch(1)

    def row(self, name: str) -> SettingRow:
        """Return the row of a setting such as ``budget.minutes``."""
        section, _, key = name.partition(".")
        return next(row for row in self.rows if (row.section, row.name) == (section, key))

    def settings(self) -> TrainingSettings:
        """Return what is set.

        Raises
        ------
        CellTrainError
            When values do not go together.
        """
        values: dict[str, dict[str, Any]] = {}
        for row in self.rows:
            values.setdefault(row.section, {})[row.name] = row.value
        return TrainingSettings.from_dict(values)

    def set_settings(self, settings: TrainingSettings) -> None:
        """Show other settings."""
        values = settings.model_dump()
        for row in self.rows:
            row.value = values[row.section][row.name]

    def load(self, path: Path) -> None:
        """Show the settings of a TOML file.

        Raises
        ------
        CellTrainError
            Naming what is wrong in it; the form stays as it was.
        """
        self.set_settings(TrainingSettings.from_toml(path))

    def save(self, path: Path) -> None:
        """Write the settings to a TOML file."""
        write_text(path, self.settings().to_toml())

    def show_choice(self, choice: Choice) -> None:
        """Say what was chosen automatically, and why."""
        lines = [line for line in self._choices.text().split("<br>") if line]
        lines = [line for line in lines if not line.startswith(f"<b>{choice.name}</b>")]
        lines.append(f"<b>{choice.name}</b>: {choice.value} ({choice.reason})")
        self._choices.setText("<br>".join(lines))
        self._choices.setVisible(True)

    def clear_choices(self) -> None:
        """Forget what was chosen for an earlier run."""
        self._choices.setText("")
        self._choices.setVisible(False)

    def _emit_changed(self, *_: Any) -> None:
        self.changed.emit()


def _label(row: SettingRow) -> QLabel:
    label = QLabel(row.title)
    label.setBuddy(row.native)
    label.setToolTip(row.native.toolTip())
    return label


def _form(parent: QWidget | None = None) -> QFormLayout:
    form = QFormLayout(parent)
    form.setContentsMargins(4, 2, 4, 2)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    return form
