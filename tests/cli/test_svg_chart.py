"""Charts are valid SVG and show every value at its place."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_celltrain.cli.svg_chart import Line, bar_chart, line_chart, ticks

SVG = "{http://www.w3.org/2000/svg}"


def chart(*lines, **changes):
    text = line_chart(lines, title="a <title>", x_label="minutes", y_label="loss", **changes)
    return ET.fromstring(text)


def points(root):
    return [
        [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
        for line in root.iter(f"{SVG}polyline")
    ]


def test_a_curve_rises_where_its_values_rise():
    ((first, second, third),) = points(chart(Line("a", [0, 1, 2], [0.1, 0.4, 0.9])))
    assert first[0] < second[0] < third[0]
    assert first[1] > second[1] > third[1]  # SVG counts downwards
    assert (second[0] - first[0]) == pytest.approx(third[0] - second[0], abs=0.11)


def test_a_missing_value_leaves_a_gap():
    pieces = points(chart(Line("a", [0, 1, 2, 3, 4], [1, 2, math.nan, 3, 4])))
    assert [len(piece) for piece in pieces] == [2, 2]


def test_texts_are_escaped_and_there():
    text = "".join(chart(Line("a", [0, 1], [1, 2]), Line("b & c", [0, 1], [2, 1])).itertext())
    for word in ("a <title>", "minutes", "loss", "b & c"):
        assert word in text


@pytest.mark.parametrize(("x", "y"), [([], []), ([1.0], [0.5]), ([1, 2], [3, 3]), ([0, 0], [0, 0])])
def test_little_data_is_no_error(x, y):
    assert chart(Line("a", x, y)).tag == f"{SVG}svg"


def test_bars_are_as_high_as_their_numbers():
    text = bar_chart([3, 4, 7], [10, 20, 0], title="cells", x_label="t", y_label="n")
    heights = [float(h) for h in re.findall(r'<rect x[^>]*height="([0-9.]+)"', text)]
    assert heights[1] == pytest.approx(2 * heights[0], rel=0.01)
    assert heights[2] == pytest.approx(0, abs=0.01)


@given(
    low=st.floats(-1e6, 1e6), span=st.floats(1e-3, 1e6),
)  # fmt: skip
def test_ticks_are_few_and_inside(low, span):
    marks = ticks(low, low + span)
    assert 2 <= len(marks) <= 12
    slack = 1e-6 * max(abs(low), span)
    assert all(low - slack <= mark <= low + span + slack for mark in marks)
    assert marks == sorted(marks)
