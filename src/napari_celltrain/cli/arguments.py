"""Options that several commands share, and the texts of values."""

from __future__ import annotations

import argparse
import math
import re


def add_diameter(parser: argparse.ArgumentParser) -> None:
    """Add ``--diameter``."""
    parser.add_argument(
        "--diameter",
        type=positive,
        metavar="D",
        help="how wide the cells are, in um (in pixels for a detector without a voxel size); "
        "default: as in training, or measured where those were of unlike size",
    )


def add_gamma(parser: argparse.ArgumentParser) -> None:
    """Add ``--gamma``."""
    parser.add_argument(
        "--gamma",
        type=positive,
        metavar="G",
        help="power of the brightness: above 1 faint things get fainter; default: 1, or what makes "
        "unlike images look like those of the training",
    )


def add_json(parser: argparse.ArgumentParser) -> None:
    """Add ``--json``."""
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object on the last line"
    )


def add_device(parser: argparse.ArgumentParser, default: str | None = "auto") -> None:
    """Add ``--device`` and ``--threads``."""
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda", "mps"],
        default=default,
        help="where to compute; auto takes a graphics card where there is one",
    )
    parser.add_argument(
        "--threads", type=positive_int, metavar="N", help="CPU threads to compute with"
    )


def positive_int(text: str) -> int:
    """Read a whole number above 0."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no whole number above 0")
    return value


def positive(text: str) -> float:
    """Read a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f"'{text}' is no number above 0")
    return value


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"'{text}' is no number from 0 to 1")
    return value


def not_negative(text: str) -> float:
    """Read a finite number, 0 or above."""
    return 0.0 if text.strip() in ("0", "0.0") else positive(text)


def voxel_size(text: str) -> tuple[float, float, float]:
    """Read ``z,y,x`` in micrometres."""
    parts = text.split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"'{text}' is not z,y,x in um, such as 2,0.32,0.32")
    z, y, x = (positive(part) for part in parts)
    return z, y, x


def time_points(text: str) -> tuple[int, int]:
    """Read ``A:B``, both included, or a single time point."""
    matched = re.fullmatch(r"\s*(-?\d{1,9})\s*(?::\s*(-?\d{1,9})\s*)?", text)
    if matched is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not A:B, such as 0:14")
    first = int(matched[1])
    last = first if matched[2] is None else int(matched[2])
    if last < first:
        raise argparse.ArgumentTypeError(f"'{text}' runs backwards")
    return first, last


def tile(text: str) -> tuple[int, int, int]:
    """Read ``z,y,x`` in pixels."""
    parts = text.split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"'{text}' is not z,y,x in pixels, such as 16,256,256")
    z, y, x = (positive_int(part) for part in parts)
    return z, y, x


def channels(text: str) -> tuple[int, ...]:
    """Read channel numbers counted from 1; return them counted from 0."""
    return tuple(positive_int(part) - 1 for part in text.split(","))
