"""Units of length and time in all the spellings that programs write."""

from __future__ import annotations

_UM_PER_UNIT = {
    "um": 1.0, "micron": 1.0, "micrometer": 1.0, "nm": 1e-3, "nanometer": 1e-3, "pm": 1e-6,
    "mm": 1e3, "millimeter": 1e3, "cm": 1e4, "centimeter": 1e4, "m": 1e6, "meter": 1e6,
    "dm": 1e5, "decimeter": 1e5, "km": 1e9, "kilometer": 1e9, "inch": 25_400.0, "inche": 25_400.0,
    "in": 25_400.0, "thou": 25.4, "mil": 25.4, "ft": 304_800.0, "foot": 304_800.0,
    "feet": 304_800.0, "yd": 914_400.0, "yard": 914_400.0, "angstrom": 1e-4, "å": 1e-4,
}  # fmt: skip
_OTHER_IN_CAPITALS = {"Mm", "Pm"}
"""Megametre and petametre, which OME-XML knows: no millimetre and no picometre."""
_SECONDS_PER_UNIT = {
    "s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3,
    "us": 1e-6, "microsecond": 1e-6, "min": 60.0, "minute": 60.0, "h": 3600.0, "hr": 3600.0,
    "hour": 3600.0, "d": 86_400.0, "day": 86_400.0,
}  # fmt: skip


def um_per_unit(unit: str) -> float | None:
    """Return how many micrometres a unit of length is; None for pixels and unknown words."""
    if unit.strip() in _OTHER_IN_CAPITALS:
        return None
    plain = _plain(unit).replace("metre", "meter")
    return _looked_up(_UM_PER_UNIT, "um" if plain in ("umeter", "umeters") else plain)


def seconds_per_unit(unit: str) -> float | None:
    """Return how many seconds a unit of time is; None for frames and unknown words."""
    return _looked_up(_SECONDS_PER_UNIT, _plain(unit).rstrip("."))


def _plain(unit: str) -> str:
    """Return a unit in lower case, with u for the micro signs (two characters, one escaped)."""
    plain = unit.strip().lower()
    for micro in ("\\u00b5", "µ", "μ"):
        plain = plain.replace(micro, "u")
    return plain


def _looked_up(table: dict[str, float], plain: str) -> float | None:
    return table.get(plain, table.get(plain.removesuffix("s")))
