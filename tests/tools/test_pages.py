"""What the site makes of a page: folded cells, drawn formulas, a head, a stamp."""

import json
import re

import pytest

pytest.importorskip("sphinx", reason="needs the extra book")
nbformat = pytest.importorskip("nbformat", reason="needs the extra lab")
from web import cells, formulas, head, media, meta, tables  # noqa: E402

SVG = [{"output_type": "display_data", "data": {"image/svg+xml": "<svg/>"}}]


def code(source: str, outputs=()) -> dict:
    """A cell of code."""
    return nbformat.from_dict(
        {
            "cell_type": "code",
            "source": source,
            "outputs": [*outputs],
            "metadata": {},
        }
    )


@pytest.mark.parametrize(
    "source, outputs, kind",
    [
        ("# On Colab: install\nimport sys", (), "set-up"),
        ("import torch\nfrom mmbook import fit\ntorch.manual_seed(0)", (), "imports"),
        ("%matplotlib inline\nimport torch", (), None),
        ("import torch\n\nSEEDS = range(3)", (), "imports"),
        ("import torch\n\nfloat64 = torch.float64", (), "imports"),
        ("SEEDS = range(3)", (), None),
        ("import torch\n\nmodel = make()", (), None),
        ("assert x == 2\nprint(x)", (), "check"),
        ("assert x == 2\nprint(x)", SVG, "result"),
        ("def draw_curves(x):\n    return plot(x)", (), "figure"),
        ("for x in rows:\n    assert x > 0", (), "check"),
        ("a = 1\nb = a + 1\nc = b + 1\nassert c == 3", (), None),
        ("figure, axes = subplots()\naxes.plot(x)", SVG, "figure"),
        ("figure, axes = subplots()\naxes.plot(x)", (), None),
        ("def draw(x):\n    return x\n\n\nplot(draw(1))", SVG, None),
        ("history = fit(model, data)\nplot_history(history)", SVG, None),
        ("def answer(:\n    ...", (), None),
        ("", (), None),
    ],
)
def test_a_cell_is_what_a_reader_would_say(source, outputs, kind):
    assert cells.kind(code(source, outputs)) == kind


def test_marks_of_tests_go_and_what_they_mark_stays():
    cell = code("# NBVAL_CHECK_OUTPUT\nx = 1  # noqa: E741\ny = 2  # two")
    cells.fold(nbformat.NotebookNode(cells=[cell]), "page", None)
    assert cell.source == "x = 1\ny = 2  # two"


def test_the_answer_to_a_prediction_is_folded_and_nothing_else():
    ask = nbformat.from_dict(
        {"cell_type": "markdown", "source": "So? *Predict: how many?*"}
    )
    say = nbformat.from_dict({"cell_type": "markdown", "source": "It predicts words."})
    out = [{"output_type": "stream", "name": "stdout", "text": "3"}]
    asked, silent, after = code("f(3)", out), code("f(4)"), code("f(5)", out)
    pages = [ask, asked, after, ask, silent, say, after]
    cells.fold(nbformat.NotebookNode(cells=pages), "page", None)
    assert asked.metadata.tags == ["hide-output"]
    assert silent.metadata.tags == after.metadata.tags == []


def test_a_cell_that_is_to_be_shown_stays_open():
    cell = code("import torch")
    cell.metadata["tags"] = ["show"]
    cells.fold(nbformat.NotebookNode(cells=[cell]), "page", None)
    assert cell.metadata.tags == ["show"]


def test_what_its_author_folds_is_named_as_the_rest():
    cell = code("rows = [f(x) for x in data]")
    cell.metadata["tags"] = ["hide-input"]
    cells.fold(nbformat.NotebookNode(cells=[cell]), "page", None)
    assert cell.metadata.mystnb["code_prompt_show"] == "Code"


def test_a_formula_is_drawn_with_its_name():
    picture = formulas.drawn(r"\frac{a}{b} < x^\top", False)
    assert (
        picture.startswith("<svg")
        and 'aria-label="\\frac{a}{b} &lt; x^\\top"' in picture
    )
    assert len(re.findall("<path", picture)) == 5  # a, b, <, x, ⊤: each once


@pytest.mark.parametrize("tex", [r"\frac{a}{", r"\nosuchmacro{a}", r"a \end{aligned}"])
def test_a_formula_that_cannot_be_drawn_is_an_error_that_shows_it(tex):
    with pytest.raises(ValueError, match=re.escape(tex)):
        formulas.drawn(tex, True)


@pytest.mark.parametrize(
    "tex, parts, number",
    [
        (r"a = b \tag{3}", ["a = b"], "3"),
        (r"a = b, \qquad c = d \tag{4'}", ["a = b,", "c = d"], "4'"),
        (r"\begin{aligned} a & b \qquad c \end{aligned}", None, ""),
        (r"\left( a \qquad b \right)", None, ""),
        (r"\text{a \qquad b}", None, ""),
    ],
)
def test_a_wide_formula_breaks_where_it_has_room(tex, parts, number):
    assert formulas.pieces(tex) == (parts or [tex], number)


def test_aligned_columns_are_parts_that_may_stand_below_each_other():
    tex = r"\begin{aligned} a & = b & c \& d & = e \\ f & = g \\ \end{aligned}"
    first, second = formulas.pieces(tex)[0]
    assert first == r"\begin{aligned} a & = b  \\  f & = g \end{aligned}"
    assert second == r"\begin{aligned} c \& d & = e \end{aligned}"
    for kept in (
        r"\begin{aligned} a & = b \\ c & = d \end{aligned}",
        r"\begin{aligned} a & \begin{matrix} b & c & d \end{matrix} \end{aligned}",
    ):
        assert formulas.pieces(kept)[0] == [kept]


