"""Images that are flatter or steeper than those of the training, and the gamma that mends it.

Dark and bright levels are the same in all normalised images, but not what lies between them. Where
a camera, an export or another stain lifts the faint things (a gamma below 1), blurred cells of
other planes and debris look like cells, and the detector can't make up its mind about them; where
faint things are pushed down (a gamma above 1), dim cells are missed. Both show in what the detector
finds: how many candidates it is undecided about, and how bright its cells are, each compared with
the held-out frames of its training. To choose the input for which a network is most decided is the
idea of test-time adaptation by entropy minimisation (Wang et al., ICLR 2021); here one number is
adapted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.detector.intensity import CLIP
from napari_celltrain.detector.resample import as_float
from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_celltrain.detector.folder import DetectorInfo
    from napari_celltrain.detector.intensity import IntensityRange

STEEPER = (1.5, 2.0)
"""Powers that are tried where faint things stand out."""
FLATTER = (0.75, 0.5)
"""The same where cells are dim."""
LOWEST, HIGHEST = 0.1, 10.0
"""Powers that leave something of an image."""
FEWEST = 20
"""Cells that are clearly seen, or nothing is said of the contrast."""
MANY_UNDECIDED = 0.1
"""Undecided candidates for each clear one that are worth trying something, if those are also so
many times as many as in training. On images like those of the training there were mostly 0.01 to
0.20 of them (one detector in nine: 0.40), with a gamma of 0.5 up to 0.57. This and the limits below
were chosen on the sets of `benchmarks/robustness.py`."""
MORE_UNDECIDED = 1.5
DIM = 0.7
"""Cells that have less than so much of the usual brightness are worth it too."""
BRIGHT = 0.2
"""The usual brightness of cells that are brighter than the ground; of dark ones it says little."""


@dataclass(frozen=True)
class Impression:
    """What a detector makes of images.

    Parameters
    ----------
    clear
        Candidates that are clearly cells.
    undecided
        Candidates that may be cells or not.
    brightness
        Median of the clear ones, 0 (the image's dark level) to about 1 (its bright level).
    """

    clear: int
    undecided: int
    brightness: float

    @property
    def undecided_share(self) -> float:
        """Undecided candidates for each clear one."""
        return self.undecided / max(1, self.clear)


def check_gamma(gamma: float) -> None:
    """Refuse a gamma that leaves nothing of an image.

    Raises
    ------
    CellTrainError
        Saying which are possible.
    """
    if not LOWEST <= gamma <= HIGHEST:  # NaN neither
        raise CellTrainError(
            f"A gamma of {gamma:g} is not possible: from {LOWEST:g} to {HIGHEST:g}; 1 changes "
            "nothing."
        )


def impression(
    scores: NDArray[np.float64], brightness: NDArray[np.float64], threshold: float
) -> Impression:
    """Sum up candidates.

    Clear are those whose odds are more than e times those at the threshold, and undecided those
    that are nearer to it on either side.
    """
    scores = np.clip(scores, 1e-6, 1 - 1e-6)
    beyond = np.log(scores / (1 - scores)) - np.log(threshold / (1 - threshold))
    clear = beyond >= 1
    return Impression(
        int(np.count_nonzero(clear)),
        int(np.count_nonzero(np.abs(beyond) < 1)),
        float(np.median(brightness[clear])) if clear.any() else math.nan,
    )


def brightness_at(
    frame: NDArray[Any], positions: NDArray[np.float64], level: IntensityRange, gamma: float = 1.0
) -> NDArray[np.float64]:
    """Return how bright single pixels are at (z, y, x) positions: 0 is dark, 1 is bright."""
    last = np.array(frame.shape) - 1
    at = np.clip(np.rint(positions), 0, last).astype(np.int64)
    values = as_float(frame[tuple(at.T)]).numpy().astype(np.float64)
    values = np.clip((values - level.low) / (level.high - level.low), *CLIP)
    return np.asarray(np.sign(values) * np.abs(values) ** gamma)


def mending_gamma(info: DetectorInfo, look: Callable[[float, bool], Impression]) -> float:
    """Find the power of the brightness with which images look like those of the training.

    Parameters
    ----------
    info
        Of the detector: its held-out frames are the measure.
    look
        Returns what the detector makes of the images with such a gamma: of a first few, or, if
        that is said, of all that are to be looked at.

    Returns
    -------
    1.0 where nothing has to be mended, where nothing helps, and where there are too few cells.
    """
    usual = info.brightness
    if info.undecided is None or usual is None:
        return 1.0
    if not any(_unlike(look(1.0, False), info.undecided, usual)):
        return 1.0
    plain = look(1.0, True)  # one odd image does not decide
    dim, unsure = _unlike(plain, info.undecided, usual)
    if dim:
        tried = {gamma: look(gamma, True) for gamma in FLATTER}
        best = min(tried, key=lambda gamma: abs(tried[gamma].brightness - usual))
        if _brings_up(tried[best], plain, usual):
            return best
    if unsure:
        tried = {gamma: look(gamma, True) for gamma in STEEPER}
        best = min(tried, key=lambda gamma: tried[gamma].undecided_share)
        if _settles(tried[best], plain):
            return best
    return 1.0


def _unlike(seen: Impression, undecided: float, usual: float) -> tuple[bool, bool]:
    """Tell whether cells are dimmer, and whether more is undecided, than in training."""
    if seen.clear < FEWEST:
        return False, False
    return (
        usual > BRIGHT and seen.brightness < DIM * usual,
        seen.undecided_share > max(MANY_UNDECIDED, MORE_UNDECIDED * undecided),
    )


def _brings_up(tried: Impression, plain: Impression, usual: float) -> bool:
    """Tell whether it is the dim cells that got brighter: no noise and debris became cells."""
    return (
        abs(tried.brightness - usual) < abs(plain.brightness - usual)
        and tried.undecided_share <= plain.undecided_share + 0.05
        and plain.clear <= tried.clear <= 1.5 * plain.clear
    )


def _settles(tried: Impression, plain: Impression) -> bool:
    """Tell whether what was undecided is decided now, without most of the cells being lost."""
    return tried.undecided_share < 0.6 * plain.undecided_share and tried.clear > 0.5 * plain.clear
