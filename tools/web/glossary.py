"""The glossary as a list with an address for each term, and cards for links to it.

The file is one table. Here its rows become an entry each, in a section for each letter;
"introduced in" is found in the chapters. Every entry stands in the index of the site, and so
do the public names of the package. A script shows an entry as a card beside a link; it
loads the entries from a script, because a page from a folder may not ask for other files.
"""

import functools
import json
from itertools import groupby
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

from .glossary_links import TermLinks
from .glossary_terms import FILE, Place, Term, places, plain, terms, texts

PAGE = "chapters/appendix/glossary"
DATA = "_static/glossary_terms.js"
CHINESE = "中文"


def anchor(slug: str) -> str:
    """The address of an entry within the page."""
    return f"term-{slug}"


def pending(kind: str, target: str, text: str, **known) -> nodes.Element:
    """A link that is resolved when all pages are known."""
    inner = nodes.inline("", text)
    known |= {"refdomain": "", "reftype": kind, "reftarget": target}
    return addnodes.pending_xref("", inner, **known)


def entry(term: Term, cells: list[list[nodes.Node]], first: Place) -> nodes.Node:
    """An entry: the term in both languages, its meaning, the chapter that introduces it."""
    english, chinese, meaning = cells
    name = nodes.term("", "", *english, nodes.Text(" "), ids=[anchor(term.slug)])
    name += nodes.inline("", "", *chinese, classes=["language-zh"])
    link = pending("term-first", first.page, first.label, slug=term.slug)
    note = nodes.inline(
        "", "", nodes.Text("· introduced in "), link, classes=["first-in"]
    )
    text = nodes.paragraph("", "", *meaning, nodes.Text(" "), note)
    return nodes.definition_list_item("", name, nodes.definition("", text))


def indexed(found: list[Term]) -> nodes.Node:
    """The entries of the index for some terms, in both languages."""
    entries = []
    for term in found:
        where = (anchor(term.slug), "main")
        several = term.names if "," in term.english else [term.english]
        entries += [("single", plain(name), *where, None) for name in several]
        entries.append(("single", plain(term.chinese), *where, CHINESE))
    return addnodes.index(entries=entries)


def letters(found: list[str]) -> nodes.Node:
    """Links to the sections."""
    bar = nodes.bullet_list(classes=["letters"])
    for letter in found:
        ref = nodes.reference(
            "", letter, refid=f"letter-{letter.lower()}", internal=True
        )
        bar += nodes.list_item("", nodes.paragraph("", "", ref))
    return bar


def listed(table: nodes.table, found: list[Term], first: dict[str, Place]) -> list:
    """What stands in place of the table."""
    body = next(table.findall(nodes.tbody))
    rows = zip(found, body.children, strict=True)
    parts = []
    for letter, group in groupby(rows, key=lambda row: row[0].letter):
        group = list(group)
        items = nodes.definition_list(classes=["terms"])
        for term, row in group:
            cells = [_inner(cell) for cell in row.children[:3]]
            items += entry(term, cells, first[term.slug])
        ids, title = [f"letter-{letter.lower()}"], nodes.title("", letter)
        index = indexed([term for term, row in group])
        parts.append(nodes.section("", title, index, items, ids=ids, names=[]))
    where = pending("term-index", "genindex", "Index of terms and names")
    return [
        letters([p[0].astext() for p in parts]),
        nodes.paragraph("", "", where),
        *parts,
    ]


def _inner(cell: nodes.Node) -> list[nodes.Node]:
    """What stands in a cell of a table."""
    inner = cell.children[0] if cell.children else nodes.paragraph()
    return [child.deepcopy() for child in inner.children]


class GlossaryPage(SphinxTransform):
    """The table of the glossary becomes a list when the page is read."""

    default_priority = 700  # before the index is collected

    def apply(self) -> None:
        """Called by Sphinx."""
        table = next(iter(self.document.findall(nodes.table)), None)
        if self.env.docname != PAGE or table is None:
            return
        for place in texts():
            self.env.note_dependency(f"{place.page}.ipynb")
        table.parent.replace(table, listed(table, terms(), places()))


def resolve(app, env, node, inner):
    """Called by Sphinx for each link that it does not know."""
    kind, target, here = node["reftype"], node["reftarget"], node.get("refdoc", "")
    uri = functools.partial(app.builder.get_relative_uri, here)
    if kind == "term":
        ids = [f"intro-{target}"] if node["introduces"] else []
        if PAGE not in env.found_docs:
            return inner
        address = f"{uri(PAGE)}#{anchor(target)}"
        return _link(inner, address, ids=ids, classes=["term-link"])
    if kind == "term-first":
        known = node["slug"] in env.book_terms.get(target, ())
        place = f"#intro-{node['slug']}" if known else ""
        return _link(inner, uri(target) + place) if target in env.found_docs else inner
    return _link(inner, uri(target)) if kind == "term-index" else None


def _link(inner: nodes.Node, address: str, **attributes) -> nodes.Element:
    return nodes.reference(
        *("", "", *inner.children), internal=True, refuri=address, **attributes
    )


def has_scripts(app) -> bool:
    """Whether a site is built, and no book in one file."""
    return getattr(app.builder, "search", False)


def load_script(app, page, template, context, doctree) -> None:
    """Called by Sphinx for each page: those with links to terms get the cards."""
    links = doctree.findall(nodes.reference) if doctree else ()
    linked = any("term-link" in link["classes"] for link in links)
    if page in (PAGE, "genindex") or linked:
        app.add_css_file("glossary.css")
        if has_scripts(app) and page != "genindex":
            app.add_js_file("glossary.js", defer="defer")


def write_data(app) -> list:
    """Called by Sphinx after the pages: the entries for the cards."""
    if not has_scripts(app):
        return []
    data = {
        t.slug: [plain(t.english), plain(t.chinese), plain(t.meaning)] for t in terms()
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    path = Path(app.outdir) / DATA
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"var BOOK_GLOSSARY = {text};\n", encoding="utf-8")
    return []


def index_names(app, env) -> list:
    """Called by Sphinx: the public names of the package stand in the index, too."""
    from .search import names

    entries = env.get_domain("index").entries
    for page in [page for page in entries if page.startswith("source/")]:
        del entries[page]
    for name, page in names().items() if has_scripts(app) else ():
        entries.setdefault(page, []).append(("single", name, name, "", None))
    return []


def prepare(app, env, added, changed, removed) -> list:
    """Called by Sphinx before pages are read: a place for what they introduce."""
    env.book_terms = getattr(env, "book_terms", {})
    return []


def depend(app, page, source) -> None:
    """Called by Sphinx for each page that is read: its links rest on the glossary."""
    if page in {place.page for place in texts()}:
        app.env.note_dependency(str(FILE))


def merge(app, env, pages, other) -> None:
    """Called by Sphinx when pages were read by several processes."""
    env.book_terms |= {p: s for p, s in other.book_terms.items() if p in pages}


def setup(app):
    """Called by Sphinx."""
    app.add_transform(GlossaryPage)
    app.add_transform(TermLinks)
    app.connect("env-get-outdated", prepare)
    app.connect("env-merge-info", merge)
    app.connect("source-read", depend)
    app.connect("env-updated", index_names)
    app.connect("missing-reference", resolve)
    app.connect("html-page-context", load_script, priority=800)
    app.connect("html-collect-pages", write_data)
