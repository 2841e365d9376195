"""Chinese terms are found inside longer ones, English as before; sentences hold no code."""

import json
import re
from importlib.resources import files
from types import SimpleNamespace

import pytest

pytest.importorskip("sphinx", reason="needs the extra book")
pytest.importorskip("nbformat", reason="needs the extra lab")
from docutils import nodes
from sphinx.search import IndexBuilder
from sphinx.search.en import SearchEnglish
from web import search
from web.glossary_terms import terms, texts

TRIED = (
    "融合 注意力 编码器 微调 对比学习 迁移学习 自监督 跨模态 损失函数 词元 掩码 梯度 多模态"
).split()
SCORER = search.Path(search.__file__).with_name("search_scorer.js")
BROWSER = """
var window = globalThis, document = {getElementById: () => null};
var localStorage = {setItem() {}}, SPHINX_HIGHLIGHT_ENABLED = false;
var _ = (text) => text, _ready = () => {};
"""
KEPT = ("_search_index_" + name for name in ("titles", "filenames", "mapping"))
KEPT = [*KEPT, *("_search_index_" + n for n in ("title_mapping", "all_titles"))]
KEPT += ["_search_index_" + n for n in ("index_entries", "objtypes", "objnames")]


def engine():
    """V8 with the splitter, as a page of the search has it."""
    py_mini_racer = pytest.importorskip("py_mini_racer", reason="needs the extra book")
    context = py_mini_racer.MiniRacer()
    theme = files("sphinx") / "themes/basic/static/searchtools.js"
    language = search.SearchBoth({})
    for script in (
        *(BROWSER, theme.read_text(encoding="utf-8"), language.js_stemmer_code),
        *(SCORER.read_text(encoding="utf-8"), language.js_splitter_code),
        f"var stopwords = {json.dumps(sorted(language.stopwords))};",
    ):
        context.eval(script + ";0")
    return context


@pytest.fixture(scope="module")
def found():
    """A search in the text of all chapters and exercises, by Sphinx's own script."""
    env = SimpleNamespace(version=1, domains={}, **{name: {} for name in KEPT})
    builder = IndexBuilder(env, "en", {}, "")
    builder.lang = search.SearchBoth({})
    for place, text in texts().items():
        doctree = nodes.section("", nodes.title("", place.label))
        doctree += nodes.paragraph("", "", nodes.Text(text))
        builder.feed(place.page, place.page, place.label, doctree)
    context = engine()
    context.eval(f"Search.setIndex({json.dumps(builder.freeze())});0")

    def pages(query: str) -> list[str]:
        asked = json.dumps(query)
        results = context.eval(
            f"JSON.stringify(Search._performSearch(...Search._parseQuery({asked})))"
        )
        return [result[0] for result in json.loads(results)][::-1]

    return pages


@pytest.mark.parametrize("term", TRIED)
def test_a_term_finds_all_pages_that_hold_it(found, term):
    holding = {place.page for place, text in texts().items() if term in text}
    assert holding and holding <= set(found(term))


def test_each_term_of_the_glossary_finds_the_pages_that_hold_it(found):
    for term in terms():
        if "$" not in term.chinese:
            holding = {p.page for p, text in texts().items() if term.chinese in text}
            assert holding <= set(found(term.chinese)), term


def test_chapters_come_before_exercises_and_rare_words_find_few(found):
    kinds = [page.startswith("chapters/exercises") for page in found("fusion")]
    assert True in kinds and kinds == sorted(kinds)
    assert found("弗雷歇距离")[0] == "chapters/3-fine-tuning/34_limits"
    assert found("魑魅") == []


def test_english_is_split_and_stemmed_as_before():
    english, both = SearchEnglish({}), search.SearchBoth({})
    for text in texts().values():
        latin = re.sub(f"[{search.HAN}]+", " ", text)
        assert both.split(latin) == english.split(latin)
    words = ("fusion", "normalisation", "encoders", "LoRA", "late_fusion")
    assert [*map(both.stem, words)] == [*map(english.stem, words)]


