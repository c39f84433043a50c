"""Which time points a network with a time window sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def window_time_points(time_points: Sequence[int], t: int, window: tuple[int, int]) -> list[int]:
    """Time points that the network sees for `t`; missing ones are replaced by the nearest.

    Parameters
    ----------
    time_points
        Those that exist, ascending.
    t
        The one to look at.
    window
        How far before (zero or negative) and after.
    """
    existing = np.asarray(time_points)
    wanted = np.arange(t + window[0], t + window[1] + 1)
    right = np.clip(np.searchsorted(existing, wanted), 0, len(existing) - 1)
    left = np.maximum(right - 1, 0)
    nearer_left = np.abs(existing[left] - wanted) <= np.abs(existing[right] - wanted)
    return [int(existing[i]) for i in np.where(nearer_left, left, right)]
