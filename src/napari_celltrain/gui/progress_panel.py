"""What a run is doing, as it is told by its events: words, numbers, a bar and the curve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QProgressBar, QVBoxLayout, QWidget

from napari_celltrain.errors import counted
from napari_celltrain.gui.curve import Curve
from napari_celltrain.training.events import (
    Evaluation,
    Finished,
    Preparing,
    StateChanged,
    Step,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.training.events import Event


class ProgressPanel(QWidget):
    """State in words, progress, speed, device, time left, the curve and the held-out result."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.sentence = QLabel("", self)
        self.sentence.setWordWrap(True)
        self.sentence.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.bar = QProgressBar(self)
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(True)
        self.bar.setAccessibleName("Progress of the training")
        self.bar.setVisible(False)
        self.numbers = QLabel("", self)
        self.numbers.setWordWrap(True)
        self.curve = Curve(self)
        self.curve.setVisible(False)
        self.result = QLabel("", self)
        self.result.setWordWrap(True)
        self.result.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.sentence)
        layout.addWidget(self.bar)
        layout.addWidget(self.curve, 1)
        layout.addWidget(self.numbers)
        layout.addWidget(self.result)

    def begin(self) -> None:
        """Forget an earlier run."""
        self.curve.clear()
        self.curve.setVisible(True)
        self.numbers.setText("")
        self.result.setText("")
        self.bar.setVisible(True)
        self.bar.setRange(0, 0)

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        self.sentence.setText(sentence)

    def end(self) -> None:
        """The run is over; its curve and result stay."""
        self.bar.setVisible(False)

    def add(self, events: Sequence[Event]) -> None:
        """Show what a run told."""
        self.curve.add(events)
        for event in events:
            if isinstance(event, StateChanged):
                self.say(event.sentence)
                if event.state == "evaluating":
                    continue
                self.bar.setVisible(event.state not in ("finished", "failed"))
            elif isinstance(event, Preparing):
                self._set_bar(event.done / max(event.total, 1), event.message)
            elif isinstance(event, Finished):
                self.say(event.sentence)
            elif isinstance(event, Evaluation) and event.best and event.f1 > 0:
                self.result.setText(result_in_words(event))
        steps = [event for event in events if isinstance(event, Step)]
        if steps:
            self._show_step(steps[-1])

    def _show_step(self, step: Step) -> None:
        self._set_bar(step.share_done, "")
        left = "" if step.seconds_left is None else f", {duration(step.seconds_left)} left"
        skipped = ""
        if step.nonfinite_steps:
            skipped = f", {counted(step.nonfinite_steps, 'step')} skipped"
        self.numbers.setText(
            f"Step {step.step}, {step.crops_per_s:.0f} crops/s, {duration(step.seconds)}{left}\n"
            f"Device: {step.device}, {step.memory_mib:.0f} MiB{skipped}"
        )

    def _set_bar(self, share: float | None, text: str) -> None:
        if share is None:
            self.bar.setRange(0, 0)
            return
        self.bar.setRange(0, 1000)
        self.bar.setValue(round(1000 * share))
        self.bar.setFormat(f"{text}  %p%".strip())


def result_in_words(evaluation: Evaluation) -> str:
    """Say how good the kept detector is on cells it never learnt from."""
    error = evaluation.localisation_error_um
    where = "" if not math.isfinite(error) else f", centres {error:.2g} {evaluation.unit} off"
    words = (
        f"Kept: F1 {evaluation.f1:.3f} (finds {evaluation.recall:.0%} of the cells, "
        f"{evaluation.precision:.0%} of what it finds are cells{where})"
    )
    if not evaluation.trustworthy:
        words += ". Not to be trusted: there was too little data to hold any back"
    return words + "."


def duration(seconds: float) -> str:
    """Return ``45 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
