"""Finding one's way: the book's name on each page, and names for all that can be pressed.

The theme leaves a few things without a name for those who listen to a page; they are
mended in the finished pages. The front page gets its picture into the page itself, where
its text can be read aloud and follows the colours of the page.
"""

import re
from html import escape
from pathlib import Path

from .meta import BOOK, repository
from .reading import finished_pass, text_pass

ROOT = Path(__file__).parent.parent.parent
FRONT = "chapters/index"
CHAPTER = re.compile(r"chapters/\d-[\w-]+/\d\d+_\w+")
IN_ARTICLE = re.compile(r"^In the article: §", re.MULTILINE)
PICTURE = re.compile(r"^!\[([^\]]*)\]\(\.\./_static/front\.svg\)$", re.MULTILINE)
OWN_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
TOGGLE = re.compile(
    r'(<li class="toctree-l\d[^"]*has-children[^"]*">\s*<a [^>]*>)(.*?)(</a>\s*'
    r"<details[^>]*>\s*)<summary>",
    re.DOTALL,
)
HOME = re.compile(r'<a class="navbar-brand logo" href="([^"]*)"')
START = re.compile(
    r'(<div class="header-article-items__start">(?:(?!header-article-items__end).)*?)'
    r'(</div>\s*<div class="header-article-items__end">)',
    re.DOTALL,
)
CHANGES = (  # what finished pages have, and what they shall have
    (
        re.compile(r'<summary aria-label="Toggle hidden content">'),
        "<summary>",  # its own text says what is hidden
    ),
    (
        re.compile(r'<div class="bd-sidebar-primary bd-sidebar([^"]*)">'),
        r'<div class="bd-sidebar-primary bd-sidebar\1" role="region" aria-label="Book">',
    ),
    (
        re.compile(r'(<button class="[^"]*search-button[^"]*__button"[^>]*?)'
                   r' aria-label="Search"'),
        r"\1",  # the text inside is the name
    ),
    (
        re.compile(r"<th(\s[^>]*)?>((?:\s|<p>\s*</p>)*)</th>"),
        r"<td\1>\2</td>",  # an empty cell is the head of nothing
    ),
)  # fmt: skip


@finished_pass
def named(text: str) -> str:
    """A finished page in which all that can be pressed has a name; idempotent."""
    for old, new in CHANGES:
        text = old.sub(new, text)
    text = TOGGLE.sub(_toggle, text)
    home = HOME.search(text)
    if home and 'class="book-name"' not in text:
        link = f'<a class="book-name" href="{home[1]}">{escape(BOOK)}</a>'
        text = START.sub(rf"\1{link}\2", text, count=1)
    return text


def _toggle(found) -> str:
    title = " ".join(re.sub(r"<[^>]+>", "", found[2]).split())
    return f'{found[1]}{found[2]}{found[3]}<summary aria-label="Pages below {title}">'


def inline(svg: str, kind: str, label: str) -> str:
    """A picture as a part of the page: without its own colours and with its text."""
    svg = OWN_STYLE.sub("", svg).strip()
    label = escape(" ".join(label.split()), quote=True)
    return svg.replace("<svg ", f'<svg class="front-{kind}" aria-label="{label}" ', 1)


@text_pass
def link_article(text, page, app):
    """Let a chapter's line "In the article: §2.1" lead to the page of the article."""
    if not CHAPTER.fullmatch(page):
        return text
    return IN_ARTICLE.sub("[In the article](../appendix/article.md): §", text)


@text_pass
def front(text, page, app):
    """Put the picture into the front page, and leave out an address that is none."""
    if page != FRONT:
        return text
    for name in ("front.svg", "front/narrow.svg"):
        app.env.note_dependency(str(ROOT / "_static" / name))
    if repository(app) is None:
        text = without_address(text)
    return PICTURE.sub(_pictures, text)


def without_address(text: str) -> str:
    """The text without the lines that name a repository which has no address yet."""
    lines = text.split("\n")
    return "\n".join(line for line in lines if "github.com/OWNER" not in line)


def _pictures(found) -> str:
    shown = []
    for name, kind in (("front.svg", "wide"), ("front/narrow.svg", "narrow")):
        svg = (ROOT / "_static" / name).read_text(encoding="utf-8")
        shown.append(inline(svg, kind, found[1]))
    return '<div class="front-picture">\n' + "\n".join(shown) + "\n</div>"


def setup(app):
    """Called by Sphinx."""
