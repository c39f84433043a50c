"""``celltrain export``: one file that does what the run did."""

from __future__ import annotations

import io
import shutil
import zipfile

import imagecodecs
import numpy as np
import pytest

from napari_celltrain.cli import main
from napari_celltrain.detector.package import SCREENSHOT, member_names, read_member
from napari_celltrain.sharing.packing import card_of
from napari_celltrain.sharing.screenshot import BLUE


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


def test_the_card_shows_a_frame_that_was_held_out(trained, tmp_path, capsys):
    file = tmp_path / "plane.celltrain"
    assert main(["export", str(trained), "--out", str(file), "--licence", "CC0-1.0"]) == 0
    assert "--no-screenshot leaves it out" in capsys.readouterr().err
    picture = imagecodecs.png_decode(read_member(file, SCREENSHOT))
    found = (picture == BLUE).all(axis=-1)
    assert 0.001 < found.mean() < 0.2
    card = card_of(file)
    assert f"]({SCREENSHOT})" in card
    assert "did not learn from" in card
    # packed once more, it says the same of itself
    again = tmp_path / "again.celltrain"
    assert main(["export", str(file), "--out", str(again)]) == 0
    assert again.read_bytes() == file.read_bytes()


def test_images_stay_here_when_that_is_wanted(trained, tmp_path, refused):
    file = tmp_path / "plane.celltrain"
    assert main(["export", str(trained), "--out", str(file), "--no-screenshot"]) == 0
    assert SCREENSHOT not in member_names(file)
    assert SCREENSHOT not in card_of(file)
    assert "already" in refused(
        "export", file, "--out", tmp_path / "b.celltrain", "--no-screenshot"
    )


def test_without_the_images_the_file_is_written_all_the_same(trained, tmp_path, capsys):
    alone = shutil.copytree(trained / "best", tmp_path / "alone")
    file = tmp_path / "plane.celltrain"
    assert main(["export", str(alone), "--out", str(file)]) == 0
    assert "No picture" in capsys.readouterr().err
    assert SCREENSHOT not in member_names(file)


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


def test_what_is_wrong_is_said_before_a_picture_is_made(trained, tmp_path, capsys):
    for detector, out in ((trained, "nuclei.zip"), (tmp_path, "nuclei.celltrain")):
        assert main(["export", str(detector), "--out", str(tmp_path / out)]) == 2
        assert "picture" not in capsys.readouterr().err.lower()


@pytest.mark.parametrize("text", ["Smith 2025", "10.1", "", "doi:x"])
def test_what_is_cited_has_an_address(text, trained, tmp_path, refused):
    assert "neither a DOI" in refused(
        "export", trained, "--out", tmp_path / "a.celltrain", "--cite", text
    )


@pytest.mark.parametrize("text", ["10.1000/182", "doi:10.5281/zenodo.12", "https://doi.org/10.1/x"])
def test_dois_and_addresses_are_taken(text, trained, tmp_path):
    file = tmp_path / "a.celltrain"
    assert (
        main(["export", str(trained), "--out", str(file), "--no-screenshot", "--cite", text]) == 0
    )
    assert text in card_of(file)
