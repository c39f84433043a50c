"""File > Open Sample gives an experiment with a place on the disk, wherever that is possible."""

from __future__ import annotations

import pytest

from napari_celltrain.gui import samples


@pytest.mark.parametrize("kind", ["organoid", "plane"])
def test_a_sample_is_written_once_and_read_from_then_on(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = samples._experiment(kind)
    (written,) = tmp_path.rglob("dataset.toml")
    before = written.stat().st_mtime_ns
    again = samples._experiment(kind)
    assert written.stat().st_mtime_ns == before
    assert len(first.annotations) == len(again.annotations) > 500
    assert str(tmp_path) in str(again.images.location)


def test_a_damaged_sample_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    n = len(samples._experiment("plane").annotations)
    (written,) = tmp_path.rglob("dataset.toml")
    written.write_text("nonsense")
    assert len(samples._experiment("plane").annotations) == n


def test_without_a_place_to_write_the_sample_still_opens(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(samples._experiment("plane").annotations) > 500
