"""The form is the settings object: every field, its limits, its words."""

from __future__ import annotations

import pytest
from qtpy.QtWidgets import QToolButton

from napari_celltrain.errors import CellTrainError
from napari_celltrain.gui.settings_form import SettingsForm
from napari_celltrain.training.events import Choice
from napari_celltrain.training.settings import TrainingSettings


@pytest.fixture
def form(qtbot):
    widget = SettingsForm()
    qtbot.addWidget(widget)
    return widget


def test_the_untouched_form_is_the_default_settings(form):
    assert form.settings() == TrainingSettings()


def test_every_setting_has_a_row_with_title_and_tooltip(form):
    names = {
        (section, name)
        for section, field in TrainingSettings.model_fields.items()
        for name in field.annotation.model_fields
    }
    assert {(row.section, row.name) for row in form.rows} == names
    for row in form.rows:
        assert row.title
        assert f"{row.section}.{row.name}" in row.native.toolTip()


def test_the_everyday_settings_are_in_sight_and_the_others_folded(form, qtbot):
    form.show()
    shown = {f"{row.section}.{row.name}" for row in form.rows if row.native.isVisible()}
    assert shown == {
        "budget.minutes", "design.diameter_um", "augmentation.strength", "compute.device",
    }  # fmt: skip


def test_a_click_unfolds_the_others_and_folds_them_again(form, qtbot):
    form.show()
    width = form.row("design.width").native
    title = next(one for one in form.findChildren(QToolButton) if one.text() == "Advanced: Design")
    assert not width.isVisible()
    title.click()
    assert width.isVisible()
    title.click()
    assert not width.isVisible()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("budget.minutes", 1.5),
        ("budget.steps", 1),
        ("design.time_window", (-1, 1)),
        ("optimiser.learning_rate", 0.0015),
        ("optimiser.weight_decay", 0.00005),
        ("compute.device", "cpu"),
        ("data.exclude_dying", True),
        ("compute.seed", 2**31 - 1),
    ],
)
def test_what_is_set_is_what_comes_out(form, name, value):
    form.row(name).value = value
    section, key = name.split(".")
    assert getattr(getattr(form.settings(), section), key) == value


def test_any_settings_survive_the_form(form):
    settings = TrainingSettings().changed(
        ["budget.minutes=2.5", "design.width=24", "augmentation.noise=0.03", "compute.threads=3"]
    )
    form.set_settings(settings)
    assert form.settings() == settings
    form.set_settings(TrainingSettings())
    assert form.settings() == TrainingSettings()  # back to automatic


def test_an_optional_number_says_automatic(form):
    numbers = [row for row in form.rows if hasattr(row.native, "specialValueText")]
    optional = {f"{row.section}.{row.name}": row for row in numbers if row.default is None}
    assert {"budget.minutes", "budget.steps", "design.width", "compute.threads"} <= set(optional)
    assert {row.native.text() for row in optional.values()} == {"automatic"}


def test_whole_numbers_have_no_decimals(form):
    row = form.row("budget.steps")
    row.value = 1500
    assert row.native.text() == "1500"
    assert isinstance(row.value, int)


def test_a_switch_is_named_once(form):
    row = form.row("augmentation.flip")
    assert row.native.text() == ""  # its label says it
    assert row.native.accessibleName() == "Flip"


def test_units_are_shown(form):
    row = form.row("budget.minutes")
    row.value = 5
    assert row.native.text().endswith(" min")


def test_settings_are_saved_and_loaded(form, tmp_path):
    form.row("budget.minutes").value = 7
    form.save(tmp_path / "s.toml")
    form.row("budget.minutes").value = None
    form.load(tmp_path / "s.toml")
    assert form.settings().budget.minutes == 7


def test_a_wrong_file_is_a_sentence_and_changes_nothing(form, tmp_path):
    (tmp_path / "s.toml").write_text("[budget]\nminuts = 3\n")
    form.row("budget.minutes").value = 7
    with pytest.raises(CellTrainError, match="minuts"):
        form.load(tmp_path / "s.toml")
    assert form.settings().budget.minutes == 7


def test_a_change_is_signalled(form, qtbot):
    with qtbot.waitSignal(form.changed):
        form.row("augmentation.strength").value = 0.5


def test_what_was_chosen_is_said_with_its_reason_and_only_once(form):
    form.show_choice(Choice("width", "16", "no GPU"))
    form.show_choice(Choice("width", "32", "a GPU"))
    assert form._choices.text() == "<b>width</b>: 32 (a GPU)"
