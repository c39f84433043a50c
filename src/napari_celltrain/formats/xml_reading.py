"""Reading XML that strangers wrote: as a stream, without entities, without endless nesting."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.documents import beginning

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

_DEEPEST = 100
_PIECE = 2**16
_LONGEST_TAG = 16_000_000
_BEFORE_ROOT = re.compile(r"(?:\s|<\?.*?\?>|<!--.*?-->)*", re.DOTALL)
_ROOT = re.compile(r"<([A-Za-z_][\w.:-]*)")


def root_name(path: Path) -> str:
    """Return the name of a file's first element, "" when it has none; reads the beginning only."""
    start = beginning(path, 16384)
    encoding = "utf-16" if start[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = start.decode(encoding, errors="ignore")
    before = _BEFORE_ROOT.match(text)
    match = _ROOT.match(text, before.end() if before else 0)
    return match[1] if match else ""


def stream_elements(
    handle: BinaryIO,
    on_start: Callable[[str, dict[str, str]], object],
    on_end: Callable[[str], object] | None = None,
    on_text: Callable[[str], object] | None = None,
) -> None:
    """Call back for each element of a document, in order.

    Document type declarations are refused: nothing here needs one, and entities that expand into
    gigabytes, or into other files, are declared there.

    Raises
    ------
    CellTrainError
        With the line, when it is no XML, has a document type, is nested too deeply, or has a tag
        that does not end.
    """
    parser = expat.ParserCreate()
    depth = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise CellTrainError(f"The XML is nested more than {_DEEPEST} elements deep.")
        on_start(name, attributes)

    def end(name: str) -> None:
        nonlocal depth
        depth -= 1
        if on_end is not None:
            on_end(name)

    def refuse(*_: object) -> None:
        raise CellTrainError("The XML has a document type declaration, which is not accepted.")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    if on_text is not None:
        parser.CharacterDataHandler = on_text
        parser.buffer_text = True
    try:
        _feed(parser, handle)
    except expat.ExpatError as error:
        raise CellTrainError(
            f"It is not complete XML: {expat.ErrorString(error.code)} in line {error.lineno}."
        ) from error


def _feed(parser: expat.XMLParserType, handle: BinaryIO) -> None:
    """Give a document to the parser, in larger and larger pieces while it is within one tag.

    A tag that is not whole is looked through from its beginning with every piece (expat before
    2.6): one of many megabytes took minutes in pieces of two kilobytes.
    """
    fed, size = 0, _PIECE
    while piece := handle.read(size):
        parser.Parse(piece)
        fed += len(piece)
        pending = fed - parser.CurrentByteIndex
        if pending > _LONGEST_TAG:
            raise CellTrainError(
                f"The XML has a tag or a comment of more than {_LONGEST_TAG // 10**6} MB in line "
                f"{parser.CurrentLineNumber}."
            )
        size = max(_PIECE, pending)
    parser.Parse(b"", True)


def read_tree(handle: BinaryIO) -> Element:
    """Return the root of a whole, small document; see `stream_elements` for what is refused."""
    builder = TreeBuilder()
    stream_elements(handle, builder.start, builder.end, builder.data)
    return builder.close()


def tree_of_text(text: str) -> Element:
    """Return the root of a document inside another file's metadata; see `read_tree`."""
    declared = re.match(r"\s*<\?.*?\?>", text)  # its encoding was that of the bytes
    return read_tree(io.BytesIO(text[declared.end() if declared else 0 :].encode("utf-8")))


def floats_in(text: str | None) -> list[float]:
    """Return the numbers in a text.

    Raises
    ------
    CellTrainError
        When something in it is no number.
    """
    try:
        return [float(word) for word in (text or "").split()]
    except ValueError as error:
        raise CellTrainError(f"{str(text)[:40]!r} is not a list of numbers.") from error
