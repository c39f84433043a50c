"""``celltrain evaluate``: only on what the detector did not learn from."""

from __future__ import annotations

import json

import pytest

from napari_celltrain.cli import main
from napari_celltrain.cli.evaluate import frames_to_judge
from napari_celltrain.dataset import load_dataset, split
from napari_celltrain.detector.detector import Detector
from napari_celltrain.simulation import write_sample


def test_scores_are_consistent(sample, trained, result):
    told = result("evaluate", trained, sample)
    tp, fp, fn = told["tp"], told["fp"], told["fn"]
    assert told["precision"] == pytest.approx(tp / (tp + fp))
    assert told["recall"] == pytest.approx(tp / (tp + fn))
    assert told["f1"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert told["f1"] > 0.5
    assert 0 < told["localisation_error_um"] < 5
    assert told["threshold"] == Detector.from_folder(trained).threshold


def test_training_frames_and_those_beside_them_are_not_used(sample, trained):
    dataset, info = load_dataset(sample), Detector.from_folder(trained).info
    frames, what, known = frames_to_judge(dataset, info)
    (learnt,) = info.trained_on
    last = max(learnt.time_points)
    assert (
        [t for _, t in frames]
        == [t for _, t in split(dataset).held_out]
        == list(range(last + 2, 8))
    )
    assert "one more is right beside" in what
    assert known == 0


def test_a_movie_under_another_name_is_known_again(sample, trained, tmp_path):
    dataset, info = _renamed(sample, tmp_path, "another day"), Detector.from_folder(trained).info
    frames, _, _ = frames_to_judge(dataset, info)
    assert frames == frames_to_judge(load_dataset(sample), info)[0]


def test_another_movie_of_the_same_name_is_judged_whole(trained, tmp_path):
    name = Detector.from_folder(trained).info.trained_on[0].experiment
    other = write_sample(
        tmp_path / "other", kind="plane", time_points=4, size=(1, 96, 96), n_cells=14, seed=7
    )
    dataset = _renamed(other, tmp_path, name)
    frames, _, _ = frames_to_judge(dataset, Detector.from_folder(trained).info)
    assert [t for _, t in frames] == [0, 1, 2, 3]


def test_where_all_that_is_left_lies_beside_it_that_is_said(sample, trained):
    info = Detector.from_folder(trained).info
    every_second = info.trained_on[0].model_copy(update={"time_points": (0, 2, 4, 6)})
    info = info.model_copy(update={"trained_on": (every_second,)})
    frames, what, _ = frames_to_judge(load_dataset(sample), info)
    assert [t for _, t in frames] == [1, 3, 5, 7]
    assert "right beside what it learnt from" in what


def _renamed(sample, folder, name):
    text = sample.read_text("utf-8")
    annotations = next(sample.parent.glob("*.aut"))
    text = text.replace('"images/', f'"{sample.parent / "images"}/')
    text = text.replace(annotations.name, str(annotations))
    lines = [line for line in text.splitlines() if not line.startswith("name =")]
    at = lines.index("[[experiment]]") + 1
    renamed = folder / "renamed.toml"
    renamed.write_text("\n".join([*lines[:at], f'name = "{name}"', *lines[at:]]) + "\n", "utf-8")
    dataset = load_dataset(renamed)
    assert dataset.experiments[0].name == name
    return dataset


def test_neighbours_that_the_network_saw_are_not_used_either(sample, trained):
    dataset, info = load_dataset(sample), Detector.from_folder(trained).info
    wide = info.model_copy(
        update={"design": info.design.model_copy(update={"time_window": (-1, 1)})}
    )
    few, _, _ = frames_to_judge(dataset, wide)
    many, _, _ = frames_to_judge(dataset, info)
    assert set(few) < set(many)


def test_held_out_experiments_win(sample, trained, tmp_path, result):
    text = sample.read_text("utf-8")
    images, annotations = sample.parent / "images", next(sample.parent.glob("*.aut"))
    (tmp_path / "dataset.toml").write_text(
        text.replace('"images/', f'"{images}/').replace(annotations.name, str(annotations))
        + 'role = "held-out"\ntime_points = [0, 1]\n',
        "utf-8",
    )
    told = result("evaluate", trained, tmp_path / "dataset.toml")
    assert told["frames"] == 2
    assert told["frames_learnt_from"] == 2


def test_held_out_frames_that_were_learnt_from_are_told(sample, trained, tmp_path, capsys):
    text = sample.read_text("utf-8") + 'role = "held-out"\n'
    images, annotations = sample.parent / "images", next(sample.parent.glob("*.aut"))
    text = text.replace('"images/', f'"{images}/').replace(annotations.name, str(annotations))
    (tmp_path / "dataset.toml").write_text(text, "utf-8")
    assert main(["evaluate", str(trained), str(tmp_path / "dataset.toml")]) == 0
    n = len(Detector.from_folder(trained).info.trained_on[0].time_points)
    assert f"has learnt from {n} of these 8 frames" in capsys.readouterr().err


def test_what_is_unlike_the_training_or_wrong_is_told(sample, trained, tmp_path, capsys):
    """Otherwise an F1 of nothing would be put down to the detector."""
    stack = write_sample(tmp_path / "stack", kind="organoid", time_points=1, size=(12, 64, 64),
                         n_cells=4)  # fmt: skip
    assert main(["evaluate", str(trained), str(stack)]) == 0
    assert "learned from single planes" in capsys.readouterr().err
    cells = load_dataset(sample).experiments[0].annotations
    table = "\n".join(f"{t},{y + 50},{x + 50}" for t, (_, y, x) in
                      zip(cells.t, cells.positions, strict=True))  # fmt: skip
    (tmp_path / "cells.csv").write_text(f"t,y,x\n{table}\n", "utf-8")
    text = sample.read_text("utf-8").replace('"images/', f'"{sample.parent / "images"}/')
    text = text.replace(next(sample.parent.glob("*.aut")).name, str(tmp_path / "cells.csv"))
    (tmp_path / "wrong.toml").write_text(text, "utf-8")
    assert main(["evaluate", str(trained), str(tmp_path / "wrong.toml")]) in (0, 2)
    assert "positions" in capsys.readouterr().err


def test_nothing_left_to_judge_is_said(sample, trained, capsys):
    assert main(["evaluate", str(trained), str(sample), "--border", "1000"]) == 0
    assert "Nothing is left to judge" in capsys.readouterr().err


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
