"""``celltrain convert``."""

from __future__ import annotations

import json

import numpy as np
import pytest

from napari_celltrain.cli import main
from napari_celltrain.formats.registry import read_experiments

TABLE = "t,z,y,x,track_id\n0,1,5.25,6,1\n1,1,5.5,7,1\n1,2,9,9.75,2\n"


def test_table_to_aut_and_back(tmp_path, capsys):
    (tmp_path / "in.csv").write_text(TABLE, "utf-8")
    source, out = str(tmp_path / "in.csv"), str(tmp_path / "out.aut")
    assert main(["convert", source, out, "--voxel-size", "2,0.5,0.5", "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == {"out": out, "positions": 3, "links": 1}
    (experiment,) = read_experiments(out)
    assert experiment.voxel_size_um == (2, 0.5, 0.5)
    order = np.lexsort((experiment.annotations.positions[:, 0], experiment.annotations.t))
    np.testing.assert_allclose(
        experiment.annotations.positions[order], [[1, 5.25, 6], [1, 5.5, 7], [2, 9, 9.75]]
    )


def test_one_of_several_has_to_be_named(data_folder, tmp_path, capsys):
    source = str(data_folder / "dev_3d.autlist")
    assert main(["convert", source, str(tmp_path / "out.aut")]) == 2
    assert "--entry" in capsys.readouterr().err
    assert main(["convert", source, str(tmp_path / "out.aut"), "--entry", "3"]) == 2
    assert "2 experiments" in capsys.readouterr().err
    assert main(["convert", source, str(tmp_path / "out.aut"), "--entry", "2"]) == 0
    assert len(read_experiments(tmp_path / "out.aut")[0].annotations) == 32


def test_a_list_keeps_all(data_folder, tmp_path):
    out = tmp_path / "copy.autlist"
    assert main(["convert", str(data_folder / "dev_3d.autlist"), str(out)]) == 0
    assert [len(one.annotations) for one in read_experiments(out)] == [134, 32]


@pytest.mark.parametrize("out", ["out.xyz", "out"])
def test_unknown_suffix_is_refused(tmp_path, capsys, out):
    (tmp_path / "in.csv").write_text(TABLE, "utf-8")
    assert main(["convert", str(tmp_path / "in.csv"), str(tmp_path / out)]) == 2
    assert ".aut" in capsys.readouterr().err
    assert not (tmp_path / out).exists()
