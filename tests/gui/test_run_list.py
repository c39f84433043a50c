"""The list of runs: what it says when there is none, and what can be done with the newest."""

from __future__ import annotations

from napari_celltrain.gui.run_list import RunList


def test_an_empty_folder_says_so(qtbot, tmp_path):
    runs = RunList()
    qtbot.addWidget(runs)
    runs.show_folder(tmp_path)
    assert "No runs in this folder yet" in runs.details.text()
    assert not any(button.isEnabled() for button in runs.buttons.values())


def test_the_newest_run_is_selected_until_another_one_is(qtbot, tmp_path):
    for name, date in (("old", "2026-01-01"), ("new", "2026-02-02")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.toml").write_text("")
        (tmp_path / name / "run.json").write_text(f'{{"started": "{date}T10:00:00"}}')
    runs = RunList()
    qtbot.addWidget(runs)
    runs.show_folder(tmp_path)
    assert runs.selected.path.name == "new"
    assert runs.buttons["resume"].isEnabled()
    runs.select(tmp_path / "old")
    runs.show_folder(tmp_path)
    assert runs.selected.path.name == "old"
