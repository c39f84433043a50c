"""Where a run may begin."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.detector.folder import find_detector, read_info
from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations
from napari_celltrain.training.events import FindingEvent
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


def _part(dataset, *times):
    """The same movie with only some of its time points annotated."""
    (member,) = dataset.members
    keep = np.isin(member.experiment.annotations.t, times)
    annotations = Annotations(
        member.experiment.annotations.t[keep], member.experiment.annotations.positions[keep]
    )
    return Dataset((replace(member, experiment=member.experiment.with_(annotations=annotations)),))


def _info(run):
    return read_info(find_detector(run))


def test_a_run_that_goes_on_never_tests_on_what_it_has_learnt(
    small_dataset, fast_settings, tmp_path
):
    """The end of the movie was cut off: what is held out then has been learnt from."""
    run, short = tmp_path / "run", fast_settings.changed(["budget.steps=4"])
    train(small_dataset, run, short)
    assert _info(run).trustworthy
    learnt = set(_info(run).trained_on[0].time_points)
    less = _part(small_dataset, *range(7))
    train(less, run, short.changed(["budget.steps=8"]), resume=True)
    assert not _info(run).trustworthy
    assert "learnt from before" in _info(run).held_out
    assert learnt <= set(_info(run).trained_on[0].time_points)


def test_what_a_detector_had_learnt_goes_with_it(small_dataset, fast_settings, tmp_path):
    short = fast_settings.changed(["budget.steps=3"])
    train(_part(small_dataset, *range(4, 10)), tmp_path / "first", short)
    assert max(_info(tmp_path / "first").trained_on[0].time_points) == 7
    train(
        _part(small_dataset, *range(9)), tmp_path / "second", short, start_from=tmp_path / "first"
    )
    second = _info(tmp_path / "second")
    assert not second.trustworthy  # time points 7 and 8 are, or are beside, what was learnt
    assert set(second.trained_on[0].time_points) >= {4, 5, 6, 7}
    train(small_dataset, tmp_path / "third", short, start_from=tmp_path / "second")
    third = _info(tmp_path / "third")
    assert not third.trustworthy or 9 not in third.trained_on[0].time_points


def test_what_is_judged_on_otherwise_is_judged_again(small_dataset, fast_settings, tmp_path):
    """The best so far would be compared with figures about other cells."""
    run, settings = tmp_path / "run", fast_settings.changed(["budget.steps=60"])
    good = train(small_dataset, run, settings).best_f1
    assert good > 0.5
    (member,) = small_dataset.members
    wrong = member.experiment.annotations
    moved = np.where(np.isin(wrong.t, [8, 9])[:, None], 95 - wrong.positions, wrong.positions)
    moved[:, 0] = wrong.positions[:, 0]
    experiment = member.experiment.with_(annotations=Annotations(wrong.t, moved))
    other = Dataset((replace(member, experiment=experiment),))
    told = []
    more = settings.changed(["budget.steps=61"])
    finished = train(other, run, more, [told.append], resume=True)
    codes = [event.finding.code for event in told if isinstance(event, FindingEvent)]
    assert codes.count("judged-again") == 1
    assert finished.best_f1 < good - 0.2
    assert _info(run).f1 == pytest.approx(finished.best_f1)


def test_a_run_does_not_go_on_with_another_movie(
    small_dataset, make_blobs, fast_settings, tmp_path
):
    run, short = tmp_path / "run", fast_settings.changed(["budget.steps=3"])
    train(small_dataset, run, short)
    before = (run / "run.json").read_bytes()
    other = Dataset((Member(make_blobs(seed=5, name="another")),))
    with pytest.raises(CellTrainError, match="has learnt from 'blobs', and none of these"):
        train(other, run, short.changed(["budget.steps=6"]), resume=True)
    assert (run / "run.json").read_bytes() == before
    assert train(small_dataset, run, short.changed(["budget.steps=6"]), resume=True).step == 6
