"""Names of the package are found in code and prose, and linked where they stand."""

from functools import cache

import pytest

pytest.importorskip("nbformat", reason="needs the extra lab")
pytest.importorskip("sphinx", reason="needs the extra book")
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from web.source_listing import chapter_ranges, chapter_source, listing
from web.source_marks import linked_code, linked_prose, plain, wrapped
from web.source_package import Package, Target, read_module
from web.source_uses import index, references, spoken, uses

SUM = Target("mmbook.fusion.sum", "Sum")
FIT = Target("mmbook.training.loop", "fit")


@cache
def small() -> Package:
    """A package of a few lines, with all ways to offer a name."""
    loop = "def fit(model):\n    return model\n\n\ndef _help():\n    pass\n"
    table = "from .sum import Sum\n\nTABLE = {'sum': Sum}\n\n\ndef fusion(name): ...\n"
    added = "from functools import reduce\nfrom ..tokens import Tokens\n\n\n"
    added += "class Sum:\n    def forward(self): return reduce(Tokens)\n"
    return Package([
        read_module("mmbook", "_FACE = {'fit': 'training'}\n", True),
        read_module("mmbook.training", "from .loop import fit\n", True),
        read_module("mmbook.training.loop", loop),
        read_module("mmbook.fusion", table, True),
        read_module("mmbook.fusion.sum", added),
        read_module("mmbook.tokens", "class Tokens:\n    pass\n"),
    ])  # fmt: skip


def test_a_room_of_one_file_offers_what_its_all_lists():
    code = '__all__ = ["load"]\n\n\ndef load(): ...\n\n\ndef replace(): ...\n'
    package = Package([read_module("mmbook.saving", code)])
    assert [*package.offered().values()] == ["mmbook.saving.load"]
    assert Target("mmbook.saving", "replace") in package.unique.values()


def href(target: Target) -> str:
    return f"{target.module}#{target.name or ''}"


def found(code: str, scope: dict | None = None) -> list[tuple[str, Target]]:
    scope = {} if scope is None else scope
    return [(code[r.start : r.end], r.target) for r in references(code, scope, small())]


@pytest.mark.parametrize(
    "dotted, target",
    [
        ("mmbook.fit", FIT),
        ("mmbook.training.fit", FIT),
        ("mmbook.training.loop.fit", FIT),
        ("mmbook.fusion.Sum", SUM),
        ("mmbook.fusion.sum", Target("mmbook.fusion.sum")),
        ("mmbook.fusion.Other", None),
        ("torch.nn", None),
    ],
)
def test_a_dotted_name_is_followed_to_where_it_is_defined(dotted, target):
    assert small().resolve(dotted) == target


def test_public_is_what_has_no_underscore_and_is_defined_there():
    assert list(small().modules["mmbook.training.loop"].public) == ["fit"]
    assert list(small().modules["mmbook.fusion"].public) == ["fusion"]
    assert FIT in small().offered() and small().unique["Sum"] == SUM


@pytest.mark.parametrize(
    "code, last",
    [
        ("from mmbook.fusion import Sum", ("Sum", SUM)),
        ("from mmbook.fusion import Sum as S\nx = S()", ("S", SUM)),
        ("from mmbook import fit\nfit(1)", ("fit", FIT)),
        ("import mmbook.training as t\nt.fit(1)", ("fit", FIT)),
        ("import mmbook as mm\n%time mm\nmm.training.loop.fit", ("fit", FIT)),
        ("from mmbook import fusion\nfusion.sum.Sum.forward", ("Sum", SUM)),
        ("from mmbook.fusion import fusion\nfusion('sum')", ("sum", SUM)),
        ("from mmbook import fit\nprint('多模态', fit)", ("fit", FIT)),
    ],
)
def test_names_in_code_are_found_with_their_places(code, last):
    assert found(code)[-1] == last


@pytest.mark.parametrize(
    "code",
    [
        "fit = 1\nfit",
        "def f(fit):\n    return fit",
        "[fit for fit in range(3)]",
        "for fit in range(3):\n    pass\nfit",
        "model.fit(1)",
        "'fit'",
    ],
)
def test_names_that_a_page_binds_itself_are_not_the_packages(code):
    assert found(code, {"fit": FIT}) == []


def test_a_word_for_another_function_is_not_the_key_of_a_table():
    scope = {"fusion": Target("mmbook.fusion", "fusion")}
    assert found("x.mean(reduction='sum')", scope) == []
    assert found("for name in ['sum']:\n    make(name)", scope) == [("sum", SUM)]


