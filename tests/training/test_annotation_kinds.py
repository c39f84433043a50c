"""Whatever a person has annotated can be learnt from: kinds of images, and parts of them."""

from __future__ import annotations

import numpy as np
import pytest

from napari_celltrain.dataset import Dataset, Member
from napari_celltrain.detector.detector import Detector
from napari_celltrain.experiment import Annotations, Region, Status
from napari_celltrain.images.array import ArraySource
from napari_celltrain.prediction.judge import candidates, total
from napari_celltrain.training.loop import train


def _learn(experiments, settings, folder, changes=()) -> Detector:
    members = [Member(e) for e in experiments]
    train(Dataset(tuple(members)), folder, settings.changed(list(changes)))
    return Detector.from_folder(folder, device="cpu", precision="float32")


def _f1(detector, experiment, times=(8, 9)) -> float:
    """F1 on frames that were not learnt from, judged with the complete annotation."""
    judged = list(candidates(detector, [experiment], [(0, t) for t in times]))
    return total(judged, detector.threshold).f1


def _only_some(experiment, keep: np.ndarray, **changes):
    return experiment.with_(annotations=experiment.annotations.select(keep), **changes)


@pytest.mark.parametrize(
    ("shape", "voxel", "cells"),
    [
        ((5, 80, 80), (2.0, 1.0, 1.0), 8),  # a thin stack
        ((12, 64, 64), (8.0, 1.0, 1.0), 14),  # 8 : 1
        ((24, 40, 40), (1.0, 1.0, 1.0), 14),  # isotropic
    ],
    ids=["thin", "anisotropic", "isotropic"],
)
def test_stacks_of_all_shapes_are_learnt(make_blobs, fast_settings, tmp_path, shape, voxel, cells):
    experiment = make_blobs(shape=shape, voxel_size_um=voxel, cells=cells, width=12.0)
    detector = _learn([experiment], fast_settings, tmp_path / "run")
    assert _f1(detector, experiment) > 0.85
    assert not detector.design.flat


def test_dark_cells_are_learnt(make_blobs, fast_settings, tmp_path):
    bright = make_blobs()
    movie = np.stack([bright.images.read_frame(t) for t in bright.images.time_points])
    dark = bright.with_(images=ArraySource(60_000 - movie, "tzyx", voxel_size_um=(1, 1, 1)))
    assert _f1(_learn([dark], fast_settings, tmp_path / "run"), dark) > 0.9


def test_a_time_window_sees_the_neighbouring_time_points(make_blobs, fast_settings, tmp_path):
    experiment = make_blobs(first=37)
    detector = _learn([experiment], fast_settings, tmp_path / "run", ["design.time_window=[-1, 1]"])
    assert detector.design.n_inputs == 3
    assert _f1(detector, experiment, (45, 46)) > 0.85


def test_two_channels_are_learnt_from_together(make_blobs, fast_settings, tmp_path):
    one = make_blobs()
    movie = np.stack([one.images.read_frame(t) for t in one.images.time_points])
    both = np.stack([np.roll(movie, 5, axis=-1), movie], axis=1)
    experiment = one.with_(
        images=ArraySource(both, "tczyx", voxel_size_um=(1, 1, 1)), channels=(0, 1)
    )
    detector = _learn([experiment], fast_settings, tmp_path / "run", ["budget.steps=130"])
    assert detector.info.channels == (0, 1)
    assert _f1(detector, experiment) > 0.85


def test_movies_of_different_voxel_size_and_depth_are_learnt_together(
    make_blobs, fast_settings, tmp_path
):
    fine = make_blobs(shape=(6, 90, 90), voxel_size_um=(2.0, 0.7, 0.7), cells=8, dtype="float32")
    coarse = make_blobs(shape=(9, 64, 64), voxel_size_um=(3.0, 1.0, 1.0), cells=8, seed=1)
    detector = _learn([fine, coarse], fast_settings, tmp_path / "run", ["budget.steps=110"])
    assert _f1(detector, fine) > 0.85
    assert _f1(detector, coarse) > 0.85


