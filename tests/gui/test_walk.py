"""The whole walk on real nuclei, as a person takes it: open, count, train, predict, correct."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Points

from napari_celltrain.formats.registry import read_experiments
from napari_celltrain.gui import preferences
from napari_celltrain.gui.open_experiments import open_experiments

MOVIE = "laptrack_nuclei_crop_2dt"


@pytest.mark.timeout(600)
def test_from_an_autlist_to_corrected_and_saved_cells(
    viewer, qtbot, data_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(preferences, "runs_folder", lambda: tmp_path / "runs")

    # open
    viewer.open(str(data_folder / "dev_timelapses.autlist"), plugin="napari-celltrain")
    names = {one.name for one in open_experiments(viewer.layers)}
    assert {MOVIE, "ctc_fluo_n2dl_hela_02_left"} <= names

    # count
    dock, counts = viewer.window.add_plugin_dock_widget("napari-celltrain", "Annotation counts")
    row = [one.name for one in counts.counted].index(MOVIE)
    assert counts.counted[row].counts.positions == 266
    counts.table.selectRow(row)
    assert {layer.name for layer in viewer.layers if layer.visible} >= {MOVIE, f"{MOVIE} cells"}
    qtbot.waitUntil(lambda: "266 cells" in counts.enough.text(), timeout=60_000)
    viewer.window.remove_dock_widget(dock)

    # train on the small one
    dock, train = viewer.window.add_plugin_dock_widget("napari-celltrain", "Train detector")
    for entry in train.table.entries:
        entry.use = entry.name == MOVIE
    train.table.refresh()
    train.form.row("budget.steps").value = 120
    train.form.row("compute.threads").value = 1
    train.start_button.click()
    assert train.running
    qtbot.waitUntil(lambda: not train.running, timeout=300_000)
    assert "Finished" in train.progress.sentence.text()
    assert train.runs.selected.f1 > 0.6

    # trust: the errors on frames that were held out
    train.errors_box.setChecked(True)
    qtbot.waitUntil(lambda: not train.extra.busy, timeout=60_000)
    errors = viewer.layers[f"{MOVIE} held-out errors"]
    wrong = int((errors.features["outcome"] != "found").sum())
    train.next_button.click()
    assert (f"Error 1 of {wrong}," if wrong else "no error") in train.progress.sentence.text()

    # predict, beside the annotation
    train.predict_button.click()
    predict = next(
        one for name, one in viewer.window.dock_widgets.items() if name.startswith("Predict")
    )
    predict.image.choose(viewer.layers[MOVIE])
    predict.judging.truth.setCurrentIndex(predict.judging.truth.findText(f"{MOVIE} cells"))
    predict.run_button.click()
    qtbot.waitUntil(lambda: not predict.running, timeout=120_000)
    qtbot.waitUntil(lambda: predict.judging.comparison is not None, timeout=60_000)
    assert predict.judging.comparison.scores.f1 > 0.6
    assert tuple(predict.layer.scale) == tuple(viewer.layers[MOVIE].scale)

    # correct: one cell less, one more
    predict.annotate_button.click()
    corrected = viewer.layers.selection.active
    assert isinstance(corrected, Points)
    found = len(corrected.data)
    corrected.selected_data = {0}
    corrected.remove_selected()
    corrected.add((3, 0, 50.25, 60.5))
    assert len(corrected.data) == found

    # go on from the corrected cells
    predict.further_button.click()
    qtbot.waitUntil(lambda: corrected.name.removesuffix(" cells") in
                    [entry.name for entry in train.table.entries])  # fmt: skip
    assert "Train further" in train.start_button.text()
    used = next(entry for entry in train.table.entries if entry.name.endswith("corrected"))
    changed = used.corrected_time_points()
    assert 3 in changed
    assert len(changed) <= 2
    assert set(used.read().annotations.t.tolist()) == set(changed)  # only those are known
    train.table.table.selectRow(train.table.entries.index(used))
    train.table.only_corrected.click()  # all of it was looked at
    assert len(used.read().annotations) == found

    # save
    corrected.save(str(tmp_path / "corrected.aut"), plugin="napari-celltrain")
    again = read_experiments(tmp_path / "corrected.aut")[0].annotations
    assert len(again) == found
    here = again.positions[again.at(3)]
    assert (np.abs(here - [0, 50.25, 60.5]).max(axis=1) < 1e-6).any()
