"""What a person prefers in napari's own window for it is what the docks begin with."""

from __future__ import annotations

import napari.settings
import pytest

from napari_celltrain.gui import preferences


@pytest.fixture
def preferred(viewer):
    """Return napari's preferences for this plugin; they are as before afterwards."""
    training = napari.settings.get_plugin_settings(preferences.PLUGIN).training
    before = training.device, training.threads, training.runs_folder
    yield training
    training.device, training.threads, training.runs_folder = before


def test_without_a_choice_all_is_automatic(viewer):
    assert preferences.device() == "auto"
    assert preferences.threads() is None
    assert preferences.runs_folder().name == "celltrain-runs"


@pytest.mark.skipif(
    not hasattr(napari.settings, "get_plugin_settings"),
    reason="napari before 0.9 has no preferences for plugins",
)
def test_what_is_preferred_is_what_the_docks_begin_with(viewer, preferred, tmp_path):
    preferred.device, preferred.threads = "cpu", 3
    preferred.runs_folder = str(tmp_path)
    _, widget = viewer.window.add_plugin_dock_widget("napari-celltrain", "Train detector")
    settings = widget.form.settings()
    assert (settings.compute.device, settings.compute.threads) == ("cpu", 3)
    assert widget.folder == tmp_path


def test_a_new_run_has_a_name_of_its_own(tmp_path):
    first = preferences.new_run_name(["a/b: c", "d"], tmp_path)
    assert first.endswith("a_b_ c and 1 more")
    (tmp_path / first).mkdir()
    assert preferences.new_run_name(["a/b: c", "d"], tmp_path) == f"{first} (2)"
