"""``celltrain export-job``: a folder that trains somewhere else."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys

import numpy as np
import pytest
import tifffile

from napari_celltrain.cli import export_job, main
from napari_celltrain.dataset import load_dataset
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings


def test_the_folder_can_be_carried_away(sample, tmp_path, result):
    told = result("export-job", sample, "--out", tmp_path / "job", "--minutes", "60")
    assert told["frames"] == 8
    shutil.move(tmp_path / "job", tmp_path / "elsewhere")
    (before,), (after,) = (
        load_dataset(place).experiments for place in (sample, tmp_path / "elsewhere")
    )
    assert str(sample.parent) not in (tmp_path / "elsewhere" / "dataset.toml").read_text("utf-8")
    np.testing.assert_allclose(after.annotations.positions, before.annotations.positions)
    assert after.known_voxel_size_um == before.known_voxel_size_um
    for t in before.images.time_points:
        np.testing.assert_array_equal(after.images.read_frame(t), before.images.read_frame(t))


def test_only_what_training_needs_is_copied(tmp_path, result):
    rng = np.random.default_rng(0)
    images = tmp_path / "images"
    images.mkdir()
    pixels = rng.integers(0, 1000, (10, 3, 2, 20, 24), dtype=np.uint16)  # t z c y x
    for t in range(10):
        tifffile.imwrite(images / f"t{t}.tif", pixels[t], metadata={"axes": "ZCYX"}, ome=False)
    (tmp_path / "points.csv").write_text("t,z,y,x\n3,1,5,6\n8,1,5,7\n", "utf-8")
    (tmp_path / "dataset.toml").write_text(
        '[[experiment]]\nimages = "images/t{time}.tif"\nannotations = "points.csv"\nchannel = 2\n'
        'time_points = [0, 9]\nannotated = "sparse"\nrole = "train"\n',
        "utf-8",
    )
    (tmp_path / "settings.toml").write_text("[design]\ntime_window = [-1, 0]\n", "utf-8")
    told = result(
        "export-job", tmp_path / "dataset.toml", "--out", tmp_path / "job",
        "--settings", tmp_path / "settings.toml",
    )  # fmt: skip
    assert told["frames"] == 4
    (member,) = load_dataset(tmp_path / "job").members
    assert list(member.experiment.images.time_points) == [2, 3, 7, 8]
    assert member.experiment.channels == (0,)
    assert (member.role, member.experiment.completeness) == ("train", "sparse")
    np.testing.assert_array_equal(member.experiment.images.read_frame(7), pixels[7, :, 1])


def test_the_script_is_a_job(sample, tmp_path):
    assert main(["export-job", str(sample), "--out", str(tmp_path / "j"), "--minutes", "60"]) == 0
    script = (tmp_path / "j" / "job.sh").read_text("utf-8")
    assert "#SBATCH --time=01:22:00" in script
    assert "#SBATCH --gres=gpu:1" in script
    settings = TrainingSettings.from_toml(tmp_path / "j" / "settings.toml")
    assert settings.budget.minutes == 60


def test_several_cards_and_machines(sample, tmp_path):
    job = ["export-job", str(sample), "--out"]
    assert main([*job, str(tmp_path / "cards"), "--gpus", "4", "--kind", "shell"]) == 0
    script = (tmp_path / "cards" / "job.sh").read_text("utf-8")
    assert "exec torchrun --standalone --nproc-per-node=4 -m napari_celltrain train" in script
    assert main([*job, str(tmp_path / "nodes"), "--gpus", "2", "--nodes", "3"]) == 0
    script = (tmp_path / "nodes" / "job.sh").read_text("utf-8")
    assert "#SBATCH --nodes=3" in script
    assert "exec srun torchrun --nnodes=3 --nproc-per-node=2" in script
    if shutil.which("bash"):
        assert subprocess.run(["bash", "-n", str(tmp_path / "nodes" / "job.sh")]).returncode == 0


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_a_run_goes_on_elsewhere(trained, tmp_path):
    (tmp_path / "more.toml").write_text(
        (trained / "settings.toml").read_text("utf-8").replace("steps = 150", "steps = 153"),
        "utf-8",
    )
    status = main(
        ["export-job", str(trained), "--out", str(tmp_path / "job"), "--kind", "shell",
         "--settings", str(tmp_path / "more.toml")]
    )  # fmt: skip
    assert status == 0
    programs = tmp_path / "bin"
    programs.mkdir()
    celltrain = programs / "celltrain"
    celltrain.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m napari_celltrain "$@"\n')
    celltrain.chmod(celltrain.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        ["bash", str(tmp_path / "job" / "job.sh")],
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    state = RunFolder(tmp_path / "job" / "run").read_state()
    assert state["step"] == 153
    assert state["best_f1"] >= RunFolder(trained).read_state()["best_f1"] - 0.02


def test_a_finished_run_needs_more_to_do(trained, tmp_path, refused):
    """Its job waited for a machine, and ended with "nothing is left to do"."""
    place = tmp_path / "job"
    told = refused("export-job", trained, "--out", place)
    assert "is finished (steps done), so the job would have nothing to do" in told
    assert "--minutes" in told
    assert "--settings" in told
    assert "finished" in refused("export-job", trained, "--out", place, "--minutes", "0.001")
    assert not place.exists()
    assert main(["export-job", str(trained), "--out", str(place), "--minutes", "600"]) == 0


def test_what_is_neither_run_nor_data(tmp_path, refused):
    refused("export-job", tmp_path / "nothing", "--out", tmp_path / "job")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "thesis.txt").write_text("x")
    assert "empty" in refused("export-job", tmp_path, "--out", tmp_path / "used")


KILLED = """
import os, sys
from napari_celltrain.cli import export_job, main
export_job.write_text = lambda *given: os.kill(os.getpid(), 9)
main(sys.argv[1:])
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
def test_what_a_killed_packing_left_is_not_in_the_way_of_the_next(sample, tmp_path):
    place = tmp_path / "place"
    command = ["export-job", str(sample), "--out", str(place / "job")]
    killed = subprocess.run([sys.executable, "-c", KILLED, *command], capture_output=True)
    assert killed.returncode == -9, killed.stderr
    (half,) = place.iterdir()
    assert list(half.rglob("t0000.tif"))
    assert main(command) == 0
    assert [one.name for one in place.iterdir()] == ["job"]
    assert len(load_dataset(place / "job").experiments) == 1


