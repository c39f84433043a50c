"""Bad data through ``celltrain train``: a sentence and exit 2, or a finding and a sane run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import tifffile

from napari_celltrain.cli import main
from napari_celltrain.detector.detector import Detector
from napari_celltrain.formats.registry import write_experiment
from napari_celltrain.training.events import FindingEvent
from napari_celltrain.training.run import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK = [
    "--steps",
    "3",
    "--threads",
    "1",
    "--device",
    "cpu",
    "--set",
    "compute.precision=float32",
    "--set",
    "design.width=4",
    "--set",
    "optimiser.crop_size=32",
    "--set",
    "optimiser.batch_size=2",
]


class Case:
    """A small data set on the disk that can be spoilt in one way."""

    def __init__(self, folder: Path, make_blobs: Callable, **blobs) -> None:
        self.folder = folder
        self.experiment = make_blobs(**{"times": 6, "shape": (1, 64, 80), "cells": 9, **blobs})
        self.movie = np.asarray(self.experiment.images.array)
        self.extra: dict[str, str] = {"voxel_size_um": "[1.0, 1.0, 1.0]"}
        self.points: str | None = None

    def write(self, **imwrite) -> Path:
        self.folder.mkdir(exist_ok=True)
        for t, frame in enumerate(self.movie):
            frame = frame[0] if len(frame) == 1 else frame
            tifffile.imwrite(self.folder / f"t{t:03}.tif", frame, **imwrite)
        write_experiment(self.folder / "points.csv", self.experiment)
        if self.points is not None:
            (self.folder / "points.csv").write_text(self.points)
        lines = ["[[experiment]]", 'name = "case"', 'annotations = "points.csv"']
        values = {"images": '"t{time:03}.tif"', **self.extra}
        lines += [f"{key} = {value}" for key, value in values.items() if value]
        (self.folder / "dataset.toml").write_text("\n".join(lines) + "\n")
        return self.folder / "dataset.toml"


@pytest.fixture
def case(tmp_path, make_blobs) -> Case:
    return Case(tmp_path / "data", make_blobs)


def _train(dataset, run, capsys, *more: str) -> tuple[int, str]:
    status = main(["train", str(dataset), "--out", str(run), *QUICK, *more])
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    return status, errors


def _refused(dataset, run, capsys, *more: str) -> str:
    """Exit 2, one sentence at the end, and no run was begun that would have to be removed."""
    status, errors = _train(dataset, run, capsys, *more)
    assert status == 2, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("celltrain: ")
    assert len(last) < 500
    assert not (run / "checkpoints").exists()
    return last


def _trained(dataset, run, capsys, *more: str) -> str:
    """A run to its end whose detector is made of finite numbers."""
    status, errors = _train(dataset, run, capsys, *more)
    assert status == 0, errors
    Detector.from_folder(run, device="cpu", precision="float32")  # refuses what is not finite
    return errors


# --- pixels ---


def test_good_data_trains_without_a_word(case, tmp_path, capsys):
    errors = _trained(case.write(), tmp_path / "run", capsys)
    assert "error:" not in errors
    assert "don't lie" not in errors


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_without_a_value_are_told_and_do_no_harm(case, tmp_path, capsys, bad):
    case.movie = case.movie.astype(np.float32)
    case.movie[:, :, 3:9, 3:9] = bad
    errors = _trained(case.write(), tmp_path / "run", capsys)
    assert "no finite" in errors


def test_a_constant_movie_is_told(case, tmp_path, capsys):
    case.movie = np.full_like(case.movie, 7)
    status, errors = _train(case.write(), tmp_path / "run", capsys)
    assert status == 2
    assert "every pixel is 7" in errors
    assert "nothing to learn from" in errors.splitlines()[-1]


def test_a_movie_of_nan_is_told(case, tmp_path, capsys):
    case.movie = np.full(case.movie.shape, np.nan, np.float32)
    status, errors = _train(case.write(), tmp_path / "run", capsys)
    assert status == 2
    assert "no finite" in errors
    assert "nothing to learn from" in errors.splitlines()[-1]


def test_one_constant_frame_is_told(case, tmp_path, capsys):
    case.movie[0] = 0
    assert "time point 0 is empty" in _trained(case.write(), tmp_path / "run", capsys)


@pytest.mark.parametrize("value", [0, np.nan, np.inf])
def test_an_odd_frame_is_told_wherever_it_is_and_not_learnt_from(
    tmp_path, make_blobs, capsys, value
):
    """Whether it is one of those that are looked at beforehand or not."""
    case = Case(tmp_path / "data", make_blobs, times=14, shape=(1, 64, 64))
    case.movie = case.movie.astype(np.float32)
    case.movie[5] = value
    _trained(case.write(), tmp_path / "run", capsys)
    said = [
        event.finding
        for event in RunFolder(tmp_path / "run").read_history()
        if isinstance(event, FindingEvent)
    ]
    (finding,) = [one for one in said if one.code == "empty-frames"]
    assert finding.time_point == 5
    assert "Nothing is learnt from it" in finding.message


def test_a_held_out_frame_without_anything_is_told_and_does_not_count(tmp_path, make_blobs, capsys):
    case = Case(tmp_path / "data", make_blobs, times=14, shape=(1, 64, 64))
    case.movie[12] = 0
    errors = _trained(case.write(), tmp_path / "run", capsys)
    assert "Time point 12, which is held out, shows nothing" in errors


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "uint32", "int32"])
def test_every_type_of_pixel_trains(case, tmp_path, capsys, dtype):
    movie = case.movie.astype(np.float64)
    movie = movie / 5 if dtype == "uint8" else movie
    if dtype in ("int16", "int32", "float32", "float64"):
        movie -= 300  # also below zero
    case.movie = movie.astype(dtype)
    errors = _trained(case.write(), tmp_path / "run", capsys)
    assert "error:" not in errors
    assert "don't lie" not in errors


def test_bright_pixels_that_became_negative_are_told(case, tmp_path, capsys):
    bright = np.clip(case.movie.astype(np.float64) * 85, 0, 65_535).astype(np.uint16)
    case.movie = bright.view(np.int16)
    errors = _trained(case.write(), tmp_path / "run", capsys)
    assert "save the images as uint16" in errors


def test_an_offset_of_32768_trains_to_the_same_weights(case, tmp_path, capsys):
    _trained(case.write(), tmp_path / "plain", capsys)
    case.movie = case.movie + 32768
    _trained(case.write(), tmp_path / "offset", capsys)
    a, b = (
        Detector.from_folder(tmp_path / name, device="cpu", precision="float32")
        for name in ("plain", "offset")
    )
    for key, value in a.weights.items():
        np.testing.assert_allclose(value.numpy(), b.weights[key].numpy(), atol=5e-3)


def test_colour_images_are_told_and_read_as_grey(tmp_path, make_blobs, capsys):
    case = Case(tmp_path / "data", make_blobs, times=8, shape=(1, 120, 120), cells=16)
    green = np.clip(case.movie[:, 0, :, :, None] / 4, 0, 255).astype(np.uint8)
    case.movie = np.concatenate([0 * green, green, 0 * green], axis=3)
    errors = _trained(case.write(photometric="rgb"), tmp_path / "run", capsys)
    assert "The images are in colour; how bright they are is looked at" in errors
    assert "don't lie" not in errors


def test_a_damaged_frame_is_a_sentence_that_names_it(case, tmp_path, capsys):
    dataset = case.write()
    path = case.folder / "t002.tif"
    path.write_bytes(path.read_bytes()[:300])
    assert "t002" in _refused(dataset, tmp_path / "run", capsys)


def test_a_missing_frame_among_others_is_no_obstacle(case, tmp_path, capsys):
    dataset = case.write()
    (case.folder / "t002.tif").unlink()
    errors = _trained(dataset, tmp_path / "run", capsys)
    assert "without an image" in errors


def test_missing_images_are_a_sentence(case, tmp_path, capsys):
    dataset = case.write()
    for path in case.folder.glob("t*.tif"):
        path.unlink()
    _refused(dataset, tmp_path / "run", capsys)


def test_exchanged_channels_are_told(tmp_path, make_blobs, capsys):
    case = Case(tmp_path / "data", make_blobs, times=8, shape=(1, 120, 120), cells=16)
    noise = np.random.default_rng(5).normal(200, 20, case.movie.shape).astype(case.movie.dtype)
    case.movie = np.concatenate([noise, case.movie], axis=1)  # (t, c, y, x): as (c, y, x) files
    dataset = case.write(imagej=True, metadata={"axes": "CYX"})
    assert "They would in channel 2" in _trained(dataset, tmp_path / "run", capsys)


# --- positions ---


HEADER = "t,z,y,x\n"


@pytest.mark.parametrize("points", ["", HEADER, "t,z,y,x\nx,y,z,0\n", "\x00\x00", "a,b\n1,2\n"])
def test_an_annotation_file_without_positions_is_a_sentence(case, tmp_path, capsys, points):
    case.points = points
    _refused(case.write(), tmp_path / "run", capsys)


def test_positions_that_all_lie_outside_are_a_sentence(case, tmp_path, capsys):
    case.points = HEADER + "".join(
        f"{t},0,{5000 + i},{5000 + i}\n" for t in range(6) for i in range(9)
    )
    assert "micrometres" in _refused(case.write(), tmp_path / "run", capsys)


def test_positions_at_other_time_points_are_a_sentence(case, tmp_path, capsys):
    case.points = HEADER + "".join(
        f"{t},0,{5 * i},{5 * i}\n" for t in range(90, 96) for i in range(9)
    )
    message = _refused(case.write(), tmp_path / "run", capsys)
    assert "90 to 95" in message


def test_some_positions_outside_are_told_and_left_out(case, tmp_path, capsys):
    dataset = case.write()
    with open(case.folder / "points.csv") as file:
        header = file.readline().strip().split(",")
    row = {"t": "1", "z": "0", "y": "-900", "x": "5"}
    with open(case.folder / "points.csv", "a") as file:
        file.write(",".join(row.get(name, "") for name in header) + "\n")
    errors = _trained(dataset, tmp_path / "run", capsys)
    assert "outside the image" in errors


def _rewritten(case: Case, change) -> None:
    annotations = case.experiment.annotations
    rows = change(np.column_stack([annotations.t, annotations.positions]))
    case.points = HEADER + "".join(
        ",".join(repr(float(v)) if k else str(int(v)) for k, v in enumerate(row)) + "\n"
        for row in rows
    )


def test_duplicates_are_told(case, tmp_path, capsys):
    _rewritten(case, lambda rows: np.concatenate([rows, rows[:12]]))
    assert "marked twice" in _trained(case.write(), tmp_path / "run", capsys)


def test_positions_off_by_one_time_point_are_told(tmp_path, make_blobs, capsys):
    case = Case(tmp_path / "data", make_blobs, times=8, shape=(1, 120, 120), cells=16)
    _rewritten(case, lambda rows: rows[rows[:, 0] < 7] + [1, 0, 0, 0])
    errors = _trained(case.write(), tmp_path / "run", capsys)
    assert "time point before" in errors


def test_positions_in_micrometres_taken_for_pixels_are_told(tmp_path, make_blobs, capsys):
    case = Case(
        tmp_path / "data",
        make_blobs,
        times=5,
        shape=(1, 120, 120),
        cells=16,
        voxel_size_um=(1.0, 0.4, 0.4),
        width=5.0,
    )
    case.extra["voxel_size_um"] = "[1.0, 0.4, 0.4]"
    _rewritten(case, lambda rows: rows * [1, 1, 0.4, 0.4])
    errors = _trained(case.write(), tmp_path / "run", capsys)
    assert "micrometres" in errors


def test_positions_of_another_movie_are_told_and_the_score_is_honest(tmp_path, make_blobs, capsys):
    case = Case(tmp_path / "data", make_blobs, times=8, shape=(1, 120, 120), cells=16)
    case.experiment = case.experiment.with_(
        annotations=make_blobs(times=8, shape=(1, 120, 120), cells=16, seed=99).annotations
    )
    run = tmp_path / "run"
    errors = _trained(case.write(), run, capsys, "--steps", "40")
    assert "don't lie on anything" in errors
    detector = Detector.from_folder(run, device="cpu", precision="float32")
    assert detector.info.f1 is not None
    assert detector.info.f1 < 0.6


@pytest.mark.parametrize("factor", [10, 0.1])
def test_a_voxel_size_wrong_by_ten_is_told(case, tmp_path, capsys, factor):
    case.extra["voxel_size_um"] = f"[1.0, {1.0 * factor}, {1.0 * factor}]"
    assert "voxel size" in _trained(case.write(), tmp_path / "run", capsys)


def test_one_annotated_frame_trains_and_is_not_trusted(case, tmp_path, capsys):
    _rewritten(case, lambda rows: rows[rows[:, 0] == 2])
    run = tmp_path / "run"
    errors = _trained(case.write(), run, capsys)
    assert "one frame" in errors.lower() or "only time point" in errors.lower()
    assert not Detector.from_folder(run, device="cpu", precision="float32").info.trustworthy


def test_one_annotated_cell_trains(case, tmp_path, capsys):
    _rewritten(case, lambda rows: rows[:1])
    status, errors = _train(case.write(), tmp_path / "run", capsys)
    assert status in (0, 2)
    assert status == 0 or "celltrain: " in errors


# --- stacks ---


VOXEL = (2.0, 0.6, 0.6)
WRONG_IN_STACKS = {
    "y and x exchanged": (lambda rows: rows[:, [0, 1, 3, 2]], "if y and x were exchanged"),
    "in um": (lambda rows: rows * (1, *VOXEL), "if they were in micrometres"),
    "y from the other end": (
        lambda rows: rows * (1, 1, -1, 1) + (0, 0, 79, 0),
        "if y were counted from the other end",
    ),
    "z from the other end": (
        lambda rows: rows * (1, -1, 1, 1) + (0, 13, 0, 0),
        "if z were counted from the other end",
    ),
    "a plane off": (
        lambda rows: rows + np.array((0, 1, 0, 0)),
        "fit the plane before theirs better",
    ),
}


@pytest.fixture(scope="module")
def stacks(make_blobs):
    """Two movies of one kind."""
    options = {"times": 4, "shape": (14, 80, 90), "cells": 12, "voxel_size_um": VOXEL, "width": 8.0}
    return [make_blobs(**options, seed=seed) for seed in (1, 2)]


@pytest.fixture
def stack(tmp_path, stacks) -> Case:
    case = Case(tmp_path / "data", lambda **blobs: stacks[0])
    case.extra["voxel_size_um"] = str(list(VOXEL))
    return case


def test_a_good_stack_trains_without_a_word(stack, tmp_path, capsys):
    errors = _trained(stack.write(), tmp_path / "run", capsys)
    assert "don't lie" not in errors
    assert "look whether" not in errors


@pytest.mark.parametrize("wrong", WRONG_IN_STACKS)
def test_what_is_wrong_with_positions_in_a_stack_is_told(stack, tmp_path, capsys, wrong):
    change, words = WRONG_IN_STACKS[wrong]
    _rewritten(stack, change)
    assert words in _trained(stack.write(), tmp_path / "run", capsys)


def test_positions_of_another_stack_are_told(stack, stacks, tmp_path, capsys):
    stack.experiment = stacks[1]
    errors = _trained(stack.write(), tmp_path / "run", capsys)
    assert "Are they of this movie and this channel" in errors


@pytest.mark.parametrize("factor", [10, 0.1])
@pytest.mark.parametrize("axes", ["z", "y and x"])
def test_a_voxel_size_of_a_stack_wrong_by_ten_is_told(stack, tmp_path, capsys, axes, factor):
    z, y, x = VOXEL
    wrong = [z * factor, y, x] if axes == "z" else [z, y * factor, x * factor]
    stack.extra["voxel_size_um"] = str(wrong)
    _, errors = _train(stack.write(), tmp_path / "run", capsys)
    assert "look whether the voxel size" in errors


# --- shapes ---


@pytest.mark.parametrize(
    "shape", [(1, 1, 90), (1, 90, 1), (1, 20, 24), (1, 9, 200), (2, 40, 40), (40, 12, 12)], ids=str
)
def test_images_of_any_shape_train(tmp_path, make_blobs, capsys, shape):
    case = Case(tmp_path / "data", make_blobs, shape=shape, cells=2, width=6.0)
    _trained(case.write(), tmp_path / "run", capsys, "--set", "optimiser.crop_size=64")


def test_crops_larger_than_the_images_are_cut_down(case, tmp_path, capsys):
    _trained(case.write(), tmp_path / "run", capsys, "--set", "optimiser.crop_size=512")


def test_movies_in_2d_and_3d_train_together(tmp_path, make_blobs, capsys):
    flat = Case(tmp_path / "flat", make_blobs, shape=(1, 64, 64)).write()
    deep = Case(
        tmp_path / "deep", make_blobs, shape=(8, 48, 48), voxel_size_um=(2.0, 1.0, 1.0), cells=6
    )
    deep.extra["voxel_size_um"] = "[2.0, 1.0, 1.0]"
    run = tmp_path / "run"
    status = main(["train", str(flat), str(deep.write()), "--out", str(run), *QUICK])
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    assert status == 0, errors


def test_a_detector_for_2d_is_not_trained_on_stacks_in_silence(tmp_path, make_blobs, capsys):
    flat = Case(tmp_path / "flat", make_blobs, shape=(1, 64, 64)).write()
    _trained(flat, tmp_path / "first", capsys)
    deep = Case(
        tmp_path / "deep", make_blobs, shape=(8, 48, 48), voxel_size_um=(2.0, 1.0, 1.0), cells=6
    )
    status, errors = _train(
        deep.write(), tmp_path / "second", capsys, "--from", str(tmp_path / "first")
    )
    assert status in (0, 2)
    assert "2D" in errors or "plane" in errors


# --- options ---


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--set", "optimiser.learning_rate=9"], "learning_rate"),
        (["--set", "magic.wand=1"], "magic.wand"),
        (["--set", "design.diameter_um=0"], "diameter_um"),
        (["--seed", "-1"], "seed"),
        (["--threads", "0"], "thread"),
        (["--minutes", "0"], "minutes"),
        (["--device", "cuda"], "cuda"),
        (["--from", "nowhere"], "nowhere"),
        (["--settings", "nowhere.toml"], "nowhere.toml"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_options_that_make_no_sense_are_sentences(case, tmp_path, capsys, options, says):
    import torch

    if "cuda" in options and torch.cuda.is_available():
        pytest.skip("there is one")
    run = tmp_path / "run"
    status, errors = _train(case.write(), run, capsys, *options)
    assert status == 2
    assert says in errors
    assert not (run / "checkpoints").exists()


def test_a_channel_that_does_not_exist_is_a_sentence(case, tmp_path, capsys):
    case.extra["channel"] = "3"
    assert "channel" in _refused(case.write(), tmp_path / "run", capsys)


def test_a_file_in_place_of_the_run_is_left_alone(case, tmp_path, capsys):
    run = tmp_path / "run"
    run.write_text("precious")
    assert "is a file" in _refused_file(case.write(), run, capsys)
    assert run.read_text() == "precious"


def _refused_file(dataset, run, capsys) -> str:
    status, errors = _train(dataset, run, capsys)
    assert status == 2
    return errors


def test_a_folder_that_is_no_run_is_a_sentence(case, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.jpg").write_text("precious")
    _refused(case.write(), folder, capsys)
    _refused(case.write(), folder, capsys, "--resume")
    assert main(["predict", str(folder), str(case.folder), "--out", str(tmp_path / "o.csv")]) == 2
    assert [path.name for path in folder.iterdir()] == ["cat.jpg"]
