"""Every link of the site leads somewhere, in the file and to the place in it."""

import re
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

pytestmark = pytest.mark.site
LINK = re.compile(
    r'<(?:a|img|script|link|source|audio|video)\b[^>]*?\b(?:href|src|srcset)="([^"]+)"'
)
ANCHOR = re.compile(r'\b(?:id|name)="([^"]+)"')
OTHER = re.compile(r"(?:https?|mailto|data|javascript):")


@cache
def anchors(file: Path) -> frozenset[str]:
    """The places in a page."""
    return frozenset(map(unescape, ANCHOR.findall(file.read_text(encoding="utf-8"))))


def test_a_link_inside_the_site_leads_somewhere(page, built):
    file, broken = built / page, []
    for link in set(map(unescape, LINK.findall(file.read_text(encoding="utf-8")))):
        if OTHER.match(link) or link == "#":
            continue
        path, place = urldefrag(link)
        target = (file.parent / unquote(path.partition("?")[0])) if path else file
        target = target / "index.html" if target.is_dir() else target
        if not target.is_file():
            broken.append(link)
        elif (
            place
            and target.suffix == ".html"
            and unquote(place) not in anchors(target.resolve())
        ):
            broken.append(link)
    assert broken == []
