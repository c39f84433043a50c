"""Where a run may begin."""

from __future__ import annotations

import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.training.loop import train


def test_a_run_killed_before_it_wrote_anything_can_be_resumed(
    small_dataset, fast_settings, tmp_path
):
    folder = tmp_path / "run"
    (folder / ".celltrain-abc").mkdir(parents=True)
    (folder / "run.lock").touch()
    (folder / "run.pid").write_text("process 1")
    short = fast_settings.changed(["budget.steps=3"])
    assert train(small_dataset, str(folder), short, resume=True).step == 3
    assert not (folder / ".celltrain-abc").exists()


@pytest.mark.parametrize("resume", [True, False])
def test_a_folder_with_other_things_is_left_alone(small_dataset, fast_settings, tmp_path, resume):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CellTrainError, match=r"not empty|other things"):
        train(small_dataset, tmp_path, fast_settings, resume=resume)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
