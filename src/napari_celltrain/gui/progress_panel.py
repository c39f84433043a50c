"""What a run is doing, as it is told by its events: words, numbers, a bar and the curve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QProgressBar, QVBoxLayout, QWidget

from napari_celltrain.errors import counted
from napari_celltrain.gui.curve import Curve
from napari_celltrain.gui.long_texts import Words
from napari_celltrain.training.events import (
    Evaluation,
    Finished,
    Preparing,
    StateChanged,
    Step,
    duration,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_celltrain.training.events import Event


class ProgressPanel(QWidget):
    """State in words, progress, speed, device, time left, the curve and the held-out result."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._step: Step | None = None
        self.sentence = Words("", self)
        self.bar = QProgressBar(self)
        self.bar.setRange(0, 1000)
        self.bar.setTextVisible(True)
        self.bar.setAccessibleName("Progress of the training")
        self.bar.setVisible(False)
        self.numbers = Words("", self)
        self.curve = Curve(self)
        self.curve.setVisible(False)
        self.result = Words("", self)
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
        self._step = None
        self.curve.setVisible(True)
        self.numbers.setText("")
        self.result.setText("")
        self.bar.setVisible(True)
        self.bar.setRange(0, 0)

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        self.sentence.setText(sentence)
        self.sentence.setToolTip("")  # the details of an earlier one

    def end(self) -> None:
        """The run is over; its curve and result stay."""
        self.bar.setVisible(False)
        self.curve.setVisible(not self.curve.is_empty)
        self._show_numbers()

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
            self._set_bar(steps[-1].share_done, "")
            self._step = steps[-1]
        self._show_numbers()

    def _show_numbers(self) -> None:
        step = self._step
        if step is None:
            return
        if self.bar.isHidden():  # it is over
            left = ""
        elif step.seconds_left is None:
            left = "; ends when F1 no longer improves"
        else:
            left = f", {duration(step.seconds_left)} left"
        skipped = ""
        if step.nonfinite_steps:
            skipped = f"; {counted(step.nonfinite_steps, 'step')} skipped"
        self.numbers.setText(
            f"Step {step.step}, {step.crops_per_s:.0f} crops/s\n"
            f"Trained for {duration(step.seconds)}{left}\n"
            f"Device: {step.device}; memory in use: {step.memory_mib:.0f} MiB{skipped}"
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
