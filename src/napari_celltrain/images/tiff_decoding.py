"""Decoding the planes of a TIFF file.

The library does it for every kind of file there is, in some hundred steps of Python a plane. While
a movie is searched, each of those keeps the thread that computes the network waiting, so planes of
the plainest kind go from the file to where they belong in as few steps as that takes.
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
import tifffile

from napari_celltrain.images.unpacking import most_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

Page = tifffile.TiffPage | tifffile.TiffFrame
DEFLATE = (8, 32946)
"""Numbers of zlib's compression in TIFF files, the new one and the old."""
NATIVE = "<" if sys.byteorder == "little" else ">"


def decoded(page: Page, number: int, room: NDArray[Any] | None = None) -> NDArray[Any]:
    """Decode a page.

    Parameters
    ----------
    page
        Of an open file.
    number
        Which plane it is, for messages.
    room
        Where its pixels are wanted, in one piece; where they can't be decoded straight to there,
        another array is returned.

    Raises
    ------
    ValueError
        When a part of it was never written, which would otherwise be black, or it claims more
        pixels than the file can hold.
    """
    if not page.databytecounts or 0 in page.databytecounts:
        raise ValueError(f"plane {number + 1} is missing")
    file_size = int(page.parent.filehandle.size)
    claims_too_much = page.nbytes > most_of(page.nbytes, file_size)
    keyframe = page.keyframe or page.aspage()
    parts = math.prod(keyframe.chunked)
    if claims_too_much or (keyframe.compression != 1 and len(page.databytecounts) < parts):
        raise ValueError(f"plane {number + 1} claims more pixels than the file holds")
    if _is_plain(keyframe) and parts == len(page.databytecounts) == len(page.dataoffsets):
        if room is None:
            room = np.empty(keyframe.shape, keyframe.dtype)
        if room.nbytes == page.nbytes and room.dtype == keyframe.dtype:
            strip = keyframe.rowsperstrip * keyframe.imagewidth * room.itemsize
            if _decode_strips(page, strip, room.reshape(-1).view(np.uint8).data):
                return room
    return np.asarray(page.asarray(maxworkers=1))


def _is_plain(keyframe: tifffile.TiffPage) -> bool:
    """Tell whether a page is one grey value after the other in strips that zlib compressed."""
    dtype = keyframe.dtype
    return (
        keyframe.compression in DEFLATE
        and dtype is not None
        and dtype.kind in "uif"
        and keyframe.bitspersample == 8 * dtype.itemsize
        and (dtype.itemsize == 1 or keyframe.parent.byteorder == NATIVE)
        and keyframe.samplesperpixel == keyframe.imagedepth == 1
        and keyframe.predictor == keyframe.fillorder == 1
        and not keyframe.is_tiled
    )


def _decode_strips(page: Page, strip: int, room: memoryview) -> bool:
    """Decode strips of so many bytes, the last may be shorter; False where anything is odd.

    Whoever decodes the page again then will find out what it is.
    """
    file = page.parent.filehandle
    try:
        for number, (offset, count) in enumerate(
            zip(page.dataoffsets, page.databytecounts, strict=True)
        ):
            file.seek(offset)
            own = room[number * strip : (number + 1) * strip]
            if not offset or len(imagecodecs.deflate_decode(file.read(count), out=own)) < len(own):
                return False
    except Exception:
        return False
    return True
