"""Text in figures: Chinese has a font if one is there, and lines break where they may."""

import warnings

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.font_manager import fontManager

from mmbook.notebook import plots
from mmbook.notebook.plots import text
from mmbook.notebook.plots.style import STYLE

CAPTION = "红色的圆在蓝色的方块左边。"


@pytest.fixture
def chinese_font(tmp_path, monkeypatch):
    """A font of squares, one em wide, for all characters of the caption."""
    names = {ord(sign): f"sign{number}" for number, sign in enumerate(sorted(CAPTION))}
    font = FontBuilder(1000, isTTF=True)
    font.setupGlyphOrder([".notdef", *names.values()])
    font.setupCharacterMap(names)
    pen = TTGlyphPen(None)
    for move, place in zip(
        (pen.moveTo, pen.lineTo, pen.lineTo, pen.lineTo),
        ((50, 0), (50, 900), (950, 900), (950, 0)),
        strict=True,
    ):
        move(place)
    pen.closePath()
    glyph = pen.glyph()
    font.setupGlyf(dict.fromkeys([".notdef", *names.values()], glyph))
    font.setupHorizontalMetrics(dict.fromkeys([".notdef", *names.values()], (1000, 50)))
    font.setupHorizontalHeader(ascent=900, descent=-100)
    font.setupNameTable({"familyName": "Squares", "styleName": "Regular"})
    font.setupOS2()
    font.setupPost()
    font.save(tmp_path / "squares.ttf")
    before = list(fontManager.ttflist)
    fontManager.addfont(tmp_path / "squares.ttf")
    monkeypatch.setattr(text, "CHINESE_FONTS", ("Not Installed", "Squares"))
    monkeypatch.setitem(STYLE, "font.family", text.fonts())
    text.text_width.cache_clear()
    yield
    fontManager.ttflist = before
    fontManager._findfont_cached.cache_clear()
    text.text_width.cache_clear()


def test_the_first_chinese_font_that_is_installed_stands_behind_the_usual_one(
    chinese_font,
):
    assert text.fonts() == ["DejaVu Sans", "Squares"]
    assert text.fonts("DejaVu Sans Mono") == ["DejaVu Sans Mono", "Squares"]


def test_chinese_is_drawn_without_a_warning_if_a_font_is_there(chinese_font, caplog):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.draw_flow([(CAPTION, CAPTION), "b"], CAPTION).to_bytes()
        plots.plot_comparison({CAPTION: [0.5]}, CAPTION).to_bytes()
        plots.plot_matrix([[1, 2]], ["红色"], ["圆", "方块"], CAPTION).to_bytes()
    assert not caplog.records  # "findfont: Font family … not found" is logged


def test_widths_are_those_of_the_font_that_draws(chinese_font):
    assert text.text_width("红" * 10, 7.2) == pytest.approx(1.0, rel=0.02)


def test_without_a_font_one_warning_names_all_characters(monkeypatch):
    monkeypatch.setitem(STYLE, "font.family", ["DejaVu Sans"])
    with pytest.warns(UserWarning) as caught:
        plots.draw_flow(["红色", "红圆"]).to_bytes("png")
    (only,) = caught
    assert "no installed font has 圆红色: install one" in str(only.message)


def test_without_a_font_svg_needs_no_warning_because_the_reader_has_one(monkeypatch):
    monkeypatch.setitem(STYLE, "font.family", ["DejaVu Sans"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        svg = plots.plot_comparison({"红色": [0.5]}, "红圆").to_bytes().decode()
    assert ">红色</text>" in svg


def test_without_a_font_chinese_is_as_wide_as_high(monkeypatch):
    monkeypatch.setattr(text, "CHINESE_FONTS", ())
    text.text_width.cache_clear()
    assert text.text_width("红" * 10, 7.2) == pytest.approx(1.0, rel=0.02)
    text.text_width.cache_clear()


def test_other_warnings_of_a_drawing_are_kept():
    with pytest.warns(RuntimeWarning, match="by hand") as caught:
        with text.missing_characters_told_once():
            warnings.warn("by hand", RuntimeWarning, stacklevel=1)
    assert len(caught) == 1


def test_latin_looks_the_same_with_a_chinese_font(chinese_font, monkeypatch):
    figure = plots.draw_flow(["a", "b"], "title").to_bytes()
    monkeypatch.setitem(STYLE, "font.family", ["DejaVu Sans"])
    assert plots.draw_flow(["a", "b"], "title").to_bytes() == figure


def test_lines_break_at_spaces_and_at_line_ends():
    long = "a small yellow triangle to the left of a large orange square"
    lines = text.wrap(long, 1.0, 8.5)
    assert " ".join(lines) == long and len(lines) > 2
    assert all(text.text_width(line, 8.5) <= 1.0 for line in lines)
    assert text.wrap("a\n\n b  c", 1.0, 8.5) == ["a", "", "b c"]
    assert text.wrap("", 1.0, 8.5) == [""]


def test_chinese_breaks_between_characters_but_not_before_a_closing_mark(chinese_font):
    lines = text.wrap(CAPTION, 0.5, 8.5)  # four characters
    assert "".join(lines) == CAPTION and len(lines) == 4
    assert all(text.text_width(line, 8.5) <= 0.5 for line in lines)
    assert not any(line.startswith("。") for line in lines)
    assert text.wrap("（红）色", 0.01, 8.5)[0][0] == "（"


def test_words_within_chinese_stay_whole(chinese_font):
    lines = text.wrap("红色的circle在左边", 0.5, 8.5)
    assert "".join(lines) == "红色的circle在左边" and any("circle" in x for x in lines)


def test_a_word_wider_than_the_line_is_broken():
    lines = text.wrap("see 000000062554_resized.jpg here", 0.7, 8.5)
    assert all(text.text_width(line, 8.5) <= 0.7 for line in lines)
    assert "".join(lines).replace(" ", "") == "see000000062554_resized.jpghere"
