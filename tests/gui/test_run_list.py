"""The list of runs: what it says when there is none, and what can be done with the newest."""

from __future__ import annotations

import os

import pytest

from napari_celltrain.gui.detector_chooser import read_card
from napari_celltrain.gui.run_follower import RunFollower
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


@pytest.mark.timeout(60)
@pytest.mark.parametrize("odd", ["pipe", "nested", "huge number", "a word"])
def test_a_run_of_a_stranger_does_not_stop_the_list(qtbot, tmp_path, odd):
    run = tmp_path / "run"
    (run / "best").mkdir(parents=True)
    (run / "settings.toml").write_text("")
    for name in ("run.json", "best/detector.json", "history.jsonl"):
        if odd == "pipe":
            if os.name == "nt":
                pytest.skip("has no such pipes")
            os.mkfifo(run / name)
        elif odd == "nested":
            (run / name).write_text("[" * 100_000)
        else:
            value = "9" * 400 if odd == "huge number" else '"good"'
            (run / name).write_text(
                f'{{"f1": {value}, "best_f1": {value}, "threshold": {value}, "started": {value}, '
                f'"design": {{"diameter": {value}, "unit": "px"}}}}'
            )
    runs = RunList()
    qtbot.addWidget(runs)
    runs.show_folder(tmp_path)
    assert runs.selected.path == run
    assert runs.selected.f1 is None
    assert read_card(run) is None
    follower = RunFollower()
    follower.follow(run)
    follower.stop()
