"""Markers of cellfinder and of ImageJ's Cell Counter."""

from __future__ import annotations

import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.experiment import Status
from napari_celltrain.formats import format_of, read_experiments


def marker(x, y, z):
    return f"<Marker><MarkerX>{x}</MarkerX><MarkerY>{y}</MarkerY><MarkerZ>{z}</MarkerZ></Marker>"


def write(path, types, image="placeholder.tif"):
    body = "".join(
        f"<Marker_Type><Type>{kind}</Type>{''.join(marker(*one) for one in markers)}</Marker_Type>"
        for kind, markers in types
    )
    path.write_text(
        f"<CellCounter_Marker_File><Image_Properties><Image_Filename>{image}</Image_Filename>"
        f"</Image_Properties><Marker_Data><Current_Type>1</Current_Type>{body}</Marker_Data>"
        "</CellCounter_Marker_File>"
    )
    return path


def test_type_2_is_a_cell_and_type_1_a_rejected_candidate(tmp_path):
    path = write(tmp_path / "cells.xml", [(1, [(1, 2, 3)]), (2, [(4, 5, 6)])])
    assert format_of(path).name == "cellfinder XML"
    annotations = read_experiments(path)[0].annotations
    assert annotations.positions.tolist() == [[3, 2, 1], [6, 5, 4]]
    assert annotations.status.tolist() == [Status.NOT_A_CELL, Status.CELL]


def test_the_cell_counters_types_are_all_cells_and_its_planes_count_from_1(tmp_path):
    path = write(tmp_path / "c.xml", [(1, [(1, 2, 3)]), (4, [(4, 5, 6)])], image="my.tif")
    (experiment,) = read_experiments(path)
    assert experiment.annotations.positions.tolist() == [[2, 2, 1], [5, 5, 4]]
    assert experiment.annotations.is_cell.all()
    assert experiment.annotations.features["type"].tolist() == [1, 4]
    assert [one.code for one in experiment.findings] == ["cell-counter"]


@pytest.mark.parametrize("bad", [("a", 2, 3), ("", 2, 3), (1, 2, "1e999")])
def test_markers_without_numbers(tmp_path, bad):
    path = write(tmp_path / "c.xml", [(2, [(1, 2, 3), bad])])
    if bad[2] == "1e999":  # a number, but no place
        assert len(read_experiments(path)[0].annotations) == 1
    else:
        with pytest.raises(CellTrainError, match=r"c\.xml"):
            read_experiments(path)
