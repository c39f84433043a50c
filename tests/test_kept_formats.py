"""What earlier versions wrote is opened, used and gone on with by this one.

The folders in tests/data/kept were written by scripts/keep_formats.py, one for each version of the
formats; they are never written again.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from napari_celltrain.dataset import load_dataset
from napari_celltrain.detector.detector import Detector
from napari_celltrain.sharing.packing import card_of, unpack_detector
from napari_celltrain.training.loop import train
from napari_celltrain.training.run import RunFolder
from napari_celltrain.training.settings import TrainingSettings

VERSIONS = sorted((Path(__file__).parent / "data" / "kept").iterdir())


@pytest.fixture(params=VERSIONS, ids=lambda folder: f"v{folder.name}")
def kept(request, tmp_path):
    return shutil.copytree(request.param, tmp_path / "kept")


def test_there_is_one_of_each():
    assert VERSIONS
    for version in VERSIONS:
        for name in ("detector.celltrain", "run/run.json", "run/best/detector.json"):
            assert (version / name).is_file()


@pytest.mark.parametrize("name", ["run", "run/best", "detector.celltrain"])
def test_an_old_detector_finds_the_cells_that_it_found_then(kept, name):
    detector = Detector.from_folder(kept / name, device="cpu", precision="float32")
    (experiment,) = load_dataset(kept / "sample" / "dataset.toml").experiments
    assert detector.info.f1 == pytest.approx(0.9333, abs=1e-3)
    frame = experiment.images.read_frame(0, 0)
    found = detector.detect([frame], experiment.known_voxel_size_um).above(detector.threshold)
    then = np.loadtxt(kept / "found.csv", delimiter=",")
    assert len(then) > 5
    now = np.column_stack([found.positions, found.scores])
    np.testing.assert_allclose(now[np.lexsort(now.T)], then[np.lexsort(then.T)], atol=0.01)


def test_an_old_package_is_unpacked_and_its_card_read(kept, tmp_path):
    assert "# Kept" in card_of(kept / "detector.celltrain")
    unpack_detector(kept / "detector.celltrain", tmp_path / "new")
    assert (tmp_path / "new" / "detector.json").is_file()


def test_an_old_run_is_read_and_goes_on_from_its_checkpoint(kept):
    folder = RunFolder(kept / "run")
    before = folder.read_state()
    assert folder.read_history()
    assert before["step"] == 120
    settings = TrainingSettings.from_toml(folder.settings_file)
    finished = train(load_dataset(folder.dataset_file), kept / "run", settings, resume=True)
    assert folder.read_state()["step"] == 124
    assert folder.read_state()["finished"]
    assert finished.step == 124
    assert np.isfinite(finished.best_f1)
    steps = [event.step for event in folder.read_history() if hasattr(event, "loss")]
    assert min(steps) < 120 < max(steps) <= 124
