"""What can be changed about a run that goes on is changed; what can't is refused in words."""

from __future__ import annotations

import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.checkpoint import load_newest
from napari_celltrain.training.loop import train
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings


@pytest.fixture
def settings(fast_settings):
    return fast_settings.changed(["budget.steps=3", "data.held_out_share=0.3"])


@pytest.fixture
def run(small_dataset, settings, tmp_path):
    train(small_dataset, tmp_path / "run", settings)
    return RunFolder(tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("design.width=4", r"design\.width = 8.*with 4, what was learnt"),
        ("design.diameter_um=30", r"design\.diameter_um = [0-9.]+, and.*with 30, what"),
        ("design.working_scale=0.9", r"design\.working_scale = chosen automatically"),
        ("design.time_window=[-1, 1]", r"design\.time_window = \(0, 0\)"),
        ("data.held_out_share=0.5", r"held_out_share = 0\.3.*the honest test"),
    ],
)
def test_what_cannot_be_changed_is_refused_and_nothing_is_touched(
    run, small_dataset, settings, change, says
):
    before = run.settings_text()
    changed = settings.changed(["budget.steps=5", change])
    with pytest.raises(CellTrainError, match=says):
        train(small_dataset, run.path, changed, resume=True)
    assert run.settings_text() == before
    assert train(small_dataset, run.path, settings, resume=True).step == 3


def test_what_is_left_out_stays_as_it_was(run, small_dataset, settings):
    values = settings.model_dump()
    values["design"].update(width=None)
    values["data"].update(held_out_share=0.2)
    values["budget"].update(steps=5)
    train(small_dataset, run.path, TrainingSettings.from_dict(values), resume=True)
    kept = TrainingSettings.from_toml(run.settings_file)
    assert (kept.design.width, kept.data.held_out_share, kept.budget.steps) == (8, 0.3, 5)


def test_crops_of_another_size_are_had_when_asked_for(run, small_dataset, settings):
    def groups():
        checkpoint, _ = load_newest(run.checkpoints)
        return [(one["shape"], one["batch_size"]) for one in checkpoint.state["plan"]["groups"]]

    assert groups() == [([1, 48, 48], 4)]
    changed = settings.changed(["budget.steps=5", "optimiser.batch_size=2"])
    train(small_dataset, run.path, changed, resume=True)
    assert groups() == [([1, 48, 48], 2)]


def test_a_checkpoint_from_before_settings_were_kept_is_gone_on_with(
    run, small_dataset, settings, monkeypatch
):
    monkeypatch.setattr("napari_celltrain.training.beginning.stored", lambda state: None)
    more = settings.changed(["budget.steps=5"])
    assert train(small_dataset, run.path, more, resume=True).step == 5


def test_a_detector_to_start_from_keeps_its_design(run, small_dataset, settings, tmp_path):
    other = settings.changed(["design.width=4"])
    with pytest.raises(CellTrainError, match=r"start from has design\.width = 8, so 4 can't"):
        train(small_dataset, tmp_path / "other", other, start_from=run.path)
    same = settings.changed(["design.width=8"])
    assert train(small_dataset, tmp_path / "same", same, start_from=run.path).step == 3
