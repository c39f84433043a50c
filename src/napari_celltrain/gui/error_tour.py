"""From one missed or false cell to the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_celltrain.gui.comparison import FOUND, MISSED
from napari_celltrain.gui.going_there import look_at, uncover
from napari_celltrain.gui.result_layers import place_in_world

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_celltrain.gui.comparison import Outcomes


class ErrorTour:
    """Brings errors into the middle of the picture, in the order of time, one at each call.

    Parameters
    ----------
    viewer
        Whose camera and sliders are moved.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._stops: list[tuple[Image, Outcomes, int]] = []
        self._next = 0

    def plan(self, judged: Sequence[tuple[Image, Outcomes]], *, begin_again: bool = True) -> None:
        """Visit the errors of these movies; what a run tells anew need not begin anew."""
        self._stops = []
        for image, outcomes in judged:
            wrong = np.flatnonzero(outcomes.outcome != FOUND)
            in_order = wrong[np.argsort(outcomes.t[wrong], kind="stable")]
            self._stops += [(image, outcomes, int(one)) for one in in_order]
        if begin_again:
            self._next = 0

    def go_on(self) -> str:
        """Go to the next error, after the last one to the first; return a sentence."""
        stops = [stop for stop in self._stops if stop[0] in self._viewer.layers]
        if not stops:
            return "There is no error to go to."
        number = self._next % len(stops)
        self._next = number + 1
        image, outcomes, one = stops[number]
        uncover(self._viewer, image)
        t, position = outcomes.t[one : one + 1], outcomes.positions[one : one + 1]
        look_at(self._viewer, place_in_world(image, t, position)[0])
        what = "missed" if outcomes.outcome[one] == MISSED else "false"
        return (
            f"Error {number + 1} of {len(stops)}, at t = {int(t[0])} of {image.name}: {what}. "
            "It is in the middle of the picture."
        )