def test_what_somebody_puts_there_meanwhile_is_left_alone(sample, tmp_path, monkeypatch, refused):
    job = tmp_path / "place" / "job"
    job.mkdir(parents=True)
    write = export_job.write_text

    def write_beside_somebody(path, text):
        (job / "thesis.txt").write_text("precious")
        write(path, text)

    monkeypatch.setattr(export_job, "write_text", write_beside_somebody)
    assert str(job) in refused("export-job", sample, "--out", job)
    assert (job / "thesis.txt").read_text() == "precious"
    assert [one.name for one in job.parent.iterdir()] == ["job"]


def test_an_empty_folder_may_be_there(sample, tmp_path, monkeypatch, refused):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    assert main(["export-job", str(sample), "--out", str(tmp_path / "link")]) == 0
    assert (tmp_path / "empty" / "README.txt").is_file()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # from under whom it can't be exchanged
    assert "Name a new folder in ." in refused("export-job", sample, "--out", ".")


def test_what_can_not_be_copied_is_told_by_its_place(sample, tmp_path, monkeypatch, refused):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tifffile, "imwrite", fail)
    told = refused("export-job", sample, "--out", tmp_path / "job")
    assert str(tmp_path / "job" / "images") in told
    assert "No space left" in told
    assert not (tmp_path / "job").exists()


@pytest.fixture
def prediction_job(small_run, make_blobs, tmp_path):
    """Two movies and a list, and a run that knows how to find their cells."""
    for number, name in enumerate(["a movie.tif", "b'c.tif"]):
        blobs = make_blobs(times=2, seed=20 + number)
        pixels = np.concatenate([blobs.images.read_frame(t) for t in (0, 1)])
        tifffile.imwrite(tmp_path / name, pixels, metadata={"axes": "TYX"}, imagej=False)
    listed = '[[experiment]]\nname = "x"\nimages = "a movie.tif"\nannotations = "none.csv"\n'
    (tmp_path / "LIST.TOML").write_text(listed)
    (tmp_path / "none.csv").write_text("t,z,y,x\n0,0,5,5\n")
    movies = [str(tmp_path / name) for name in ("a movie.tif", "b'c.tif", "LIST.TOML")]
    return [str(small_run), "--predict", *movies]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_prediction_job_finds_the_cells_of_each_movie(prediction_job, tmp_path):
    job = tmp_path / "job"
    assert main(["export-job", *prediction_job, "--out", str(job), "--kind", "shell",
                 "--voxel-size", "1,1,1"]) == 0  # fmt: skip
    # by its name on the path, as on a cluster
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    command = bin_folder / "celltrain"
    command.write_text(f'#!/bin/bash\nexec "{sys.executable}" -m napari_celltrain "$@"\n')
    command.chmod(0o755)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"

    def go():
        return subprocess.run(
            ["bash", str(job / "job.sh")], env=os.environ | {"PATH": path},
            capture_output=True, text=True, timeout=200,
        )  # fmt: skip

    done = go()
    assert done.returncode == 0, done.stderr
    cells = sorted((job / "cells").glob("*.aut"))
    assert [path.name for path in cells] == ["1.aut", "2.aut"]
    cells.append(job / "cells" / "3" / "3.autlist")
    dates = [path.stat().st_mtime_ns for path in cells]
    cells[1].unlink()
    done = go()  # once more: what is finished is not done again
    assert done.returncode == 0, done.stderr
    assert cells[0].stat().st_mtime_ns == dates[0]
    assert cells[2].stat().st_mtime_ns == dates[2]
    assert cells[1].exists()


def test_a_prediction_job_is_an_array_job_of_a_scheduler(prediction_job, tmp_path):
    job = tmp_path / "job"
    assert main(["export-job", *prediction_job, "--out", str(job), "--minutes", "60"]) == 0
    script = (job / "job.sh").read_text("utf-8")
    assert "#SBATCH --array=1-3" in script
    assert "#SBATCH --time=01:22:00" in script
    assert (job / "detector" / "detector.json").is_file()
    assert (job / "movies.txt").read_text("utf-8").splitlines() == prediction_job[2:]
    if shutil.which("bash"):
        assert subprocess.run(["bash", "-n", str(job / "job.sh")]).returncode == 0


def test_a_data_set_is_no_detector_to_predict_with(sample, tmp_path, capsys):
    command = ["export-job", str(sample), "--predict", "a.tif", "--out", str(tmp_path / "job")]
    assert main(command) == 2
    assert "neither a detector" in capsys.readouterr().err
    assert not (tmp_path / "job").exists()


def test_settings_of_a_training_are_refused_for_a_prediction(sample, tmp_path, capsys):
    words = ["export-job", str(sample), "--predict", "a.tif", "--settings", "x.toml"]
    assert main([*words, "--out", str(tmp_path / "job")]) == 2
    assert "--settings is for training" in capsys.readouterr().err