def test_what_is_hidden_inside_of_a_function_is_known_after_it():
    assert found("def f(fit):\n    return fit\nfit", {"fit": FIT}) == [("fit", FIT)]


@pytest.mark.parametrize(
    "text, target",
    [
        ("fit", FIT),
        ("fit(model)", FIT),
        ("training.fit", FIT),
        ("Sum.forward", SUM),
        ("mine", None),
        ("pip install", None),
        ("model.fit", None),
    ],
)
def test_inline_code_names_what_is_public_and_unique(text, target):
    assert spoken(text, small()) == target


def test_inline_code_follows_the_imports_and_names_of_its_page():
    assert spoken("fit", small(), own={"fit"}) is None
    assert spoken("t.fit", small(), scope={"t": Target("mmbook.training")}) == FIT
    assert spoken("S", small(), own={"S"}, scope={"S": SUM}) == SUM


def test_the_index_says_which_page_uses_which_name():
    code = new_notebook(cells=[new_code_cell("from mmbook import fit")])
    prose = new_notebook(
        cells=[new_markdown_cell("`fit` and `Sum`\n```\n`Tokens`\n```")]
    )
    assert uses(code, small()) == {Target("mmbook"): "code", FIT: "code"}
    assert index([("2.5", code), ("3.1", prose)], small()) == {
        Target("mmbook"): ["2.5"],
        FIT: ["2.5", "3.1"],
        SUM: ["3.1"],
    }


def test_a_link_stays_within_tags_and_lines():
    markup = "<b>a&lt;b</b>c\n<i>de</i>"
    assert wrapped(markup, [(1, 4, "<a>")]) == "<b>a<a>&lt;b</a></b><a>c</a>\n<i>de</i>"
    assert plain(wrapped(markup, [(0, 7, "<a>")])) == plain(markup)


def block(code: str) -> str:
    return f'<div class="highlight-ipython3 x"><div class="highlight"><pre>{code}</pre>'


def test_code_is_linked_once_in_each_cell_and_keeps_its_text():
    first = '<span class="kn">from</span> mmbook <span class="kn">import</span> fit'
    body = block(first) + "<p>text</p>" + block("fit(&#39;a&#39;)\nfit(2)")
    linked, scope = linked_code(body, small(), href)
    assert scope == {"fit": FIT} and plain(linked) == plain(body)
    assert linked.count('href="mmbook.training.loop#fit"') == 2
    assert "\nfit(2)" in linked


def test_outputs_are_not_linked():
    body = block("from mmbook import fit") + block("fit").replace("ipython3", "none")
    assert linked_code(body, small(), href)[0].count("#fit") == 1


def test_prose_is_linked_once_and_not_in_headings_or_links():
    inline = (
        '<code class="docutils literal notranslate"><span class="pre">fit</span></code>'
    )
    body = f'<h2>{inline}</h2><a href="x">{inline}</a><p>{inline} {inline}</p>'
    linked = linked_prose(body, small(), href, {})
    assert linked.count("#fit") == 1 and "<p><a" in linked
    assert linked_prose(body + block("fit = 3"), small(), href, {}).count("#fit") == 0


@pytest.mark.parametrize(
    "text, shown",
    [
        ("see Chapter 2.5.", ["Chapter 2.5"]),
        ("Chapters 2.5 and\n4.3", ["2.5", "4.3"]),
        ("(chapters 2.5, 4.3, and 2.5)", ["2.5", "4.3", "2.5"]),
        ("Chapter 9.9 and version 2.5", []),
    ],
)
def test_chapters_in_docstrings_are_found(text, shown):
    ranges = chapter_ranges(text, {"2.5": "a", "4.3": "b"})
    assert [text[start:end] for start, end, _ in ranges] == shown


def test_a_listing_shows_imports_as_links_and_the_chapters_of_a_name():
    module = small().modules["mmbook.fusion.sum"]
    shown = listing(module, small(), href, {}, lambda target: [("2.5", "there")])
    assert 'href="mmbook.tokens#">' not in shown and 'href="mmbook.tokens#"' in shown
    assert shown.count('href="mmbook.tokens#Tokens"') == 2  # import, first use
    assert shown.index('href="there">2.5') < shown.index('id="Sum"')


def test_the_list_at_the_end_of_a_chapter_names_what_its_code_uses():
    shown = chapter_source({FIT: "code", SUM: "prose"}, small(), href)
    assert "#fit" in shown and "#Sum" not in shown
    assert chapter_source({SUM: "prose"}, small(), href) == ""
