"""Which time points a network with a time window sees."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

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
    return [_nearest(time_points, wanted) for wanted in range(t + window[0], t + window[1] + 1)]


def _nearest(time_points: Sequence[int], wanted: int) -> int:
    # asked for every time point of a movie, so it must not look at all of them
    right = min(bisect_left(time_points, wanted), len(time_points) - 1)
    before, after = int(time_points[max(right - 1, 0)]), int(time_points[right])
    return before if abs(before - wanted) <= abs(after - wanted) else after
