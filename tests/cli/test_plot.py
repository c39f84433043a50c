"""``celltrain plot``: curves, pictures of errors, and the one-page report."""

from __future__ import annotations

import base64
import re
import shutil
import sys
import xml.etree.ElementTree as ET

import imagecodecs
import pytest

from napari_celltrain.cli import main

pytest.importorskip("matplotlib", reason="the extra plots is not installed")


def test_curves_as_svg(trained, tmp_path):
    out = tmp_path / "curves.svg"
    assert main(["plot", str(trained), "--out", str(out), "--errors", "0"]) == 0
    text = "".join(ET.parse(out).getroot().itertext())
    for words in ("Training loss", "Held-out frames", "best F1", "precision", "seconds"):
        assert words in text


def test_the_same_run_gives_the_same_picture(trained, tmp_path):
    for name in ("a.svg", "b.svg", "a.png", "b.png"):
        assert main(["plot", str(trained), "--out", str(tmp_path / name), "--errors", "0"]) == 0
    for suffix in ("svg", "png"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_pictures_of_errors_make_the_figure_longer(trained, tmp_path, monkeypatch):
    import numpy as np

    from napari_celltrain.cli import error_crops
    from napari_celltrain.cli.error_crops import ErrorCrop

    crop = ErrorCrop(np.full((20, 20, 3), (0, 255, 0), np.uint8), "plane", "t 6, y 3")
    monkeypatch.setattr(error_crops, "error_crops", lambda *_: ([crop] * 7, [crop]))
    sizes = []
    for number in ("0", "12"):
        out = tmp_path / f"{number}.png"
        assert main(["plot", str(trained), "--out", str(out), "--errors", number]) == 0
        picture = imagecodecs.png_decode(out.read_bytes())[..., :3]
        sizes.append(picture.shape)
        green = (picture == (0, 255, 0)).all(axis=-1).mean()
        assert green > 0.05 if number == "12" else green == 0
    assert sizes[0][1] == sizes[1][1]
    assert sizes[0][0] < sizes[1][0]


@pytest.mark.parametrize("place", [(0, 40, 40), (0, 0, 95), (0, 95, 50)])
def test_a_picture_of_an_error_is_a_square_with_the_error_in_its_middle(make_blobs, place):
    import numpy as np

    from napari_celltrain.cli.error_crops import OUTSIDE, _crop
    from napari_celltrain.sharing.pictures import ORANGE

    picture = _crop(make_blobs(times=1), 0, 9.0, np.array(place, float)).picture
    assert picture.shape[0] == picture.shape[1]
    dots = np.argwhere((picture == ORANGE).all(axis=-1))
    assert np.abs(dots.mean(axis=0) - picture.shape[0] / 2).max() <= 1
    outside = (picture == OUTSIDE).all(axis=-1).mean()
    assert outside == 0 if place == (0, 40, 40) else 0.4 < outside < 0.8


def test_report_is_one_file_with_curves_choices_and_errors(trained, tmp_path):
    out = tmp_path / "report.html"
    assert main(["plot", str(trained), "--out", str(out), "--errors", "3"]) == 0
    page = out.read_text("utf-8")
    assert "Training loss" in page
    assert "Held-out frames" in page
    assert "cell diameter" in page
    assert "Missed cells" in page
    assert page.index("Missed cells") < page.index("What was chosen")
    assert "one error, missed or false" in page  # F1 in words, for who never heard of it
    assert re.search(r"<td>Trained on</td><td>\d+ \w+ \d{4}</td>", page)
    # nothing beside it is needed, and nobody is called
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert "<script" not in page
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) <= 6
    for picture in pictures:
        assert imagecodecs.png_decode(base64.b64decode(picture)).ndim == 3


def test_report_without_its_data(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "dataset.toml").unlink()
    assert main(["plot", str(run)]) == 0
    assert "No pictures" in (run / "report.html").read_text("utf-8")


def test_a_run_that_has_not_begun(trained, tmp_path, refused):
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(trained / "settings.toml", run)
    assert "not begun" in refused("plot", run, "--out", tmp_path / "x.png")
    assert main(["plot", str(run)]) == 0
    assert "not begun" in (run / "report.html").read_text("utf-8")


def test_what_is_no_run(tmp_path, refused):
    assert "no run folder" in refused("plot", tmp_path)


def test_other_files_are_not_written(trained, tmp_path, refused):
    assert ".svg" in refused("plot", trained, "--out", tmp_path / "curves.docx")


def test_a_missing_extra_is_named(trained, tmp_path, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "napari-celltrain[plots]" in refused("plot", trained, "--out", tmp_path / "x.png")
    images = tmp_path / "no.tif"
    sentence = refused("predict", trained, images, "--out", tmp_path / "x.csv", "--plot", "x.png")
    assert "napari-celltrain[plots]" in sentence
