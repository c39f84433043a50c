"""``celltrain evaluate``: only on what the detector did not learn from."""

from __future__ import annotations

import json

import pytest

from napari_celltrain.cli.evaluate import frames_to_judge
from napari_celltrain.dataset import load_dataset
from napari_celltrain.detector.detector import Detector


def test_scores_are_consistent(sample, trained, result):
    told = result("evaluate", trained, sample)
    tp, fp, fn = told["tp"], told["fp"], told["fn"]
    assert told["precision"] == pytest.approx(tp / (tp + fp))
    assert told["recall"] == pytest.approx(tp / (tp + fn))
    assert told["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert told["f1"] > 0.5
    assert 0 < told["localisation_error_um"] < 5
    assert told["threshold"] == Detector.from_folder(trained).threshold


def test_training_frames_are_not_used(sample, trained):
    dataset, info = load_dataset(sample), Detector.from_folder(trained).info
    frames, _ = frames_to_judge(dataset, info)
    (learnt,) = info.trained_on
    assert frames
    assert not {t for _, t in frames} & set(learnt.time_points)
    assert {t for _, t in frames} | set(learnt.time_points) == set(range(8))


def test_neighbours_that_the_network_saw_are_not_used_either(sample, trained):
    dataset, info = load_dataset(sample), Detector.from_folder(trained).info
    wide = info.model_copy(
        update={"design": info.design.model_copy(update={"time_window": (-1, 1)})}
    )
    few, _ = frames_to_judge(dataset, wide)
    many, _ = frames_to_judge(dataset, info)
    assert set(few) < set(many)


def test_held_out_experiments_win(sample, trained, tmp_path, result):
    text = sample.read_text("utf-8")
    images, annotations = sample.parent / "images", next(sample.parent.glob("*.aut"))
    (tmp_path / "dataset.toml").write_text(
        text.replace('"images/', f'"{images}/').replace(annotations.name, str(annotations))
        + 'role = "held-out"\ntime_points = [0, 1]\n',
        "utf-8",
    )
    assert result("evaluate", trained, tmp_path / "dataset.toml")["frames"] == 2


def test_nothing_unseen_is_refused(sample, trained, tmp_path, refused):
    info_file = trained / "best" / "detector.json"
    info = json.loads(info_file.read_text("utf-8"))
    info["trained_on"][0]["time_points"] = list(range(8))
    weights = trained / "best" / info["weights_file"]
    copy = tmp_path / "detector"
    copy.mkdir()
    (copy / weights.name).write_bytes(weights.read_bytes())
    (copy / "detector.json").write_text(json.dumps(info), "utf-8")
    assert "every annotated frame" in refused("evaluate", copy, sample)


def test_tolerance_and_border(sample, trained, result):
    strict = result("evaluate", trained, sample, "--tolerance-px", "0.3")
    assert strict["f1"] < result("evaluate", trained, sample)["f1"]
    um = result("evaluate", trained, sample, "--tolerance-um", "1.5")
    assert um["localisation_error_um"] <= 1.5
    inner = result("evaluate", trained, sample, "--border", "20")
    assert inner["tp"] + inner["fn"] < strict["tp"] + strict["fn"]


def test_a_detector_that_finds_nothing_gets_nothing(sample, trained, result):
    told = result("evaluate", trained, sample, "--threshold", "1")
    assert (told["tp"], told["f1"]) == (0, 0.0)
    assert told["localisation_error_um"] is None
