"""XML of strangers is read in a time that follows its length, or refused."""

from __future__ import annotations

import io
import time

import pytest

from napari_celltrain.errors import CellTrainError
from napari_celltrain.formats.xml_reading import read_tree, stream_elements, tree_of_text


def elements(document: bytes) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    stream_elements(
        io.BytesIO(document), lambda name, attributes: found.append((name, len(attributes)))
    )
    return found


def test_a_document_in_many_pieces_is_read_whole():
    lines = b"\n".join(b'<spot number="%d" note="a > b"/>' % number for number in range(20_000))
    found = elements(b"<?xml version='1.0'?><spots>" + lines + b"</spots>")
    assert found[0] == ("spots", 0)
    assert found[1:] == [("spot", 2)] * 20_000


def test_an_element_of_very_many_attributes_takes_no_ages():
    """It took ten seconds, and four times as long for twice as many."""
    many = b" ".join(b'a%d="1"' % number for number in range(400_000))
    begin = time.process_time()
    assert elements(b"<a><b " + many + b"/></a>") == [("a", 0), ("b", 400_000)]
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("begin", "end"), [(b"<a><!--", b"--></a>"), (b"<a ", b"/>"), (b"<a b='", b"'/>")]
)
def test_a_tag_that_does_not_end_is_refused(begin, end):
    with pytest.raises(CellTrainError, match="a tag or a comment of more than 16 MB in line 1"):
        elements(begin + b" " * 20_000_000 + end)


def test_long_text_is_read():
    assert read_tree(io.BytesIO(b"<a>" + b"1 " * 10_000_000 + b"</a>")).text == "1 " * 10_000_000


@pytest.mark.parametrize("document", ["", "<a>", "<a></b>", "nothing", "<a/><a/>"])
def test_what_is_not_whole_is_a_sentence_with_the_line(document):
    with pytest.raises(CellTrainError, match=r"not complete XML: .* in line 1"):
        tree_of_text(document)
