"""Which axis of a stored array is which, and how to cut a (z, y, x) frame out of it.

Letters are those of the formats: t, c, z, y, x, and s for the samples of a colour image. A colour
image becomes one grey channel (0.299 red + 0.587 green + 0.114 blue), as OrganoidTracker does.

Axes that a file does not name (TIFF pages without metadata; tifffile calls them I or Q) are given
the first meanings of `unnamed` that the file does not use itself: time, then planes, then channels
for a movie in one file; planes, then channels where a file is one time point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_celltrain.images.movie import Crop

KNOWN = "tczyxs"
GREY_WEIGHTS = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Layout:
    """The meaning of every axis of a stored array.

    Parameters
    ----------
    letters
        One of ``tczyxs`` for each axis, each at most once; ``-`` is an axis of length 1 that
        means nothing.
    shape
        The shape of the stored array.
    """

    letters: str
    shape: tuple[int, ...]

    def size(self, letter: str) -> int:
        """Return the length of an axis; 1 when there is none."""
        return self.shape[self.letters.index(letter)] if letter in self.letters else 1

    @property
    def n_channels(self) -> int:
        """How many channels there are; a colour image has one."""
        return self.size("c")

    @property
    def is_colour(self) -> bool:
        """Whether red, green and blue are made grey."""
        return "s" in self.letters

    @property
    def frame_shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""
        return self.size("z"), self.size("y"), self.size("x")

    def chunk_shape(self, chunks: Sequence[int] | None) -> tuple[int, int, int] | None:
        """Return (z, y, x) of the chunks of a stored array; None when it has none."""
        if chunks is None:
            return None
        size = dict(zip(self.letters, map(int, chunks), strict=True))
        return size.get("z", 1), size["y"], size["x"]

    def cut(self, t: int, channel: int, crop: Crop) -> tuple[int | slice, ...]:
        """Return the index into the stored array of a part of a frame."""
        place: dict[str, int | slice] = {
            "t": t,
            "c": channel,
            "z": crop[0],
            "y": crop[1],
            "x": crop[2],
            "s": slice(0, 3),
            "-": 0,
        }
        return tuple(place[letter] for letter in self.letters)

    def arrange(self, block: NDArray[Any], crop: Crop) -> NDArray[Any]:
        """Turn what `cut` gave into (z, y, x)."""
        kept = [letter for letter in self.letters if letter in "zyxs"]
        order = [kept.index(letter) for letter in "zyxs" if letter in kept]
        block = block.transpose(order)
        if "s" in kept:
            block = _grey(block)
        if "z" not in kept:
            block = block[np.newaxis][crop[0]]
        return block


def _grey(block: NDArray[Any]) -> NDArray[Any]:
    grey = block.astype(np.float32) @ np.array(GREY_WEIGHTS, np.float32)
    return grey.round().astype(block.dtype) if block.dtype.kind in "iu" else grey


def layout(letters: str, shape: Sequence[int], *, where: str, unnamed: str = "tzc") -> Layout:
    """Find the meaning of every axis.

    Parameters
    ----------
    letters
        As the file or the caller says, any case; a letter outside ``tczyxs`` is unnamed.
    shape
        One length for each letter.
    where
        The file, for the message.
    unnamed
        What unnamed axes longer than 1 become, in this order, skipping what is named already.

    Raises
    ------
    CellTrainError
        When y or x is missing, or there are more axes than meanings.
    """
    lengths = tuple(int(length) for length in shape)
    named = letters.lower()
    if len(named) != len(lengths):
        raise CellTrainError(
            f"{where}: {len(named)} axes are named ('{letters}') for an array of {len(lengths)} "
            "dimensions."
        )
    if "s" in named and not (named.endswith("s") and lengths[-1] in (3, 4)):
        # Samples, but no colours: also what a stack of 3 planes becomes in some programs.
        named = named.replace("s", "?")
    if "y" not in named or "x" not in named:
        raise CellTrainError(f"{where} is no image: its axes are '{letters}', without y or x.")
    if 0 in lengths:
        raise CellTrainError(f"{where} has no pixels: its shape is {lengths}.")
    free = [letter for letter in unnamed if letter not in named]
    meanings: list[str] = []
    for letter, length in zip(named, lengths, strict=True):
        if letter in KNOWN and letter not in meanings:
            meanings.append(letter)
        elif length == 1:
            meanings.append("-")
        elif free:
            meanings.append(free.pop(0))
        else:
            raise CellTrainError(
                f"{where} has more axes than time, channel, z, y and x: '{letters}' with the "
                f"lengths {lengths}. Save the part that holds the cells as a file of its own."
            )
    return Layout("".join(meanings), lengths)
