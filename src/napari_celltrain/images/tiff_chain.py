"""A look at the chain of planes in a TIFF file before anything follows it to its end."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from typing import BinaryIO

LOOKED_AT = 1000
"""Planes; a damaged file that runs in a circle has fewer, and one with more is mostly sound."""


def fault_of_chain(file: BinaryIO) -> Literal["circle", "end"] | None:
    """Tell whether a damaged chain leads back to a plane before, or beyond the end of the file.

    The first would never end; the second is what is left of a file that was cut off. Every
    directory of a TIFF file ends with the place of the next one (TIFF 6.0, section 2; BigTIFF has
    wider numbers). Anything else that is odd is left to the reader to complain about.
    """
    header = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(header[:2])
    if order is None or len(header) < 16:
        return None
    big = struct.unpack(order + "H", header[2:4])[0] == 43
    number, entry, place = ("Q", 20, "Q") if big else ("H", 12, "I")
    number_size, place_size = struct.calcsize(number), struct.calcsize(place)
    (offset,) = struct.unpack(order + place, header[8:16] if big else header[4:8])
    seen: set[int] = set()
    while offset and len(seen) < LOOKED_AT:
        if offset in seen:
            return "circle"
        seen.add(offset)
        file.seek(offset)
        count = file.read(number_size)
        if len(count) < number_size:
            return "end"
        end = offset + number_size + struct.unpack(order + number, count)[0] * entry
        if end >= 2**62:
            return "end"
        file.seek(end)
        following = file.read(place_size)
        if len(following) < place_size:
            return "end"
        (offset,) = struct.unpack(order + place, following)
        if offset >= 2**62:
            return "end"
    return None
