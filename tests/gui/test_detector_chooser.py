"""What the list of detectors takes."""

from __future__ import annotations

from napari_celltrain.gui.detector_chooser import DetectorChooser, read_card
from napari_celltrain.sharing import pack_detector


def test_a_packed_detector_is_chosen_like_a_folder(qtbot, small_run, tmp_path):
    packed = tmp_path / "nuclei.celltrain"
    pack_detector(small_run, packed)
    card = read_card(packed)
    assert card is not None
    assert card.diameter == read_card(small_run).diameter
    chooser = DetectorChooser()
    qtbot.addWidget(chooser)
    chooser.choose(packed)
    assert chooser.card == card


def test_a_file_that_only_claims_to_be_one_is_refused_in_words(qtbot, tmp_path):
    false = tmp_path / "nuclei.celltrain"
    false.write_bytes(b"no zip at all")
    chooser = DetectorChooser()
    qtbot.addWidget(chooser)
    with qtbot.waitSignal(chooser.refused):
        chooser.choose(false)
