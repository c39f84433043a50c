"""Units in every spelling that was seen in files."""

from __future__ import annotations

import pytest

from napari_celltrain.images.units import seconds_per_unit, um_per_unit


@pytest.mark.parametrize(
    ("unit", "um"),
    [
        *((text, 1.0) for text in ("um", "µm", "μm", "\\u00B5m", " UM ", "micron", "Microns",
                                   "micrometer", "micrometers", "micrometre", "micrometres",
                                   "µmeter")),
        ("nm", 1e-3), ("nanometre", 1e-3), ("mm", 1e3), ("millimetres", 1e3), ("cm", 1e4),
        ("m", 1e6), ("meter", 1e6), ("metres", 1e6), ("inch", 25400.0), ("inches", 25400.0),
        ("Å", 1e-4), ("angstroms", 1e-4), ("pm", 1e-6),
        ("in", 25400.0), ("ft", 304800.0), ("feet", 304800.0), ("thou", 25.4), ("mil", 25.4),
        ("yd", 914400.0), ("km", 1e9), ("dm", 1e5), ("MM", 1e3),
        *((text, None) for text in ("pixel", "pixels", "px", "", "furlong", "s", "Mm", "Pm")),
    ],
)  # fmt: skip
def test_units_of_length(unit, um):
    assert um_per_unit(unit) == um


@pytest.mark.parametrize(
    ("unit", "seconds"),
    [
        *((text, 1.0) for text in ("s", "sec", "Sec.", "secs", "second", "seconds")),
        ("ms", 1e-3), ("msec", 1e-3), ("milliseconds", 1e-3), ("µs", 1e-6), ("min", 60.0),
        ("mins", 60.0), ("Minutes", 60.0), ("h", 3600.0), ("hr", 3600.0), ("hrs", 3600.0),
        ("hours", 3600.0), ("d", 86400.0), ("days", 86400.0),
        *((text, None) for text in ("frame", "frames", "", "m", "fortnight")),
    ],
)  # fmt: skip
def test_units_of_time(unit, seconds):
    assert seconds_per_unit(unit) == seconds
