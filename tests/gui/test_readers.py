"""Tracking files open in napari by dragging them there; other people's files are declined."""

from __future__ import annotations

import subprocess
import sys
import time

import npe2
import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.registry import formats
from napari_celltrain.gui.other_readers import OtherReader
from napari_celltrain.gui.reader_preferences import NAPARIS_OWN
from napari_celltrain.gui.readers import read_layers, reader_for

DATASET = """
[[experiment]]
name = "small"
images = "t{time:03}.tif"
annotations = "points.csv"
voxel_size_um = [2.0, 0.5, 0.5]
"""


@pytest.fixture
def dataset_file(tmp_path):
    for t in (4, 5):
        frame = np.full((3, 16, 16), t, np.uint8)
        tifffile.imwrite(tmp_path / f"t{t:03}.tif", frame, photometric="minisblack")
    (tmp_path / "points.csv").write_text("t,z,y,x\n4,1,8,8\n5,1.5,9,8\n")
    (tmp_path / "dataset.toml").write_text(DATASET)
    return tmp_path / "dataset.toml"


@pytest.mark.parametrize(
    "name", ["a.tif", "notes.txt", "pyproject.toml", "folder", "a.csv", "a.xml"]
)
def test_other_peoples_files_are_declined_or_handed_on_at_once(tmp_path, name):
    place = tmp_path / name
    if name == "folder":
        place.mkdir()
    else:
        place.write_text("[tool]\nname = 'x'\n")
    begin = time.thread_time()
    reader = reader_for(str(place))
    assert reader is None or isinstance(reader, OtherReader)
    assert time.thread_time() - begin < 1


def test_a_missing_file_and_a_stack_are_declined(tmp_path):
    assert reader_for(str(tmp_path / "nothing.aut")) is None
    assert reader_for([str(tmp_path / "a.aut"), str(tmp_path / "b.aut")]) is None


def test_a_dataset_file_opens_in_napari(viewer, dataset_file):
    viewer.open(str(dataset_file), plugin="napari-celltrain")
    image, points = viewer.layers
    assert (image.name, points.name) == ("small", "small cells")
    assert tuple(image.scale) == tuple(points.scale) == (1, 2, 0.5, 0.5)
    assert int(np.asarray(image.data[1]).max()) == 5
    assert image.translate[0] == 4
    assert viewer.dims.margin_left[1] >= 2  # cells show in neighbouring planes


def test_what_the_reader_noticed_is_told(viewer, dataset_file):
    (dataset_file.parent / "points.csv").write_text("t,z,y,x\n4,1,8,800\n5,1.5,9,8\n")
    viewer.open(str(dataset_file), plugin="napari-celltrain")
    assert any("lie in the image" in one.message for one in notification_manager.records)


def test_a_damaged_file_is_a_sentence(tmp_path):
    place = tmp_path / "dataset.toml"
    place.write_text("[[experiment]]\nimages = 'nowhere.tif'\n")
    with pytest.raises(CellTrainError, match=r"nowhere|annotations"):
        read_layers(str(place))


def test_a_real_list_of_experiments_opens_with_the_first_shown(viewer, data_folder):
    viewer.open(str(data_folder / "dev_timelapses.autlist"), plugin="napari-celltrain")
    names = {layer.name.removesuffix(" cells").removesuffix(" tracks") for layer in viewer.layers}
    assert len(names) > 1
    assert {layer.name.split(" ")[0] for layer in viewer.layers if layer.visible} == {
        viewer.layers[0].name.split(" ")[0]
    }


@pytest.mark.parametrize("kind", ["organoid", "plane"])
def test_the_samples_open(viewer, kind):
    viewer.open_sample("napari-celltrain", kind)
    assert {type(layer).__name__ for layer in viewer.layers} == {"Image", "Points", "Tracks"}


def test_the_manifest_is_valid_and_every_command_can_be_imported():
    manifest = npe2.PluginManifest.from_distribution("napari-celltrain")
    manifest.validate_imports()
    assert {widget.display_name for widget in manifest.contributions.widgets} == {
        "Annotation counts", "Train detector", "Predict cells",
    }  # fmt: skip


def test_napari_offers_every_kind_of_tracking_file_that_is_read():
    manifest = npe2.PluginManifest.from_distribution("napari-celltrain")
    assert manifest.contributions.readers[0].accepts_directories
    offered = set(manifest.contributions.readers[0].filename_patterns)
    refused = {".p", ".pkl", ".pickle"}  # never opened, so napari need not ask about them
    refused |= {".zarr"}  # folders, which have no patterns
    suffixes = {suffix for one in formats() for suffix in one.suffixes} - refused
    assert {f"*{suffix}" for suffix in suffixes - set(NAPARIS_OWN)} <= offered
    for suffix in suffixes & set(NAPARIS_OWN):
        assert any(one.endswith(suffix) for one in offered)


def test_declining_a_file_imports_neither_torch_nor_qt(tmp_path):
    script = (
        "import sys; from napari_celltrain.gui.readers import reader_for; "
        f"assert reader_for({str(tmp_path)!r}) is None; "
        "found = [name for name in ('torch', 'qtpy', 'napari') if name in sys.modules]; "
        "sys.exit(str(found) if found else 0)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_dataset_file_without_annotations_shows_its_images(viewer, dataset_file):
    text = dataset_file.read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("annotations")]
    dataset_file.write_text("\n".join(lines) + "\n", "utf-8")
    viewer.open(str(dataset_file), plugin="napari-celltrain")
    assert type(viewer.layers[0]).__name__ == "Image"
