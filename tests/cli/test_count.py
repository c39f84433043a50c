"""``celltrain count``."""

from __future__ import annotations

import re
import shutil

import pytest

from napari_celltrain.cli import main
from napari_celltrain.simulation import write_sample


def test_real_movies_are_counted(data_folder, result):
    told = result("count", data_folder / "dev_timelapses.autlist")
    by_name = {one["name"]: one for one in told["experiments"]}
    cho = by_name["ctc_fluo_n3dh_cho_02_t00-13"]
    assert (cho["time_points"], cho["annotated_time_points"], cho["positions"]) == (14, 14, 134)
    assert cho["tracks"] == 10
    assert by_name["ctc_fluo_n2dh_simplus_01_t00-44"]["divisions"] == 19
    for key in ("time_points", "annotated_time_points", "positions", "tracks", "divisions"):
        assert told["total"][key] == sum(one[key] for one in told["experiments"])
    assert told["enough"]


def test_several_places_are_one_table(sample, tmp_path, capsys):
    shutil.copytree(sample.parent, tmp_path / "other")
    assert main(["count", str(sample), str(tmp_path / "other")]) == 0
    out = capsys.readouterr().out
    assert len([line for line in out.splitlines() if line.startswith("sample plane ")]) == 2
    assert out.splitlines()[3].startswith("total")


def test_what_is_given_twice_counts_once(sample, capsys):
    assert main(["count", str(sample), str(sample)]) == 0
    out = capsys.readouterr().out
    assert len([line for line in out.splitlines() if line.startswith("sample plane ")]) == 1
    assert "more than once; it is taken once" in out


def test_missing_images_are_a_finding_not_an_end(tmp_path, result):
    (tmp_path / "points.csv").write_text("t,z,y,x\n3,0,5,6\n4,0,5,7\n", "utf-8")
    told = result("count", tmp_path / "points.csv")
    (one,) = told["experiments"]
    assert (one["time_points"], one["annotated_time_points"], one["positions"]) == (0, 2, 2)
    assert not told["enough"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"version": "v2", "positions": 5}', "\x00\x01"]
)
def test_damaged_files_are_refused_or_empty(tmp_path, capsys, content):
    (tmp_path / "bad.aut").write_text(content, "utf-8")
    status = main(["count", str(tmp_path / "bad.aut")])
    err = capsys.readouterr().err
    assert status in (0, 1, 2)
    assert "Traceback" not in err
    if status == 2:
        assert len(err.splitlines()) == 1
        assert "bad.aut" in err


def test_the_table_leaves_open_what_only_images_could_tell(tmp_path, capsys):
    (tmp_path / "points.csv").write_text("t,z,y,x\n3,0,5,6\n4,0,5,7\n", "utf-8")
    assert main(["count", str(tmp_path / "points.csv")]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[1].split()[:3] == ["points", "-", "2"]
    assert "dataset.toml" in told.splitlines()[-1]


@pytest.mark.parametrize("wrong", ["the channel", "a frame", "the places"])
def test_the_last_sentence_says_what_training_would(wrong, tmp_path, capsys):
    toml = write_sample(tmp_path, kind="plane", time_points=8, size=(1, 96, 96), n_cells=14)
    if wrong == "the channel":
        toml.write_text(toml.read_text("utf-8") + "channel = 2\n", "utf-8")
    elif wrong == "a frame":
        frame = sorted((tmp_path / "images").iterdir())[3]
        frame.write_bytes(frame.read_bytes()[:500])
    else:
        places = "".join(f"{t},0,900,{900 + 9 * n}\n" for t in range(8) for n in range(9))
        (tmp_path / "far.csv").write_text(f"t,z,y,x\n{places}", "utf-8")
        toml.write_text(re.sub(r'"[^"]*\.aut"', '"far.csv"', toml.read_text("utf-8")), "utf-8")
    assert main(["count", str(toml)]) == 0  # counted it has
    last = capsys.readouterr().out.splitlines()[-1]
    assert "put right before training" in last
    assert "enough to start" not in last
    assert main(["train", str(toml), "--out", str(tmp_path / "run"), "--steps", "1"]) == 2


def test_an_error_in_one_experiment_is_not_enough(sample, tmp_path, result):
    (tmp_path / "points.csv").write_text("t,z,y,x\n0,0,900,900\n1,0,900,900\n", "utf-8")
    images = sample.parent / "images" / "t{time:03}.tif"
    (tmp_path / "dataset.toml").write_text(
        f'[[experiment]]\nimages = "{images.as_posix()}"\nannotations = "points.csv"\n', "utf-8"
    )
    told = result("count", sample, tmp_path / "dataset.toml")
    codes = {finding["code"]: finding["severity"] for finding in told["experiments"][1]["findings"]}
    assert codes["outside-image"] == "error"
    assert not told["enough"]