def test_small_cells_in_flat_images_and_large_ones_in_stacks_share_a_detector(
    make_blobs, fast_settings, tmp_path
):
    small = make_blobs(shape=(1, 96, 96), cells=24, width=7.0)
    large = make_blobs(shape=(7, 90, 90), voxel_size_um=(3.0, 1.0, 1.0), cells=6, width=18.0)
    changes = ["budget.steps=200", "optimiser.learning_rate=0.003"]
    detector = _learn([small, large], fast_settings, tmp_path / "run", changes)
    smallest, largest = detector.design.sizes
    assert largest > 1.8 * smallest
    assert _f1(detector, small) > 0.85
    assert _f1(detector, large) > 0.85
    judged = list(candidates(detector, [large], [(0, 8), (0, 9)]))
    assert total(judged, detector.threshold).precision > 0.9


def test_an_unannotated_part_outside_the_box_is_not_held_against_its_cells(
    make_blobs, fast_settings, tmp_path
):
    whole = make_blobs(cells=16)
    left = _only_some(whole, whole.annotations.positions[:, 2] < 48, completeness="box")
    detector = _learn([left], fast_settings, tmp_path / "run")
    assert _f1(detector, whole) > 0.85


def test_only_drawn_regions_are_judged(make_blobs, fast_settings, tmp_path):
    whole = make_blobs(cells=16)
    region = Region(((-1, -1), (-1, 52), (97, 52), (97, -1)), first=0, last=9)
    left = _only_some(
        whole, whole.annotations.positions[:, 2] < 52, completeness="region", regions=(region,)
    )
    detector = _learn([left], fast_settings, tmp_path / "run")
    assert _f1(detector, whole) > 0.85


def test_a_few_marked_cells_are_enough_to_find_the_others(make_blobs, fast_settings, tmp_path):
    whole = make_blobs(cells=16)
    rng = np.random.default_rng(0)
    few = _only_some(whole, rng.random(len(whole.annotations)) < 0.4, completeness="sparse")
    detector = _learn([few], fast_settings, tmp_path / "run")
    judged = list(candidates(detector, [whole], [(0, 8), (0, 9)]))
    assert total(judged, detector.threshold).recall > 0.8


def test_undecided_and_negative_marks_are_heeded(make_blobs, fast_settings, tmp_path):
    """Half of the blobs are marked as no cells: bright ones are cells, dim ones are none."""
    bright = make_blobs(cells=8)
    other = make_blobs(cells=8, seed=5)
    times = list(bright.images.time_points)
    movie = np.stack(
        [
            np.maximum(
                bright.images.read_frame(t).astype(int) * 3,
                other.images.read_frame(t).astype(int),
            ).astype(np.uint16)
            for t in times
        ]
    )
    a, b = bright.annotations, other.annotations
    near = np.array(
        [
            np.linalg.norm(a.positions[a.t == t] - p, axis=1).min() < 14
            for t, p in zip(b.t, b.positions, strict=True)
        ]
    )
    status = np.r_[np.full(len(a), Status.CELL), np.where(near, Status.UNKNOWN, Status.NOT_A_CELL)]
    experiment = bright.with_(
        images=ArraySource(movie, "tzyx", voxel_size_um=(1, 1, 1)),
        annotations=Annotations(
            np.r_[a.t, b.t], np.r_[a.positions, b.positions], status=status.astype(np.int8)
        ),
    )
    detector = _learn([experiment], fast_settings, tmp_path / "run", ["budget.steps=120"])
    assert _f1(detector, experiment) > 0.8


def test_each_kind_of_cells_has_a_threshold_of_its_own(make_blobs, fast_settings, tmp_path):
    plain = make_blobs(times=12, cells=24, name="plain")
    faint = make_blobs(times=12, cells=24, seed=1, name="faint")
    few = make_blobs(times=12, cells=3, seed=2, name="few")
    detector = _learn([plain, faint, few], fast_settings, tmp_path / "run")
    info = detector.info
    assert set(info.thresholds) == {"plain", "faint"}  # of few cells nothing can be told
    assert info.threshold_for("plain") == info.thresholds["plain"]
    assert info.threshold_for("few") == info.threshold_for("never seen") == info.threshold


def test_one_experiment_has_the_threshold_for_all(small_run):
    assert Detector.from_folder(small_run, device="cpu").info.thresholds == {}
