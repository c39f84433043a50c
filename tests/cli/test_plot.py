"""``celltrain plot``: curves and the one-page report."""

from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ET

import imagecodecs

from napari_celltrain.cli import main


def test_curves_as_svg(trained, tmp_path):
    out = tmp_path / "curves.svg"
    assert main(["plot", str(trained), "--out", str(out)]) == 0
    text = "".join(ET.parse(out).getroot().itertext())
    assert "Training loss" in text
    assert "Held-out frames" in text


def test_report_is_one_file_with_curves_choices_and_errors(trained, tmp_path):
    out = tmp_path / "report.html"
    assert main(["plot", str(trained), "--out", str(out), "--errors", "3"]) == 0
    page = out.read_text("utf-8")
    assert page.count("<svg") >= 2
    assert "cell diameter" in page
    assert "Missed cells" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)  # nothing beside it is needed
    pictures = re.findall(r"data:image/png;base64,([^\"]+)", page)
    assert len(pictures) <= 6
    for picture in pictures:
        assert imagecodecs.png_decode(base64.b64decode(picture)).ndim == 3


def test_report_without_its_data(trained, sample, tmp_path, capsys):
    import shutil

    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "dataset.toml").unlink()
    assert main(["plot", str(run)]) == 0
    assert "No pictures" in (run / "report.html").read_text("utf-8")


def test_what_is_no_run(tmp_path, refused):
    assert "no run folder" in refused("plot", tmp_path)


def test_other_files_are_not_written(trained, tmp_path, refused):
    assert ".svg" in refused("plot", trained, "--out", tmp_path / "curves.docx")
