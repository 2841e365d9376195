"""Each term has an address, the chapter that introduces it, and links from the text."""

import re
from types import SimpleNamespace

import pytest

pytest.importorskip("sphinx", reason="needs the extra book")
pytest.importorskip("nbformat", reason="needs the extra lab")
from docutils import nodes
from docutils.utils import new_document
from sphinx import addnodes
from web import glossary, glossary_links
from web import glossary_terms as data
from web.glossary_terms import Place, Term

FIRST = Place("chapters/1-background/11_first", "1.1")
SECOND = Place("chapters/2-concepts/21_second", "2.1")
TERMS = [
    Term("baseline", "基线", "a simple rival", "1.1"),
    Term("baseline (of an attribution)", "基线", "where shares begin", "2.1"),
    Term("LoRA, low-rank adaptation", "低秩适配", "a change of low rank", "2.1"),
    Term("late fusion", "晚期融合", "each decides for itself", "1.1"),
    Term("fusion", "融合", "where they meet", "1.1"),
    Term("word embedding", "词嵌入", "a row of a table", "2.1"),
    Term("word", "词", "a piece", "2.1"),
]


@pytest.fixture
def book(monkeypatch):
    """Two chapters and a glossary of a few terms."""
    texts = {
        FIRST: "A *baseline* (基线). *Late fusion* (晚期融合). All is 融合, word embedding.",
        SECOND: "The *baseline* (基线), *fusion* (融合), *LoRA*, 低秩适配; *e* (词嵌入) 词",
    }
    places = data.first_places(TERMS, texts)
    for module in (glossary, glossary_links):
        monkeypatch.setattr(module, "terms", lambda: TERMS)
        monkeypatch.setattr(module, "texts", lambda: texts)
        monkeypatch.setattr(module, "places", lambda: places)
    glossary_links.known.cache_clear()
    yield places
    glossary_links.known.cache_clear()


def document(*inner) -> nodes.document:
    """A page with one paragraph."""
    doctree = new_document("page")
    doctree += nodes.section("", nodes.title("", "Late fusion (晚期融合)"))
    doctree[0] += nodes.paragraph("", "", *inner)
    return doctree


def linked(doctree) -> list[tuple[str, str]]:
    """The links to terms: which, and with what words."""
    refs = doctree.findall(addnodes.pending_xref)
    return [(ref["reftarget"], ref.astext()) for ref in refs]


def test_the_file_has_addresses_that_differ_and_a_first_place_for_each():
    terms, places = data.terms(), data.places()
    slugs = [term.slug for term in terms]
    assert len(slugs) == len(set(slugs)) > 200
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug) for slug in slugs)
    assert set(places) == set(slugs)
    assert all(term.chinese in data.texts()[places[term.slug]] for term in terms)


def test_the_first_place_introduces_the_term_rather_than_mentions_it(book):
    assert book["fusion"] == book["lora-low-rank-adaptation"] == SECOND
    assert book["late-fusion"] == FIRST
    assert book["word"] == SECOND  # it is only mentioned


def test_of_two_terms_with_one_name_the_file_knows_the_place(book):
    assert book["baseline"] == FIRST
    assert book["baseline-of-an-attribution"] == SECOND
    assert glossary_links.by_chinese("基线", SECOND.page) == TERMS[1]
    assert glossary_links.by_chinese("基线", "elsewhere") == TERMS[0]


def test_names_and_formulas_are_plain():
    assert TERMS[2].names == ["LoRA", "low-rank adaptation"]
    assert TERMS[1].names == ["baseline"]
    assert Term("Fréchet's – $T^2$", "", "", "").slug == "frechets-t-2"
    assert data.plain("*a* $T^2$, $x_k y_k$, $x_q$") == "a T², xₖ yₖ, x_q"


def test_the_place_that_introduces_a_term_is_linked_once(book):
    doctree = document(
        *(nodes.Text("So "), nodes.emphasis("", "Late fusion"), nodes.Text("\n")),
        *(
            nodes.Text("(晚期融合), "),
            nodes.emphasis("", "late"),
            nodes.Text(" (晚期融合),"),
        ),
        nodes.Text(" or early fusion (融合) and that (晚期融合头)."),
    )
    glossary_links.joined(doctree)
    done = glossary_links.introduced(doctree, FIRST.page)
    assert done == {"late-fusion", "fusion"}
    assert linked(doctree) == [("late-fusion", "Late fusion"), ("fusion", "fusion")]
    assert all(ref["introduces"] for ref in doctree.findall(addnodes.pending_xref))


def test_a_term_with_other_words_before_it_is_linked_by_its_chinese_name(book):
    doctree = document(nodes.Text("Meet here (融合; late)."))
    glossary_links.introduced(doctree, FIRST.page)
    assert linked(doctree) == [("fusion", "融合")]


