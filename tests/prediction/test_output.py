"""Writing what was found."""

from __future__ import annotations

import os
import tracemalloc

import numpy as np
import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Annotations, Experiment
from napari_celltrain.formats import read_experiments
from napari_celltrain.prediction import output
from napari_celltrain.prediction.output import check_suffix, write_cells


def _found(number: int) -> Experiment:
    random = np.random.default_rng(0)
    t = np.sort(random.integers(-3, 400, number))
    cells = Annotations(
        t, random.random((number, 3)) * 500 - 0.5, features={"score": random.random(number)}
    )
    return Experiment("found", cells)


@pytest.mark.parametrize("number", [0, 1, 6, 7, 8, 50])
def test_a_table_has_every_cell_however_many_rows_are_made_at_once(tmp_path, monkeypatch, number):
    monkeypatch.setattr(output, "ROWS", 7)
    experiment = _found(number)
    write_cells(tmp_path / "c.csv", experiment)
    header, *rows = (tmp_path / "c.csv").read_text().splitlines()
    assert header == "t,z,y,x,score"
    cells = experiment.annotations
    assert rows == [
        f"{t},{z:.4f},{y:.4f},{x:.4f},{score:.5f}"
        for t, (z, y, x), score in zip(
            cells.t.tolist(), cells.positions, cells.features["score"], strict=True
        )
    ]


def test_a_table_of_many_cells_takes_little_memory(tmp_path):
    experiment = _found(200_000)
    tracemalloc.start()
    write_cells(tmp_path / "c.csv", experiment)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10e6
    assert len((tmp_path / "c.csv").read_bytes().splitlines()) == 200_001


@pytest.mark.parametrize("suffix", [".tsv", ".txt", ".TSV"])
def test_tables_of_every_suffix_have_the_same_numbers(tmp_path, suffix):
    experiment = _found(9)
    write_cells(tmp_path / "c.csv", experiment)
    write_cells(tmp_path / f"c{suffix}", experiment)
    between = "\t" if suffix.lower() == ".tsv" else ","
    expected = (tmp_path / "c.csv").read_text().replace(",", between)
    assert (tmp_path / f"c{suffix}").read_text() == expected
    (there,) = read_experiments(tmp_path / f"c{suffix}")
    np.testing.assert_allclose(
        there.annotations.positions, experiment.annotations.positions, atol=1e-4
    )


@pytest.mark.skipif(os.name == "nt", reason="there a link needs permission")
def test_a_link_to_a_folder_is_refused_at_once_since_it_cannot_be_replaced(tmp_path):
    (tmp_path / "real.geff").mkdir()
    (tmp_path / "c.geff").symlink_to("real.geff")
    with pytest.raises(CellTrainError, match="is a link; name the folder"):
        check_suffix(tmp_path / "c.geff")
    check_suffix(tmp_path / "real.geff")
