"""``celltrain export``: one file that does what the run did."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest

from napari_celltrain.cli import main
from napari_celltrain.sharing.packing import card_of


@pytest.fixture
def images(sample):
    return str(sample.parent / "images" / "t{time:03}.tif")


def test_the_file_predicts_what_the_run_predicts(trained, images, tmp_path, result):
    file = tmp_path / "nuclei.celltrain"
    told = result("export", trained, "--out", file, "--licence", "CC0-1.0", "--title", "Plane")
    assert told["written"] == [str(file)]
    assert "# Plane" in card_of(file)
    assert "CC0-1.0" in card_of(file)
    for detector, out in ((trained, "a.csv"), (file, "b.csv")):
        assert main(
            ["predict", str(detector), images, "--out", str(tmp_path / out), "--time-points", "0:0"]
        ) == 0  # fmt: skip
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert len((tmp_path / "a.csv").read_text("utf-8").splitlines()) > 3


def test_a_package_for_the_zoo_and_a_file_at_once(trained, tmp_path, result):
    pytest.importorskip("bioimageio.spec", reason="the extra bioimageio is not installed")
    out, zoo = tmp_path / "plane.celltrain", tmp_path / "plane.zip"
    told = result(
        "export", trained, "--out", out, "--bioimageio", zoo, "--licence", "CC0-1.0",
        "--author", "A. Biologist",
    )  # fmt: skip
    assert told["written"] == [str(out), str(zoo)]
    with zipfile.ZipFile(zoo) as archive:
        assert "rdf.yaml" in archive.namelist() or "bioimageio.yaml" in archive.namelist()
        # trained on round cells, it finds the round cells of the example
        assert np.load(io.BytesIO(archive.read("test_heatmap.npy"))).max() > 0.5


def test_what_is_no_detector_or_no_place(trained, sample, tmp_path, refused):
    assert "no such folder" in refused("export", tmp_path / "x", "--out", tmp_path / "x.celltrain")
    assert "--out" in refused("export", trained)
    assert ".celltrain" in refused("export", trained, "--out", tmp_path / "x.zip")
