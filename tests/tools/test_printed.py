"""What is changed for paper: files found from the top, nothing that leads to a folder."""

import pytest

pytest.importorskip("nbformat", reason="needs the extra lab")
from xml.parsers.expat import ExpatError

from printed import on_paper, well_formed


@pytest.mark.parametrize(
    ("page", "paper"),
    [
        ('<img src="../_static/a.png" loading="lazy">', '<img src="_static/a.png">'),
        ('<img src="#_media/b.webp">', '<img src="_media/b.webp">'),
        ('<a class="x" href="source/mmbook.html#L3">y</a>', '<a class="x">y</a>'),
        ('<a href="../index.html">y</a>', "<a>y</a>"),
    ],
)
def test_what_a_page_of_all_chapters_cannot_find_is_changed(page, paper):
    assert on_paper(page) == paper


@pytest.mark.parametrize(
    "page",
    [
        '<a href="https://arxiv.org/abs/1706.03762">y</a>',
        '<a href="#document-chapters/2-concepts/25_fusion">y</a>',
        '<link href="_static/book.css" rel="stylesheet">',
        '<use href="#glyph-1"/>',
    ],
)
def test_what_is_found_stays(page):
    assert on_paper(page) == page


@pytest.mark.parametrize(
    ("page", "xml"),
    [
        ("<p>a.<wbr>b<br>c</p>", "<p>a.<wbr />b<br />c</p>"),
        ('<p><img alt="a > b" src="c"></p>', '<p><img alt="a > b" src="c" /></p>'),
        (
            "<audio controls muted></audio>",
            '<audio controls="controls" muted="muted"></audio>',
        ),
        ("<p>a &nbsp;&lt; b & c</p>", "<p>a \xa0&lt; b &amp; c</p>"),
        ('<svg viewBox="0 0 1 1"><use href="#a"/></svg>',) * 2,
    ],
)
def test_a_page_becomes_xml(page, xml):
    assert well_formed(page) == xml


def test_a_page_that_is_no_xml_is_an_error():
    with pytest.raises(ExpatError):
        well_formed("<p><b>a</p>")
