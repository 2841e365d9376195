"""Links put into finished HTML: into coloured code by place, into prose by name."""

import html
import re
from collections.abc import Callable, Iterable

from .source_package import Package, Target
from .source_uses import own_names, references, spoken

Href = Callable[[Target], str]
UNIT = re.compile(r"<[^>]*>|&#?\w+;|.", re.DOTALL)
TAG = re.compile(r"<[^>]*>")
CODE = re.compile(
    r'(<div class="highlight-(?:i?python3?|py)\b[^>]*><div class="highlight"><pre>)'
    r"(.*?)(</pre>)",
    re.DOTALL,
)
INLINE = re.compile(r'<code class="docutils literal notranslate">(.*?)</code>')
CLOSED = re.compile(r"<(a|h[1-6]|summary|figcaption)\b.*?</\1>", re.DOTALL)


def plain(markup: str) -> str:
    """The text of a piece of HTML."""
    return html.unescape(TAG.sub("", markup))


def wrapped(markup: str, ranges: Iterable[tuple[int, int, str]]) -> str:
    """HTML with links put around ranges of its text: (start, end, opening tag).

    A link never reaches over a tag or the end of a line, so the HTML stays well-formed
    and lines can be taken apart afterwards. Of ranges that overlap the first counts.
    """
    waiting = sorted(ranges, reverse=True)
    out, place, inside = [], 0, None
    for unit in UNIT.findall(markup):
        is_tag = unit[0] == "<"
        if inside and (is_tag or unit == "\n" or place >= inside[1]):
            out.append("</a>")
            inside = None
        if not is_tag:
            while waiting and waiting[-1][1] <= place:
                waiting.pop()
            begins = waiting and waiting[-1][0] <= place and not unit.isspace()
            if begins and not inside:
                inside = waiting[-1]
                out.append(inside[2])
            place += 1
        out.append(unit)
    return "".join([*out, "</a>" if inside else ""])


def opening(address: str, target: Target) -> str:
    """The tag that begins a link to the source."""
    title = ".".join(filter(None, target))
    return f'<a class="to-source" href="{address}" title="{title}">'


def first_of_each(found: Iterable) -> list:
    """Of references to the same target only the first."""
    kept = {}
    for reference in found:
        kept.setdefault(reference.target, reference)
    return list(kept.values())


def linked_code(body: str, package: Package, href: Href) -> tuple[str, dict]:
    """A page's HTML with links in its cells of code, once for each name and cell.

    And what its names mean after the last cell.
    """
    scope: dict[str, Target] = {}

    def link(match: re.Match) -> str:
        found = first_of_each(references(plain(match[2]), scope, package))
        ranges = [(r.start, r.end, opening(href(r.target), r.target)) for r in found]
        return match[1] + wrapped(match[2], ranges) + match[3] if ranges else match[0]

    return CODE.sub(link, body), scope


def linked_prose(body: str, package: Package, href: Href, scope: dict) -> str:
    """A page's HTML with links in its prose: the first time that a name stands there."""
    own = own_names(plain(code) for _, code, _ in CODE.findall(body))
    closed = [match.span() for match in CLOSED.finditer(body)]
    seen = set()

    def link(match: re.Match) -> str:
        target = spoken(plain(match[1]), package, own, scope)
        within = any(start <= match.start() < end for start, end in closed)
        if target is None or target in seen or within:
            return match[0]
        seen.add(target)
        return f"{opening(href(target), target)}{match[0]}</a>"

    return INLINE.sub(link, body)
