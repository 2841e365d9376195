"""Links from the text to the glossary: where a term is introduced, and where it is met again.

A page links a term at most once, and never in headings, code, formulas or links. It links
the place that introduces the term, ``*term* (中文)``; if there is none, the first place
that names it, if an earlier page introduced it and its name is of two words at least:
single words such as "channel" are too common for that.
"""

import functools
import re

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

from .glossary_terms import Term, places, terms, texts

CLOSED = (
    *(nodes.title, nodes.reference, addnodes.pending_xref, nodes.literal, nodes.rubric),
    *(nodes.literal_block, nodes.math, nodes.math_block, nodes.raw, nodes.caption),
)
AFTER = re.compile(r"\s*[(,]\s*([^(),;]*[^(),;\s])\s*[),;]")
WITHIN = re.compile(r"[(,]\s*([^(),;]*[^(),;\s])\s*[),;]")


def link(slug: str, inner: list[nodes.Node], introduces: bool) -> nodes.Element:
    """A link to a term, still to be resolved."""
    known = {"refdomain": "", "reftype": "term", "reftarget": slug}
    inside = nodes.inline("", "", *inner)
    return addnodes.pending_xref("", inside, introduces=introduces, **known)


def joined(doctree: nodes.Element) -> None:
    """Make one text of texts side by side: Sphinx cuts them where a line ends."""
    for parent in list(doctree.findall(nodes.TextElement)):
        children, last = [], None
        for child in parent.children:
            if isinstance(child, nodes.Text) and isinstance(last, nodes.Text):
                children[-1] = nodes.Text(children[-1] + child)
            else:
                children.append(child)
            last = child
        if len(children) < len(parent.children):
            parent.children = []
            parent += children


def open_texts(doctree: nodes.Element) -> list[nodes.Text]:
    """The texts that may hold links."""
    return [text for text in doctree.findall(nodes.Text) if _is_open(text)]


def _is_open(node: nodes.Node) -> bool:
    while node.parent is not None:
        node = node.parent
        if isinstance(node, CLOSED):
            return False
        if {"cell_input", "cell_output"} & set(node.get("classes", ())):
            return False
    return True


def wrap(text: nodes.Text, start: int, end: int, slug: str, introduces: bool) -> None:
    """Put a link around a part of a text."""
    said = text.astext()
    inner = [nodes.Text(said[start:end])]
    parts = [
        nodes.Text(said[:start]),
        link(slug, inner, introduces),
        nodes.Text(said[end:]),
    ]
    text.parent.replace(text, [p for p in parts if p.astext()])


def by_chinese(chinese: str, page: str) -> Term | None:
    """The term of a Chinese name; if there are two, the one that this page introduces."""
    found = [term for term in terms() if term.chinese == " ".join(chinese.split())]
    here = [t for t in found if t.slug in places() and places()[t.slug].page == page]
    return (here or found or [None])[0]


def introduced(doctree: nodes.Element, page: str) -> set[str]:
    """Link the places that introduce terms; the slugs of these."""
    done = set()
    for text in open_texts(doctree):
        place = text.parent.index(text)
        before = text.parent[place - 1] if place else None
        match = AFTER.match(text.astext())
        if match and isinstance(before, nodes.emphasis | nodes.strong):
            term = by_chinese(match[1], page)
            linked = before.next_node(lambda node: isinstance(node, CLOSED))
            if term and term.slug not in done and not linked:
                _link_marked(before, term)
                done.add(term.slug)
    for text in open_texts(doctree):
        done |= _introduced_plainly(text, page, done)
    return done


def _link_marked(marked: nodes.Element, term: Term) -> None:
    """Link a term in marks; what stands before it in the marks stays outside."""
    said = marked[-1].astext() if isinstance(marked[-1], nodes.Text) else ""
    name = "|".join(map(_loose, term.names))
    found = re.search(rf"(?<=\W)(?:{name})$", said, re.I)
    if found:
        wrap(marked[-1], *found.span(), term.slug, True)
    else:
        marked.parent.replace(marked, link(term.slug, [marked], True))


def _introduced_plainly(text: nodes.Text, page: str, done: set[str]) -> set[str]:
    """Link the first ``term (中文)`` of a text without marks."""
    said = text.astext()
    for match in WITHIN.finditer(said):
        term = by_chinese(match[1], page)
        if term and term.slug not in done:
            name = "|".join(map(_loose, term.names))
            before = re.search(
                rf"(?<!\w)(?:{name})(?=\s*$)", said[: match.start()], re.I
            )
            start, end = before.span() if before else match.span(1)
            wrap(text, start, end, term.slug, True)
            return {term.slug}
    return set()


def _loose(name: str) -> str:
    """A pattern for a name: in one or two lines, one or several."""
    return r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", name))) + r"(?:s|es)?"


@functools.cache
def known() -> tuple[re.Pattern, dict[str, str]]:
    """A pattern for all names of two words and more, and the slugs of the names."""
    slugs = {
        _plain(name): term.slug
        for term in reversed(terms())
        for name in term.names
        if re.search(r"\w[\s-]+\w", name)
    }
    longest = sorted(slugs, key=len, reverse=True)
    pattern = rf"(?<![\w-])(?:{'|'.join(map(_loose, longest))})(?![\w-])"
    return re.compile(pattern, re.I), slugs


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", " ", name).lower()


def slug_of(name: str) -> str | None:
    """The slug of a name as it stands in a text, one or several of the thing."""
    said, slugs = _plain(name), known()[1]
    return next((slugs[s] for s in (said, said[:-1], said[:-2]) if s in slugs), None)


def met_again(doctree: nodes.Element, page: str, done: set[str]) -> set[str]:
    """Link the first place of terms that an earlier page introduced."""
    order = [place.page for place in texts()]
    early = {s for s, p in places().items() if order.index(p.page) < order.index(page)}
    waiting, new = open_texts(doctree), set()
    while waiting:
        text = waiting.pop(0)
        for match in known()[0].finditer(text.astext()):
            slug = slug_of(match[0])
            if slug in early and slug not in done | new:
                parent, place = text.parent, text.parent.index(text)
                wrap(text, *match.span(), slug, False)
                rest = [c for c in parent[place:] if isinstance(c, nodes.Text)]
                waiting = [t for t in rest if t is not parent[place]][:1] + waiting
                new.add(slug)
                break
    return new


class TermLinks(SphinxTransform):
    """Links of one page, put in when it is read."""

    default_priority = 860

    def apply(self) -> None:
        """Called by Sphinx."""
        page = self.env.docname
        if page not in {place.page for place in texts()}:
            return
        joined(self.document)
        done = introduced(self.document, page)
        self.env.book_terms[page] = done
        met_again(self.document, page, done)
