"""``celltrain train``: run folders, budgets, interruption, refusals."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tifffile
import torch

from napari_celltrain.cli import main, train
from napari_celltrain.training.events import Evaluation
from napari_celltrain.training.history import event_to_json
from napari_celltrain.training.run import RunFolder

QUICK = ["--threads", "1", "--set", "design.width=8", "--set", "optimiser.batch_size=2"]


def test_json_tells_the_outcome(sample, tmp_path, result):
    told = result("train", sample, "--out", tmp_path / "run", "--steps", "12", *QUICK)
    assert told["run"] == str(tmp_path / "run")
    assert told["steps"] == 12
    assert told["stopped_because"] == "steps done"
    assert 0 <= told["best_f1"] <= 1
    assert 0 < told["threshold"] < 1
    assert told["seconds"] > 0


def test_training_learns(trained):
    assert RunFolder(trained).read_state()["best_f1"] > 0.5


@pytest.mark.parametrize(
    ("f1", "words"),
    [
        (0.868, "all held-out frames (0.866 on those used while training, 8 at most)"),
        (0.866, "held-out frames"),
    ],
)
def test_the_last_figure_says_that_it_is_of_more_frames_than_those_before(tmp_path, f1, words):
    """The best F1 was 0.866, and the run ended with 0.868."""
    run = RunFolder(tmp_path)
    figures = {"precision": 0.9, "recall": 0.9, "localisation_error_um": 1.0, "threshold": 0.5}
    events = [
        Evaluation(step, 1.0, f1_then, **figures, train_loss=0.1, best=best)
        for step, f1_then, best in ((1, 0.5, True), (2, 0.866, True), (3, 0.7, False))
    ]
    run.history_file.write_text("".join(f"{event_to_json(one)}\n" for one in events), "utf-8")
    assert train.judged_on(run, f1, 8) == words


def test_settings_from_file_and_options(sample, tmp_path):
    (tmp_path / "s.toml").write_text("[budget]\nsteps = 9\n[design]\nwidth = 8\n", "utf-8")
    run = tmp_path / "run"
    arguments = ["train", str(sample), "--out", str(run), "--settings", str(tmp_path / "s.toml")]
    assert main([*arguments, "--steps", "5", "--seed", "3", "--threads", "1"]) == 0
    from napari_celltrain.training.settings import TrainingSettings

    kept = TrainingSettings.from_toml(run / "settings.toml")
    assert (kept.budget.steps, kept.design.width, kept.compute.seed) == (5, 8, 3)


def test_a_finished_run_says_so(trained, result, capsys):
    before = (trained / "history.jsonl").read_bytes()
    told = result("train", "--out", trained, "--resume")
    assert told["steps"] == 150
    assert (trained / "history.jsonl").read_bytes() == before
    assert main(["train", "--out", str(trained), "--resume"]) == 0
    assert "finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("budget", "words"), [("--steps 20", "20 steps"), ("--minutes 0.001", "0.001 min")]
)
def test_a_budget_that_a_finished_run_has_used_up_changes_nothing(trained, capsys, budget, words):
    """It "finished" again without a step, and was some seconds older each time."""
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    assert main(["train", "--out", str(trained), "--resume", *budget.split()]) == 0
    told = capsys.readouterr()
    assert "nothing is left to do" in told.err
    assert f"A budget of {words} is used up already: it has trained 150 steps" in told.err
    assert before == {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}


def test_a_larger_budget_goes_on(trained, tmp_path, result, capsys):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert main(["train", "--out", str(run), "--resume", "--steps", "155"]) == 0
    told = capsys.readouterr()
    assert "have changed" not in told.err  # the data are the same, found in another way
    assert RunFolder(run).read_state()["step"] == 155


def test_resume_starts_a_run_that_is_not_there(sample, tmp_path, result):
    told = result("train", sample, "--out", tmp_path / "new", "--resume", "--steps", "3", *QUICK)
    assert told["steps"] == 3


def test_from_another_detector(sample, trained, tmp_path, result):
    told = result(
        "train", sample, "--out", tmp_path / "run", "--from", trained, "--steps", "3", *QUICK
    )
    assert told["best_f1"] > 0.5  # three steps from scratch would find nothing


def test_a_run_that_goes_on_says_that_it_takes_no_other_detector(sample, trained, tmp_path, capsys):
    """Scripts of clusters give both, for a first start and for all later ones."""
    start = ["train", str(sample), "--out", str(tmp_path / "run"), "--from", str(trained)]
    assert main([*start, "--resume", "--steps", "2", *QUICK]) == 0
    words = "goes on from its own checkpoint; --from counts only when a run begins"
    assert words not in capsys.readouterr().err
    assert main([*start, "--resume", "--steps", "3", *QUICK]) == 0
    assert words in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX systems")
def test_interruption_saves_a_checkpoint(sample, tmp_path):
    """Other signals and moments are in tests/reliability/test_interruption.py."""
    run = RunFolder(tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-m", "napari_celltrain", "train", str(sample), "--out", str(run.path),
         "--minutes", "3", "--json", *QUICK],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        end = time.monotonic() + 100
        while time.monotonic() < end and not any(
            '"Step"' in line for line in _lines(run.history_file)
        ):
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        asked = time.monotonic()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, err
    assert time.monotonic() - asked < 20
    assert "Traceback" not in err
    assert "--resume" in err
    assert json.loads(out.splitlines()[-1])["stopped_because"] == "interrupted"
    assert list(run.checkpoints.glob("*.safetensors"))
    assert not run.is_finished()
    steps = run.read_state()["step"]
    assert main(["train", "--out", str(run.path), "--resume", "--steps", str(steps + 2)]) == 0
    assert run.is_finished()


def _lines(path):
    return path.read_text("utf-8").splitlines() if path.exists() else []


@pytest.mark.skipif(os.name == "nt", reason="Gloo's rendezvous is not supported there")
def test_two_processes_are_one_run(sample, tmp_path):
    run = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m",
         "napari_celltrain", "train", str(sample), "--out", str(run), "--steps", "10",
         "--device", "cpu", "--json", *QUICK],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (told,) = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert json.loads(told)["steps"] == 10
    assert done.stderr.count("Finished:") == 1


def test_a_folder_in_use_is_left_alone(sample, tmp_path, refused):
    (tmp_path / "thesis.txt").write_text("years of work")
    for more in ([], ["--resume"]):
        refused("train", sample, "--out", tmp_path, *more)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_existing_run_needs_resume(sample, trained, refused):
    assert "--resume" in refused("train", sample, "--out", trained)


@pytest.mark.parametrize("command", ["train", "export-job"])
def test_where_no_folder_can_be_the_place_is_named(sample, tmp_path, refused, command):
    (tmp_path / "file").touch()
    told = f"{tmp_path / 'file'} is a file, not a folder"
    assert told in refused(command, sample, "--out", tmp_path / "file")
    assert told in refused(command, sample, "--out", tmp_path / "file" / "run")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    assert "leads nowhere" in refused(command, sample, "--out", tmp_path / "link" / "run")


def test_no_data_set(tmp_path, refused):
    assert "DATASET" in refused("train", "--out", tmp_path / "run")
    assert "DATASET" in refused("train", "--out", tmp_path / "run", "--resume")


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("budget.hours=1", "budget.hours"),
        ("budget.minutes=-1", "budget.minutes"),
        ("nonsense", "section.key=value"),
        ("augmentation.strength=lots", "augmentation.strength"),
        ("design.time_window=[1, 2]", "time_window"),
    ],
)
def test_wrong_settings(sample, tmp_path, refused, assignment, words):
    assert words in refused("train", sample, "--out", tmp_path / "r", "--set", assignment)
    assert not (tmp_path / "r").exists()


TABLES = {
    "empty": "t,z,y,x\n",
    "outside": "t,z,y,x\n0,0,500,500\n1,0,900,20\n",
    "other times": "t,z,y,x\n70,0,5,5\n71,0,9,20\n",
}


@pytest.fixture
def movie(tmp_path):
    """Make a movie with some pixels and some annotation; return its dataset.toml."""

    def make(pixels, table):
        images = tmp_path / "images"
        images.mkdir()
        for t, frame in enumerate(pixels):
            tifffile.imwrite(images / f"t{t:03}.tif", frame)
        (tmp_path / "points.csv").write_text(table, "utf-8")
        dataset = tmp_path / "dataset.toml"
        dataset.write_text(
            '[[experiment]]\nimages = "images/t{time:03}.tif"\nannotations = "points.csv"\n',
            "utf-8",
        )
        return dataset

    return make


def spots(rng, count=6):
    frame = rng.normal(100, 5, (64, 64))
    where = rng.integers(8, 56, (count, 2))
    y, x = np.mgrid[:64, :64]
    for row, column in where:
        frame += 400 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 18)
    return frame, where


@pytest.mark.parametrize("kind", sorted(TABLES))
def test_useless_annotation_is_refused(movie, tmp_path, refused, kind):
    rng = np.random.default_rng(0)
    dataset = movie([spots(rng)[0].astype(np.uint16) for _ in range(4)], TABLES[kind])
    refused("train", dataset, "--out", tmp_path / "run", "--steps", "2")


def test_a_missing_image_is_named(movie, tmp_path, refused):
    dataset = movie([], TABLES["outside"])
    assert "images" in refused("train", dataset, "--out", tmp_path / "run", "--steps", "2")


def test_one_annotated_frame_trains_and_says_what_its_f1_is_worth(movie, tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame, where = spots(rng)
    table = "t,z,y,x\n" + "".join(f"0,0,{y},{x}\n" for y, x in where)
    dataset = movie([frame.astype(np.uint16)], table)
    run = ["train", str(dataset), "--out", str(tmp_path / "run"), "--steps", "3"]
    assert main([*run, *QUICK]) == 0
    assert "Only one frame is annotated" in capsys.readouterr().err


@pytest.mark.parametrize("bad", ["constant", "nan"])
def test_bad_pixels_end_in_a_sentence_or_a_run(movie, tmp_path, capsys, bad):
    rng = np.random.default_rng(0)
    frames, table = [], "t,z,y,x\n"
    for t in range(4):
        frame, where = spots(rng)
        if bad == "constant":
            frame[:] = 7
        else:
            frame[10:20, 30:40] = np.nan
        frames.append(frame.astype(np.float32))
        table += "".join(f"{t},0,{y},{x}\n" for y, x in where)
    dataset = movie(frames, table)
    run = ["train", str(dataset), "--out", str(tmp_path / "run"), "--steps", "4"]
    status = main([*run, *QUICK])
    err = capsys.readouterr().err
    assert status in (0, 2)
    assert "Traceback" not in err
    assert ("every pixel is" if bad == "constant" else "no finite") in err


def test_a_start_that_was_refused_can_be_tried_again(sample, tmp_path, refused):
    """A device that is not there is a slip, no reason to remove a folder by hand."""
    run = tmp_path / "run"
    if not torch.cuda.is_available():
        assert "cuda" in refused("train", sample, "--out", run, "--device", "cuda")
        assert not run.exists()
    run.mkdir()
    for name in ("run.lock", "run.pid", "debug.log"):
        (run / name).touch()
    assert main(["train", str(sample), "--out", str(run), "--steps", "2", *QUICK]) == 0


def test_a_budget_shorter_than_the_preparations_still_gives_a_detector(sample, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", str(sample), "--out", str(run), "--minutes", "0.0001", *QUICK]) == 0
    assert RunFolder(run).read_state()["step"] == 1
    assert (run / "best" / "detector.json").is_file()
    # nothing is found by it, and nothing is said of how far off that is
    capsys.readouterr()
    assert main(["evaluate", str(run), str(sample), "--threshold", "1"]) == 0
    told = capsys.readouterr().out
    assert "0 cells found" in told
    assert "nan" not in told


def test_a_figure_that_is_not_to_be_trusted_is_called_so_wherever_it_is_told(
    sample, tmp_path, capsys
):
    one = sample.read_text("utf-8") + "time_points = [3, 3]\n"
    images, annotations = sample.parent / "images", next(sample.parent.glob("*.aut"))
    one = one.replace('"images/', f'"{images}/').replace(annotations.name, str(annotations))
    (tmp_path / "one.toml").write_text(one, "utf-8")
    command = ["train", str(tmp_path / "one.toml"), "--out", str(tmp_path / "run"), "--threads"]
    command += ["1", "--set", "design.width=8"]
    assert main([*command, "--steps", "3"]) == 0
    told = capsys.readouterr()
    assert "not to be trusted" in told.out
    assert "judged on what it learnt from" in told.err.splitlines()[-1]
    assert main([*command, "--steps", "4", "--resume", "--json"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["trustworthy"] is False
    assert "Only one frame" in result["held_out"]
