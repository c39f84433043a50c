"""``celltrain sample``."""

from __future__ import annotations

import pytest

from napari_celltrain.dataset import load_dataset, split


@pytest.mark.parametrize("kind", ["organoid", "plane"])
def test_a_sample_is_a_data_set_to_train_on(tmp_path, result, kind):
    told = result("sample", tmp_path / "new" / "demo", "--kind", kind)
    data = load_dataset(told["dataset"])
    (experiment,) = data.experiments
    assert experiment.images is not None
    assert (experiment.images.frame_shape[0] > 1) == (kind == "organoid")
    assert experiment.known_voxel_size_um is not None
    assert split(data).trustworthy


def test_a_folder_in_use_is_left_alone(tmp_path, refused):
    (tmp_path / "mine.txt").write_text("mine")
    assert "not an empty folder" in refused("sample", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
