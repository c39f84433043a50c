"""Charts as SVG text: small, sharp at every size, and without a plotting library to install."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

LEFT, RIGHT, TOP, BOTTOM = 62, 18, 34, 46
COLOURS = ("#1f6fb4", "#d1495b", "#2e8b57", "#8a5fbf", "#b8860b")
"""Told apart in grey and by most people who are colour-blind; dashes help the rest."""
_FONT = 'font-family="sans-serif" font-size="12"'
DASHES = ("", "6 3", "2 3", "8 3 2 3", "")


@dataclass(frozen=True)
class Line:
    """One curve.

    Parameters
    ----------
    label
        For the legend.
    x, y
        Points in order; those that are not finite leave a gap.
    marked
        Index of a point to ring, such as the best one.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]
    marked: int | None = None


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str,
    size: tuple[int, int] = (560, 300),
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
) -> str:
    """Return a chart of curves as an SVG document."""
    xs = [x for line in lines for x in line.x if math.isfinite(x)]
    ys = [y for line in lines for y in line.y if math.isfinite(y)]
    frame = _Frame(size, x_range or _range(xs), y_range or _range(ys, from_zero=True))
    parts = frame.axes(title, x_label, y_label)
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        dash = DASHES[number % len(DASHES)]
        style = f' stroke-dasharray="{dash}"' if dash else ""
        for piece in _pieces(line):
            points = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in piece)
            parts.append(
                f'<polyline fill="none" stroke="{colour}" stroke-width="1.8"{style} '
                f'points="{points}"/>'
            )
            if len(piece) <= 40:
                parts += [
                    f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="2.4" fill="{colour}"/>'
                    for x, y in piece
                ]
        if line.marked is not None:
            x, y = line.x[line.marked], line.y[line.marked]
            parts.append(
                f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="6" fill="none" '
                f'stroke="{colour}" stroke-width="1.6"/>'
            )
    if len(lines) > 1:
        parts += _legend(lines, size)
    return frame.document(parts)


def bar_chart(
    x: Sequence[int],
    heights: Sequence[float],
    *,
    title: str,
    x_label: str,
    y_label: str,
    size: tuple[int, int] = (560, 260),
) -> str:
    """Return a chart of one bar for each whole number, as an SVG document."""
    span = (min(x) - 0.5, max(x) + 0.5) if x else (0.0, 1.0)
    frame = _Frame(size, span, (0.0, max([*heights, 1.0]) * 1.05))
    parts = frame.axes(title, x_label, y_label)
    width = max(0.5, 0.8 * (frame.x(1) - frame.x(0)))
    for place, height in zip(x, heights, strict=True):
        parts.append(
            f'<rect x="{frame.x(place) - width / 2:.2f}" y="{frame.y(height):.2f}" '
            f'width="{width:.2f}" height="{frame.y(0) - frame.y(height):.2f}" '
            f'fill="{COLOURS[0]}"><title>{place}: {height:g}</title></rect>'
        )
    return frame.document(parts)


def stacked(charts: Sequence[str]) -> str:
    """Return charts one below the other, as one SVG document."""
    parts, width, y = [], 1, 0
    for chart in charts:
        size = re.search(r'width="(\d+)" height="(\d+)"', chart)
        assert size is not None  # `_Frame.document` wrote it
        inside = chart[chart.index(">") + 1 : chart.rindex("</svg>")]
        # a group, not a nested document: some programs draw only one
        parts.append(f'<g transform="translate(0 {y})" {_FONT}>{inside}</g>')
        width, y = max(width, int(size[1])), y + int(size[2])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}" '
        f'height="{y}">{"".join(parts)}</svg>\n'
    )


class _Frame:
    """From values to places on the page."""

    def __init__(
        self, size: tuple[int, int], x_range: tuple[float, float], y_range: tuple[float, float]
    ) -> None:
        self.size, self.x_range, self.y_range = size, x_range, y_range

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (self.size[0] - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        share = (value - low) / (high - low)
        return self.size[1] - BOTTOM - share * (self.size[1] - TOP - BOTTOM)

    def axes(self, title: str, x_label: str, y_label: str) -> list[str]:
        width, height = self.size
        bottom = height - BOTTOM
        middle_x, middle_y = (LEFT + width - RIGHT) / 2, (TOP + bottom) / 2
        parts = [_text(LEFT, 20, title, "start", weight="bold")]
        for tick in ticks(*self.x_range):
            place = self.x(tick)
            parts.append(f'<path d="M{place:.1f} {bottom}v4" stroke="#888"/>')
            parts.append(_text(place, bottom + 17, f"{tick:g}", "middle"))
        for tick in ticks(*self.y_range):
            place = self.y(tick)
            parts.append(
                f'<path d="M{LEFT} {place:.1f}H{width - RIGHT}" stroke="#ccc" stroke-width="0.6"/>'
            )
            parts.append(_text(LEFT - 7, place + 4, f"{tick:g}", "end"))
        parts.append(
            f'<path d="M{LEFT} {TOP}V{bottom}H{width - RIGHT}" fill="none" stroke="#888"/>'
        )
        parts.append(_text(middle_x, height - 9, x_label, "middle"))
        turned = f' transform="rotate(-90 15 {middle_y:.0f})"'
        parts.append(_text(15, middle_y, y_label, "middle", more=turned))
        return parts

    def document(self, parts: Sequence[str]) -> str:
        width, height = self.size
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" {_FONT}>'
            f'<rect width="{width}" height="{height}" fill="white"/>{"".join(parts)}</svg>\n'
        )


def ticks(low: float, high: float, about: int = 6) -> list[float]:
    """Return round numbers between two values."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _range(values: Sequence[float], *, from_zero: bool = False) -> tuple[float, float]:
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    if from_zero:
        low, high = min(0.0, low), high + 0.05 * (high - min(0.0, low))
    return (low, high) if high > low else (low, low + 1.0)


def _pieces(line: Line) -> list[list[tuple[float, float]]]:
    """Cut a curve where a value is missing."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _legend(lines: Sequence[Line], size: tuple[int, int]) -> list[str]:
    parts, x = [], size[0] - RIGHT
    for number, line in reversed(list(enumerate(lines))):
        x -= 7 * len(line.label)
        parts.append(_text(x, 20, line.label, "start"))
        dash = DASHES[number % len(DASHES)]
        style = f' stroke-dasharray="{dash}"' if dash else ""
        colour = COLOURS[number % len(COLOURS)]
        parts.append(f'<path d="M{x - 26} 16h20" stroke="{colour}" stroke-width="1.8"{style}/>')
        x -= 40
    return parts


def _text(
    x: float, y: float, text: str, anchor: str, *, weight: str = "normal", more: str = ""
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="#333"{more}>{escape(text)}</text>'
    )
