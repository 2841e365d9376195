"""Search in English and Chinese, with a sentence of the text beside each hit.

Sphinx takes a run of Chinese for one word, so that a term inside of a longer one is not
found. Here each run is indexed as its characters and its overlapping pairs, and a query
is cut in the same way. The index and the sentences leave out code, outputs and the TeX
of formulas. The text of all pages lies in a script of its own, which only the page of
the search loads: a page from a folder may not ask for other files.
"""

import json
import re
from pathlib import Path

from docutils import nodes
from sphinx.search.en import SearchEnglish

from .glossary_terms import plain_tex

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
WORD = re.compile(rf"[{HAN}]+|[^\W{HAN}]+")
SPLITTER = """
var splitQuery = (query) => {
  const han = /^[HAN]/, pieces = [];
  for (const run of query.match(/[HAN]+|[\\p{Letter}\\p{Number}_]+/gu) || []) {
    for (const part of run.match(/[HAN]+|[^HAN]+/gu)) {
      if (!han.test(part) || part.length === 1) pieces.push(part);
      else for (let i = 1; i < part.length; i++) pieces.push(part.slice(i - 1, i + 1));
    }
  }
  return pieces;
};
""".replace("HAN", HAN)
SKIPPED = (
    *(nodes.literal_block, nodes.doctest_block, nodes.raw, nodes.comment),
    *(nodes.math, nodes.math_block, nodes.image),
)
SIMPLE = re.compile(r"(?:(?!_)[\w .,=+\-/()%])+")
SOLUTIONS = re.compile(r"/solutions/")
TEXTS = "_static/search_text.js"
PREFIX = "var BOOK_TEXT = "


class SearchBoth(SearchEnglish):
    """English words with their stems; Chinese in characters and pairs of them."""

    js_splitter_code = SPLITTER

    def split(self, text: str) -> list[str]:
        """The pieces of a text that are indexed."""
        pieces = []
        for run in WORD.findall(text):
            pieces += [*run, *pairs(run)] if re.match(f"[{HAN}]", run) else [run]
        return pieces


def pairs(run: str) -> list[str]:
    """The overlapping pairs of a run of characters."""
    return [run[i : i + 2] for i in range(len(run) - 1)]


def is_skipped(node: nodes.Node) -> bool:
    """Code, what comes out of it, formulas, pictures and notes of the glossary."""
    if isinstance(node, SKIPPED):
        return True
    classes = node.get("classes", ()) if isinstance(node, nodes.Element) else ()
    return not {"cell_input", "cell_output", "first-in"}.isdisjoint(classes)


def captions(node: nodes.Node) -> list[nodes.Node]:
    """The words below figures in an output that is else left out."""
    if not isinstance(node, nodes.Element) or isinstance(node, SKIPPED):
        return []
    return [nodes.paragraph("", c.astext()) for c in node.findall(nodes.caption)]


def prose(node: nodes.Node) -> nodes.Node:
    """A copy of a tree without code, outputs and formulas."""
    new = node.copy()
    for child in node.children:
        new += captions(child) if is_skipped(child) else [prose(child)]
    return new


def said(node: nodes.Node) -> str:
    """A piece of text in one line; a formula only if it is as simple as a word."""
    if isinstance(node, nodes.math):
        tex = plain_tex(node.astext())
        return tex if SIMPLE.fullmatch(tex) else "…"
    if is_skipped(node):
        return ""
    if isinstance(node, nodes.Text):
        return node.astext().replace("\n", " ")
    return "".join(map(said, node.children))


def sections(doctree: nodes.document) -> list[list]:
    """The text of a page: for each section its anchor, its title and its paragraphs.

    An entry of a glossary counts as a section.
    """
    found = [["", "", []]]
    _collect(doctree, found)
    return [section for section in found if section[1] or section[2]]


def _collect(node: nodes.Node, found: list[list]) -> None:
    """Add what stands below a node; the last section in ``found`` is open."""
    if isinstance(node, nodes.title | nodes.term):
        anchor = (node.get("ids") or node.parent.get("ids") or [""])[0]
        found.append([anchor, said(node), []])
    elif is_skipped(node):
        found[-1][2] += [said(caption) for caption in captions(node)]
    elif isinstance(node, nodes.row):
        cells = (said(cell).strip() for cell in node.children)
        found[-1][2].append(" · ".join(cell for cell in cells if cell))
    elif isinstance(node, nodes.TextElement):
        text = " ".join(said(node).split())
        if text:
            found[-1][2].append(text)
    elif isinstance(node, nodes.Element):
        for child in node.children:
            _collect(child, found)


def names() -> dict[str, str]:
    """The public names of the package with the pages of their listings."""
    from .source import package, page_of

    modules = package().modules.values()
    return {name: page_of(module.name) for module in modules for name in module.public}


def begin(app) -> None:
    """Called by Sphinx: let the builder index the prose of pages and keep their text."""
    if not getattr(app.builder, "search", False):
        return
    index_page, app.book_text = app.builder.index_page, {}

    def index_prose(page: str, doctree: nodes.document, title: str) -> None:
        if not SOLUTIONS.search(page):  # an exercise is found once
            index_page(page, prose(doctree), title)
            app.book_text[page] = sections(doctree)

    app.builder.index_page = index_prose


def load_script(app, page, template, context, doctree) -> None:
    """Called by Sphinx for each page: the page of the search gets its scripts."""
    if page == "search":
        for name in ("search_text.js", "search.js"):
            app.add_js_file(name, defer="defer")
        app.add_css_file("search.css")


def write_texts(app) -> list:
    """Called by Sphinx after the pages: the text of all, those of before included."""
    if not getattr(app.builder, "search", False):
        return []
    path = Path(app.outdir) / TEXTS
    known = read_texts(path)["pages"] if path.exists() else {}
    pages = {p: t for p, t in known.items() if p in app.env.found_docs}
    address = app.builder.get_target_uri
    named = {name: f"{address(page)}#{name}" for name, page in names().items()}
    data = {"pages": pages | app.book_text, "names": named}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{PREFIX}{text};\n", encoding="utf-8")
    return []


def read_texts(path: Path) -> dict:
    """What ``write_texts`` wrote."""
    text = path.read_text(encoding="utf-8").strip()
    return json.loads(text.removeprefix(PREFIX).removesuffix(";"))


def set_scorer(app, config) -> None:
    """Called by Sphinx: how results are ranked."""
    config.html_search_scorer = str(Path(__file__).with_name("search_scorer.js"))


def setup(app):
    """Called by Sphinx."""
    app.add_search_language(SearchBoth)
    app.connect("config-inited", set_scorer)
    app.connect("builder-inited", begin)
    app.connect("html-page-context", load_script, priority=800)
    app.connect("html-collect-pages", write_texts)
