"""What is changed for paper: files found from the top, nothing that leads to a folder."""

import pytest

pytest.importorskip("nbformat", reason="needs the extra lab")
from printed import on_paper


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
