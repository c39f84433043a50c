"""Reading whole documents without surprises: size, encoding, nesting."""

from __future__ import annotations

import gc
import json
import re
import tomllib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_LONG_KEY = re.compile(rb"(?:[\w\"'-]++\s*+\.\s*+){50}")


@contextmanager
def sentences(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a damaged file makes a library or a parser raise into a sentence.

    Expected mistakes have better sentences of their own; those pass through, with the file's name
    added when they lack it.
    """
    try:
        with np.errstate(all="ignore"):  # absurd numbers are sorted out afterwards
            yield
    except CellTrainError as error:
        if path.name in str(error):
            raise
        raise CellTrainError(f"{path}: {error}") from error
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise CellTrainError(f"{path} can't be read: {reason}.") from error
    except RecursionError as error:
        raise CellTrainError(f"{path} is nested too deeply to be {kind}.") from error
    except MemoryError as error:
        raise CellTrainError(f"{path} claims to be larger than the memory.") from error
    except Exception as error:
        detail = " ".join(str(error).split())[:200]
        raise CellTrainError(
            f"{path} is damaged, or not {kind}: {type(error).__name__} {detail}".rstrip() + "."
        ) from error


@contextmanager
def without_collecting() -> Iterator[None]:
    """Keep the garbage collector from looking through millions of new objects again and again.

    Nearly halves the time to read a large document.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def load_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises
    ------
    CellTrainError
        With the line when it is not JSON.
    """
    try:
        # utf-8-sig also takes the mark that Windows editors put first
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise CellTrainError(
            f"{path} is not complete JSON: {error.msg} in line {error.lineno}, column "
            f"{error.colno}."
        ) from error
    except UnicodeDecodeError as error:
        raise CellTrainError(
            f"{path} is no text (byte {error.start} is not UTF-8): it is damaged, or has the name "
            "of another kind of file."
        ) from error


def parsed_toml(content: bytes) -> dict[str, Any]:
    """Return what a TOML document holds.

    Raises
    ------
    ValueError
        When it is none; also for a key of very many parts, which would take minutes and gigabytes.
    """
    if _LONG_KEY.search(content):
        raise ValueError("a key in it has more than fifty parts")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def beginning(path: Path, size: int = 4096) -> bytes:
    """Return the first bytes of a file; nothing when it can't be read."""
    try:
        if not path.is_file():
            return b""
        with open(path, "rb") as handle:
            return handle.read(size)
    except (OSError, ValueError):
        return b""


def number_or_none(value: Any) -> float | None:
    """Return a positive finite number, else None (0 means unknown in most files)."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 0 < number < 1e9 else None
