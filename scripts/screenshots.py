"""Draw every picture of the window in the documentation, from real data where it is there.

    python scripts/screenshots.py [--minutes 1.5]

Without a display, put ``xvfb-run -a -s "-screen 0 1920x1200x24"`` before it. The movie is the HeLa
nuclei of the test data (a folder ``shared/data`` beside the repository, or CELLTRAIN_TEST_DATA);
where that is not there, the sample. Training is real and takes the minutes asked for.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtTest import QTest

from napari_celltrain.gui import preferences
from napari_celltrain.gui.experiments_table import _NO_TIME

if TYPE_CHECKING:
    from collections.abc import Callable

REPOSITORY = Path(__file__).parents[1]
DATA = Path(os.environ.get("CELLTRAIN_TEST_DATA", REPOSITORY.parent / "shared")) / "data"
MOVIE = DATA / "dev_timelapses.autlist"
SHOWN = "ctc_fluo_n2dl_hela_02_left"
SIZE = (1366, 768)
"""A small laptop: what is readable there is readable everywhere."""


def main() -> None:
    """Walk through the window as a person would, and keep pictures."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--minutes", type=float, default=1.5)
    arguments.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "images")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as runs:
        Walk(chosen.out, chosen.minutes, Path(runs)).go()


class Walk:
    """One person's first hour, in two minutes."""

    def __init__(self, out: Path, minutes: float, runs: Path) -> None:
        self.out, self.minutes, self.runs = out, minutes, runs
        out.mkdir(parents=True, exist_ok=True)
        preferences.runs_folder = lambda: runs
        self.viewer = napari.Viewer(title="napari", show=True)
        self.viewer.window.resize(*SIZE)

    def go(self) -> None:
        """Open, count, train, predict, look at errors."""
        self.open()
        dock = self.count()
        self.viewer.window.remove_dock_widget(dock)
        dock, train = self.train()
        predict = self.predict(dock, train)
        self.look_at_errors(predict)
        self.light()
        self.viewer.close()

    def open(self) -> None:
        """Open the experiments; the HeLa movie is the one in sight."""
        if MOVIE.exists():
            self.viewer.open(str(MOVIE), plugin="napari-celltrain")
            for layer in list(self.viewer.layers):
                if not layer.name.startswith(SHOWN):
                    self.viewer.layers.remove(layer)
                else:
                    layer.visible = True
        else:
            self.viewer.open_sample("napari-celltrain", "plane")
        self.viewer.reset_view()
        scene = getattr(self.viewer, "scene", self.viewer)
        scene.camera.zoom *= 1.15
        self.wait(500)

    def count(self) -> object:
        """Count what is annotated."""
        dock, widget = self.add("Annotation counts")
        self.until(lambda: widget._closer is None and bool(widget.enough.text()))
        self.keep("counts")
        return dock

    def train(self) -> tuple[object, object]:
        """Train, with a picture on the way: this is the one in the README."""
        dock, train = self.add("Train detector")
        self.wait(1500)
        self.keep("train-before")
        train.form.row("budget.minutes").value = self.minutes
        train.table.first.setValue(_NO_TIME)
        train.start()
        self.until(lambda: not train.running, seconds=60 * self.minutes + 120)
        self.wait(500)
        self.keep("train-after")
        train.tabs.setCurrentIndex(1)
        self.wait(300)
        self.keep("settings")
        train.tabs.setCurrentIndex(2)
        train.runs_folder.setText("~/celltrain-runs")  # where they would be
        self.wait(300)
        self.keep("runs")
        train.runs_folder.setText(str(self.runs))
        train.tabs.setCurrentIndex(0)
        return dock, train

    def predict(self, dock: object, train: object) -> object:
        """Find cells with the new detector, both docks side by side as tabs."""
        _, predict = self.add("Predict cells")
        predict.set_detector(train.run_folder)
        predict.start()
        self.until(lambda: not predict.running)
        for layer in self.viewer.layers:
            if layer.name.endswith((" cells", " tracks")):
                layer.visible = False
        self.viewer.dims.set_point(0, self.viewer.dims.range[0].stop)
        self.wait(500)
        self.keep("predict")
        dock.raise_()
        self.wait(500)
        self.keep("window")
        return predict

    def look_at_errors(self, predict: object) -> None:
        """Compare with the annotation."""
        predict.parent().raise_()
        predict.judging.truth.setCurrentIndex(1)
        self.until(lambda: predict.judging.comparison is not None)
        predict.judging.show_errors()
        self.wait(500)
        self.keep("errors")

    def light(self) -> None:
        """The same in the light theme."""
        self.viewer.theme = "light"
        self.wait(800)
        self.keep("light")
        self.viewer.theme = "dark"

    # --- small steps ---------------------------------------------------------------------------

    def add(self, name: str) -> tuple[object, object]:
        """Open a dock widget, as a tab beside the others."""
        return self.viewer.window.add_plugin_dock_widget("napari-celltrain", name, tabify=True)

    def keep(self, name: str) -> None:
        """Keep a picture of the whole window."""
        place = self.out / f"{name}.png"
        self.viewer.screenshot(str(place), canvas_only=False, flash=False)
        print(place)

    @staticmethod
    def wait(milliseconds: int) -> None:
        """Let the window work."""
        QTest.qWait(milliseconds)

    def until(self, done: Callable[[], bool], seconds: float = 120) -> None:
        """Let the window work until something is so."""
        for _ in range(round(seconds * 10)):
            if done():
                return
            self.wait(100)
        raise SystemExit("It took too long.")


if __name__ == "__main__":
    main()