@pytest.mark.parametrize(
    "text, pieces",
    [
        ("对比学习", ["对", "比", "学", "习", "对比", "比学", "学习"]),
        ("A 距离", ["A", "距", "离", "距离"]),
        ("KL散度 of q_1", ["KL", "散", "度", "散度", "of", "q_1"]),
        ("凸", ["凸"]),
    ],
)
def test_chinese_is_cut_into_characters_and_pairs(text, pieces):
    assert search.SearchBoth({}).split(text) == pieces


@pytest.mark.parametrize(
    "term", [*TRIED, "凸", "KL散度", "late fusion, 视觉 Transformer"]
)
def test_a_query_is_cut_as_the_index_is(term):
    pieces = json.loads(
        engine().eval(f"JSON.stringify(splitQuery({json.dumps(term)}))")
    )
    indexed = search.SearchBoth({}).split(term)
    assert pieces and set(pieces) <= set(indexed)
    runs = re.findall(f"[{search.HAN}]+", term)
    assert not any(len(run) > 1 and set(pieces) & set(run) for run in runs)


def page() -> nodes.document:
    """A page with all that a chapter has."""
    from docutils.utils import new_document

    doctree = new_document("page")
    said = nodes.paragraph(
        "", "", nodes.Text("Call "), nodes.literal("", "late_fusion")
    )
    said += [nodes.Text(" with "), nodes.math("", "D"), nodes.Text(" and ")]
    said += [nodes.math("", r"\frac{a}{b}"), nodes.Text(" at\n"), nodes.math("", "x_k")]
    code = nodes.container("", nodes.literal_block("", "import torch"))
    code["classes"] = ["cell_input"]
    out = nodes.container("", nodes.paragraph("", "tensor"), classes=["cell_output"])
    out += nodes.figure("", nodes.caption("", "A curve"))
    table = nodes.row("", *(nodes.entry("", nodes.paragraph("", t)) for t in "ab"))
    inner = nodes.section("", nodes.title("", "Late"), said, code, out, ids=["late"])
    inner += [nodes.math_block("", r"\sum x"), nodes.raw("", "<svg/>", format="html")]
    doctree += nodes.section(
        "", nodes.title("", "Fusion"), inner, table, ids=["fusion"]
    )
    return doctree


def test_code_outputs_and_formulas_are_not_indexed():
    words = search.prose(page()).astext().split()
    assert {"late_fusion", "Fusion", "Late", "curve", "a", "b"} <= set(words)
    assert not {"import", "tensor", r"\frac{a}{b}", r"\sum", "<svg/>"} & set(words)
    assert "tensor" in page().astext()


def test_the_text_of_a_page_is_kept_by_its_sections():
    assert search.sections(page()) == [
        ["fusion", "Fusion", []],
        ["late", "Late", ["Call late_fusion with D and … at xₖ", "A curve", "a · b"]],
    ]


def test_texts_of_pages_that_were_not_written_again_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(search, "names", lambda: {"fit": "source/a"})
    env = SimpleNamespace(found_docs={"a", "b"})
    builder = SimpleNamespace(search=True, get_target_uri="{}.html".format)
    app = SimpleNamespace(outdir=tmp_path, env=env, builder=builder)
    app.book_text = {"a": [["x", "A", ["one"]]], "b": [["", "B", ["融合"]]]}
    search.write_texts(app)
    app.book_text, env.found_docs = {"a": [["x", "A", ["two"]]]}, {"a", "b"}
    search.write_texts(app)
    known = search.read_texts(tmp_path / search.TEXTS)
    assert known["names"] == {"fit": "source/a.html#fit"}
    assert known["pages"] == {"a": [["x", "A", ["two"]]], "b": [["", "B", ["融合"]]]}
    env.found_docs = {"a"}
    search.write_texts(app)
    assert set(search.read_texts(tmp_path / search.TEXTS)["pages"]) == {"a"}