def test_words_before_a_term_in_marks_are_no_part_of_the_link(book):
    doctree = document(nodes.strong("", "Step 3, fusion"), nodes.Text(" (融合)."))
    glossary_links.introduced(doctree, SECOND.page)
    assert linked(doctree) == [("fusion", "fusion")]
    assert doctree[0][1].astext() == "Step 3, fusion (融合)."


def test_a_later_chapter_links_the_first_of_several_words(book):
    doctree = document(
        nodes.Text("Fusion: late\nfusions, a late fusion, low-rank adaptation")
    )
    assert glossary_links.met_again(doctree, SECOND.page, set()) == {"late-fusion"}
    assert linked(doctree) == [("late-fusion", "late\nfusions")]
    assert glossary_links.met_again(doctree, FIRST.page, set()) == set()


def test_two_terms_of_one_text_are_linked_in_order(book, monkeypatch):
    third = Place("chapters/3-x/31_third", "3.1")
    texts = {**glossary_links.texts(), third: ""}
    monkeypatch.setattr(glossary_links, "texts", lambda: texts)
    text = "One late fusion, a Low-Rank adaptation of word embeddings, late fusion."
    doctree = document(nodes.Text(text))
    glossary_links.met_again(doctree, third.page, {"word-embedding"})
    assert [slug for slug, _ in linked(doctree)] == [
        "late-fusion",
        "lora-low-rank-adaptation",
    ]
    assert doctree[0][1].astext() == text


def test_headings_code_formulas_and_links_stay_as_they_are(book):
    said = nodes.reference("", "late fusion (融合)", refuri="x")
    code = nodes.literal("", "late fusion (晚期融合)")
    doctree = document(said, nodes.Text(" "), code, nodes.math("", "(融合)"))
    out = nodes.container(
        "", nodes.paragraph("", "late fusion"), classes=["cell_output"]
    )
    doctree[0] += [out, nodes.emphasis("", "", said.deepcopy()), nodes.Text(" (融合)")]
    glossary_links.joined(doctree)
    assert glossary_links.introduced(doctree[0], SECOND.page) == {"fusion"}
    assert linked(doctree) == [("fusion", "融合")]
    assert glossary_links.met_again(doctree, SECOND.page, set()) == set()


def table(terms) -> nodes.table:
    """The table of a glossary as it is parsed."""
    rows = [
        nodes.row("", *(nodes.entry("", nodes.paragraph("", text)) for text in term))
        for term in terms
    ]
    return nodes.table("", nodes.tgroup("", nodes.tbody("", *rows)))


def test_the_table_becomes_a_list_with_letters(book):
    terms = [*TERMS[:2], TERMS[4]]
    bar, _, *parts = glossary.listed(table(terms), terms, book)
    assert bar.astext().split() == ["B", "F"]
    assert [ref["refid"] for ref in bar.findall(nodes.reference)] == [
        p["ids"][0] for p in parts
    ]
    names = [term for part in parts for term in part.findall(nodes.term)]
    assert [n["ids"] for n in names] == [[f"term-{term.slug}"] for term in terms]
    assert names[2].astext() == "fusion 融合"
    firsts = [part.findall(addnodes.pending_xref) for part in parts]
    assert [ref["reftarget"] for refs in firsts for ref in refs] == [
        *(FIRST.page, SECOND.page, SECOND.page)
    ]
    listed = [
        entry
        for index in parts[0].findall(addnodes.index)
        for entry in index["entries"]
    ]
    assert ("single", "基线", "term-baseline", "main", "中文") in listed


def test_a_glossary_with_another_number_of_rows_is_refused(book):
    with pytest.raises(ValueError):
        glossary.listed(table(TERMS[:2]), TERMS[:3], book)


@pytest.mark.parametrize(
    "kind, more, address, ids",
    [
        ("term", {"introduces": True}, "glossary#term-fusion", ["intro-fusion"]),
        ("term", {"introduces": False}, "glossary#term-fusion", []),
        ("term-first", {"slug": "fusion"}, "21_second#intro-fusion", []),
        ("term-first", {"slug": "word"}, "21_second", []),
    ],
)
def test_links_are_resolved_when_all_pages_are_known(kind, more, address, ids):
    env = SimpleNamespace(found_docs={glossary.PAGE, SECOND.page})
    env.book_terms = {SECOND.page: {"fusion"}}
    builder = SimpleNamespace(get_relative_uri=lambda here, to: to.split("/")[-1])
    app = SimpleNamespace(builder=builder)
    target = "fusion" if kind == "term" else SECOND.page
    node = glossary.pending(kind, target, "words", **more)
    found = glossary.resolve(app, env, node, node[0])
    assert (found["refuri"], found["ids"]) == (address, ids)
    env.found_docs = set()
    assert glossary.resolve(app, env, node, node[0]) is node[0]
    other = addnodes.pending_xref(reftype="doc", reftarget="")
    assert glossary.resolve(app, env, other, node[0]) is None
