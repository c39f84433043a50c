"""Text tables as people's programs write them: any delimiter, decimal comma, preamble, encoding."""

from __future__ import annotations

import codecs
import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_celltrain.errors import CellTrainError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_DELIMITERS = ",;\t|"
_LONGEST_PREAMBLE = 8
_MISSING = {"", "nan", "na", "n/a", "none", "null", "-", "<na>"}
_ALWAYS_CELLS = 10**6
_CELLS_PER_LETTER = 4
"""Short rows are filled up; a table of more cells than that is nearly all made of those."""
_NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?$")


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of text.

    Parameters
    ----------
    header
        The names as written, blanks at the ends removed.
    columns
        One list of texts for each name, all of one length.
    first_line
        Number of the first row's line in the file, from 1.
    decimal_comma
        Whether numbers are written 1,5.
    """

    header: list[str]
    columns: list[list[str]]
    first_line: int
    decimal_comma: bool

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def numbers(self, index: int) -> NDArray[np.float64]:
        """Return a column as numbers, NaN where there is none."""
        return to_numbers(self.columns[index], self.decimal_comma)

    def without_rows(self, n: int) -> Table:
        """Return the table without its first rows (further header lines)."""
        return Table(
            self.header,
            [column[n:] for column in self.columns],
            self.first_line + n,
            self.decimal_comma,
        )


def decoded(raw: bytes) -> str:
    """Return the text of a file in any of the encodings that spreadsheets write."""
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return raw.decode("utf-16", errors="replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace")


def read_table(path: Path) -> Table:
    """Return the table in a text file.

    Raises
    ------
    CellTrainError
        When there is none.
    """
    text = decoded(path.read_bytes())
    if "\0" in text[:4096]:
        raise CellTrainError(
            f"{path} is no text table: it holds binary data, so it is damaged, or has the name of "
            "another kind of file."
        )
    table = parse_table(text)
    if table is None or not len(table):
        raise CellTrainError(
            f"{path} is no table with a header and rows: a line has to name the columns, such as "
            "t,z,y,x, and lines of numbers have to follow it."
        )
    return table


def parse_table(text: str) -> Table | None:
    """Return the table in a text; None when there is no header line with two names."""
    lines = text.splitlines()
    found = _header(lines)
    if found is None:
        return None
    at, delimiter = found
    rows = csv.reader(lines[at:], delimiter=delimiter)
    header = [name.strip().lstrip("#").strip() for name in next(rows)]
    while header and not header[-1]:  # a delimiter at the end of the line
        header.pop()
    n = len(header)
    if n * (len(lines) - at) > max(_ALWAYS_CELLS, _CELLS_PER_LETTER * len(text)):
        raise CellTrainError(
            f"The table has {n} columns, of which most rows fill few; it is damaged, or no table "
            "of positions."
        )
    cells = [
        row if len(row) == n else row[:n] + [""] * (n - len(row))
        for row in rows
        if row and (row[0] or any(row))
    ]
    comma = _has_decimal_comma(cells, quoted=delimiter == ",")
    columns = [list(map(str.strip, column)) for column in zip(*cells, strict=True)] or [[]] * n
    return Table(header, columns, at + 2, comma)


def to_numbers(column: list[str], decimal_comma: bool = False) -> NDArray[np.float64]:
    """Return texts as numbers, NaN for what is none."""
    if decimal_comma:
        column = [cell.replace(",", ".") for cell in column]
    try:
        return np.array(list(map(float, column)), np.float64)
    except ValueError:
        return np.array([_number(cell) for cell in column], np.float64)


def values_of(column: list[str], decimal_comma: bool) -> NDArray[Any]:
    """Return a column as numbers where all entries are numbers or missing, else as texts."""
    if column and not decimal_comma:
        try:
            return np.array(list(map(float, column)), np.float64)
        except ValueError:  # something is missing, or no number
            pass
    present = [cell for cell in column if cell.lower() not in _MISSING]
    if present and all(_NUMBER.match(cell) for cell in present):
        return to_numbers(column, decimal_comma)
    truths = present and all(cell.lower() in ("true", "false") for cell in present)
    if truths and len(present) == len(column):
        return np.array([cell.lower() == "true" for cell in column])
    return np.array(column, object)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return float("nan")


def _header(lines: list[str]) -> tuple[int, str] | None:
    """Return the header's line index and the delimiter.

    A preamble (title lines, blank lines) has fewer delimiters than the header below it.
    """
    best: tuple[int, int, str] | None = None
    for at, line in enumerate(lines[: _LONGEST_PREAMBLE + 1]):
        for delimiter in _DELIMITERS:
            names = _split(line, delimiter)
            named = [name for name in names if name and not _NUMBER.match(name)]
            if len(named) < 2 or any(len(name) > 200 for name in named):
                continue
            if best is None or len(named) > best[0]:
                best = (len(named), at, delimiter)
    if best is None:
        return None
    return best[1], best[2]


def _split(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line; a delimiter within quotes divides nothing."""
    try:
        cells = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # endless cells
        cells = line.split(delimiter)
    return [cell.strip() for cell in cells]


def _has_decimal_comma(cells: list[list[str]], *, quoted: bool) -> bool:
    """Tell whether numbers are written 1,5.

    Where commas part the cells, those within one are `quoted`: they may also part the thousands,
    or the numbers of a list.
    """
    beginning = [cell.strip() for row in cells[:200] for cell in row]
    found = [cell for cell in beginning if re.match(r"[-+]?\d+,\d+$", cell)]
    if not quoted:
        return bool(found)
    points = any(re.match(r"[-+]?\d*\.\d+", cell) for cell in beginning)
    return not points and not all(re.match(r"[-+]?\d{1,3},\d{3}$", cell) for cell in found)