@pytest.mark.parametrize("terms, alone", [(10, False), (16, True)])
def test_a_short_beginning_stands_alone_only_where_it_must(terms, alone):
    tex = rf"x \leftarrow \big( {' + '.join('abcdefghijklmnop'[:terms])} \big)"
    assert formulas.width(formulas.drawn(tex, True)) > formulas.WIDE
    assert (formulas.lines(tex)[0] == "x") is alone
    assert formulas.lines(f"{tex} + y")[-1] == "{} + y"


LONG = r"a_{1 = 1} (b = 2) = \sum_{i=1}^{n} \log \frac{p(x_i \mid y_i)}{q(x_i)} + \mathrm{constant}"


def test_a_long_formula_may_break_before_a_relation_and_a_short_one_does_not():
    first, second, third = formulas.lines(LONG)
    assert first == r"a_{1 = 1} (b = 2)" and second.startswith(r"{} = \sum")
    assert third == r"{} + \mathrm{constant}"
    assert formulas.lines("a = b + c") == ["a = b + c"]
    assert formulas.width(formulas.drawn("a = b + c", True)) < formulas.WIDE


PAGE = """<html lang="en" data-content_root="./" >
<head><meta charset="utf-8" /><title>T</title>
<meta name="viewport" content="width=device-width" /><meta name="viewport" content="x" />
<script data-cfasync="false">document.documentElement.dataset.theme = "";</script>
<script src="_static/vendor/fontawesome/6.5.2/js/all.min.js?digest=d"></script>
</head><body data-default-mode=""><script src="a.js"></script></body></html>"""


def test_a_head_is_mended_once():
    page = head.mended(PAGE)
    assert head.mended(page) == page
    assert page.count('name="viewport"') == 1 and "all.min.js" not in page
    assert 'data-theme="light">' in page and 'data-default-mode="auto"' in page
    assert '<script src="a.js"></script>' in page and "matchMedia" in page


def test_the_stamp_tells_how_a_chapter_was_executed_and_where_to_report(monkeypatch):
    run = {
        "seconds": 88,
        "gib": 1.2,
        "hardware": "2 CPU cores",
        "date": "2026-01-02",
        "versions": {"torch": "2.9.0", "transformers": "5.1.0", "other": "1"},
    }
    monkeypatch.setattr(meta, "_runs", lambda: {"5-practice/510_x.ipynb": run})
    monkeypatch.setattr(meta, "studies_of", lambda notebook: ["label_efficiency"])
    page = "chapters/5-practice/510_x"
    silent, speaking = meta.stamp(page, None), meta.stamp(page, "https://a.b/c")
    assert "2026-01-02 in 88 s and 1.2 GiB on 2 CPU cores" in silent
    assert "torch 2.9.0, transformers 5.1.0" in silent and "label_efficiency" in silent
    assert "report" not in silent
    assert "https://a.b/c/issues/new?title=5.10%3A%20&body=Chapter%205.10" in speaking
    assert meta.stamp("chapters/index", "https://a.b/c") == ""


def test_what_a_chapter_rests_on_is_read_from_it(tmp_path):
    cell = code('load("label_efficiency")\nload(\'other\')\ntorch.load("weights.pt")')
    notebook = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook), encoding="utf-8")
    assert meta.studies_of(tmp_path / "a.ipynb") == ["label_efficiency", "other"]


def test_a_description_is_cut_at_a_sentence(monkeypatch):
    from docutils.core import publish_doctree

    long = (
        "This is a first sentence which is long enough to stand alone here. "
        + "x " * 99
    )
    assert meta.first_sentences(
        publish_doctree(f"Title\n=====\n\nShort.\n\n{long}")
    ) == ("This is a first sentence which is long enough to stand alone here.")


def test_media_lie_in_files_of_their_own_and_other_pictures_stay():
    written = {}
    sound, picture = "data:audio/wav;base64,AAEC", "data:image/png;base64,AAEC"
    page = f'<audio controls src="{sound}"></audio><img src="{picture}">' * 2
    text = media.carried_out(page, "../", written.__setitem__)
    assert [*written.values()] == [b"\0\1\2"]
    assert (
        text.count(f'src="../_media/{next(iter(written))}"') == text.count(picture) == 2
    )


def test_a_spread_stays_with_its_sign():
    lines = ["<td>0.95 ± 0.01</td>", "<td>±</td>"]
    assert tables.kept(lines) == ["<td>0.95 ±\xa00.01</td>", "<td>±</td>"]


def test_an_interval_stays_on_one_line_and_its_table_is_known():
    html = "<table><td>13.7 [12.0, 15.5]</td></table>"
    kept = '<table class="intervals"><td>13.7 [12.0,\xa015.5]</td></table>'
    assert tables.kept(html) == kept
    assert tables.kept("<table><td>[start, end]</td></table>").startswith("<table>")


def test_a_bracket_stays_with_the_formula_that_it_opens():
    page = 'guessing (<span class="formula"><svg></svg></span>).'
    assert (
        formulas.opened(page) == 'guessing <span class="formula">(<svg></svg></span>).'
    )


def test_a_displayed_formula_may_shrink_but_not_beyond_reading():
    drawn = formulas._shrinking(r"a = \frac{b}{c}")
    least = float(re.search(r"min-width: ([\d.]+)ex", drawn)[1])
    assert least == pytest.approx(0.72 * formulas.width(drawn), abs=0.01)
