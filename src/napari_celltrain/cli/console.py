"""A training run on the console: the events of the run as lines, and a bar on a terminal."""

from __future__ import annotations

import math
import sys
import time
from typing import TYPE_CHECKING, Any

from napari_celltrain.cli.output import (
    SECONDS_BETWEEN_LINES,
    duration,
    progress_bar,
    say,
)
from napari_celltrain.errors import counted, shown
from napari_celltrain.training.events import (
    Choice,
    Evaluation,
    FindingEvent,
    Finished,
    Preparing,
    StateChanged,
    Step,
)

if TYPE_CHECKING:
    from napari_celltrain.training.events import Event

# tqdm puts a comma before the postfix
_BAR = "{desc} |{bar}| {percentage:3.0f}%{postfix}"
_BAR_WITHOUT_END = "{desc}{postfix}"
_LINES_SO_FAR = 50
"""The longer a run, the rarer the lines: a night's log stays readable."""


class Console:
    """A callback for `train` that tells a person what happens."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._bar_is_for = ""
        self._last_line = -math.inf
        self._last_sentence = ""
        self._highest_f1 = -math.inf

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Choice():
                say(f"  {event.name}: {event.value}  ({event.reason})")
            case FindingEvent():
                finding = event.finding
                about = f"{finding.experiment}: " if finding.experiment else ""
                say(f": {about}{finding.message}", head=finding.severity)
            case Preparing():
                self._preparing(event)
            case Step():
                self._step(event)
            case Evaluation():
                say(evaluation_line(event, self._highest_f1))
                self._highest_f1 = max(self._highest_f1, event.f1)
            case StateChanged() if event.state != "evaluating":  # its result is a line anyway
                self._sentence(event.sentence)
            case Finished():
                self.close()
                self._sentence(event.sentence)

    def _sentence(self, sentence: str) -> None:
        if sentence and sentence != self._last_sentence:
            self._last_sentence = sentence
            say(sentence)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._bar_is_for = ""

    def _preparing(self, event: Preparing) -> None:
        if sys.stderr.isatty():
            what = event.message or "Preparing"
            bar_format = "{desc} |{bar}| {n_fmt}/{total_fmt}"
            bar = self._bar_for("preparing", what, event.total, bar_format)
            bar.set_description_str(shown(what), refresh=False)
            bar.n = event.done
            bar.refresh()
            if event.done >= event.total:
                self.close()
        elif self._is_time_for_a_line(last=event.done >= event.total):
            frames = counted(event.total, "frame")
            say(f"Preparing: {event.done} of {frames}. {event.message}".rstrip())

    def _step(self, event: Step) -> None:
        left = "" if event.seconds_left is None else f", {duration(event.seconds_left)} left"
        skipped = ""
        if event.nonfinite_steps:
            skipped = f", {counted(event.nonfinite_steps, 'step')} skipped"
        numbers = (
            f"loss {event.loss:.4f}, {event.crops_per_s:.0f} crops/s, "
            f"{event.memory_mib:.0f} MiB on {event.device}{skipped}{left}"
        )
        if sys.stderr.isatty():
            ends = event.share_done is not None
            what = f"step {event.step}"
            bar = self._bar_for("steps", what, 100, _BAR if ends else _BAR_WITHOUT_END)
            bar.set_description_str(what, refresh=False)
            bar.set_postfix_str(numbers, refresh=False)
            bar.n = round(100 * (event.share_done or 0.0))
            bar.refresh()
        elif self._is_time_for_a_line(event.seconds / _LINES_SO_FAR):
            say(f"{duration(event.seconds)}  step {event.step}: {numbers}")

    def _bar_for(self, task: str, what: str, total: int, bar_format: str) -> Any:
        if self._bar is None or self._bar_is_for != task:
            self.close()
            # its first line is shown at once: without words it would be an empty frame
            self._bar = progress_bar(total=total, desc=what, bar_format=bar_format)
            self._bar_is_for = task
        return self._bar

    def _is_time_for_a_line(self, at_least_s: float = 0.0, *, last: bool = False) -> bool:
        now = time.monotonic()
        if last or now - self._last_line >= max(SECONDS_BETWEEN_LINES, at_least_s):
            self._last_line = now
            return True
        return False


def evaluation_line(event: Evaluation, highest_f1: float = -math.inf) -> str:
    """Return an evaluation in words; `highest_f1` is that of all evaluations before."""
    distance = (
        "nothing matched"
        if math.isnan(event.localisation_error_um)
        else f"off by {event.localisation_error_um:.2f} {event.unit} on average"
    )
    lower = event.f1 < highest_f1
    remarks = [
        remark
        for remark, holds in (
            ("best so far", event.best and not lower),
            ("kept: as good, and depends less on the threshold", event.best and lower),
            ("not to be trusted: see what is held out", not event.trustworthy),
        )
        if holds
    ]
    remark = f"  [{'; '.join(remarks)}]" if remarks else ""
    return (
        f"{duration(event.seconds)}  step {event.step}: F1 {event.f1:.3f} "
        f"(precision {event.precision:.3f}, recall {event.recall:.3f}), {distance}{remark}"
    )
